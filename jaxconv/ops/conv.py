"""Convolution and depthwise convolution of images (N, *spatial, C), any number of spatial axes."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxconv import _parse, geometry
from jaxconv._types import HasShape, IntOrInts, Padding, PaddingMode
from jaxconv.ops import _convolution
from jaxconv.ops._cpu.taps import Slide
from jaxconv.ops.pad import pad_axes


def conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    groups: int = 1,
) -> jax.Array:
    """Slides a bank of filters over images.

        y[n, i, o] = bias[o] + Σ_{a, c} kernel[a, c, o] · X[n, s·i + d·a - p, g·C/groups + c]

    with stride s, dilation d and low padding p on each spatial axis, X the continuation of x by
    `padding_mode`, and g = ⌊o · groups / features⌋ the group of feature o. The filter is not
    flipped: this is the cross-correlation that deep learning calls convolution. bfloat16 and
    float16 accumulate in float32.

    Shapes: x (N, *spatial, C), kernel (*window, C / groups, features), bias (features,)
    -> y (N, *spatial', features), spatial' = ceil(spatial / stride) for "same".

    Args:
        x: images, floating.
        kernel: filters, of the dtype of x.
        bias: added to every output pixel.
        stride: input pixels from one output pixel to the next.
        padding: "same", "half", "valid", "causal", "full", an int, or a pair (low, high) per
            spatial axis; a negative amount crops.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        dilation: input pixels from one tap of the window to the next.
        groups: into how many parts the channels are split; each part has filters of its own.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers or the dtypes differ.
        ValueError: when shapes do not fit, an argument is impossible, the output is empty, or a
            stride does not divide a circular axis.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.ones((1, 32, 32, 3))
        >>> conv(x, jnp.ones((5, 5, 3, 8)), stride=2).shape
        (1, 16, 16, 8)
        >>> conv(x, jnp.ones((5, 5, 1, 6)), groups=3, padding="valid").shape
        (1, 28, 28, 6)

    References:
        Dumoulin and Visin 2016, arXiv:1603.07285, relationship 15 (output size).
    """
    check_channels("conv", x, kernel, groups)
    plan = plan_windows("conv", x, kernel.shape[:-2], stride, padding, padding_mode, dilation)
    return add_bias("conv", convolve("conv", x, kernel, plan, groups), bias)


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> jax.Array:
    """Slides `multiplier` filters over each channel, which stays apart from the others.

        y[n, i, c·m + j] = bias[c·m + j] + Σ_a kernel[a, 0, c·m + j] · X[n, s·i + d·a - p, c]

    with m the multiplier and 0 <= j < m: a `conv` with as many groups as channels.

    Shapes: x (N, *spatial, C), kernel (*window, 1, C · m), bias (C · m,)
    -> y (N, *spatial', C · m).

    Args:
        x: images, floating.
        kernel: filters, of the dtype of x.
        bias: added to every output pixel.
        stride: input pixels from one output pixel to the next.
        padding: as in `conv`.
        padding_mode: as in `conv`.
        dilation: input pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers or the dtypes differ.
        ValueError: when shapes do not fit, an argument is impossible, the output is empty, or a
            stride does not divide a circular axis.

    Example:
        >>> import jax.numpy as jnp
        >>> depthwise_conv(jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 1, 6))).shape
        (1, 8, 8, 6)

    References:
        Sifre 2014, "Rigid-Motion Scattering for Image Classification", section 6.2.
    """
    where = "depthwise_conv"
    check_ranks(where, x, kernel)
    channels = x.shape[-1]
    if kernel.shape[-2] != 1:
        raise ValueError(
            f"{where}: kernel reads {kernel.shape[-2]} channels; expected 1, in the shape "
            f"(*window, 1, C * multiplier). Got kernel of shape {kernel.shape}. "
            f"Use conv to mix channels."
        )
    if channels < 1 or kernel.shape[-1] % channels:
        first = x.shape[1] > 0 and kernel.shape[-1] % x.shape[1] == 0
        fix = "jnp.moveaxis(x, 1, -1) if x is channels-first" if first else f"{channels} features"
        raise ValueError(
            f"{where}: {kernel.shape[-1]} features do not belong to {channels} channels; expected "
            f"a multiple of {channels}. Got x of shape {x.shape} and kernel of shape "
            f"{kernel.shape}. Use {fix}."
        )
    check_channels(where, x, kernel, channels)
    plan = plan_windows(where, x, kernel.shape[:-2], stride, padding, padding_mode, dilation)
    return add_bias(where, convolve(where, x, kernel, plan, channels), bias)


class Windows(NamedTuple):
    """Where windows stand on images: canonical tuples, one entry per spatial axis."""

    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[_parse.Pair, ...]
    modes: tuple[str, ...]
    dilation: tuple[int, ...]
    output: tuple[int, ...]


def plan_windows(
    where: str,
    x: HasShape,
    window: tuple[int, ...],
    stride: IntOrInts,
    padding: Padding,
    padding_mode: PaddingMode,
    dilation: IntOrInts,
) -> Windows:
    """Resolves the arguments that every operation with a window shares; refuses empty outputs."""
    spatial = _parse.image(where, x)
    rank = len(spatial)
    strides = _parse.per_axis(where, "stride", stride, rank)
    dilations = _parse.per_axis(where, "dilation", dilation, rank)
    pads = _parse.padding_amount(where, padding, spatial, window, strides, dilations)
    modes = _parse.padding_modes(where, padding_mode, rank)
    for axis, mode in enumerate(modes):
        if mode == "circular":
            check_divides(where, x, axis, strides[axis], 'padding_mode="reflect"')
    axes = zip(spatial, window, strides, dilations, pads, strict=True)
    output = tuple(geometry.output_size(*axis) for axis in axes)
    if 0 in output:
        axis = output.index(0)
        reach = geometry.effective_window(window[axis], dilations[axis])
        raise ValueError(
            f"{where}: the output is empty, a window of {reach} pixels does not fit into "
            f"{spatial[axis] + sum(pads[axis])} on spatial axis {axis}; expected at least {reach} "
            f"with padding. Got x of shape {tuple(x.shape)} and padding={padding!r}. "
            f'Use padding="same" or a smaller window.'
        )
    return Windows(window, strides, pads, modes, dilations, output)


def check_divides(where: str, x: HasShape, axis: int, stride: int, other: str) -> None:
    """Refuses a stride that does not divide a circular axis: no wrapping, no silent loss."""
    size = x.shape[1 + axis]
    if size % stride:
        fitting = f"Resize or pad that axis to {-(-size // stride) * stride} pixels"
        raise ValueError(
            f"{where}: a stride of {stride} does not divide the {size} pixels of the circular "
            f"spatial axis {axis}; expected a multiple of {stride}. "
            f"Got x of shape {tuple(x.shape)}. {fitting}{f', or use {other}' if other else ''}."
        )


def convolve(where: str, x: jax.Array, kernel: jax.Array, plan: Windows, groups: int) -> jax.Array:
    """The convolution itself, of arguments that were checked."""
    explicit, implicit = _split_padding(x.shape[1:-1], plan)
    x = pad_axes(where, x, explicit, plan.modes)
    slide = Slide(plan.stride, plan.dilation, tuple(implicit), groups)
    return _convolution.convolve(x, kernel, slide)


def accumulator(dtype: Any) -> Any:
    """The dtype that sums of products are taken in: float32 for narrower ones."""
    return np.promote_types(dtype, np.float32)


def _split_padding(
    spatial: tuple[int, ...], plan: Windows
) -> tuple[list[_parse.Pair], list[_parse.Pair]]:
    """What is padded before the convolution, and what the convolution may pad itself.

    XLA on CPU returns wrong values, some from uninitialized memory, for a convolution whose low
    padding is negative and whose high padding is positive (errors from 0.4 to 1e36 measured with
    jaxlib 0.10.2). With n pixels, an effective window of k = d·(window - 1) + 1, the outputs
    spread over o = s·(output - 1) + 1 and padding such that n + low + high = k + o - 1 exactly,
    every convolution that differentiation of any order derives pads by low, high, by
    k - 1 - low, k - 1 - high (gradient in x) or by o - 1 - low, o - 1 - high (gradient in x of
    the gradient in the kernel). None is negative if 0 <= low, high <= min(k, o) - 1. An axis
    that is outside of this, or not padded with zeros, is padded explicitly.
    """
    explicit, implicit = [], []
    axes = zip(spatial, plan.window, plan.stride, plan.dilation, plan.output, strict=True)
    for (size, window, stride, dilation, output), (low, _), mode in zip(
        axes, plan.padding, plan.modes, strict=True
    ):
        reach, spread = dilation * (window - 1), stride * (output - 1)
        high = reach + spread + 1 - size - low
        safe = mode == "zeros" and min(low, high) >= 0 and max(low, high) <= min(reach, spread)
        explicit.append((0, 0) if safe else (low, high))
        implicit.append((low, high) if safe else (0, 0))
    return explicit, implicit


def add_bias(where: str, y: jax.Array, bias: jax.Array | None, *, name: str = "x") -> jax.Array:
    """Adds one number per feature to y, made of the argument called `name`, of the same dtype."""
    if bias is None:
        return y
    if bias.shape != y.shape[-1:]:
        raise ValueError(
            f"{where}: bias does not have one entry per feature; expected shape {y.shape[-1:]}. "
            f"Got bias of shape {bias.shape}. Use bias.reshape({y.shape[-1]})."
        )
    _parse.same_dtype(where, y, "bias", bias, first=name)
    return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)


def check_channels(where: str, x: HasShape, kernel: HasShape, groups: int) -> None:
    """Checks images (N, *spatial, C) against a kernel (*window, C / groups, features)."""
    check_ranks(where, x, kernel)
    groups = _parse.integer(where, "groups", groups)
    channels, (reads, features) = x.shape[-1], kernel.shape[-2:]
    if channels != reads * groups and x.shape[1] == reads * groups:
        raise ValueError(
            f"{where}: x has {channels} channels, the kernel reads {reads * groups}; expected x of "
            f"shape (N, *spatial, C) with C={reads * groups}. Got x of shape {tuple(x.shape)}, "
            f"which looks channels-first. Use jnp.moveaxis(x, 1, -1)."
        )
    if channels % groups:
        raise ValueError(
            f"{where}: {channels} input channels do not split into groups={groups}; expected a "
            f"multiple of {groups}. Got x of shape {tuple(x.shape)}. "
            f"Use groups={math.gcd(channels, groups)}."
        )
    if channels != reads * groups:
        fix = f"groups={channels // reads}" if channels % reads == 0 else f"{reads} channels"
        raise ValueError(
            f"{where}: x has {channels} channels, the kernel reads {reads * groups}; expected a "
            f"kernel (*window, {channels // groups}, features). Got x of shape {tuple(x.shape)}, "
            f"kernel of shape {tuple(kernel.shape)} and groups={groups}. Use {fix}."
        )
    if features % groups:
        raise ValueError(
            f"{where}: {features} features do not split into groups={groups}; expected a multiple "
            f"of {groups}. Got kernel of shape {tuple(kernel.shape)}. "
            f"Use {-(-features // groups) * groups} features."
        )


def check_ranks(where: str, x: HasShape, kernel: HasShape, *, name: str = "x") -> None:
    """Checks dtypes and the number of axes of images, called `name`, and a shared kernel."""
    rank = len(_parse.image(where, x, name=name))
    _parse.floating(where, name, x)
    _parse.same_dtype(where, x, "kernel", kernel, first=name)
    if len(kernel.shape) != len(x.shape):
        missing = len(kernel.shape) == len(x.shape) + 1
        fix = f"{name}[None] to add a batch axis" if missing else f"a window of {rank} axes"
        raise ValueError(
            f"{where}: kernel has {len(kernel.shape)} axes; expected {rank + 2}, one window axis "
            f"per spatial axis of {name} and two of channels. Got kernel of shape "
            f"{tuple(kernel.shape)} and {name} of shape {tuple(x.shape)}. Use {fix}."
        )
    if 0 in kernel.shape:
        raise ValueError(
            f"{where}: kernel is empty; expected at least one tap, channel and feature. "
            f"Got kernel of shape {tuple(kernel.shape)}. Use sizes of 1 or more."
        )
