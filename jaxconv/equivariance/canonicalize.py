"""Wrappers that make any function commute with circular shifts, as it is, untrained or trained.

By content: every image is first moved to a place that its content chooses, f runs once, and the
output is moved back. By average: f runs on one shift per coset of the shifts that it keeps anyway.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv import _parse
from jaxconv._types import IntOrInts
from jaxconv.ops.polyphase import pixel_scores, pixel_views

Function = Callable[[jax.Array], Any]


class Position(NamedTuple):
    """Where the content of each image says that it begins.

    Attributes:
        shift: (N, spatial axes) int32, the pixel that is moved to the origin.
        ties: (N,) int32, how many other pixels see the same image: it is periodic, and the moved
            image is the same for all of them.
    """

    shift: jax.Array
    ties: jax.Array


def canonical_position(x: jax.Array) -> Position:
    """Finds the pixel with the most energy around it, by content only.

        shift[n] = argmax_i Σ_{|d| <= 1, c} x[n, i + d, c]²

    computed in whole numbers, so that it moves with every circular shift to the last bit; equal
    sums are ordered by a hash of the whole image as seen from the pixel.

    Shapes: x (N, *spatial, C) -> shift (N, axes), ties (N,).

    Args:
        x: finite images, floating.

    Returns:
        A `Position`. It has no gradient.

    Example:
        >>> x = jnp.array([0.0, 1.0, 0.0, 5.0, 4.0, 3.0]).reshape(1, 6, 1)
        >>> canonical_position(x).shift.tolist()
        [[4]]
        >>> canonical_position(jnp.roll(x, 1, axis=1)).shift.tolist()
        [[5]]
    """
    spatial = _parse.image("canonical_position", x)
    _parse.floating("canonical_position", "x", x)
    ones = (1,) * len(spatial)
    x = lax.stop_gradient(x)
    score = pixel_scores(x, "l2", ones)
    for axis, size in enumerate(spatial, start=1):
        if size >= 3:
            score = score + jnp.roll(score, 1, axis) + jnp.roll(score, -1, axis)
    score, view = (a.reshape(x.shape[0], math.prod(spatial)) for a in (score, pixel_views(x, ones)))
    leading = jnp.where(score == jnp.max(score, axis=1, keepdims=True), view | 1, 0)
    ties = jnp.sum(leading == jnp.max(leading, axis=1, keepdims=True), axis=1, dtype=jnp.int32)
    place, digits = jnp.argmax(leading, axis=1).astype(jnp.int32), []
    for size in reversed(spatial):
        digits.append(place % size)
        place = place // size
    return Position(jnp.stack(digits[::-1], axis=1), ties - 1)


def make_shift_invariant(f: Function, *, lattice: IntOrInts | None = None) -> Function:
    """Makes f invariant to every circular shift of its images.

        by content:  g(x) = f(T_{-i(x)} x),  i(x) = canonical_position(x)
        by average:  g(x) = mean of f(T_p x) over 0 <= p < lattice

    By content f runs once, and g is exact for every f and every x, periodic ones included: a
    vision transformer with position embeddings, a network padded with zeros. By average f runs
    once per coset, and must be invariant to shifts by `lattice` itself.

    Args:
        f: a function of images (N, *spatial, C) that treats each example apart; it returns a tree
            of arrays (N, ...).
        lattice: None for the content; else the shifts per axis that f keeps, for the average.

    Returns:
        The function g, of the same argument.

    Raises:
        ValueError: when called, for a lattice that does not divide the axes.

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

    def by_content(x):
        return f(_rolled(x, -canonical_position(x).shift))

    def by_average(x):
        return _average(f, x, _cosets("make_shift_invariant", x, lattice), lambda y, shift: y)

    return by_content if lattice is None else by_average


def make_shift_equivariant(f: Function, *, lattice: IntOrInts | None = None) -> Function:
    """Makes f equivariant to every circular shift of its images.

        by content:  g(x) = T_{i(x)} f(T_{-i(x)} x),  i(x) = canonical_position(x)
        by average:  g(x) = mean of T_{-p} f(T_p x) over 0 <= p < lattice

    By content f runs once, and g is exact for every f and every x that is not periodic
    (`canonical_position` counts ties: a periodic x gives the output of one of its periods). By
    average f runs once per coset, must be equivariant to shifts by `lattice` itself, and g is
    exact for every x.

    Args:
        f: a function of images (N, *spatial, C) that treats each example apart; it returns a tree
            of arrays (N, *spatial', ...), each axis the same size as x's or a multiple of it.
        lattice: None for the content; else the shifts per axis that f keeps, for the average.

    Returns:
        The function g, of the same argument.

    Raises:
        ValueError: when called, for a lattice that does not divide the axes, or an output whose
            axes are no multiples of the input's.

    Example:
        >>> ramp = lambda x: x * jnp.arange(6.0).reshape(1, 6, 1)
        >>> x = jnp.array([1.0, 0.0, 0.0, 0.0, 2.0, 0.0]).reshape(1, 6, 1)
        >>> g = make_shift_equivariant(ramp)
        >>> bool((g(jnp.roll(x, 1, axis=1)) == jnp.roll(g(x), 1, axis=1)).all())
        True

    References:
        Kaba, Mondal, Zhang, Bengio and Ravanbakhsh 2022, arXiv:2211.06489, section 2.
    """

    def back(x):
        def move(y, shift):
            return _rolled(y, shift * jnp.asarray(_scales(x, y), jnp.int32)[None])

        return move

    def by_content(x):
        shift = canonical_position(x).shift
        return jax.tree.map(lambda y: back(x)(y, shift), f(_rolled(x, -shift)))

    def by_average(x):
        cosets = _cosets("make_shift_equivariant", x, lattice)
        return _average(f, x, cosets, lambda y, shift: back(x)(y, -shift))

    return by_content if lattice is None else by_average


def _rolled(x: jax.Array, shift: jax.Array) -> jax.Array:
    """Example n rolled by shift[n, a] on axis a + 1: one choice per binary digit, no gather."""
    for axis in range(1, shift.shape[1] + 1):
        amount, reach = shift[:, axis - 1] % x.shape[axis], 1
        while reach < x.shape[axis]:
            flag = (amount // reach % 2 == 1).reshape(-1, *[1] * (x.ndim - 1))
            x = jnp.where(flag, jnp.roll(x, reach, axis), x)
            reach *= 2
    return x


def _cosets(where: str, x: jax.Array, lattice: Any) -> jax.Array:
    """One shift per coset of the lattice, (cosets, axes)."""
    spatial = _parse.image(where, x)
    steps = _parse.per_axis(where, "lattice", lattice, len(spatial))
    for axis, (size, step) in enumerate(zip(spatial, steps, strict=True)):
        if size % step:
            raise ValueError(
                f"{where}: a lattice of {step} does not divide the {size} pixels of spatial axis "
                f"{axis}; expected a multiple of {step}. Got x of shape {tuple(x.shape)}. "
                f"Leave lattice out, or resize or pad that axis to {-(-size // step) * step}."
            )
    return jnp.asarray(list(itertools.product(*map(range, steps))), jnp.int32)


def _average(f: Function, x: jax.Array, cosets: jax.Array, back: Callable[..., Any]) -> Any:
    def moved(shift):
        shift = jnp.broadcast_to(shift[None], (x.shape[0], *shift.shape))
        return jax.tree.map(lambda y: back(y, shift), f(_rolled(x, shift)))

    total, _ = lax.scan(
        lambda total, shift: (jax.tree.map(jnp.add, total, moved(shift)), None),
        moved(cosets[0]),
        cosets[1:],
    )
    return jax.tree.map(lambda y: y / len(cosets), total)


def _scales(x: jax.Array, y: jax.Array) -> list[int]:
    """Output pixels per input pixel on every spatial axis."""
    spatial = x.shape[1:-1]
    found = y.shape[1 : 1 + len(spatial)]
    if len(found) < len(spatial) or any(b % a for a, b in zip(spatial, found, strict=True)):
        raise ValueError(
            f"make_shift_equivariant: f turns x of shape {tuple(x.shape)} into {tuple(y.shape)}; "
            f"expected axes of the same sizes {spatial}, or multiples. Got f={y.dtype} "
            f"{tuple(y.shape)}. Use make_shift_invariant, or resize the output of f."
        )
    return [b // a for a, b in zip(spatial, found, strict=True)]
