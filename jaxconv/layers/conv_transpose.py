"""Transposed convolution with learned kernels."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxconv import _parse, ops
from jaxconv._types import IntOrInts, Layer, Padding, PaddingMode
from jaxconv.layers import _checks
from jaxconv.layers._init import Initializer, kernel_and_bias, parameter_dtype, scaled_normal, zeros


def conv_transpose(
    features: int,
    window: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    groups: int = 1,
    output_shape: IntOrInts | None = None,
    bias: bool = True,
    kernel_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    kernel_transform: Callable[[jax.Array], jax.Array] | None = None,
    name: str = "conv_transpose",
) -> Layer:
    """Spreads every input pixel over a window of the output: the adjoint of a learned `conv`.

        <conv(y), x> = <y, conv_transpose(x)> for every y of the output's shape

    where conv has the same window, stride, padding, mode, dilation, groups and kernel: it reads
    `features` channels and returns the C of x.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', features), spatial' = spatial · stride for
    "same" and "causal", the smallest that `conv` maps to spatial for other paddings.
    Params: kernel (*window, features / groups, C), bias (features,). State: {}.
    Equivariance: with padding_mode="circular" and spatial' = spatial · stride, exact: a shift of
    x by one pixel moves y by one stride; otherwise exact away from the border only.

    Args:
        features: output channels; a multiple of `groups`.
        window: taps per spatial axis.
        stride: output pixels from the window of one input pixel to that of the next.
        padding: of the adjoint `conv`, as there: more padding makes the output smaller.
        padding_mode: of the adjoint `conv`.
        dilation: output pixels from one tap of the window to the next.
        groups: into how many parts the channels are split.
        output_shape: spatial sizes of y, where a stride leaves several possible.
        bias: whether a learned number per feature is added.
        kernel_init: one of `jax.nn.initializers`, called with (*window, C / groups, features), the
            order in which those count fans, and laid out as the kernel afterwards; He's normal
            with a fan-in of window · C / groups unless given. With a stride an output pixel sees
            one tap in stride^axes only: kernel_init=variance_scaling(2 * stride**axes, ...)
            makes up for it.
        bias_init: one of `jax.nn.initializers`; zeros unless given.
        kernel_transform: a pure function kernel -> kernel applied before each use.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when C is not a
            multiple of `groups`, or no output has the shape that is asked for.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = conv_transpose(8, 3, stride=2)
        >>> x = jnp.zeros((1, 4, 4, 16))
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> params["kernel"].shape, layer.apply(params, state, x)[0].shape
        ((3, 3, 8, 16), (1, 8, 8, 8))

    References:
        Dumoulin and Visin 2016, arXiv:1603.07285, chapter 4.
    """
    where = "conv_transpose"
    _checks.window_arguments(where, window, stride, padding, padding_mode, dilation)
    _checks.features_and_groups(where, features, groups)
    _checks.functions(
        where, kernel_init=kernel_init, bias_init=bias_init, kernel_transform=kernel_transform
    )
    if output_shape is not None:
        _parse.ints(where, "output_shape", output_shape)

    def adjoint(x, kernel, offset=None):
        return ops.conv_transpose(
            x,
            kernel,
            offset,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            dilation=dilation,
            groups=groups,
            output_shape=output_shape,
        )

    def init(key, x):
        rank = len(_checks.floating_image(where, x, minimum_rank=1))
        taps = _parse.per_axis(where, "window", window, rank)
        inputs = _checks.channels_split(where, x, groups)
        shape = (*taps, features // groups, x.shape[-1])
        _checks.fits(adjoint, x, jax.ShapeDtypeStruct(shape, x.dtype))
        draw = scaled_normal(2, math.prod(taps) * inputs)
        if kernel_init is not None:
            draw = _laid_out(kernel_init, groups)
        offset = (bias_init or zeros, (features,)) if bias else None
        return kernel_and_bias(where, key, parameter_dtype(x), (draw, shape), offset), {}

    def apply(params, state, x, *, train=False, key=None):
        return adjoint(x, *_checks.cast(where, params, x, kernel_transform)), state

    return Layer(init, apply, name)


def _laid_out(initialize: Initializer, groups: int) -> Initializer:
    """Asks for (*window, inputs, outputs), and swaps the two within every group."""

    def draw(key, shape, dtype):
        *taps, outputs, channels = shape
        inputs = channels // groups
        kernel = initialize(key, (*taps, inputs, groups * outputs), dtype)
        kernel = jnp.reshape(kernel, (*taps, inputs, groups, outputs))
        return jnp.swapaxes(kernel, -3, -1).reshape(shape)

    return draw
