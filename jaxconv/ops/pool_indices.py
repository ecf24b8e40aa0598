"""Max pooling that says where it found the maxima, and the way back."""

import math

import jax
import jax.numpy as jnp

from jaxconv import _parse
from jaxconv._types import IntOrInts, Padding, PaddingMode
from jaxconv.ops import _window
from jaxconv.ops._cpu.extremes import wins
from jaxconv.ops._extremes import worst
from jaxconv.ops.pad import pad_axes
from jaxconv.ops.pool import check_ordered


def max_pool_with_indices(
    x: jax.Array,
    window: IntOrInts,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> tuple[jax.Array, jax.Array]:
    """Keeps the largest value of every window, and says where in the image it stands.

        indices[n, i, c] = row-major position in the spatial grid of x of the first a that
        attains y[n, i, c] = max_a X[n, s·i + d·a - p, c]

    with the symbols of `max_pool`. A value of "circular", "reflect" or "edge" padding has the
    index of the pixel that it is a copy of. Among several NaNs the last is named, as in torch.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), indices (N, *spatial', C).

    Args:
        x: images, of any real dtype.
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: as in `max_pool`.
        padding_mode: as in `max_pool`.
        dilation: input pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of x, and the indices, int32.

    Raises:
        TypeError: when x is complex.
        ValueError: when an argument is impossible, no window fits, or a window lies wholly in
            padding.

    Example:
        >>> y, indices = max_pool_with_indices(jnp.array([3, 1, 4, 1]).reshape(1, 4, 1), 2)
        >>> y.ravel().tolist(), indices.ravel().tolist()
        ([3, 4], [0, 2])

    References:
        torch.nn.functional.max_pool2d with return_indices=True.
    """
    where = "max_pool_with_indices"
    plan = _window.plan_pool(where, x, window, stride, padding, padding_mode, dilation)
    check_ordered(where, x)
    _window.counts(where, x, plan)
    spatial = x.shape[1:-1]
    grid = jnp.arange(math.prod(spatial), dtype=jnp.int32).reshape(1, *spatial, 1)
    y = pad_axes(where, x, plan.padding, plan.modes, worst(x.dtype, largest=True))
    indices = pad_axes(where, grid, plan.padding, plan.modes, -1)
    for row in _window.rows(plan):
        y, indices = _window.reduce_row((y, indices), row, _first)
    return y, jnp.broadcast_to(indices, y.shape)


def _first(left: _window.Parts, right: _window.Parts) -> _window.Parts:
    """The first maximum of two taps (value, index); padding, whose index is -1, never wins."""
    (y, i), (t, j) = left, right
    take = wins(t, y, largest=True) | (i < 0)
    return jnp.where(take, t, y), jnp.where(take, j, i)


def unpool(y: jax.Array, indices: jax.Array, output_shape: IntOrInts) -> jax.Array:
    """Puts values where `max_pool_with_indices` found them, and zeros elsewhere.

        x[n, indices[n, i, c], c] = y[n, i, c]

    where indices count the pixels of the output in row-major order. Of several values with one
    index one is kept, and has the gradient; a value with an index outside of the output is
    dropped.

    Shapes: y (N, *spatial', C), indices (N, *spatial', C) -> x (N, *output_shape, C).

    Args:
        y: values.
        indices: integers, of the shape of y.
        output_shape: spatial sizes of the output, one for all axes or per axis.

    Returns:
        x, of the dtype of y.

    Raises:
        TypeError: when the indices are no integers.
        ValueError: when the shapes of y and of the indices differ, or `output_shape` does not
            fit the axes of y.

    Example:
        >>> y, indices = jnp.array([3, 4]).reshape(1, 2, 1), jnp.array([0, 2]).reshape(1, 2, 1)
        >>> unpool(y, indices, 4).ravel().tolist()
        [3, 0, 4, 0]

    References:
        torch.nn.functional.max_unpool2d; Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1.
    """
    rank = len(_parse.image("unpool", y))
    sizes = _parse.per_axis("unpool", "output_shape", output_shape, rank)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(
            f"unpool: indices are of {indices.dtype}; expected integers. Got indices of dtype "
            f"{indices.dtype}. Use those that max_pool_with_indices returned."
        )
    if indices.shape != y.shape:
        raise ValueError(
            f"unpool: indices do not name a pixel for every value; expected the shape of y, "
            f"{y.shape}. Got indices of shape {indices.shape}. "
            f"Use those that max_pool_with_indices returned."
        )
    (batch, *_, channels), pixels = y.shape, math.prod(sizes)
    flat = indices.astype(jnp.int32).reshape(batch, math.prod(y.shape[1:-1]), channels)
    flat = jnp.where((flat >= 0) & (flat < pixels), flat, pixels)
    sample = jnp.arange(batch, dtype=flat.dtype).reshape(-1, 1, 1)
    channel = jnp.arange(channels, dtype=flat.dtype).reshape(1, 1, -1)
    empty = jnp.zeros((batch, pixels, channels), y.dtype)
    x = empty.at[sample, flat, channel].set(y.reshape(flat.shape), mode="drop")
    return x.reshape(batch, *sizes, channels)
