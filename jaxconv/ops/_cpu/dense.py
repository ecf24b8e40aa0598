"""Dense convolutions that are better not handed to XLA's: 1 × 1, few inputs, strided gradients."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv.ops._cpu import taps
from jaxconv.ops._cpu.taps import Slide, lax_conv


def pointwise(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """A window of one tap: a strided slice and one matrix product."""
    output = slide.output(x.shape[1:-1], kernel.shape[:-2])
    padded = taps.pad_spatial(x, slide.padding)
    pixels = taps.tap(padded, (0,) * len(output), output, slide)
    return _matmul(pixels, kernel.reshape(kernel.shape[-2:]))


SUMMED_TOGETHER = 256
"""Features that one matrix product sums over, in `pointwise_input_gradient`."""


def pointwise_input_gradient(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """Its gradient: the transposed product, at every stride-th pixel.

    With a stride XLA convolves here, and sums in parts: so does this, for errors no larger (512
    features: 4.1e-7 to 2.9e-7, 1.00 ms to 1.20, and XLA 1.27). Else it too is one product.
    """
    features = kernel.shape[-1]
    count = -(-features // SUMMED_TOGETHER) if max(slide.stride) > 1 else 1
    cuts = [features * i // count for i in range(1, count)]
    parts = zip(jnp.split(g, cuts, -1), jnp.split(kernel, cuts, -1), strict=True)
    wide = taps.accumulator(g)
    products = [
        jnp.matmul(part, k.reshape(k.shape[-2:]).T, preferred_element_type=wide)
        for part, k in parts
    ]
    pixels = taps.total(products).astype(g.dtype)
    met = lambda x: taps.tap(
        taps.pad_spatial(x, slide.padding), (0,) * len(spatial), g.shape[1:-1], slide
    )
    like = jax.ShapeDtypeStruct((g.shape[0], *spatial, kernel.shape[-2]), g.dtype)
    return jax.linear_transpose(met, like)(pixels)[0]


def by_tap(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """Few taps times channels: one fused multiply-add each, vectorized over features.

    Not `taps.in_halves`: it makes a stem compile for longer, and its training steps no faster.
    """
    *window, channels, features = kernel.shape
    output = slide.output(x.shape[1:-1], window)
    padded, wide = taps.pad_spatial(x, slide.padding), taps.accumulator(x)
    y = jnp.zeros((x.shape[0], *output, features), wide)
    for offset in taps.offsets(window):
        pixels = taps.tap(padded, offset, output, slide).astype(wide)
        for c in range(channels):
            weights = taps.along_last(kernel[(*offset, c)].astype(wide), x)
            y += pixels[..., c : c + 1] * weights
    return y.astype(x.dtype)


def by_plane(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """For every tap of the first axis a convolution over the others.

    Of volumes the first axis goes into the batch, so that XLA sees images, for it has no fast loop
    for volumes. All of it is in float32 at least: the transpose sums over the taps as well.
    """
    wide, is_image = taps.accumulator(x), len(slide.stride) == 2
    kernel = kernel.astype(wide)
    planes, *_ = output = slide.output(x.shape[1:-1], kernel.shape[:-2])
    rest = ((0, 0),) * (len(output) - 1)
    padded = taps.pad_spatial(x.astype(wide), (slide.padding[0], *rest))
    inner = Slide(slide.stride[1:], slide.dilation[1:], slide.padding[1:])
    if is_image:
        inner = Slide((1, *inner.stride), (1, *inner.dilation), ((0, 0), *inner.padding))
    terms = []
    for number in range(kernel.shape[0]):
        start = number * slide.dilation[0]
        last = start + (planes - 1) * slide.stride[0] + 1
        met = lax.slice_in_dim(padded, start, last, slide.stride[0], axis=1)
        if is_image:
            terms.append(lax_conv(met, kernel[number : number + 1], inner))
        else:
            images = met.reshape(x.shape[0] * planes, *met.shape[2:])
            terms.append(lax_conv(images, kernel[number], inner))
    return sum(terms[1:], terms[0]).reshape(x.shape[0], *output, kernel.shape[-1]).astype(x.dtype)


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


def by_row(
    x: jax.Array, g: jax.Array, slide: Slide, window: Sequence[int], length: int | None = None
) -> jax.Array:
    """Kernel gradient as one matrix product per kernel row of the taps that the row meets.

    With a `length`, pixels are summed in parts of so many, each a product of its own.
    """
    output, features = g.shape[1:-1], g.shape[-1]
    padded = taps.pad_spatial(x, slide.padding)
    flat = _in_parts(g, length)
    rows = []
    for lead in taps.offsets(window[:-1]):
        met = [taps.tap(padded, (*lead, a), output, slide) for a in range(window[-1])]
        pixels = _in_parts(jnp.concatenate(met, axis=-1), length)
        product = jnp.einsum(
            "pnk,pno->pko", pixels, flat, preferred_element_type=taps.accumulator(x)
        )
        rows.append(product.sum(0).astype(x.dtype))
    return jnp.concatenate(rows).reshape(*window, x.shape[-1], features)


def _in_parts(array: jax.Array, length: int | None) -> jax.Array:
    """(N, *spatial, C) as (parts, length, C), filled up with zeros; one part unless given."""
    flat = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    if length is None:
        return flat[None]
    filled = jnp.pad(flat, ((0, -flat.shape[0] % length), (0, 0)))
    return filled.reshape(-1, length, flat.shape[-1])


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
