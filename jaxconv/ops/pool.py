"""Max and min pooling whose ties go to the first extreme, and whose NaNs stay."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv._types import HasShape, IntOrInts, Padding, PaddingMode
from jaxconv.ops import _window
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
    return extreme("max_pool", x, plan, lax.gt)


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
    return extreme("min_pool", x, plan, lax.lt)


def extreme(
    where: str, x: jax.Array, plan: Windows, better: Callable[[Any, Any], jax.Array]
) -> jax.Array:
    """The extreme of every window: the largest when `better` is lax.gt, the smallest for lax.lt."""
    check_ordered(where, x)
    _window.counts(where, x, plan)
    y = pad_axes(where, x, plan.padding, plan.modes, worst(x.dtype, better))
    for row in _window.rows(plan):
        y = extreme_row(y, row, better)
    return y


def extreme_row(
    x: jax.Array, row: _window.Row, better: Callable[[Any, Any], jax.Array]
) -> jax.Array:
    """The first extreme of every window of a row."""

    def combine(left: _window.Parts, right: _window.Parts) -> _window.Parts:
        (y,), (t,) = left, right
        return (jnp.where(wins(t, y, better), t, y),)

    (y,) = _window.reduce_row((x,), row, combine)
    return y


def wins(t: jax.Array, y: jax.Array, better: Callable[[Any, Any], jax.Array]) -> jax.Array:
    """Where a later value replaces an earlier one: it is better, or NaN."""
    take = better(t, y)
    return take | jnp.isnan(t) if jnp.issubdtype(t.dtype, jnp.floating) else take


def worst(dtype: Any, better: Callable[[Any, Any], jax.Array]) -> Any:
    """The value that loses against every other of a dtype."""
    low = better is lax.gt
    if jnp.issubdtype(dtype, jnp.bool_):
        return not low
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        return limits.min if low else limits.max
    limit = -np.inf if low else np.inf
    if np.isnan(np.asarray(limit, dtype)):  # some 8-bit floats have no infinity
        return float(jnp.finfo(dtype).min if low else jnp.finfo(dtype).max)
    return limit


def check_ordered(where: str, x: HasShape) -> None:
    """Refuses dtypes whose values have no order."""
    real = (jnp.bool_, jnp.integer, jnp.floating)
    if not any(jnp.issubdtype(x.dtype, kind) for kind in real):
        raise TypeError(
            f"{where}: values of {x.dtype} have no order; expected a real dtype. "
            f"Got x of dtype {x.dtype}. Use jax.numpy.abs(x), say."
        )
