"""Pooling by sums: averages and p-norms."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv import _parse
from jaxconv._types import IntOrInts, Padding, PaddingMode
from jaxconv.ops import _gathers, _window
from jaxconv.ops._cpu.taps import Slide
from jaxconv.ops.conv import accumulator
from jaxconv.ops.pad import pad_axes
from jaxconv.ops.pool import check_ordered, extreme


def avg_pool(
    x: jax.Array,
    window: IntOrInts,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    count_padding: bool = False,
) -> jax.Array:
    """Takes the mean of every window.

        y[n, i, c] = (1 / count[i]) Σ_a X[n, s·i + d·a - p, c]

    with stride s, dilation d and low padding p on each spatial axis, X the continuation of x by
    `padding_mode`, and count[i] the number of taps of window i that are not zeros of padding, or
    all taps with `count_padding`. What "circular", "reflect" and "edge" pad with are values, and
    count. bfloat16 and float16 accumulate in float32.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = ⌊spatial / window⌋ by default.

    Args:
        x: images, floating.
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: as in `max_pool`.
        padding_mode: as in `max_pool`, but "zeros" are zeros.
        dilation: input pixels from one tap of the window to the next.
        count_padding: whether zeros of padding count as values.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers.
        ValueError: when an argument is impossible, no window fits, or a window lies wholly in
            padding that does not count.

    Example:
        >>> x = jnp.array([3.0, 1.0, 4.0, 1.0]).reshape(1, 4, 1)
        >>> avg_pool(x, 2).ravel().tolist()
        [2.0, 2.5]
        >>> avg_pool(x, 2, stride=3, padding=1).ravel().tolist()
        [3.0, 2.5]
        >>> avg_pool(x, 2, stride=3, padding=1, count_padding=True).ravel().tolist()
        [1.5, 2.5]

    References:
        torch.nn.functional.avg_pool2d with count_include_pad=count_padding.
    """
    where = "avg_pool"
    plan = _window.plan_pool(where, x, window, stride, padding, padding_mode, dilation)
    _parse.floating(where, "x", x)
    if count_padding:
        counts = [np.array([size]) for size in plan.window]
    else:
        counts = _window.counts(where, x, plan)
    padded = pad_axes(where, x, plan.padding, plan.modes).astype(accumulator(x.dtype))
    return divide(_sum(padded, plan), counts).astype(x.dtype)


def lp_pool(
    x: jax.Array,
    window: IntOrInts,
    p: float = 2.0,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> jax.Array:
    """Takes the p-norm of every window: from the sum, p = 1, to the maximum, p infinite.

        y[n, i, c] = (Σ_a |X[n, s·i + d·a - p₀, c]|^p)^(1/p)

    with stride s, dilation d and low padding p₀ on each spatial axis, X the continuation of x by
    `padding_mode`. The gradient of a window that holds only zeros is 0, one of the subgradients
    there. bfloat16 and float16 accumulate in float32; |x|^p must not overflow.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = ⌊spatial / window⌋ by default.

    Args:
        x: images, floating and real.
        window: taps per spatial axis.
        p: order of the norm, at least 1; `math.inf` for the largest magnitude.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: as in `max_pool`.
        padding_mode: as in `max_pool`, but "zeros" are zeros.
        dilation: input pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers or complex numbers, or p is no number.
        ValueError: when an argument is impossible or no window fits.

    Example:
        >>> x = jnp.array([3.0, -4.0, 0.0, 1.0]).reshape(1, 4, 1)
        >>> lp_pool(x, 2).ravel().tolist()
        [5.0, 1.0]
        >>> lp_pool(x, 2, 1).ravel().tolist()
        [7.0, 1.0]

    References:
        Sermanet, Chintala and LeCun 2012, arXiv:1204.3968, equation 1; unlike
        torch.nn.functional.lp_pool2d, magnitudes are taken for odd p as well.
    """
    where = "lp_pool"
    order = _order(where, p)
    plan = _window.plan_pool(where, x, window, stride, padding, padding_mode, dilation)
    _parse.floating(where, "x", x)
    check_ordered(where, x)
    padded = pad_axes(where, x, plan.padding, plan.modes)
    if math.isinf(order):
        whole = plan._replace(padding=((0, 0),) * len(plan.window))
        return extreme(where, _magnitude(padded), whole, largest=True)
    powers = _power(padded.astype(accumulator(x.dtype)), order)
    return _root(_sum(powers, plan), order).astype(x.dtype)


def divide(total: jax.Array, counts: Sequence[np.ndarray]) -> jax.Array:
    """Sums over boxes divided by how many values each holds: a product of counts per axis."""
    if all(count.min() == count.max() for count in counts):
        return total / math.prod(int(count[0]) for count in counts)
    values = jnp.ones((1,) * total.ndim, total.dtype)
    for axis, count in enumerate(counts, start=1):
        shape = (1,) * axis + (count.size,) + (1,) * (total.ndim - axis - 1)
        values *= jnp.asarray(count.reshape(shape), total.dtype)
    return total / values


def _sum(padded: jax.Array, plan: _window.Windows) -> jax.Array:
    slide = Slide(plan.stride, plan.dilation, ((0, 0),) * len(plan.window))
    return _gathers.total(padded, slide, plan.window)


def _order(where: str, p: float) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)):
        raise TypeError(
            f"{where}: p is of type {type(p).__name__}; expected a number. Got p={p!r}. Use p=2."
        )
    if not p >= 1:
        raise ValueError(
            f"{where}: p is no order of a norm; expected p >= 1. Got p={p}. Use p=2, say."
        )
    return float(p)


def _power(x: jax.Array, p: float) -> jax.Array:
    """|x|^p, whose derivatives at 0 are finite; a power alone has 0 · ∞ for p no integer."""
    if p.is_integer():
        return lax.integer_pow(x if p % 2 == 0 else _magnitude(x), int(p))
    zero = x == 0
    return jnp.where(zero, 0, _magnitude(jnp.where(zero, 1, x)) ** p)


def _magnitude(x: jax.Array) -> jax.Array:
    """|x| with derivative 0 at 0; that of jnp.abs is 1 there."""
    return x * jnp.sign(x)


def _root(total: jax.Array, p: float) -> jax.Array:
    """total^(1/p), whose derivatives at 0 are 0."""
    if p == 1:
        return total
    zero = total == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, total) ** (1 / p))
