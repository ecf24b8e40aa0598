"""Grouped convolution as a few dense ones.

XLA on a CPU walks a grouped convolution group by group, and its gradients are worse still (1.3 s
for 32 groups of 4 channels on 8 images of 28 × 28). Here groups are merged into blocks, whose
kernels are block-diagonal, and each block is a dense convolution: the zeros cost multiplications,
but run at full width. Sums are cut into short ones, so that rounding errors stay below XLA's, whose
sums over single groups are short by themselves.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxconv.ops._cpu import dense, shifted, taps
from jaxconv.ops._cpu.taps import Slide, lax_conv

BLOCK = 32
"""Channels of a block of merged groups, about; half as many where all taps are multiplied at once
(32 groups of 4, 8 x 28 x 28: 2.4 ms, and 2.6 or, where its 33 MB are paged in anew, 9)."""

ALONE = 12
"""Groups of so many channels are blocks of their own: 13 channels in blocks of 26 take twice as
long (7 groups, 3 x 29 x 29 pixels: 1.38 ms and 0.77)."""

MOST_BLOCKS = 32
"""More dense convolutions than this cost more compile time than they save (3 s for 32)."""

MOST_PIXELS = 4096
"""Kernel gradients over fewer pixels are summed in `PARTS` parts or in parts of `LENGTH`, for
errors as small as XLA's: of 16 channels a group, 32 x 32 pixels, 2.8e-7 to 1.5e-7, in half the
time."""

PARTS, LENGTH = 16, 64

WIDE = 32
"""Channels of a group from which a product per tap, nine times the features, is too large: 17 ms
for 8 groups of 32 on 8 x 28 x 28, and 4.4 by rows; with 16 it is 0.7, more exact than by rows."""

WIDEST = 64
"""Channels of a group up to which convolving all rows of the window at once is faster."""

SINGLE_TAPS = 9
"""Taps up to which the maps of all taps at once are not too large."""


def merged(groups: int, channels: int, block: int = BLOCK) -> int:
    """How many groups go into one block: a divisor of `groups` that makes about 32 channels."""
    per_group = channels // groups
    wanted = 1 if per_group >= ALONE else block // per_group
    aim = max(wanted, -(-groups // MOST_BLOCKS))
    return min((d for d in range(1, groups + 1) if groups % d == 0 and d >= aim), default=groups)


def forward(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """A dense convolution per block of groups."""
    form = _form(slide, kernel)
    return _by_block(form, x, kernel, slide, _size(form))


def input_gradient(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """The same, of g, by kernels turned around; with a stride what JAX derives."""
    form = _form(slide, kernel)

    def dense_gradient(g: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
        if max(slide.stride) == 1:
            return form(g, *taps.turned(kernel, slide))
        like = jax.ShapeDtypeStruct((g.shape[0], *spatial, kernel.shape[-2]), g.dtype)
        return jax.linear_transpose(lambda x: lax_conv(x, kernel, slide), like)(g)[0]

    return _by_block(dense_gradient, g, kernel, slide, _size(form))


def input_gradient_by_phase(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """The same by phases of the stride."""
    form = lambda g, kernel, slide: dense.input_gradient_by_phase(g, kernel, slide, spatial)
    return _by_block(form, g, kernel, slide)


def kernel_gradient(x: jax.Array, g: jax.Array, slide: Slide, window: Sequence[int]) -> jax.Array:
    """A dense kernel gradient per block, of which the blocks on the diagonal are wanted."""
    size = math.prod(g.shape[:-1])
    rows = math.prod(window[:-1])
    few = isinstance(size, int) and size < MOST_PIXELS and rows <= SINGLE_TAPS
    merge = merged(slide.groups, x.shape[-1], BLOCK if few else BLOCK // 2)
    blocks, dense_slide = slide.groups // merge, slide._replace(groups=1)
    kernels = []
    for part, cotangent in zip(
        jnp.split(x, blocks, axis=-1), jnp.split(g, blocks, axis=-1), strict=True
    ):
        if few:
            length = min(-(-size // PARTS), LENGTH)
            k = dense.by_row(part, cotangent, dense_slide, window, length)
        else:
            like = jax.ShapeDtypeStruct((*window, part.shape[-1], cotangent.shape[-1]), x.dtype)
            convolve = lambda k, part=part: lax_conv(part, k, dense_slide)
            (k,) = jax.linear_transpose(convolve, like)(cotangent)
        kernels.append(_diagonal(k, merge))
    return jnp.concatenate(kernels, axis=-1)


def _form(slide: Slide, kernel: jax.Array) -> Callable[..., jax.Array]:
    """The dense convolution of a block, which sums over one tap or one row of taps at a time."""
    *window, reads, features = kernel.shape
    width = max(reads, features // slide.groups)
    if math.prod(window) == 1:
        return dense.pointwise
    if len(window) > 2 or (len(window) > 1 and max(slide.stride) > 1):
        return dense.by_plane
    if max(slide.stride) > 1:
        return lax_conv
    if width < WIDE and math.prod(window) <= SINGLE_TAPS:
        return shifted.by_taps
    return shifted.by_rows if width <= WIDEST else lax_conv


def _size(form: Callable[..., jax.Array]) -> int:
    return BLOCK // 2 if form is shifted.by_taps else BLOCK


def _by_block(
    form: Callable[..., jax.Array],
    x: jax.Array,
    kernel: jax.Array,
    slide: Slide,
    block: int = BLOCK,
) -> jax.Array:
    merge = merged(slide.groups, kernel.shape[-2] * slide.groups, block)
    blocks = slide.groups // merge
    inputs = jnp.split(x, blocks, axis=-1)
    kernels = jnp.split(kernel, blocks, axis=-1)
    outputs = [
        form(part, block_diagonal(weights, merge), slide._replace(groups=1))
        for part, weights in zip(inputs, kernels, strict=True)
    ]
    return jnp.concatenate(outputs, axis=-1)


def block_diagonal(kernel: jax.Array, groups: int) -> jax.Array:
    """The dense kernel (*window, C, features) that equals a grouped one (*window, C/groups, …)."""
    if groups == 1:
        return kernel
    *window, reads, features = kernel.shape
    split = kernel.reshape(*window, 1, reads, groups, features // groups)
    ones = (1,) * len(window)
    eye = jnp.eye(groups, dtype=kernel.dtype).reshape(*ones, groups, 1, groups, 1)
    return (split * eye).reshape(*window, groups * reads, features)


def _diagonal(kernel: jax.Array, groups: int) -> jax.Array:
    """The grouped kernel whose `block_diagonal` this is, but for what stands off the diagonal."""
    *window, channels, features = kernel.shape
    split = kernel.reshape(*window, groups, channels // groups, groups, features // groups)
    return jnp.concatenate([split[..., i, :, i, :] for i in range(groups)], axis=-1)
