"""Dense layer and the flattening before it."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxconv import _parse
from jaxconv._types import Layer
from jaxconv.layers import _checks
from jaxconv.layers._init import Initializer, kernel_and_bias, parameter_dtype, scaled_normal, zeros
from jaxconv.layers._make import stateless


def dense(
    features: int,
    *,
    bias: bool = True,
    kernel_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    kernel_transform: Callable[[jax.Array], jax.Array] | None = None,
    name: str = "dense",
) -> Layer:
    """Mixes the channels: a matrix product over the last axis.

        y[n, ..., o] = bias[o] + Σ_c kernel[c, o] · x[n, ..., c]

    On (N, C) this is the fully connected layer; on images it is a `conv` with window 1. For one
    that sees all pixels, `flatten` first. bfloat16 and float16 accumulate in float32.

    Shapes: x (N, *spatial, C) -> y (N, *spatial, features).
    Params: kernel (C, features), bias (features,). State: {}.
    Equivariance: exact on every shift: no pixel sees another. After `flatten`: none.

    Args:
        features: output channels.
        bias: whether a learned number per feature is added.
        kernel_init: one of `jax.nn.initializers`; LeCun's normal (variance 1 / C) unless given.
        bias_init: one of `jax.nn.initializers`; zeros unless given.
        kernel_transform: a pure function kernel -> kernel applied before each use.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `apply` when x has not the
            channels that the parameters were made for.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = dense(10)
        >>> params, state = layer.init(jax.random.key(0), jnp.zeros((1, 64)))
        >>> params["kernel"].shape
        (64, 10)

    References:
        LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", equation 16 (initial values).
    """
    _parse.integer("dense", "features", features)
    _checks.functions(
        "dense", kernel_init=kernel_init, bias_init=bias_init, kernel_transform=kernel_transform
    )

    def init(key, x):
        _checks.floating_image("dense", x)
        inputs = x.shape[-1]
        kernel = (kernel_init or scaled_normal(1, inputs), (inputs, features))
        offset = (bias_init or zeros, (features,)) if bias else None
        return kernel_and_bias("dense", key, parameter_dtype(x), kernel, offset), {}

    def apply(params, state, x, *, train=False, key=None):
        _checks.floating_image("dense", x)
        kernel, offset = _checks.cast("dense", params, x, kernel_transform)
        _checks.channels("dense", x, kernel.shape[0])
        accumulator = _checks.wide(x)
        y = jnp.matmul(x, kernel, preferred_element_type=accumulator).astype(x.dtype)
        if offset is not None:
            y = y + _checks.broadcastable(offset, y)
        return y, state

    return Layer(init, apply, name)


def flatten(*, name: str = "flatten") -> Layer:
    """Lays the pixels and channels of each image out in one row.

        y[n, (i·W + j)·C + c] = x[n, i, j, c]

    Shapes: x (N, *spatial, C) -> y (N, pixels · C).
    Params: {}. State: {}.
    Equivariance: a circular shift permutes the entries of the row; a dense layer that follows tells
    them apart.

    Args:
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: when x has no batch axis.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> flatten().apply({}, {}, jnp.zeros((2, 4, 4, 3)))[0].shape
        (2, 48)
    """

    def rows(x):
        _parse.image("flatten", x, minimum_rank=0)
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))

    return stateless(name, rows)
