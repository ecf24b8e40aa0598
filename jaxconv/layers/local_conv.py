"""Locally connected layer: a convolution whose filters are not shared between places."""

import math
from collections.abc import Callable

import jax

from jaxconv import _parse, ops
from jaxconv._types import IntOrInts, Layer, Padding, PaddingMode
from jaxconv.layers import _checks
from jaxconv.layers._init import Initializer, kernel_and_bias, parameter_dtype, scaled_normal, zeros


def local_conv(
    features: int,
    window: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    bias: bool = True,
    kernel_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    kernel_transform: Callable[[jax.Array], jax.Array] | None = None,
    name: str = "local_conv",
) -> Layer:
    """Applies to every window filters of its own: a `conv` without shared weights.

        y[n, i, o] = bias[i, o] + Σ_{a, c} kernel[i, a, c, o] · x[n, s·i + d·a - p, c]

    with stride s, dilation d and low padding p on each spatial axis.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', features), spatial' as in `conv`.
    Params: kernel (*spatial', *window, C, features), bias (*spatial', features). State: {}.
    Equivariance: none: that is what sharing the weights buys.

    Args:
        features: output channels.
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next.
        padding: as in `conv`.
        padding_mode: as in `conv`.
        dilation: input pixels from one tap of the window to the next.
        bias: whether a learned number per place and feature is added.
        kernel_init: one of `jax.nn.initializers`, called once per place (vmapped) with
            (*window, C, features); He's normal with a fan-in of one window · C unless given.
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
        >>> layer = local_conv(8, 3, padding="valid")
        >>> params, state = layer.init(jax.random.key(0), jnp.zeros((1, 6, 5, 2)))
        >>> params["kernel"].shape
        (4, 3, 3, 3, 2, 8)

    References:
        LeCun 1989, "Generalization and Network Design Strategies", section 5.3.
    """
    where = "local_conv"
    _checks.window_arguments(where, window, stride, padding, padding_mode, dilation)
    _parse.integer(where, "features", features)
    _checks.functions(
        where, kernel_init=kernel_init, bias_init=bias_init, kernel_transform=kernel_transform
    )

    def init(key, x):
        plan = _checks.windows(where, x, window, stride, padding, padding_mode, dilation)
        inputs = x.shape[-1]
        draw = scaled_normal(2, math.prod(plan.window) * inputs)
        if kernel_init is not None:
            draw = _one_by_one(kernel_init, len(plan.output))
        kernel = (draw, (*plan.output, *plan.window, inputs, features))
        offset = (bias_init or zeros, (*plan.output, features)) if bias else None
        return kernel_and_bias(where, key, parameter_dtype(x), kernel, offset), {}

    def apply(params, state, x, *, train=False, key=None):
        y = ops.local_conv(
            x,
            *_checks.cast(where, params, x, kernel_transform),
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            dilation=dilation,
        )
        return y, state

    return Layer(init, apply, name)


def _one_by_one(initialize: Initializer, rank: int) -> Initializer:
    """Calls an initializer once per place, so that it counts the fans of one place."""

    def draw(key, shape, dtype):
        keys = jax.random.split(key, math.prod(shape[:rank]))
        return jax.vmap(lambda k: initialize(k, shape[rank:], dtype))(keys).reshape(shape)

    return draw
