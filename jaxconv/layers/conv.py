"""Convolutions with learned kernels: full, depthwise, separable."""

import math
from collections.abc import Callable

import jax

from jaxconv import _parse, ops
from jaxconv._types import IntOrInts, Layer, Padding, PaddingMode
from jaxconv.layers import _checks
from jaxconv.layers._init import Initializer, kernel_and_bias, parameter_dtype, scaled_normal, zeros
from jaxconv.layers._make import chain, speaking_as


def conv(
    features: int,
    window: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    groups: int = 1,
    bias: bool = True,
    kernel_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    kernel_transform: Callable[[jax.Array], jax.Array] | None = None,
    name: str = "conv",
) -> Layer:
    """Slides a bank of learned filters over its input.

        y[n, i, o] = bias[o] + Σ_{a, c} kernel[a, c, o] · x[n, s·i + d·a - p, g·C/groups + c]

    with stride s, dilation d and low padding p on each spatial axis, and g the group of feature
    o. The filter is not flipped: this is the cross-correlation that deep learning calls
    convolution.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', features), spatial' = ceil(spatial / stride)
    for "same".
    Params: kernel (*window, C / groups, features), bias (features,). State: {}.
    Equivariance: with padding_mode="circular", whose stride has to divide the input, exact on
    shifts by whole strides; otherwise exact away from the border only.

    Args:
        features: output channels; a multiple of `groups`.
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next.
        padding: "same", "half", "valid", "causal", "full", an int, or a pair (low, high) per
            spatial axis.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        dilation: input pixels from one tap of the window to the next.
        groups: into how many parts the channels are split; each part has filters of its own.
        bias: whether a learned number per feature is added.
        kernel_init: one of `jax.nn.initializers`; He's normal (variance 2 / fan-in, with a fan-in
            of window · C / groups) unless given.
        bias_init: one of `jax.nn.initializers`; zeros unless given.
        kernel_transform: a pure function kernel -> kernel applied before each use: weight
            standardization, a mask, a symmetry.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when C is not a
            multiple of `groups` or the output would be empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = conv(8, 3, stride=2)
        >>> params, state = layer.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        >>> params["kernel"].shape
        (3, 3, 3, 8)

    References:
        Dumoulin and Visin 2016, arXiv:1603.07285, relationship 6 (output size). He, Zhang, Ren
        and Sun 2015, arXiv:1502.01852, equation 10 (initial values).
    """
    _checks.window_arguments("conv", window, stride, padding, padding_mode, dilation)
    _checks.features_and_groups("conv", features, groups)
    _checks.functions(
        "conv", kernel_init=kernel_init, bias_init=bias_init, kernel_transform=kernel_transform
    )

    def init(key, x):
        taps = _checks.windows("conv", x, window, stride, padding, padding_mode, dilation).window
        inputs = _checks.channels_split("conv", x, groups)
        draw = kernel_init or scaled_normal(2, math.prod(taps) * inputs)
        kernel = (draw, (*taps, inputs, features))
        offset = (bias_init or zeros, (features,)) if bias else None
        return kernel_and_bias("conv", key, parameter_dtype(x), kernel, offset), {}

    def apply(params, state, x, *, train=False, key=None):
        y = ops.conv(
            x,
            *_checks.cast("conv", params, x, kernel_transform),
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            dilation=dilation,
            groups=groups,
        )
        return y, state

    return Layer(init, apply, name)


def depthwise_conv(
    window: IntOrInts,
    *,
    multiplier: int = 1,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    bias: bool = True,
    kernel_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    kernel_transform: Callable[[jax.Array], jax.Array] | None = None,
    name: str = "depthwise_conv",
) -> Layer:
    """Slides `multiplier` learned filters over each channel, apart from the other channels.

        y[n, i, c·m + j] = bias[c·m + j] + Σ_a kernel[a, 0, c·m + j] · x[n, s·i + d·a - p, c]

    with m the multiplier and 0 <= j < m: space is filtered, channels are not mixed.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C · multiplier).
    Params: kernel (*window, 1, C · multiplier), bias (C · multiplier,). State: {}.
    Equivariance: with padding_mode="circular", whose stride has to divide the input, exact on
    shifts by whole strides; otherwise exact away from the border only.

    Args:
        window: taps per spatial axis.
        multiplier: output channels per input channel.
        stride: input pixels from one output pixel to the next.
        padding: as in `conv`.
        padding_mode: as in `conv`.
        dilation: input pixels from one tap of the window to the next.
        bias: whether a learned number per output channel is added.
        kernel_init: one of `jax.nn.initializers`; He's normal with a fan-in of one window, since
            that is all that an output sees, unless given.
        bias_init: one of `jax.nn.initializers`; zeros unless given.
        kernel_transform: a pure function kernel -> kernel applied before each use.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when the output would
            be empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = depthwise_conv(3, multiplier=2)
        >>> params, state = layer.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
        >>> params["kernel"].shape
        (3, 3, 1, 6)

    References:
        Sifre 2014, "Rigid-Motion Scattering for Image Classification", section 6.2.
    """
    where = "depthwise_conv"
    _checks.window_arguments(where, window, stride, padding, padding_mode, dilation)
    _parse.integer(where, "multiplier", multiplier)
    _checks.functions(
        where, kernel_init=kernel_init, bias_init=bias_init, kernel_transform=kernel_transform
    )

    def init(key, x):
        taps = _checks.windows(where, x, window, stride, padding, padding_mode, dilation).window
        features = x.shape[-1] * multiplier
        draw = kernel_init or scaled_normal(2, math.prod(taps))
        kernel = (draw, (*taps, 1, features))
        offset = (bias_init or zeros, (features,)) if bias else None
        return kernel_and_bias(where, key, parameter_dtype(x), kernel, offset), {}

    def apply(params, state, x, *, train=False, key=None):
        y = ops.depthwise_conv(
            x,
            *_checks.cast(where, params, x, kernel_transform),
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            dilation=dilation,
        )
        return y, state

    return Layer(init, apply, name)


def separable_conv(
    features: int,
    window: IntOrInts,
    *,
    multiplier: int = 1,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    bias: bool = True,
    kernel_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    name: str = "separable_conv",
) -> Layer:
    """Filters each channel in space, then mixes the channels of each pixel.

        y = conv(features, 1)(depthwise_conv(window, multiplier)(x))

    The depthwise half has no bias: nothing stands between the two, so the pointwise one serves
    both.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', features).
    Params: depthwise {kernel (*window, 1, C · multiplier)}, pointwise {kernel
    (1, ..., C · multiplier, features), bias (features,)}. State: {}.
    Equivariance: that of `depthwise_conv`; the pointwise half commutes with every shift.

    Args:
        features: output channels.
        window: taps per spatial axis of the depthwise half.
        multiplier: intermediate channels per input channel.
        stride: of the depthwise half.
        padding: of the depthwise half, as in `conv`.
        padding_mode: of the depthwise half, as in `conv`.
        dilation: of the depthwise half.
        bias: whether a learned number per feature is added.
        kernel_init: one of `jax.nn.initializers`, for both kernels; He's normal unless given.
        bias_init: one of `jax.nn.initializers`; zeros unless given.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when the output would
            be empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = separable_conv(16, 3)
        >>> params, state = layer.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
        >>> params["depthwise"]["kernel"].shape, params["pointwise"]["kernel"].shape
        ((3, 3, 1, 3), (1, 1, 3, 16))

    References:
        Chollet 2016, arXiv:1610.02357, section 1.
    """

    def build():
        depthwise = depthwise_conv(
            window,
            multiplier=multiplier,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            dilation=dilation,
            bias=False,
            kernel_init=kernel_init,
        )
        pointwise = conv(features, 1, bias=bias, kernel_init=kernel_init, bias_init=bias_init)
        return chain(name, depthwise=depthwise, pointwise=pointwise)

    return speaking_as("separable_conv", ("depthwise_conv", "conv"), build)
