"""The networks in Flax linen."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks import _architectures as arch
from benchmarks._training import FUNCTIONS, Peer, filled, peer, skip


def build(network: arch.Network, wrap=lambda f: f) -> Peer:
    """The network with its first parameters; `wrap` transforms its forward pass."""
    model = Net(network.layers)
    x = jax.ShapeDtypeStruct(network.x, jnp.float32)
    variables = filled(jax.eval_shape(model.init, jax.random.key(0), x))

    def logits(params, state, x):
        y, changed = model.apply({"params": params, **state}, x, mutable=list(state))
        return y, changed

    rest = {name: tree for name, tree in variables.items() if name != "params"}
    return peer(wrap(logits), variables["params"], rest)


class Net(nn.Module):
    """Runs layers in order."""

    layers: tuple[Any, ...]

    @nn.compact
    def __call__(self, x):
        return _run(self.layers, x)


class Scaled(nn.Module):
    """One learned number per channel."""

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", nn.initializers.constant(1e-6), x.shape[-1:])


def _run(layers, x):
    for layer in layers:
        x = _one(layer, x)
    return x


def _one(layer, x):
    match layer:
        case arch.Conv(features, window, stride):
            return nn.Conv(
                features,
                (window, window),
                (stride, stride),
                padding=[(layer.padding, layer.padding)] * 2,
                feature_group_count=layer.split(x.shape[-1]),
                use_bias=layer.bias,
            )(x)
        case arch.Up(features):
            return nn.ConvTranspose(features, (2, 2), (2, 2))(x)
        case arch.BatchNorm():
            return nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)(x)
        case arch.LayerNorm():
            return nn.LayerNorm(epsilon=1e-5)(x)
        case arch.MaxPool(window, stride, pad):
            return nn.max_pool(x, (window,) * 2, (stride,) * 2, ((pad, pad),) * 2)
        case arch.Do(function):
            return FUNCTIONS[function](x)
        case arch.Dense(features):
            return nn.Dense(features)(x)
        case arch.Scale():
            return Scaled()(x)
        case arch.Skip(stride, features):
            return skip(x, stride, features)
        case arch.Residual(body, shortcut):
            return _run(body, x) + _run(shortcut, x)
        case arch.Bridge(inner):
            return jnp.concatenate([x, _run(inner, x)], -1)
    raise NotImplementedError(f"flax: {layer}")
