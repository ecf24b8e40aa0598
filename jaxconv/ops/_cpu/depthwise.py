"""Depthwise convolution as sums of shifted products.

    y[n, i, c·m + j] = Σ_a kernel[a, 0, c·m + j] · x[n, s·i + d·a - p, c]

XLA runs lax's grouped convolution on a CPU channel by channel. A sum of strided slices times
broadcast weights fuses into one loop over the output instead, vectorized over channels; its
gradient in x is the same thing (by phases of the stride), and its gradient in the kernel is a
reduction that must be phrased with care: see `kernel_gradient`.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.ops._cpu import sums, taps
from jaxconv.ops._cpu.taps import Slide

REDUCED_TOGETHER = 9
"""Operands of one variadic reduction: all 49 of a 7 × 7 window spill registers (40 to 78 ms
against 5), and a single one is handed to a library that cannot fuse slices (49 ms). All 9 of a
3 × 3 window at once take 0.87 ms where 5 and 4 take 1.02."""


def forward(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """One fused multiply-add per tap, vectorized over channels."""
    weights = _by_channel(kernel, slide)
    window = weights.shape[:-2]
    output = slide.output(x.shape[1:-1], window)
    padded, wide = taps.pad_spatial(x, slide.padding), taps.accumulator(x)
    reach = slide.dilation[0] * (window[0] - 1) + 1

    def rows(first: int, count: int) -> jax.Array:
        part = taps.rows_of(padded, first, count, slide.stride[0], reach)
        y = taps.total(
            _times(
                taps.tap(part, offset, (count, *output[1:]), slide).astype(wide),
                weights[offset].astype(wide),
            )
            for offset in taps.offsets(window)
        )
        return y.reshape(x.shape[0], count, *output[1:], kernel.shape[-1]).astype(x.dtype)

    return taps.in_halves(rows, output[0])


def input_gradient(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """The same sums, over the taps that reach each phase of the input modulo the stride."""
    weights = _by_channel(kernel, slide)
    *window, _, multiplier = weights.shape
    plan = taps.phases(spatial, g.shape[1:-1], window, slide)
    split = [
        taps.pad_spatial(g[..., j::multiplier] if multiplier > 1 else g, plan.padding)
        for j in range(multiplier)
    ]
    parts = [_phase(split, weights, phase, plan.counts) for phase in plan]
    return taps.interleave(parts, slide.stride, spatial)


def _phase(
    split: list[jax.Array], weights: jax.Array, phase: Sequence[Any], counts: Sequence[int]
) -> jax.Array:
    """One phase of the input gradient, of padded cotangents that are split by multiplier."""
    like, wide = split[0], taps.accumulator(split[0])
    reach = like.shape[1] - counts[0] + 1

    def rows(first: int, count: int) -> jax.Array:
        sizes = (count, *counts[1:])
        terms = []
        for pairs in itertools.product(*phase):
            offset, tap = tuple(u for _, u in pairs), tuple(i for i, _ in pairs)
            for j, part in enumerate(split):
                met = taps.rows_of(part, first, count, reach=reach)
                pixels = taps.shifted(met, offset, sizes).astype(wide)
                terms.append(pixels * taps.along_last(weights[tap][:, j].astype(wide), pixels))
        if not terms:  # no tap of a stride larger than the window reaches this phase
            return jnp.zeros((like.shape[0], *sizes, like.shape[-1]), like.dtype)
        return taps.total(terms).astype(like.dtype)

    return taps.in_halves(rows, counts[0])


def kernel_gradient(x: jax.Array, g: jax.Array, slide: Slide, window: Sequence[int]) -> jax.Array:
    """For each tap the sum of x, shifted, times g, over images and pixels.

    Phrased as products reduced in two stages. The first reduces one short axis (about 8 long, cut
    from the batch or from an output axis) of several taps at once: a reduction of several
    operands stays with XLA's own code generator, which fuses slices and products into it and
    unrolls the short loop so that channels vectorize. The second sums what is left.
    """
    channels = x.shape[-1]
    multiplier = g.shape[-1] // channels
    wide = taps.accumulator(x)
    padded = taps.pad_spatial(x, slide.padding)
    g = g.reshape(*g.shape[:-1], channels, multiplier) if multiplier > 1 else g
    fold, axis = sums.folding((g.shape[0], *g.shape[1 : 1 + len(window)]))
    folded = fold(g).astype(wide)
    found = []
    for row in _chunks(list(taps.offsets(window))):
        products = []
        for offset in row:
            pixels = fold(taps.tap(padded, offset, slide.output(x.shape[1:-1], window), slide))
            pixels = pixels.astype(wide)
            products.append((pixels[..., None] if multiplier > 1 else pixels) * folded)
        parts = sums.along(products, axis)
        found += [part.reshape(-1, channels * multiplier).sum(0) for part in parts]
    return jnp.stack(found).reshape(*window, 1, channels * multiplier).astype(x.dtype)


def _by_channel(kernel: jax.Array, slide: Slide) -> jax.Array:
    """Kernel (*window, 1, C·m) as (*window, C, m)."""
    return kernel.reshape(*kernel.shape[:-2], slide.groups, kernel.shape[-1] // slide.groups)


def _times(pixels: jax.Array, weights: jax.Array) -> jax.Array:
    """Pixels (…, C) times weights (C, m), as (…, C) for m = 1 and (…, C, m) else."""
    if weights.shape[-1] == 1:
        return pixels * taps.along_last(weights[:, 0], pixels)
    wide = pixels[..., None]
    return wide * taps.along_last(weights, wide)


def _chunks(offsets: list[taps.Offsets]) -> list[list[taps.Offsets]]:
    """Taps in rows of nearly equal length, at most `REDUCED_TOGETHER` each."""
    count = -(-len(offsets) // REDUCED_TOGETHER)
    return [list(part) for part in np.array_split(np.asarray(offsets), count)]
