"""Layers that compute pointwise or move pixels, without parameters."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxconv import _children, _parse, ops
from jaxconv._types import IntOrInts, Layer, Padding, PaddingMode
from jaxconv.layers import _checks
from jaxconv.layers._make import stateless
from jaxconv.ops.resample import METHODS


def activation(function: Callable[[jax.Array], jax.Array], *, name: str | None = None) -> Layer:
    """Applies a function to the activations.

        y = function(x)

    A composition takes functions as they are; this gives one another name.

    Shapes: those of the function. Params: {}. State: {}.
    Equivariance: exact on every shift, for a function of one pixel.

    Args:
        function: `jax.nn.relu`, say.
        name: what the layer is called inside a composition; the function's name unless given.

    Returns:
        A stateless `Layer`.

    Raises:
        TypeError: at construction for what cannot be called.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = activation(jax.nn.relu)
        >>> layer.name, layer.apply({}, {}, jnp.array([[-1.0, 2.0]]))[0].tolist()
        ('relu', [[0.0, 2.0]])
    """
    _checks.functions("activation", function=function)
    return stateless(name or _children.function_name(function), function)


def pad(
    padding: Padding,
    *,
    padding_mode: PaddingMode = "zeros",
    value: float = 0,
    name: str = "pad",
) -> Layer:
    """Extends every spatial axis, or crops it where the amount is negative.

        y[n, i, c] = X[n, i - low, c],    0 <= i < size + low + high

    where X is x continued without end by `padding_mode`, as in `jaxconv.ops.pad`.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = spatial + low + high.
    Params: {}. State: {}.
    Equivariance: away from the border, exact on every shift; a circular x becomes one that is
    not.

    Args:
        padding: one amount for both sides of all axes, or a pair (low, high) per spatial axis.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        value: what "zeros" pads with.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when an axis would get
            a negative size.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> pad(1).apply({}, {}, jnp.zeros((1, 4, 4, 3)))[0].shape
        (1, 6, 6, 3)
    """
    _checks.window_arguments("pad", 1, 1, padding, padding_mode)
    arguments = {"padding": padding, "padding_mode": padding_mode, "value": value}
    return stateless(name, functools.partial(ops.pad, **arguments))


def upsample(scale: IntOrInts, method: str = "nearest", *, name: str = "upsample") -> Layer:
    """Makes images larger by a whole factor.

        y[n, i, c] = x[n, ⌊i / scale⌋, c] for "nearest"

    The other methods interpolate between pixel centers, as `jax.image.resize` does.

    Shapes: x (N, *spatial, C) -> y (N, *spatial · scale, C).
    Params: {}. State: {}.
    Equivariance: "nearest" is exact: a circular shift of x by one pixel moves y by `scale`; the
    other methods only away from the border.

    Args:
        scale: output pixels per input pixel, for all spatial axes or per axis.
        method: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5", whatever the number
            of spatial axes.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when `scale` has not
            one entry per spatial axis.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> upsample(2).apply({}, {}, jnp.array([1.0, 2.0]).reshape(1, 2, 1))[0].ravel().tolist()
        [1.0, 1.0, 2.0, 2.0]

    References:
        Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts".
    """
    _parse.ints("upsample", "scale", scale)
    _parse.choice("upsample", "method", method, METHODS)

    def enlarge(x):
        spatial = _parse.image("upsample", x)
        factors = _parse.per_axis("upsample", "scale", scale, len(spatial))
        if method == "nearest":
            return _repeat(x, factors)
        sizes = tuple(size * factor for size, factor in zip(spatial, factors, strict=True))
        return ops.resize(x, sizes, method=method)

    return stateless(name, enlarge)


def _repeat(x: jax.Array, factors: tuple[int, ...]) -> jax.Array:
    """Every pixel factor times on each axis: a broadcast, whose gradient is a plain sum."""
    for axis, factor in enumerate(factors, start=1):
        before, after = x.shape[: axis + 1], x.shape[axis + 1 :]
        blocks = jnp.broadcast_to(jnp.expand_dims(x, axis + 1), (*before, factor, *after))
        x = blocks.reshape(*before[:-1], before[-1] * factor, *after)
    return x


def pixel_shuffle(scale: IntOrInts, *, name: str = "pixel_shuffle") -> Layer:
    """Turns channels into space: scale^axes channels become a block of pixels.

    As `jaxconv.ops.pixel_shuffle`, where the order of the channels is given.

    Shapes: x (N, *spatial, C) -> y (N, *spatial · scale, C / scale^axes).
    Params: {}. State: {}.
    Equivariance: exact: a circular shift of x by one pixel moves y by `scale`.

    Args:
        scale: output pixels per input pixel, for all spatial axes or per axis.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when C does not split.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> pixel_shuffle(2).apply({}, {}, jnp.zeros((1, 4, 4, 12)))[0].shape
        (1, 8, 8, 3)

    References:
        Shi et al. 2016, arXiv:1609.05158, equation 4.
    """
    _parse.ints("pixel_shuffle", "scale", scale)
    return stateless(name, functools.partial(ops.pixel_shuffle, scale=scale))


def pixel_unshuffle(scale: IntOrInts, *, name: str = "pixel_unshuffle") -> Layer:
    """Turns space into channels: a block of pixels becomes scale^axes channels.

    The inverse of `pixel_shuffle`; no value is lost, unlike in a pool.

    Shapes: x (N, *spatial, C) -> y (N, *spatial / scale, C · scale^axes).
    Params: {}. State: {}.
    Equivariance: exact on circular shifts by whole blocks; others permute the channels too.

    Args:
        scale: input pixels per output pixel, for all spatial axes or per axis.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when an axis does not
            split into blocks.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> pixel_unshuffle(2).apply({}, {}, jnp.zeros((1, 8, 8, 3)))[0].shape
        (1, 4, 4, 12)

    References:
        Shi et al. 2016, arXiv:1609.05158, equation 4, backwards.
    """
    _parse.ints("pixel_unshuffle", "scale", scale)
    return stateless(name, functools.partial(ops.pixel_unshuffle, scale=scale))
