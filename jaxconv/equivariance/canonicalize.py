"""Wrappers that make any function commute with circular shifts, as it is, untrained or trained.

By content or by phase: every image is first moved to a place that it chooses itself, f runs once,
and the output is moved back. By average: f runs on one shift per coset of the shifts that it keeps
anyway.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv import _parse
from jaxconv._types import IntOrInts
from jaxconv.equivariance import _canonical
from jaxconv.equivariance.positions import (
    candidates,
    canonical_position,
    canonical_translation,
    first_of,
)

Function = Callable[[jax.Array], Any]
METHODS = ("content", "phase", "average")


def make_shift_invariant(
    f: Function, *, method: str = "content", lattice: IntOrInts | None = None
) -> Function:
    """Makes f invariant to every circular shift of its images, or to every real translation.

        "content"  g(x) = f(T_{-i(x)} x),  i(x) = canonical_position(x).shift
        "phase"    g(x) = f(T_{-t(x)} x),  t(x) = canonical_translation(x).shift, real numbers
        "average"  g(x) = mean of f(T_p x) over 0 <= p < lattice

    By content f runs once, and g is exact for every f and every x, periodic ones included: a
    vision transformer with position embeddings, a network padded with zeros. By phase f runs once
    on x without its Nyquist frequency, and g is exact up to rounding for every f, on translations
    by parts of a pixel too; an image without a first harmonic has no phase, so it is refused, and
    where it is traced its floating outputs are NaN. By average f runs once per coset, and must be
    invariant to shifts by `lattice` itself.

    Args:
        f: a function of images (N, *spatial, C) that treats each example apart; it returns a tree
            of arrays (N, ...), floating unless the method is "content".
        method: "content", "phase" or "average".
        lattice: for "average", the shifts per axis that f keeps.

    Returns:
        The function g, of the same argument.

    Raises:
        TypeError: when called, for outputs that are not floating.
        ValueError: for a lattice without "average", or the reverse; when called, for a lattice
            that does not divide the axes, or an image that has no phase.

    Example:
        >>> first = lambda x: x[:, 0, 0]
        >>> x = jnp.arange(6.0).reshape(1, 6, 1)
        >>> g = make_shift_invariant(first)
        >>> g(x).item(), g(jnp.roll(x, 2, axis=1)).item()
        (4.0, 4.0)

    References:
        Kaba, Mondal, Zhang, Bengio and Ravanbakhsh 2022, arXiv:2211.06489, section 2
        (canonicalization); Puny et al. 2021, arXiv:2110.03336, section 2 (averages).
    """
    where = "make_shift_invariant"
    _check(where, method, lattice)

    def by_content(x):
        return f(_canonical.rolled(x, -canonical_position(x).shift))

    def by_phase(x):
        found = canonical_translation(x)
        _canonical.check_phase(where, x, found)
        y = f(_canonical.translated(x, -found.shift))
        return _floating(where, lambda y: _canonical.marked(y, found.ties), y)

    def by_average(x):
        return _average(where, f, x, lattice, lambda y, shift: y)

    return {"content": by_content, "phase": by_phase, "average": by_average}[method]


def make_shift_equivariant(
    f: Function, *, method: str = "content", lattice: IntOrInts | None = None
) -> Function:
    """Makes f equivariant to every circular shift of its images, or to every real translation.

        "content"  g(x) = mean of T_i f(T_{-i} x) over the i that canonical_position(x) ties
        "phase"    g(x) = T_t f(T_{-t} x),  t = canonical_translation(x).shift, real numbers
        "average"  g(x) = mean of T_{-p} f(T_p x) over 0 <= p < lattice

    By content f runs once, and g is exact for every f and every x; the mean is over one position
    but for periodic images, all of whose positions see the same. By phase f runs once on x without
    its Nyquist frequency, and g, which has none either, is exact up to rounding on translations
    by parts of a pixel too; an image without a first harmonic has no phase, so it is refused,
    and where it is traced its output is NaN. By average f runs once per coset, must be equivariant
    to shifts by `lattice` itself, and g is exact for every x.

    Args:
        f: a function of images (N, *spatial, C) that treats each example apart; it returns a tree
            of floating arrays (N, *spatial', ...), each axis the same size as x's or a multiple
            of it. Of labels, wrap what gives their scores, and choose afterwards.
        method: "content", "phase" or "average".
        lattice: for "average", the shifts per axis that f keeps.

    Returns:
        The function g, of the same argument.

    Raises:
        TypeError: when called, for outputs that are not floating.
        ValueError: for a lattice without "average", or the reverse; when called, for a lattice
            that does not divide the axes, an output whose axes are no multiples of the input's, or
            an image that has no phase.

    Example:
        >>> ramp = lambda x: x * jnp.arange(6.0).reshape(1, 6, 1)
        >>> x = jnp.array([1.0, 0.0, 0.0, 0.0, 2.0, 0.0]).reshape(1, 6, 1)
        >>> g = make_shift_equivariant(ramp)
        >>> bool((g(jnp.roll(x, 1, axis=1)) == jnp.roll(g(x), 1, axis=1)).all())
        True

    References:
        Kaba, Mondal, Zhang, Bengio and Ravanbakhsh 2022, arXiv:2211.06489, section 2.
    """
    where = "make_shift_equivariant"
    _check(where, method, lattice)

    def by_content(x):
        best = candidates(x)
        y = f(_canonical.rolled(x, -first_of(best).shift))
        return _floating(
            where, lambda y: _canonical.placed(y, best, _canonical.scales(where, x, y)), y
        )

    def by_phase(x):
        found = canonical_translation(x)
        _canonical.check_phase(where, x, found)

        def back(y):
            shift = found.shift * _canonical.scales(where, x, y).astype(found.shift.dtype)
            return _canonical.marked(_canonical.translated(y, shift), found.ties)

        return _floating(where, back, f(_canonical.translated(x, -found.shift)))

    def by_average(x):
        def back(y, shift):
            return _canonical.rolled(y, -shift * _canonical.scales(where, x, y))

        return _average(where, f, x, lattice, back)

    return {"content": by_content, "phase": by_phase, "average": by_average}[method]


def _check(where: str, method: str, lattice: IntOrInts | None) -> None:
    _parse.choice(where, "method", method, METHODS)
    if method == "average" and lattice is None:
        raise ValueError(
            f"{where}: an average needs the shifts that f keeps anyway; expected a lattice. "
            f"Got lattice=None. Use lattice=2 for a function that strides by 2, say."
        )
    if method != "average" and lattice is not None:
        raise ValueError(
            f'{where}: a lattice is for averages; expected method="average" with it. '
            f'Got method={method!r}, lattice={lattice}. Use method="average", or no lattice.'
        )


def _floating(where: str, function: Callable[[jax.Array], jax.Array], outputs: Any) -> Any:
    """The function on every output, all of which must be floating."""
    for y in jax.tree.leaves(outputs):
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise TypeError(
                f"{where}: f returns {y.dtype}, which has no mean and no NaN; expected floating "
                f"outputs. Got an output of shape {tuple(y.shape)}. Wrap the function that gives "
                f"the scores, and take their argmax afterwards."
            )
    return jax.tree.map(function, outputs)


def _average(where: str, f: Function, x: jax.Array, lattice: Any, back: Callable[..., Any]) -> Any:
    spatial = _parse.image(where, x)
    steps = _parse.per_axis(where, "lattice", lattice, len(spatial))
    for axis, (size, step) in enumerate(zip(spatial, steps, strict=True)):
        if size % step:
            raise ValueError(
                f"{where}: a lattice of {step} does not divide the {size} pixels of spatial axis "
                f"{axis}; expected a multiple of {step}. Got x of shape {tuple(x.shape)}. "
                f'Use method="content", or resize or pad that axis to {-(-size // step) * step}.'
            )
    cosets = jnp.asarray(list(itertools.product(*map(range, steps))), jnp.int32)

    def moved(shift):
        shift = jnp.broadcast_to(shift[None], (x.shape[0], *shift.shape))
        return _floating(where, lambda y: back(y, shift), f(_canonical.rolled(x, shift)))

    total, _ = lax.scan(
        lambda total, shift: (jax.tree.map(jnp.add, total, moved(shift)), None),
        moved(cosets[0]),
        cosets[1:],
    )
    return jax.tree.map(lambda y: y / len(cosets), total)
