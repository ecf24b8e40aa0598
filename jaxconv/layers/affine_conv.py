"""Layers that commute with a change of brightness and contrast: f(a·x + b) = a·f(x) + b."""

import math

import jax
import jax.numpy as jnp

from jaxconv import _children, _parse
from jaxconv._types import IntOrInts, Layer, LayerLike, Padding, PaddingMode
from jaxconv.layers._init import Initializer, parameter_dtype
from jaxconv.layers._make import speaking_as, stateless
from jaxconv.layers.conv import conv


def affine_conv(
    features: int,
    window: IntOrInts,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "circular",
    dilation: IntOrInts = 1,
    kernel_init: Initializer | None = None,
    name: str = "affine_conv",
) -> Layer:
    """Slides learned filters whose weights sum to one, so that averages of pixels come out.

        y[n, i, o] = Σ_{a, c} w[a, c, o] · x[n, s·i + d·a - p, c],
        w = kernel - mean(kernel[:, :, o]) + 1 / (taps · C)

    Σ_{a, c} w[a, c, o] = 1, so a·x + b gives a·y + b for all numbers a and b: there is no bias,
    and padding continues the image. Follow it with `sort_pool` where others put an activation, and
    add branches with `affine_residual`; pools, blurs, ideal resampling, `pixel_shuffle` and joined
    channels keep the law. Batch norm, biases, relu and plain residuals break it.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', features), spatial' = ceil(spatial / stride)
    for "same".
    Params: kernel (*window, C, features). State: {}.
    Equivariance: with padding_mode="circular" and a stride that divides the input, exact on
    shifts by whole strides; otherwise exact away from the border only.

    Args:
        features: output channels.
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next.
        padding: as in `conv`.
        padding_mode: "circular", "reflect" or "edge", for all axes or one per axis; "zeros" only
            where padding is "valid".
        dilation: input pixels from one tap of the window to the next.
        kernel_init: one of `jax.nn.initializers`; LeCun's normal unless given, since `sort_pool`
            keeps the length of what it sorts, where relu halves its square.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument or a padding with zeros; in `init`
            when the output would be empty.

    Example:
        >>> layer, x = affine_conv(2, 3), jnp.cos(jnp.arange(24.0)).reshape(1, 8, 3)
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> y, bright = (layer.apply(params, state, x)[0] for x in (x, 3 * x + 5))
        >>> bool(jnp.abs(bright - (3 * y + 5)).max() < 1e-5)
        True

    References:
        Herbreteau, Moebel and Kervrann 2023, arXiv:2306.05037, section 4.1.
    """
    modes = (padding_mode,) if isinstance(padding_mode, str) else padding_mode
    if "zeros" in modes and padding != "valid":
        raise ValueError(
            f"affine_conv: padding with zeros darkens the border, so that a·x + b does not give "
            f'a·y + b; expected "circular", "reflect" or "edge". '
            f'Got padding_mode={padding_mode!r}. Use padding_mode="reflect" or padding="valid".'
        )

    def build():
        return conv(
            features,
            window,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            dilation=dilation,
            bias=False,
            kernel_init=kernel_init or jax.nn.initializers.lecun_normal(),
            kernel_transform=_sum_to_one,
            name=name,
        )

    return speaking_as("affine_conv", ("conv",), build)


def _sum_to_one(kernel: jax.Array) -> jax.Array:
    """The nearest kernel whose weights sum to one for every feature."""
    count = math.prod(kernel.shape[:-1])
    flat = kernel.reshape(count, kernel.shape[-1])
    return (flat - jnp.mean(flat, axis=0, keepdims=True) + 1 / count).reshape(kernel.shape)


def sort_pool(*, name: str = "sort_pool") -> Layer:
    """Sorts each two neighboring channels of a pixel: a nonlinearity without a threshold.

        y[n, i, 2j] = min(x[n, i, 2j], x[n, i, 2j + 1]),    y[n, i, 2j + 1] = max(the same)

    a·x + b gives a·y + b for all a > 0 and all b, and no length changes: the derivative is a
    permutation.

    Shapes: those of x, with an even number of channels. Params: {}. State: {}.
    Equivariance: exact on every shift.

    Args:
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: in `init` for an odd number of channels.

    Example:
        >>> sort_pool().apply({}, {}, jnp.array([[4.0, 1.0, 2.0, 3.0]]))[0].tolist()
        [[1.0, 4.0, 2.0, 3.0]]

    References:
        Anil, Lucas and Grosse 2018, arXiv:1811.05381, section 4.1 (GroupSort of two); Herbreteau,
        Moebel and Kervrann 2023, arXiv:2306.05037, section 4.2.
    """

    def sort(x):
        _parse.floating("sort_pool", "x", x)
        if x.shape[-1] % 2:
            raise ValueError(
                f"sort_pool: {x.shape[-1]} channels do not split into pairs; expected an even "
                f"number. Got x of shape {tuple(x.shape)}. Use {x.shape[-1] + 1} features before."
            )
        pairs = x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2)
        low, high = pairs[..., 0], pairs[..., 1]
        swap = low > high
        return jnp.stack([jnp.where(swap, high, low), jnp.where(swap, low, high)], -1).reshape(
            x.shape
        )

    return stateless(name, sort)


def affine_residual(
    body: LayerLike,
    shortcut: LayerLike = lambda x: x,
    *,
    weight: float = 0.5,
    name: str = "affine_residual",
) -> Layer:
    """Mixes what a layer computes with its input, by weights that sum to one.

        y = w · body(x) + (1 - w) · shortcut(x)

    with a learned number w, which no bound holds. Where body and shortcut give a·u + b and a·v + b
    for a·x + b, so does y; a plain residual gives twice the b.

    Shapes: body and shortcut return the same. Params: weight (), {"body", "shortcut"}. State:
    {"body", "shortcut"}, those of the two that have any.
    Equivariance: that of body and shortcut.

    Args:
        body: layer or function.
        shortcut: layer or function; the identity unless given.
        weight: where w starts.
        name: what the layer is called inside a composition.

    Returns:
        A `Layer`.

    Raises:
        ValueError: when the two outputs differ in shape; nothing is broadcast.

    Example:
        >>> layer, x = affine_residual(lambda x: 2 * x, weight=0.25), jnp.ones((1, 4, 3))
        >>> float(layer.apply(*layer.init(jax.random.key(0), x), x)[0].max())
        1.25

    References:
        Herbreteau, Moebel and Kervrann 2023, arXiv:2306.05037, section 4.2 (affine residuals).
    """
    children = {"body": _as_layer(body), "shortcut": _as_layer(shortcut)}

    def init(key, x):
        params, state = {"weight": jnp.asarray(weight, parameter_dtype(x))}, {}
        for child, layer in children.items():
            with _children.located(name, child, x):
                entries = layer.init(_children.fold(key, child), x)
            _children.put(params, child, entries[0])
            _children.put(state, child, entries[1])
        return params, state

    def apply(params, state, x, *, train=False, key=None):
        outputs, new, trees = {}, {}, (params, state)
        for child, layer in children.items():
            y, entry = _children.run(name, child, layer, trees, x, train=train, key=key)
            part = params["weight"].astype(y.dtype) * y
            outputs[child] = part if child == "body" else y - part
            _children.put(new, child, entry)
        return _children.combine_outputs(name, "sum", outputs), new

    return Layer(init, apply, name)


def _as_layer(body: LayerLike) -> Layer:
    return body if isinstance(body, Layer) else stateless(_children.function_name(body), body)
