"""Input gradients of strided convolutions, by phases of the input grid modulo the stride.

XLA puts zeros between the pixels of g and convolves, one multiplication in stride² for something.
Every phase of the input meets only some of the taps, at offsets of its own. `dense` has the form
that is one convolution per phase.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxconv.ops._cpu import taps
from jaxconv.ops._cpu.taps import Slide, lax_conv


def input_gradient_by_tap(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """One matrix product per tap, of the shifted g that it meets, added up phase by phase."""
    plan, wide = taps.phases(spatial, g.shape[1:-1], kernel.shape[:-2], slide), taps.accumulator(g)
    padded, weights = taps.pad_spatial(g.astype(wide), plan.padding), kernel.astype(wide)
    parts = []
    for phase in plan:
        pairs = list(itertools.product(*phase))
        terms = [
            jnp.matmul(
                taps.shifted(padded, tuple(u for _, u in pair), plan.counts),
                weights[tuple(i for i, _ in pair)].T,
            )
            for pair in pairs
        ]
        nothing = jnp.zeros((g.shape[0], *plan.counts, kernel.shape[-2]), wide)
        parts.append(taps.total(terms or [nothing]))
    return taps.interleave(parts, slide.stride, spatial).astype(g.dtype)


PARTS = 3
"""Partial sums of `input_gradient_together`, each a feature of its own: of 1, 2 and 4 of a 7 × 7
window of stride 2, 3 to 64 channels on 4 × 224 × 224, errors 2.6e-7, 1.9e-7 and 1.4e-7."""


def input_gradient_together(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """All phases in one convolution, one beside the other: few channels fill no vector alone.

    What it sums over, the features of g, it sums in `PARTS` parts, for shorter sums.
    """
    *window, channels, features = kernel.shape
    plan, wide = taps.phases(spatial, g.shape[1:-1], window, slide), taps.accumulator(g)
    reached = [[u for phase in axis for _, u in phase] for axis in plan.taps]
    first = tuple(min(axis, default=0) for axis in reached)
    span = [max(axis, default=0) - low + 1 for axis, low in zip(reached, first, strict=True)]
    kernels = [_at_offsets(kernel.astype(wide), phase, first, span) for phase in plan]
    joined = jnp.concatenate(kernels, axis=-1)
    part = jnp.arange(features) * PARTS // features
    masked = [jnp.where((part == p)[:, None], joined, 0) for p in range(PARTS)]
    sizes = [count + n - 1 for count, n in zip(plan.counts, span, strict=True)]
    met = taps.shifted(taps.pad_spatial(g.astype(wide), plan.padding), first, sizes)
    unit = Slide((1,) * len(window), (1,) * len(window), ((0, 0),) * len(window))
    y = lax_conv(met, jnp.concatenate(masked, axis=-1), unit)
    y = taps.total(jnp.split(y, PARTS, axis=-1))
    parts = jnp.split(y, len(kernels), axis=-1)
    return taps.interleave(parts, slide.stride, spatial).astype(g.dtype)


def _at_offsets(
    kernel: jax.Array, phase: Sequence[list[tuple[int, int]]], first: taps.Offsets, span: list[int]
) -> jax.Array:
    """The taps of a phase, transposed, at their offsets in a window of `span`, and zeros."""
    found = {
        tuple(u - low for (_, u), low in zip(pairs, first, strict=True)): kernel[
            tuple(i for i, _ in pairs)
        ].T
        for pairs in itertools.product(*phase)
    }
    nothing = jnp.zeros(kernel.shape[:-3:-1], kernel.dtype)
    taken = [found.get(offset, nothing) for offset in taps.offsets(span)]
    return jnp.stack(taken).reshape(*span, *nothing.shape)
