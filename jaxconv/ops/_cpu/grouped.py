"""Grouped convolution as a few dense ones.

XLA on a CPU walks a grouped convolution group by group, and its gradients are worse still (2.3 s
for 32 groups of 4 channels on 8 images of 28 × 28). Here groups are merged into blocks of about
32 channels, whose kernels are block-diagonal, and each block is one dense convolution: the zeros
cost multiplications, but dense convolutions of 32 channels run at full width.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv.ops._cpu.taps import Slide

BLOCK = 32
"""Channels of a block of merged groups. Of 32 groups of 4, forward and both gradients, ms: blocks
of 8 channels 5.6, 4.2, 4.7; of 16 3.4, 3.5, 5.0; of 32 3.0, 2.9, 4.8; of 64 5.2, 9.1, 7.9."""

ALONE = 16
"""Groups of so many channels are blocks of their own."""

MOST_BLOCKS = 32
"""More dense convolutions than this cost more compile time than they save (3 s for 32)."""


def merged(groups: int, channels: int) -> int:
    """How many groups go into one block: a divisor of `groups` that makes about 32 channels."""
    per_group = channels // groups
    wanted = 1 if per_group >= ALONE else BLOCK // per_group
    aim = max(wanted, -(-groups // MOST_BLOCKS))
    return min((d for d in range(1, groups + 1) if groups % d == 0 and d >= aim), default=groups)


def forward(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """One dense convolution per block of groups."""
    merge = merged(slide.groups, x.shape[-1])
    blocks = slide.groups // merge
    inputs = jnp.split(x, blocks, axis=-1)
    kernels = jnp.split(kernel, blocks, axis=-1)
    dense = slide._replace(groups=1)
    outputs = [
        lax_conv(part, block_diagonal(weights, merge), dense)
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


def lax_conv(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """XLA's own convolution, channels last, sums of 16-bit numbers in float32."""
    spatial = "".join(chr(ord("a") + axis) for axis in range(len(slide.stride)))
    y = lax.conv_general_dilated(
        x,
        kernel,
        slide.stride,
        slide.padding,
        rhs_dilation=slide.dilation,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        feature_group_count=slide.groups,
        preferred_element_type=np.promote_types(x.dtype, np.float32),
    )
    return y.astype(x.dtype)
