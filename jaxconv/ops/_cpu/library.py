"""Convolutions and matrix products by oneDNN, which jaxlib for x86 brings and does not use.

    convolve(x, k)[n, i, o] = Σ_{a, c} k[a, c, o] · x[n, s·i + d·a - p, c]
    product(a, b) = aᵀ b

XLA on a CPU gives convolutions to Eigen or to YNNPACK and has slow loops for grouped ones. The
library that PyTorch calls is linked into jaxlib as well, behind two targets of custom calls that
only a pass which is switched off would emit; so called, a 3 × 3 depthwise convolution of 256
channels on 8 images of 28 × 28 takes 0.4 ms, as a sum of shifted products 0.5, lax's own 31.

The targets belong to one build of jaxlib and are documented nowhere: of 28 programs, of 25 random
configurations each, one ended the process. So they are called with `JAXCONV_ONEDNN=on` only, and
in versions only that were measured. They know float32 (of what is used here) and convolutions that
look forward; gradients in kernels need other formulations. A program that calls them cannot be
partitioned among devices, nor written to a file.
"""

import functools
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxconv.ops._cpu import dense, taps
from jaxconv.ops._cpu.taps import Slide

MEASURED = ("0.10.2",)
"""Versions of jaxlib whose targets take the configurations that are written here."""


@functools.cache
def available() -> bool:
    """Whether this jaxlib is known to have the targets, and somebody switched them on."""
    return (
        os.environ.get("JAXCONV_ONEDNN", "off") == "on"
        and sys.platform == "linux"
        and platform.machine() == "x86_64"
        and importlib.metadata.version("jaxlib") in MEASURED
    )


def knows(dtype: jax.typing.DTypeLike, *shapes: Sequence[int]) -> bool:
    """Whether it may be called with these: float32, every size known and none of them 0."""
    sizes = [size for shape in shapes for size in shape]
    known = all(isinstance(size, int) and size > 0 for size in sizes)
    return known and dtype == jnp.float32 and available()


def convolve(x: jax.Array, kernel: jax.Array, slide: Slide) -> jax.Array:
    """One call; padding beyond the window's reach, or negative, comes before it."""
    window = kernel.shape[:-2]
    reach = [d * (k - 1) for d, k in zip(slide.dilation, window, strict=True)]
    within = tuple(
        (min(max(low, 0), most), min(max(high, 0), most))
        for (low, high), most in zip(slide.padding, reach, strict=True)
    )
    beyond = tuple(
        (low - a, high - b)
        for (low, high), (a, b) in zip(slide.padding, within, strict=True)
    )  # fmt: skip
    x, slide = taps.pad_spatial(x, beyond), slide._replace(padding=within)
    shape = (x.shape[0], *slide.output(x.shape[1:-1], window), kernel.shape[-1])
    config = {"onednn_conv_config": _convolution(kernel.shape, slide)}
    return _call("__onednn$convolution", config, shape, x, kernel)


def input_gradient(
    g: jax.Array, kernel: jax.Array, slide: Slide, spatial: Sequence[int]
) -> jax.Array:
    """One convolution of the cotangents per phase of the stride."""
    return dense.input_gradient_by_phase(g, kernel, slide, spatial, convolve)


def pointwise_kernel_gradient(
    x: jax.Array, g: jax.Array, slide: Slide, window: Sequence[int]
) -> jax.Array:
    """A window of one tap: the product of all pixels with all cotangents."""
    output = g.shape[1:-1]
    padded = taps.pad_spatial(x, slide.padding)
    pixels = taps.tap(padded, (0,) * len(output), output, slide)
    found = product(pixels.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]))
    return found.reshape(*window, *found.shape)


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """aᵀ b of two matrices with as many rows."""
    config = {"onednn_matmul_config": {"transpose_a": True, "transpose_b": False}}
    return _call("__onednn$matmul", config, (a.shape[-1], b.shape[-1]), a, b)


def _call(target: str, config: object, shape: Sequence[int], *operands: jax.Array) -> jax.Array:
    result = jax.ShapeDtypeStruct(tuple(shape), operands[0].dtype)
    call = jax.ffi.ffi_call(
        target, result, custom_call_api_version=1, legacy_backend_config=json.dumps(config)
    )
    return call(*operands)


def _convolution(kernel: Sequence[int], slide: Slide) -> dict[str, object]:
    """The configuration of a convolution, channels last, in the JSON of its protocol buffer."""
    *window, _, _ = kernel
    axes = len(kernel)
    images = {
        "dims": axes,
        "data": {
            "batch_dim": 0,
            "feature_dim": axes - 1,
            "spatial_dims": list(range(1, axes - 1)),
        },
    }
    weights = {
        "input_feature_dim": axes - 2,
        "output_feature_dim": axes - 1,
        "spatial_dims": list(range(axes - 2)),
        "shape": list(kernel),
    }
    return {
        "dims": axes,
        "input": images,
        "output": images,
        "kernel": {"dims": axes, "filter": weights},
        "window": {
            "size": window,
            "pad_left": [low for low, _ in slide.padding],
            "pad_right": [high for _, high in slide.padding],
            "strides": list(slide.stride),
            "window_dilations": list(slide.dilation),
        },
        "feature_groups": slide.groups,
    }
