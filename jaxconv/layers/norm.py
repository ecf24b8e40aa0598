"""Normalizations within one example: over groups of channels, a pixel, or an image."""

import math

import jax
import jax.numpy as jnp

from jaxconv import _parse
from jaxconv._types import Layer
from jaxconv.layers import _affine, _checks
from jaxconv.layers._init import Initializer


def group_norm(
    groups: int,
    *,
    epsilon: float = 1e-5,
    scale: bool = True,
    bias: bool = True,
    scale_init: Initializer | None = None,
    name: str = "group_norm",
) -> Layer:
    """Standardizes groups of channels of each example over all its pixels.

        y = scale · (x - mean) / √(variance + ε) + bias

    with mean and variance over the pixels and the C / groups channels of a group, in float32 at
    least. No example sees another, in training and after.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: scale (C,), bias (C,). State: {}.
    Equivariance: exact on every circular shift, which leaves the statistics as they are; not
    local: a pixel that leaves the image changes every other.

    Args:
        groups: into how many parts the channels are split.
        epsilon: added to the variance.
        scale: whether a learned factor per channel multiplies.
        bias: whether a learned number per channel is added.
        scale_init: one of `jax.nn.initializers`; ones unless given.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when C is not a
            multiple of `groups`, or a group is a single value.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = group_norm(2)
        >>> x = jnp.array([[[1.0, 3.0, 10.0, 30.0]]])
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> layer.apply(params, state, x)[0].round(3).ravel().tolist()
        [-1.0, 1.0, -1.0, 1.0]

    References:
        Wu and He 2018, arXiv:1803.08494, equations 1, 2 and 7.
    """
    _parse.integer("group_norm", "groups", groups)
    options = {"scale": scale, "bias": bias}
    return _grouped("group_norm", name, groups, epsilon, scale_init, options)


def instance_norm(
    *,
    epsilon: float = 1e-5,
    scale: bool = True,
    bias: bool = True,
    scale_init: Initializer | None = None,
    name: str = "instance_norm",
) -> Layer:
    """Standardizes each channel of each example over its pixels: `group_norm` with groups = C.

        y = scale · (x - mean) / √(variance + ε) + bias

    with mean and variance over the pixels of one channel, in float32 at least.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: scale (C,), bias (C,). State: {}.
    Equivariance: that of `group_norm`.

    Args:
        epsilon: added to the variance.
        scale: whether a learned factor per channel multiplies.
        bias: whether a learned number per channel is added.
        scale_init: one of `jax.nn.initializers`; ones unless given.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when x has one pixel.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, x = instance_norm(), jnp.array([[[1.0, 10.0], [3.0, 30.0]]])
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> layer.apply(params, state, x)[0].round(3).ravel().tolist()
        [-1.0, -1.0, 1.0, 1.0]

    References:
        Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022, equation 2.
    """
    options = {"scale": scale, "bias": bias}
    return _grouped("instance_norm", name, None, epsilon, scale_init, options)


def layer_norm(
    *,
    epsilon: float = 1e-5,
    scale: bool = True,
    bias: bool = True,
    scale_init: Initializer | None = None,
    name: str = "layer_norm",
) -> Layer:
    """Standardizes the channels of each pixel.

        y = scale · (x - mean) / √(variance + ε) + bias

    with mean and variance over the C channels of one pixel, in float32 at least. For statistics
    over all pixels and channels use `group_norm(1)`.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: scale (C,), bias (C,). State: {}.
    Equivariance: exact on every shift: no pixel sees another.

    Args:
        epsilon: added to the variance.
        scale: whether a learned factor per channel multiplies.
        bias: whether a learned number per channel is added.
        scale_init: one of `jax.nn.initializers`; ones unless given.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when C is 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, x = layer_norm(), jnp.array([[[1.0, 3.0], [10.0, 30.0]]])
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> layer.apply(params, state, x)[0].round(3).ravel().tolist()
        [-1.0, 1.0, -1.0, 1.0]

    References:
        Ba, Kiros and Hinton 2016, arXiv:1607.06450, equation 3. Liu et al. 2022,
        arXiv:2201.03545 (per pixel).
    """
    _affine.check_epsilon("layer_norm", epsilon)
    _checks.functions("layer_norm", scale_init=scale_init)

    def init(key, x):
        _checks.floating_image("layer_norm", x)
        fix = "Use instance_norm, or more channels."
        _affine.check_count("layer_norm", x, x.shape[-1], "pixel", fix)
        params = _affine.scale_and_bias("layer_norm", key, x, scale_init, scale=scale, bias=bias)
        return params, {}

    def apply(params, state, x, *, train=False, key=None):
        _checks.floating_image("layer_norm", x)
        _affine.check_channels("layer_norm", params, x)
        values = _checks.flat(x).astype(_checks.wide(x))
        y = _standardize_over(values, 2, epsilon)
        return _affine.affine(params, y.reshape(x.shape), x), state

    return Layer(init, apply, name)


def _grouped(
    where: str,
    name: str,
    groups: int | None,
    epsilon: float,
    scale_init: Initializer | None,
    options: dict[str, bool],
) -> Layer:
    """Group norm; groups=None stands for one channel a group."""
    _affine.check_epsilon(where, epsilon)
    _checks.functions(where, scale_init=scale_init)

    def init(key, x):
        spatial = _checks.floating_image(where, x)
        size = _checks.channels_split(where, x, groups or x.shape[-1])
        fix = "Use fewer groups, or more pixels." if groups else "Use layer_norm, or more pixels."
        _affine.check_count(where, x, math.prod(spatial) * size, "group", fix)
        return _affine.scale_and_bias(where, key, x, scale_init, **options), {}

    def apply(params, state, x, *, train=False, key=None):
        _checks.floating_image(where, x)
        _affine.check_channels(where, params, x)
        size = _checks.channels_split(where, x, groups or x.shape[-1])
        values = _checks.flat(x).astype(_checks.wide(x))
        values = values.reshape(*values.shape[:2], x.shape[-1] // size, size)
        y = _standardize_over(values, (1, 3), epsilon)
        return _affine.affine(params, y.reshape(x.shape), x), state

    return Layer(init, apply, name)


def _standardize_over(values: jax.Array, axes: int | tuple[int, ...], epsilon: float) -> jax.Array:
    mean = jnp.mean(values, axes, keepdims=True)
    variance = jnp.mean(jnp.square(values - mean), axes, keepdims=True)
    return _affine.standardize(values, mean, variance, epsilon)
