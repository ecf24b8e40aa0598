"""Actions: what is done to the input, and what must then happen to the output.

An action is a family of transformations T_g, g among its elements, with a law. A function f
obeys it when f(T_g x) = T'_g f(x) for every g, where T'_g is the action on outputs: the same kind
of move, scaled to the output's pitch, where the output has the moved axes (equivariance), none
where it has not (invariance). `shift_error` and the assertions take an action by value, or the
two commonest by name.
"""

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _parse
from jaxconv.equivariance import _moves

Shifts = str | int | Sequence[Any] | np.ndarray
"""Which shifts: "all", how many to draw, or the shifts themselves, one row each."""


class Frame(NamedTuple):
    """How one output leaf moves.

    Attributes:
        axes: its moved axes, in the order of the input's; () when it must not move.
        ratio: output pixels per input pixel, one per moved axis.
        border: outputs (low, high) at the ends of each moved axis that see beyond the input's
            edge; None where that is not known.
    """

    axes: tuple[int, ...]
    ratio: tuple[Fraction, ...]
    border: tuple[tuple[int, int], ...] | None = None


class Action(NamedTuple):
    """A family of transformations of the input and its law on the output.

    Attributes:
        name: what it is called in reports.
        elements: moved sizes of the input -> array (count, numbers of an element).
        move: (input leaf, element, its moved axes) -> transformed leaf.
        law: (output leaf, element, frame, whole) -> (expected leaf, mask of where it is known);
            `whole` says that every displacement is a whole number of output pixels.
        base: (input leaf, moved axes) -> what f is given untransformed; the leaf itself but for
            crops.
        displaces: whether elements are displacements in pixels.
        needs_axes: whether an output without moved axes must stay as it is; false for changes
            of intensity, which change every output.
        line: whether it moves along a line, so that borders have no counterpart and only the
            interior can obey.
    """

    name: str
    elements: Callable[[Sequence[int]], np.ndarray]
    move: Callable[[jax.Array, jax.Array, Sequence[int]], jax.Array]
    law: Callable[[jax.Array, jax.Array, Frame, bool], tuple[jax.Array, jax.Array]]
    base: Callable[[jax.Array, Sequence[int]], jax.Array] = lambda x, axes: x
    displaces: bool = True
    needs_axes: bool = True
    line: bool = False


def everywhere(y: jax.Array) -> jax.Array:
    """The mask of a law that is known everywhere."""
    return jnp.ones([1] * y.ndim, bool)


def scaled(element: jax.Array, frame: Frame, *, whole: bool) -> jax.Array:
    """The displacement in output pixels; exact where it is whole."""
    ratios = frame.ratio
    if whole:
        pixels = [jnp.round(element[i]).astype(int) * r.numerator for i, r in enumerate(ratios)]
        return jnp.stack([n // r.denominator for n, r in zip(pixels, ratios, strict=True)])
    scale = jnp.asarray([float(r) for r in ratios], element.dtype)
    return element * scale


def _circular_law(y, element, frame, whole):
    shift = scaled(element, frame, whole=whole)
    move = _moves.roll if whole else _moves.spectral
    return _moves.each(move, y, shift, frame.axes), everywhere(y)


def line_law(method: str):
    """The law of a shift along a line; parts of a pixel are read by a method."""

    def law(y, element, frame, whole):
        shift = scaled(element, frame, whole=whole)
        if whole:
            return _moves.each_masked(_moves.slide, y, shift, frame.axes)

        def interpolate(y, amount, axis):
            return _moves.sample(y, -amount, y.shape[axis], axis, method)

        return _moves.each_masked(interpolate, y, shift, frame.axes)

    return law


def grid(
    where: str,
    ranges: Sequence[range],
    shifts: Shifts,
    seed: int,
) -> np.ndarray:
    """Rows of shifts: every combination, some of them drawn by seed, or those given."""
    if isinstance(shifts, str):
        _parse.choice(where, "shifts", shifts, ("all",))
        return np.array(list(itertools.product(*ranges)), float).reshape(-1, len(ranges))
    if isinstance(shifts, (int, np.integer)):
        count = _parse.integer(where, "shifts", shifts)
        rng = np.random.default_rng(seed)
        sizes = [len(r) for r in ranges]
        total = int(np.prod(sizes))
        flat = np.sort(rng.choice(total - 1, min(count, total - 1), replace=False) + 1)
        index = np.stack(np.unravel_index(flat, sizes), axis=1)
        return np.stack([np.asarray(r)[index[:, i]] for i, r in enumerate(ranges)], 1).astype(float)
    rows = np.asarray(shifts, float)
    if rows.ndim == 1 and len(ranges) == 1:
        rows = rows[:, None]
    if rows.ndim != 2 or rows.shape[1] != len(ranges):
        raise ValueError(
            f"{where}: shifts is an array of shape {rows.shape}; expected one row of "
            f"{len(ranges)} numbers per shift, one per moved axis. Got shifts={shifts!r}. "
            f'Use shifts="all", a number of them to draw, or [{[1] * len(ranges)}].'
        )
    return rows


def _ranges(where, sizes, period, lattice) -> list[range]:
    steps = _parse.per_axis(where, "lattice", lattice, len(sizes))
    spans = sizes if period is None else _parse.per_axis(where, "period", period, len(sizes))
    return [range(0, span, step) for span, step in zip(spans, steps, strict=True)]


def circular_shift(
    shifts: Shifts = "all",
    *,
    period: int | Sequence[int] | None = None,
    lattice: int | Sequence[int] = 1,
    seed: int = 0,
) -> Action:
    """Rolls the input by whole pixels; what leaves at one end enters at the other.

        (T_t x)[i] = x[(i - t) mod n];  the output must roll by t·n'/n

    Where t·n'/n is no whole number the output's ideal is its spectral translation, so a stride
    that aliases is an error and not an exception.

    Args:
        shifts: "all" of a period, how many of them to draw, or rows of shifts.
        period: shifts run from 0 to below this; the size of the axis unless given. The period of
            the law is enough: shifts that differ by a shift under which f is exact are alike.
        lattice: only multiples of this.
        seed: of the draw.

    Returns:
        An `Action`.

    Example:
        >>> circular_shift(period=2).elements((8, 8)).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    return Action(
        "circular shift",
        lambda sizes: grid(
            "circular_shift", _ranges("circular_shift", sizes, period, lattice), shifts, seed
        ),
        lambda x, element, axes: _moves.each(_moves.roll, x, jnp.round(element), axes),
        _circular_law,
    )


def zero_shift(
    shifts: Shifts = "all",
    *,
    period: int | Sequence[int] | None = None,
    lattice: int | Sequence[int] = 1,
    seed: int = 0,
) -> Action:
    """Shifts the input by whole pixels and fills with zeros; only the interior is compared.

        (T_t x)[i] = x[i - t] where that exists, else 0

    Args:
        shifts: "all" of a period, how many of them to draw, or rows of shifts.
        period: shifts run from 0 to below this; the size of the axis unless given.
        lattice: only multiples of this.
        seed: of the draw.

    Returns:
        An `Action`.

    Example:
        >>> zero_shift(lattice=4).elements((8,)).tolist()
        [[0.0], [4.0]]
    """
    return Action(
        "zero-filled shift",
        lambda sizes: grid(
            "zero_shift", _ranges("zero_shift", sizes, period, lattice), shifts, seed
        ),
        lambda x, element, axes: _moves.each(_moves.zero_fill, x, jnp.round(element), axes),
        line_law("bilinear"),
        line=True,
    )
