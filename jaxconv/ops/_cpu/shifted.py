"""Dense convolutions as sums of shifted maps: one map for every row of the window, or every tap.

    y[n, i, o] = Σ_a z[n, i + d·a, (a, o)],    z[n, i, (a, o)] = Σ_c kernel[a, c, o] · x[n, i, c]

with z one matrix product, or, for whole rows of the window, one convolution by a single row. XLA's
convolution then has several times the features and a fraction of the taps: with few features it
runs faster, and its sums, which it takes one term after the other, are shorter and so are their
rounding errors (3 × 3 windows, 64 to 64 channels on 8 × 56 × 56, two cores: 8.6 ms to 5.1 and
3.8e-7 to 2.5e-7). Strides are 1 here. Every sum is in float32 at least.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv.ops._cpu import taps
from jaxconv.ops._cpu.taps import Slide, lax_conv


def by_rows(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """One convolution by a single row, whose features are those of all rows of the window."""
    rows, *rest, channels, features = kernel.shape
    wide, rank = taps.accumulator(x), len(slide.stride)
    padded = taps.pad_spatial(x.astype(wide), slide.padding)
    weights = jnp.moveaxis(kernel.astype(wide), 0, -2)
    inner = Slide((1,) * rank, (1, *slide.dilation[1:]), ((0, 0),) * rank)
    z = lax_conv(padded, weights.reshape(1, *rest, channels, rows * features), inner)
    offsets = [(row, *(0 for _ in rest)) for row in range(rows)]
    output = slide.output(x.shape[1:-1], kernel.shape[:-2])
    return _shifted_sum(z, offsets, output, slide, features).astype(x.dtype)


def by_taps(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """One matrix product, whose features are those of all taps of the window."""
    *window, channels, features = kernel.shape
    wide = taps.accumulator(x)
    padded = taps.pad_spatial(x.astype(wide), slide.padding)
    weights = jnp.moveaxis(kernel.astype(wide).reshape(-1, channels, features), 0, -2)
    z = jnp.matmul(padded, weights.reshape(channels, -1))
    output = slide.output(x.shape[1:-1], window)
    return _shifted_sum(z, list(taps.offsets(window)), output, slide, features).astype(x.dtype)


def _shifted_sum(
    z: jax.Array, offsets: list[taps.Offsets], output: Sequence[int], slide: Slide, features: int
) -> jax.Array:
    """Σ over the offsets of what each meets in its features of z."""
    reach = slide.dilation[0] * max(offset[0] for offset in offsets) + 1

    def rows(first: int, count: int) -> jax.Array:
        part, sizes = taps.rows_of(z, first, count, reach=reach), (count, *output[1:])
        return taps.total(
            lax.slice_in_dim(
                taps.tap(part, offset, sizes, slide), n * features, (n + 1) * features, axis=-1
            )
            for n, offset in enumerate(offsets)
        )

    return taps.in_halves(rows, output[0])
