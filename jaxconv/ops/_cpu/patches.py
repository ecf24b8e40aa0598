"""Windows that do not overlap, one next to the other: each is a row of one matrix product.

    y[n, i, o] = Σ_{a, c} kernel[a, c, o] · x[n, s·i + a - p, c],    0 <= a < s

The stem of a ConvNeXt or a vision transformer, its downsampling, and the transposed convolutions
of a U-Net. XLA convolves for the first, and for the gradient in the kernel convolves over maps.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxconv.ops._cpu import taps
from jaxconv.ops._cpu.taps import Slide


def forward(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """Rows of pixels times the kernel."""
    window, features = kernel.shape[:-2], kernel.shape[-1]
    output = slide.output(x.shape[1:-1], window)
    y = _product(_rows(x, slide, window, output), kernel.reshape(-1, features))
    return y.reshape(x.shape[0], *output, features)


def input_gradient(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """Each g times the kernel, laid out as the pixels of its window."""
    *window, channels, features = kernel.shape
    output = g.shape[1:-1]
    rows = _product(_flat(g), kernel.reshape(-1, features).T)
    rank = len(window)
    split = rows.reshape(g.shape[0], *output, *window, channels)
    order = [0, *(axis + part for axis in range(1, rank + 1) for part in (0, rank)), 2 * rank + 1]
    sizes = [n * k for n, k in zip(output, window, strict=True)]
    grid = split.transpose(order).reshape(g.shape[0], *sizes, channels)
    used = _used(spatial, slide, window, output)
    return taps.pad_spatial(grid, [(-low, -high) for low, high in used])


def kernel_gradient(x: jax.Array, g: jax.Array, slide: Slide, window: Sequence[int]) -> jax.Array:
    """Rows of pixels, transposed, times g."""
    rows = _rows(x, slide, window, g.shape[1:-1])
    return _product(rows.T, _flat(g)).reshape(*window, x.shape[-1], g.shape[-1])


def _rows(x: jax.Array, slide: Slide, window: Sequence[int], output: Sequence[int]) -> jax.Array:
    """One row for every window: its pixels, row-major, and their channels."""
    x = taps.pad_spatial(x, _used(x.shape[1:-1], slide, window, output))
    rank = len(window)
    cut = [size for pair in zip(output, window, strict=True) for size in pair]
    split = x.reshape(x.shape[0], *cut, x.shape[-1])
    order = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
    count = x.shape[0] * math.prod(output)
    return split.transpose(order).reshape(count, math.prod(window) * x.shape[-1])


def _used(
    spatial: Sequence[int], slide: Slide, window: Sequence[int], output: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Padding, negative where pixels are left over, that makes windows cover all of the input."""
    axes = zip(spatial, slide.padding, window, output, strict=True)
    return tuple((low, out * k - n - low) for n, (low, _), k, out in axes)


def _flat(g: jax.Array) -> jax.Array:
    return g.reshape(g.shape[0] * math.prod(g.shape[1:-1]), g.shape[-1])


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=taps.accumulator(a)).astype(a.dtype)
