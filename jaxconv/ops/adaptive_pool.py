"""Pools that end in a grid of a given size, with the windows of torch."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _parse
from jaxconv._types import IntOrInts
from jaxconv.ops import _window
from jaxconv.ops.avg_pool import divide
from jaxconv.ops.conv import accumulator
from jaxconv.ops.pool import check_ordered, extreme_row


def adaptive_avg_pool(x: jax.Array, output_shape: IntOrInts) -> jax.Array:
    """Takes the mean of each cell of a grid of a given size.

        y[n, i, c] = mean of x[n, a, c] over ⌊i·n/m⌋ <= a < ⌈(i + 1)·n/m⌉

    with n pixels in and m out on each spatial axis; cells share pixels where m does not divide
    n. bfloat16 and float16 accumulate in float32.

    Shapes: x (N, *spatial, C) -> y (N, *output_shape, C).

    Args:
        x: images, floating.
        output_shape: pixels out, for all spatial axes or per axis; may exceed those of x.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers.
        ValueError: when `output_shape` does not fit the axes of x, or x has no pixels.

    Example:
        >>> adaptive_avg_pool(jnp.arange(5.0).reshape(1, 5, 1), 3).ravel().tolist()
        [0.5, 2.0, 3.5]

    References:
        torch.nn.functional.adaptive_avg_pool2d.
    """
    where = "adaptive_avg_pool"
    sizes = _grid(where, x, output_shape)
    _parse.floating(where, "x", x)
    total = x.astype(accumulator(x.dtype))
    for axis in range(x.ndim - 2, 0, -1):
        total = _reduce_axis(total, axis, sizes[axis - 1], _window.sum_row)
    counts = [_counts(n, m) for n, m in zip(x.shape[1:-1], sizes, strict=True)]
    return divide(total, counts).astype(x.dtype)


def adaptive_max_pool(x: jax.Array, output_shape: IntOrInts) -> jax.Array:
    """Keeps the largest value of each cell of a grid of a given size.

        y[n, i, c] = max of x[n, a, c] over ⌊i·n/m⌋ <= a < ⌈(i + 1)·n/m⌉

    with n pixels in and m out on each spatial axis. NaNs and ties as in `max_pool`.

    Shapes: x (N, *spatial, C) -> y (N, *output_shape, C).

    Args:
        x: images, of any real dtype.
        output_shape: pixels out, for all spatial axes or per axis; may exceed those of x.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x is complex.
        ValueError: when `output_shape` does not fit the axes of x, or x has no pixels.

    Example:
        >>> adaptive_max_pool(jnp.array([3, 1, 4, 1, 5]).reshape(1, 5, 1), 3).ravel().tolist()
        [3, 4, 5]

    References:
        torch.nn.functional.adaptive_max_pool2d.
    """
    where = "adaptive_max_pool"
    sizes = _grid(where, x, output_shape)
    check_ordered(where, x)
    for axis in range(x.ndim - 2, 0, -1):
        x = _reduce_axis(x, axis, sizes[axis - 1], lambda x, row: extreme_row(x, row, largest=True))
    return x


def _grid(where: str, x: jax.Array, output_shape: IntOrInts) -> tuple[int, ...]:
    spatial = _parse.image(where, x)
    sizes = _parse.per_axis(where, "output_shape", output_shape, len(spatial))
    if 0 in spatial:
        raise ValueError(
            f"{where}: spatial axis {spatial.index(0)} has no pixels; expected at least 1. "
            f"Got x of shape {x.shape}. Leave empty images out."
        )
    return sizes


def _bounds(n: int, m: int, cell: int) -> tuple[int, int]:
    return cell * n // m, -(-(cell + 1) * n // m)


def _counts(n: int, m: int) -> np.ndarray:
    return np.array([end - start for start, end in (_bounds(n, m, cell) for cell in range(m))])


def _reduce_axis(
    x: jax.Array, axis: int, m: int, reduce: Callable[[jax.Array, _window.Row], jax.Array]
) -> jax.Array:
    """Reduces the m cells of one axis.

    With g = gcd(n, m) the cells repeat: cell q·(m/g) + r is cell r moved by q·(n/g) pixels. Cells
    of equal r are the windows of a plain pool with stride n/g, of which m/g are interleaved.
    """
    n = x.shape[axis]
    repeats = math.gcd(n, m)
    period = m // repeats
    pools = []
    for cell in range(period):
        start, end = _bounds(n, m, cell)
        row = _window.Row(axis, start, end - start, n // repeats, 1, repeats)
        pools.append(reduce(x, row))
    shape = (*x.shape[:axis], m, *x.shape[axis + 1 :])
    return pools[0] if period == 1 else jnp.stack(pools, axis=axis + 1).reshape(shape)
