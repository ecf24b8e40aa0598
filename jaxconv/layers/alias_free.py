"""Layers that commute with every translation, by whole pixels and by real numbers."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxconv import _parse, ops
from jaxconv._types import IntOrInts, Layer
from jaxconv.layers import _affine, _checks
from jaxconv.layers._init import parameter_dtype
from jaxconv.layers._make import stateless
from jaxconv.ops import _channels
from jaxconv.ops._between import between

_GELU = (0.125 / math.sqrt(math.pi), 0.5, 0.375 / math.sqrt(math.pi))
"""The parabola nearest to gelu for a standard normal input, in the mean square: gelu's coefficients
on the Hermite polynomials 1, x, x² - 1 are E[gelu] = 1 / (2√π), E[gelu'] = 1/2 and
E[gelu''] / 2 = 3 / (8√π)."""


def ideal_down(stride: IntOrInts = 2, *, name: str = "ideal_down") -> Layer:
    """Removes what a lower resolution cannot hold, then keeps every `stride`-th pixel.

        y = irfft(rfft(x)[k < A / 2s]) / s    on every axis, of A pixels and stride s

    The whole of `jaxconv.ops.ideal_down`. Every model takes it in place of its strides:
    `resnet(20, padding_mode="circular", down=ideal_down)`. An activation after or before it brings
    back frequencies that alias, unless it is filtered.

    Shapes: x (N, *spatial, C) -> y (N, *spatial / stride, C).
    Params: {}. State: {}.
    Equivariance: exact on circular shifts by whole strides, as samples of y show them; on every
    other translation, whole or real, y is the same image between its pixels: it moves by
    1 / stride of it. So a mean over its pixels is invariant to all, for an x without Nyquist
    frequency. An axis that comes out with two pixels holds its mean only.

    Args:
        stride: input pixels from one output pixel to the next; it divides the axes.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` for an axis that the
            stride does not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> wave = 2 + jnp.cos(2 * jnp.pi * jnp.arange(8.0) / 8).reshape(1, 8, 1)
        >>> ideal_down(2).apply({}, {}, wave)[0].round().ravel().tolist()
        [3.0, 2.0, 1.0, 2.0]

    References:
        Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085, section 3.
    """
    _parse.ints("ideal_down", "stride", stride)
    return stateless(name, functools.partial(ops.ideal_down, stride=stride))


def ideal_up(scale: IntOrInts = 2, *, name: str = "ideal_up") -> Layer:
    """Reads the band-limited image between the pixels: the ideal interpolation.

        y = s · irfft([rfft(x), 0, ..., 0])    on every axis, of scale s

    The whole of `jaxconv.ops.ideal_up`; `ideal_down` undoes it, but for the Nyquist frequency. In
    a U-Net: `unet(padding_mode="circular", down=ideal_down, up=ideal_up)`.

    Shapes: x (N, *spatial, C) -> y (N, *spatial · scale, C).
    Params: {}. State: {}.
    Equivariance: exact: a circular shift of x by one pixel moves y by `scale`; so does a real
    translation, for an x without Nyquist frequency.

    Args:
        scale: output pixels per input pixel, for all spatial axes or per axis.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when `scale` has not
            one entry per spatial axis.

    Example:
        >>> import jax.numpy as jnp
        >>> wave = jnp.array([300.0, 200.0, 100.0, 200.0]).reshape(1, 4, 1)
        >>> ideal_up(2).apply({}, {}, wave)[0].round().ravel()[:4].tolist()
        [300.0, 271.0, 200.0, 129.0]

    References:
        Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085, section 3.
    """
    _parse.ints("ideal_up", "scale", scale)
    return stateless(name, functools.partial(ops.ideal_up, scale=scale))


def filtered_polynomial(
    coefficients: Sequence[float] = _GELU, *, name: str = "filtered_polynomial"
) -> Layer:
    """Applies a polynomial to the image between the pixels: an activation that does not alias.

        y = ideal_down(Σ_d coefficients[d] · ideal_up(x, r)^d, r),    r = ⌈(D + 1) / 2⌉

    with degree D. The power D of an image that holds frequencies to B holds them to D·B; r times
    the pixels tell them apart, or alias them to where `ideal_down` removes them. So y is exactly
    the polynomial of the band-limited image, and what the pixels cannot hold of it is gone, not
    folded back. Any other function aliases a little: `serial(ideal_up(2), jax.nn.gelu,
    ideal_down(2))`.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: coefficients (D + 1, C), those of each channel from x⁰ up. State: {}.
    Equivariance: exact on every circular shift; and, for an x without Nyquist frequency, on every
    real translation.

    Args:
        coefficients: where the learned ones start, from x⁰ up, in every channel; the parabola
            nearest to gelu unless given.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for a polynomial that is a line.

    Example:
        >>> layer, wave = filtered_polynomial((0, 0, 2)), jnp.cos(2 * jnp.pi * jnp.arange(6.0) / 6)
        >>> x = wave.reshape(1, 6, 1)  # 2 cos² ω = 1 + cos 2ω
        >>> y = layer.apply(*layer.init(jax.random.key(0), x), x)[0]
        >>> y.round(1).ravel().tolist()
        [2.0, 0.5, 0.5, 2.0, 0.5, 0.5]

    References:
        Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085, section 3 (filtered polynomials).
    """
    degree = len(coefficients) - 1
    if degree < 2:
        raise ValueError(
            f"filtered_polynomial: {degree + 1} coefficients make a line, which is no activation; "
            f"expected 3 or more. Got coefficients={tuple(coefficients)}. "
            f"Use coefficients=(0, 0.5, 0.25)."
        )
    finer = -(-(degree + 1) // 2)

    def init(key, x):
        _checks.floating_image("filtered_polynomial", x, minimum_rank=1)
        start = jnp.asarray(coefficients, parameter_dtype(x))[:, None]
        return {"coefficients": jnp.broadcast_to(start, (degree + 1, x.shape[-1]))}, {}

    def apply(params, state, x, *, train=False, key=None):
        _checks.channels("filtered_polynomial", x, params["coefficients"].shape[1])
        rows = params["coefficients"].astype(_checks.wide(x))

        def polynomial(fine):  # without its constant, which is as constant at the pixels
            y = _channels.scale_shift(rows[-2:], fine)
            for row in reversed(rows[1:-2]):
                y = y * fine + _checks.broadcastable(row, fine)
            return y * fine

        y = between(polynomial, x.astype(rows.dtype), finer)
        return (y + _checks.broadcastable(rows[0], y)).astype(x.dtype), state

    return Layer(init, apply, name)


def alias_free_norm(
    *,
    epsilon: float = 1e-5,
    scale: bool = True,
    bias: bool = True,
    name: str = "alias_free_norm",
) -> Layer:
    """Centers the channels of each pixel and divides by one deviation per image.

        y[n, i] = scale · (x[n, i] - mean[n, i]) / √(variance[n] + ε) + bias

    with mean over the channels of a pixel and variance = mean over pixels and channels of
    (x - mean)², in float32 at least. `layer_norm` divides by a deviation per pixel, which is an
    image of its own whose reciprocal has every frequency: the product aliases. This does not.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: scale (C,), bias (C,). State: {}.
    Equivariance: exact on every circular shift; and, for an x without Nyquist frequency, on every
    real translation. Not local.

    Args:
        epsilon: added to the variance.
        scale: whether a learned factor per channel multiplies.
        bias: whether a learned number per channel is added.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when C is 1.

    Example:
        >>> layer, x = alias_free_norm(), jnp.array([[[1.0, -1.0], [7.0, -7.0]]])
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> (10 * layer.apply(params, state, x)[0]).round().tolist()  # the deviation is 5
        [[[2.0, -2.0], [14.0, -14.0]]]

    References:
        Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085, section 3 (alias-free layer norm).
    """
    _affine.check_epsilon("alias_free_norm", epsilon)

    def init(key, x):
        _checks.floating_image("alias_free_norm", x)
        fix = "Use instance_norm, or more channels."
        _affine.check_count("alias_free_norm", x, x.shape[-1], "pixel", fix)
        return _affine.scale_and_bias("alias_free_norm", key, x, None, scale=scale, bias=bias), {}

    def apply(params, state, x, *, train=False, key=None):
        _checks.floating_image("alias_free_norm", x)
        _affine.check_channels("alias_free_norm", params, x)
        values = _checks.flat(x).astype(_checks.wide(x))
        centered = values - jnp.mean(values, 2, keepdims=True)
        variance = jnp.mean(jnp.square(centered), (1, 2), keepdims=True)
        y = centered * jax.lax.rsqrt(variance + epsilon)
        return _affine.affine(params, y.reshape(x.shape), x), state

    return Layer(init, apply, name)
