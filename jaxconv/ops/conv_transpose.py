"""Transposed convolution: the exact adjoint of `conv`."""

import math
from typing import NamedTuple

import jax

from jaxconv import _parse, geometry
from jaxconv._types import IntOrInts, Padding, PaddingMode
from jaxconv.ops.conv import add_bias, check_ranks, convolve, plan_windows


def conv_transpose(
    y: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    groups: int = 1,
    output_shape: IntOrInts | None = None,
) -> jax.Array:
    """Spreads every pixel of y over the window that `conv` would have read it from.

        x[n, j, g·f + c] = bias[g·f + c] + Σ_{i, a, o} kernel[a, c, o] · y[n, i, o]

    over the channels o of group g and all i, a with s·i + d·a - p = j, with stride s, dilation d,
    low padding p and f = features / groups; what falls on padding is added to the pixel that
    `padding_mode` copies it from. It is the adjoint of the `conv` with the same arguments:

        <conv(x, kernel), y> = <x, conv_transpose(y, kernel)>

    Several sizes of x give a `conv` the size of y. The default is stride · spatial for "same" and
    "causal", so that strides undo each other, and otherwise the smallest,
    (spatial - 1)·s + d·(window - 1) + 1 - low - high, as PyTorch; `output_shape` chooses another.

    Shapes: y (N, *spatial, C), kernel (*window, features / groups, C), bias (features,)
    -> x (N, *output_shape, features).

    Args:
        y: images, floating.
        kernel: the kernel of the `conv` that this is the adjoint of, of the dtype of y.
        bias: added to every output pixel.
        stride: output pixels from one input pixel to the next.
        padding: that of the `conv`, by the same grammar: it crops the output.
        padding_mode: that of the `conv`.
        dilation: output pixels from one tap of the window to the next.
        groups: into how many parts the channels are split.
        output_shape: spatial sizes of x.

    Returns:
        x, of the dtype of y.

    Raises:
        TypeError: when y holds integers or the dtypes differ.
        ValueError: when shapes do not fit, an argument is impossible, or no `conv` with these
            arguments maps `output_shape` to the size of y.

    Example:
        >>> import jax.numpy as jnp
        >>> y = jnp.ones((1, 16, 16, 8))
        >>> conv_transpose(y, jnp.ones((3, 3, 4, 8)), stride=2).shape
        (1, 32, 32, 4)
        >>> conv_transpose(y, jnp.ones((3, 3, 4, 8)), stride=2, padding=1).shape
        (1, 31, 31, 4)

    References:
        Dumoulin and Visin 2016, arXiv:1603.07285, relationship 14 (output size).
    """
    spatial = _parse.image("conv_transpose", y, name="y")
    _check_channels(y, kernel, groups)
    window, features = kernel.shape[:-2], kernel.shape[-2] * groups
    axes = _Axes(spatial, window, *_steps(len(spatial), stride, dilation))
    shape = _output_shape(axes, padding, output_shape)
    image = jax.ShapeDtypeStruct((y.shape[0], *shape, features), y.dtype)
    plan = plan_windows("conv_transpose", image, window, stride, padding, padding_mode, dilation)
    forward = lambda x: convolve("conv_transpose", x, kernel, plan, groups)
    (x,) = jax.linear_transpose(forward, image)(y)
    return add_bias("conv_transpose", x, bias, name="y")


class _Axes(NamedTuple):
    size: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]


def _steps(rank: int, stride: IntOrInts, dilation: IntOrInts) -> tuple[tuple[int, ...], ...]:
    strides = _parse.per_axis("conv_transpose", "stride", stride, rank)
    return strides, _parse.per_axis("conv_transpose", "dilation", dilation, rank)


def _output_shape(axes: _Axes, padding: Padding, output_shape: IntOrInts | None) -> tuple[int, ...]:
    """Spatial sizes of the output: the default, or `output_shape` if it fits."""
    size, window, stride, dilation = axes
    grown = tuple(n * s for n, s in zip(size, stride, strict=True))
    amounts = _parse.padding_amount("conv_transpose", padding, grown, window, stride, dilation)
    smallest = tuple(map(geometry.transposed_size, size, window, stride, dilation, amounts))
    if padding == "same":
        smallest = tuple(n - s + 1 for n, s in zip(grown, stride, strict=True))
    if output_shape is None:
        chosen = grown if padding in ("same", "causal") else smallest
    else:
        chosen = _parse.per_axis("conv_transpose", "output_shape", output_shape, len(size))
    largest = tuple(n + s - 1 for n, s in zip(smallest, stride, strict=True))
    if min(chosen) < 1:
        raise ValueError(
            f"conv_transpose: padding crops the output to {chosen} pixels; expected at least 1 on "
            f"every axis. Got padding={padding!r} for y of {size} pixels. Use less padding."
        )
    if not all(low <= n <= high for low, n, high in zip(smallest, chosen, largest, strict=True)):
        raise ValueError(
            f"conv_transpose: conv does not map {chosen} pixels to the {size} of y; expected from "
            f"{smallest} to {largest}. Got output_shape={output_shape}. "
            f"Use output_shape={largest}, say."
        )
    return chosen


def _check_channels(y: jax.Array, kernel: jax.Array, groups: int) -> None:
    check_ranks("conv_transpose", y, kernel, name="y")
    groups = _parse.integer("conv_transpose", "groups", groups)
    channels, features = y.shape[-1], kernel.shape[-1]
    if channels != features:
        first = ", which looks channels-first" if y.shape[1] == features else ""
        fix = "jnp.moveaxis(y, 1, -1)" if first else "the kernel of the conv that made y"
        raise ValueError(
            f"conv_transpose: y has {channels} channels, the kernel reads {features}; expected a "
            f"kernel (*window, features / groups, {channels}). Got kernel of shape {kernel.shape} "
            f"and y of shape {y.shape}{first}. Use {fix}."
        )
    if channels % groups:
        raise ValueError(
            f"conv_transpose: {channels} input channels do not split into groups={groups}; "
            f"expected a multiple of {groups}. Got y of shape {y.shape}. "
            f"Use groups={math.gcd(channels, groups)}."
        )
    if 0 in y.shape[1:-1]:
        raise ValueError(
            f"conv_transpose: y has no pixels; expected at least 1 on every spatial axis. "
            f"Got y of shape {y.shape}. Leave empty images out."
        )
