"""The networks in Haiku."""

import haiku as hk
import jax
import jax.numpy as jnp

from benchmarks import _architectures as arch
from benchmarks._training import FUNCTIONS, Peer, filled, peer, skip


def build(network: arch.Network, wrap=lambda f: f) -> Peer:
    """The network with its first parameters; `wrap` transforms its forward pass."""
    model = hk.without_apply_rng(hk.transform_with_state(lambda x: _run(network.layers, x)))
    x = jax.ShapeDtypeStruct(network.x, jnp.float32)
    params, state = filled(jax.eval_shape(model.init, jax.random.key(0), x))
    return peer(wrap(model.apply), params, state)


def _run(layers, x):
    for layer in layers:
        x = _one(layer, x)
    return x


def _one(layer, x):
    match layer:
        case arch.Conv(features, window, stride):
            return hk.Conv2D(
                features,
                window,
                stride,
                padding=[(layer.padding, layer.padding)] * 2,
                feature_group_count=layer.split(x.shape[-1]),
                with_bias=layer.bias,
            )(x)
        case arch.Up(features):
            return hk.Conv2DTranspose(features, 2, 2)(x)
        case arch.BatchNorm():
            norm = hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)
            return norm(x, is_training=True)
        case arch.LayerNorm():
            return hk.LayerNorm(-1, create_scale=True, create_offset=True)(x)
        case arch.MaxPool(window, stride, pad):
            padding = "SAME" if pad else "VALID"
            return hk.max_pool(x, (1, window, window, 1), (1, stride, stride, 1), padding)
        case arch.Do(function):
            return FUNCTIONS[function](x)
        case arch.Dense(features):
            return hk.Linear(features)(x)
        case arch.Scale():
            return x * hk.get_parameter("scale", x.shape[-1:], init=hk.initializers.Constant(1e-6))
        case arch.Skip(stride, features):
            return skip(x, stride, features)
        case arch.Residual(body, shortcut):
            return _run(body, x) + _run(shortcut, x)
        case arch.Bridge(inner):
            return jnp.concatenate([x, _run(inner, x)], -1)
    raise NotImplementedError(f"haiku: {layer}")
