"""Layers that commute with every translation, by whole pixels and by real numbers."""

import functools

from jaxconv import _parse, ops
from jaxconv._types import IntOrInts, Layer
from jaxconv.layers._make import stateless


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
