"""Max and min pooling whose ties go to the first extreme, and whose NaNs stay."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv._types import HasShape, IntOrInts, Padding, PaddingMode
from jaxconv.ops import _extremes, _window
from jaxconv.ops._cpu.extremes import wins
from jaxconv.ops._cpu.taps import Slide
from jaxconv.ops._extremes import worst
from jaxconv.ops.conv import Windows
from jaxconv.ops.pad import pad_axes


def max_pool(
    x: jax.Array,
    window: IntOrInts,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> jax.Array:
    """Keeps the largest value of every window.

        y[n, i, c] = max_a X[n, s·i + d·a - p, c]

    with stride s, dilation d and low padding p on each spatial axis, X the continuation of x by
    `padding_mode`, where "zeros" stands for minus infinity (the lowest integer, for integers):
    padding never wins. A NaN in a window gives NaN. The gradient of a tie goes to the first of
    the largest in row-major order; that of a window of nothing but minus infinity may end in its
    padding.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = ⌊spatial / window⌋ by default.

    Args:
        x: images, of any real dtype.
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: "same", "half", "valid", "causal", "full", an int, or a pair (low, high) per
            spatial axis; a negative amount crops.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        dilation: input pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x is complex.
        ValueError: when an argument is impossible, no window fits, or a window lies wholly in
            padding.

    Example:
        >>> x = jnp.array([3, 1, 4, 1, 5, 9]).reshape(1, 6, 1)
        >>> max_pool(x, 2).ravel().tolist()
        [3, 4, 9]
        >>> max_pool(x, 3, stride=1, padding="same").ravel().tolist()
        [3, 4, 4, 5, 9, 9]

    References:
        torch.nn.functional.max_pool2d, whose rules for ties and NaNs these are.
    """
    plan = _window.plan_pool("max_pool", x, window, stride, padding, padding_mode, dilation)
    return extreme("max_pool", x, plan, largest=True)


def min_pool(
    x: jax.Array,
    window: IntOrInts,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> jax.Array:
    """Keeps the smallest value of every window: `max_pool` upside down.

        y[n, i, c] = min_a X[n, s·i + d·a - p, c]

    with the symbols of `max_pool`, where "zeros" stands for plus infinity (the highest integer).

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = ⌊spatial / window⌋ by default.

    Args:
        x: images, of any real dtype.
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: as in `max_pool`.
        padding_mode: as in `max_pool`.
        dilation: input pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x is complex.
        ValueError: when an argument is impossible, no window fits, or a window lies wholly in
            padding.

    Example:
        >>> min_pool(jnp.array([3, 1, 4, 1, 5, 9]).reshape(1, 6, 1), 2).ravel().tolist()
        [1, 1, 5]
    """
    plan = _window.plan_pool("min_pool", x, window, stride, padding, padding_mode, dilation)
    return extreme("min_pool", x, plan, largest=False)


def extreme(where: str, x: jax.Array, plan: Windows, *, largest: bool) -> jax.Array:
    """The largest or the smallest value of every window."""
    check_ordered(where, x)
    _window.counts(where, x, plan)
    y = pad_axes(where, x, plan.padding, plan.modes, worst(x.dtype, largest=largest))
    if math.prod(plan.window) <= _extremes.MOST_TAPS:
        slide = Slide(plan.stride, plan.dilation, ((0, 0),) * len(plan.window))
        return _extremes.extreme(y, slide, plan.window, largest=largest)
    for row in _window.rows(plan):
        y = extreme_row(y, row, largest=largest)
    return y


def extreme_row(x: jax.Array, row: _window.Row, *, largest: bool) -> jax.Array:
    """The first extreme of every window of a row."""
    if row.window <= _extremes.MOST_TAPS:
        slide, window = _along_axis(row, x.ndim - 2)
        reach = row.stride * (row.output - 1) + row.dilation * (row.window - 1) + 1
        part = lax.slice_in_dim(x, row.start, row.start + reach, axis=row.axis)
        return _extremes.extreme(part, slide, window, largest=largest)

    def combine(left: _window.Parts, right: _window.Parts) -> _window.Parts:
        (y,), (t,) = left, right
        return (jnp.where(wins(t, y, largest=largest), t, y),)

    (y,) = _window.reduce_row((x,), row, combine)
    return y


def _along_axis(row: _window.Row, rank: int) -> tuple[Slide, tuple[int, ...]]:
    """The slide and the window of a row, with entries of 1 for the other spatial axes."""
    only = lambda n: tuple(n if axis == row.axis else 1 for axis in range(1, rank + 1))
    return Slide(only(row.stride), only(row.dilation), ((0, 0),) * rank), only(row.window)


def check_ordered(where: str, x: HasShape) -> None:
    """Refuses dtypes whose values have no order."""
    real = (jnp.bool_, jnp.integer, jnp.floating)
    if not any(jnp.issubdtype(x.dtype, kind) for kind in real):
        raise TypeError(
            f"{where}: values of {x.dtype} have no order; expected a real dtype. "
            f"Got x of dtype {x.dtype}. Use jax.numpy.abs(x), say."
        )
