"""Dense convolutions that are better not handed to XLA's: 1 × 1, few inputs, strided gradients."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv.ops._cpu import grouped, taps
from jaxconv.ops._cpu.grouped import lax_conv
from jaxconv.ops._cpu.taps import Slide


def pointwise(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """A window of one tap: a strided slice and one matrix product."""
    output = slide.output(x.shape[1:-1], kernel.shape[:-2])
    padded = taps.pad_spatial(x, slide.padding)
    pixels = taps.tap(padded, (0,) * len(output), output, slide)
    return _matmul(pixels, kernel.reshape(kernel.shape[-2:]))


def by_tap(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """Few taps times channels: one fused multiply-add each, vectorized over features."""
    *window, channels, features = kernel.shape
    output = slide.output(x.shape[1:-1], window)
    padded, wide = taps.pad_spatial(x, slide.padding), taps.accumulator(x)
    reach = slide.dilation[0] * (window[0] - 1) + 1

    def rows(first: int, count: int) -> jax.Array:
        part, sizes = taps.rows_of(padded, first, count, slide.stride[0], reach), output[1:]
        y = jnp.zeros((x.shape[0], count, *sizes, features), wide)
        for offset in taps.offsets(window):
            pixels = taps.tap(part, offset, (count, *sizes), slide).astype(wide)
            for c in range(channels):
                weights = taps.along_last(kernel[(*offset, c)].astype(wide), x)
                y += pixels[..., c : c + 1] * weights
        return y.astype(x.dtype)

    return taps.in_halves(rows, output[0])


def by_plane(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """Three and more axes: for every tap of the first axis a convolution over the others.

    The first axis goes into the batch, so that XLA sees images and not volumes, for which it has
    no fast loop. All of it is in float32 at least: the transpose sums over the taps as well.
    """
    dtype, wide = x.dtype, taps.accumulator(x)
    x, kernel = x.astype(wide), kernel.astype(wide)
    inner = slide._replace(
        stride=slide.stride[1:], dilation=slide.dilation[1:], padding=slide.padding[1:]
    )
    planes, *_ = output = slide.output(x.shape[1:-1], kernel.shape[:-2])
    rest = ((0, 0),) * (len(output) - 1)
    padded = taps.pad_spatial(x, (slide.padding[0], *rest))
    total = None
    for number in range(kernel.shape[0]):
        start = number * slide.dilation[0]
        last = start + (planes - 1) * slide.stride[0] + 1
        met = lax.slice_in_dim(padded, start, last, slide.stride[0], axis=1)
        images = met.reshape(x.shape[0] * planes, *met.shape[2:])
        y = lax_conv(images, kernel[number], inner)
        total = y if total is None else total + y
    assert total is not None
    return total.reshape(x.shape[0], *output, kernel.shape[-1]).astype(dtype)


def by_window(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """Few windows: the pixels of each in a row, and one matrix product, in float32 at least.

    XLA has no fast loop for maps of fewer pixels than the window has taps.
    """
    window, wide = kernel.shape[:-2], taps.accumulator(x)
    output = slide.output(x.shape[1:-1], window)
    padded = taps.pad_spatial(x.astype(wide), slide.padding)
    met = [taps.tap(padded, offset, output, slide) for offset in taps.offsets(window)]
    weights = kernel.astype(wide).reshape(-1, kernel.shape[-1])
    return _matmul(jnp.concatenate(met, axis=-1), weights).astype(x.dtype)


def by_row(x: jax.Array, g: jax.Array, slide: Slide, window: Sequence[int]) -> jax.Array:
    """Kernel gradient as one matrix product per kernel row of the taps that the row meets."""
    output, features = g.shape[1:-1], g.shape[-1]
    padded = taps.pad_spatial(x, slide.padding)
    flat = g.reshape(g.shape[0] * math.prod(output), features)
    rows = []
    for lead in taps.offsets(window[:-1]):
        met = [taps.tap(padded, (*lead, a), output, slide) for a in range(window[-1])]
        pixels = jnp.concatenate(met, axis=-1)
        rows.append(_matmul(pixels.reshape(flat.shape[0], pixels.shape[-1]).T, flat))
    return jnp.concatenate(rows).reshape(*window, x.shape[-1], features)


def padded_lax(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """XLA's own convolution of an input that is padded, or cropped, before."""
    none = ((0, 0),) * len(slide.padding)
    return lax_conv(taps.pad_spatial(x, slide.padding), kernel, slide._replace(padding=none))


def input_gradient_by_phase(
    g: jax.Array,
    kernel: jax.Array,
    slide: Slide,
    spatial: Sequence[int],
    convolve: Callable[..., jax.Array] = padded_lax,
) -> jax.Array:
    """Strided input gradient: one convolution per phase of the input, no inserted zeros."""
    plan = taps.phases(spatial, g.shape[1:-1], kernel.shape[:-2], slide)
    turned = _turned(kernel, slide.groups)
    parts = []
    for phase in plan:
        if not all(phase):
            shape = (g.shape[0], *plan.counts, turned.shape[-1])
            parts.append(jnp.zeros(shape, g.dtype))
            continue
        part, dilation, padding = _phase(turned, phase, plan, g.shape[1:-1])
        ones = (1,) * len(plan.counts)
        parts.append(convolve(g, part, Slide(ones, dilation, padding, slide.groups)))
    return taps.interleave(parts, slide.stride, spatial)


def input_gradient_by_block(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """The same for groups, merged into blocks."""
    merge = grouped.merged(slide.groups, kernel.shape[-2] * slide.groups)
    blocks = slide.groups // merge
    parts = zip(jnp.split(g, blocks, axis=-1), jnp.split(kernel, blocks, axis=-1), strict=True)
    dense = slide._replace(groups=1)
    gradients = [
        input_gradient_by_phase(part, grouped.block_diagonal(weights, merge), dense, spatial)
        for part, weights in parts
    ]
    return jnp.concatenate(gradients, axis=-1)


def _turned(kernel: jax.Array, groups: int) -> jax.Array:
    """Kernel (*window, C / groups, F) as (*window, F / groups, C): outputs become inputs."""
    *window, reads, features = kernel.shape
    split = kernel.reshape(*window, reads, groups, features // groups)
    return jnp.swapaxes(split, -1, -3).reshape(*window, features // groups, groups * reads)


def _phase(turned, phase, plan, output):
    """The taps of one phase as a window, its dilation, and how the cotangents are padded for it.

    The offsets u of the taps i of a phase fall by a constant step d / gcd(s, d), so the taps
    taken backwards are the window of a convolution with that dilation.
    """
    part = turned
    dilation, padding = [], []
    axes = zip(phase, plan.padding, plan.counts, output, strict=True)
    for axis, (pairs, (below, _), count, size) in enumerate(axes):
        indices = [i for i, _ in reversed(pairs)]
        step = indices[0] - indices[1] if len(indices) > 1 else 1
        met = lax.slice_in_dim(part, indices[-1], indices[0] + 1, step, axis=axis)
        part = lax.rev(met, (axis,))
        offsets = [u for _, u in reversed(pairs)]
        dilation.append(offsets[1] - offsets[0] if len(offsets) > 1 else 1)
        first, reach = offsets[0] - below, dilation[-1] * (len(pairs) - 1)
        padding.append((-first, first + count + reach - size))
    return part, tuple(dilation), tuple(padding)


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=taps.accumulator(a)).astype(a.dtype)
