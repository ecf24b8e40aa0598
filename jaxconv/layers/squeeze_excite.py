"""Squeeze and excitation: channels that are weighted by what the whole image shows."""

from collections.abc import Callable

import jax

from jaxconv import _parse
from jaxconv._types import Layer
from jaxconv.layers import _checks
from jaxconv.layers._init import Initializer
from jaxconv.layers._make import chain, stateless
from jaxconv.layers.dense import dense
from jaxconv.layers.global_pool import global_avg_pool


def squeeze_excite(
    squeeze_features: int,
    *,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    gate: Callable[[jax.Array], jax.Array] = jax.nn.sigmoid,
    kernel_init: Initializer | None = None,
    name: str = "squeeze_excite",
) -> Layer:
    """Weighs each channel by a gate that sees the means of all channels.

        y[n, i, c] = x[n, i, c] · gate(W₂ activation(W₁ m[n] + b₁) + b₂)[c],  m = mean_i x[n, i]

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C).
    Params: squeeze {kernel (C, squeeze_features), bias (squeeze_features,)}, excite {kernel
    (squeeze_features, C), bias (C,)}. State: {}.
    Equivariance: exact on every circular shift, which leaves the means as they are; not local.

    Args:
        squeeze_features: width of the hidden layer; C / 16 in the paper, C / 4 in later nets.
        activation: of the hidden layer.
        gate: of the output; `jax.nn.hard_sigmoid` in MobileNetV3.
        kernel_init: one of `jax.nn.initializers`, for both; LeCun's normal unless given.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when x has no pixels.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, x = squeeze_excite(4), jnp.ones((1, 8, 8, 16))
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> params["squeeze"]["kernel"].shape, layer.apply(params, state, x)[0].shape
        ((16, 4), (1, 8, 8, 16))

    References:
        Hu, Shen, Albanie, Sun and Wu 2017, arXiv:1709.01507, equations 2 to 4.
    """
    _parse.integer("squeeze_excite", "squeeze_features", squeeze_features)
    _checks.functions("squeeze_excite", activation=activation, gate=gate, kernel_init=kernel_init)

    def weights(channels: int) -> Layer:
        return chain(
            name,
            mean=global_avg_pool(),
            squeeze=dense(squeeze_features, kernel_init=kernel_init),
            activation=stateless("activation", activation),
            excite=dense(channels, kernel_init=kernel_init),
            gate=stateless("gate", gate),
        )

    def init(key, x):
        return weights(x.shape[-1]).init(key, x)

    def apply(params, state, x, *, train=False, key=None):
        _checks.floating_image("squeeze_excite", x, minimum_rank=1)
        y, state = weights(x.shape[-1]).apply(params, state, x)
        return x * y.reshape(x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]), state

    return Layer(init, apply, name)
