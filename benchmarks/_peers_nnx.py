"""The networks in Flax nnx, trained functionally: split once, merged in the step."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from benchmarks import _architectures as arch
from benchmarks._training import FUNCTIONS, Peer, filled, peer, skip


def build(network: arch.Network, wrap=lambda f: f) -> Peer:
    """The network with its first parameters; `wrap` transforms its forward pass."""
    model = nnx.eval_shape(lambda: Net(network.layers, network.x[1:], nnx.Rngs(0)))
    structure, *shapes = nnx.split(model, nnx.Param, ...)
    params, rest = filled(tuple(shapes))

    def logits(params, rest, x):
        net = nnx.merge(structure, params, rest, copy=True)
        y = net(x)
        return y, nnx.split(net, nnx.Param, ...)[2]

    return peer(wrap(logits), params, rest)


class Net(nnx.Module):
    """Runs layers in order."""

    def __init__(self, layers: Any, shape: Any, rngs: nnx.Rngs):
        made = [_make(layer, inner, rngs) for layer, inner in arch.with_shapes(layers, shape)]
        self.layers = nnx.List(made)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Call(nnx.Module):
    """A function without parameters."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)


class Scaled(nnx.Module):
    """One learned number per channel."""

    def __init__(self, channels):
        self.scale = nnx.Param(jnp.full((channels,), 1e-6))

    def __call__(self, x):
        return x * self.scale[...]


class Added(nnx.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body, shortcut):
        self.body, self.shortcut = body, shortcut

    def __call__(self, x):
        return self.body(x) + self.shortcut(x)


class Bridged(nnx.Module):
    """x beside inner(x)."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return jnp.concatenate([x, self.inner(x)], -1)


def _make(layer, shape, rngs):
    channels = shape[-1]
    match layer:
        case arch.Conv(features, window, stride):
            return nnx.Conv(
                channels,
                features,
                (window, window),
                (stride, stride),
                padding=[(layer.padding, layer.padding)] * 2,
                feature_group_count=layer.split(channels),
                use_bias=layer.bias,
                rngs=rngs,
            )
        case arch.Up(features):
            return nnx.ConvTranspose(channels, features, (2, 2), (2, 2), rngs=rngs)
        case arch.BatchNorm():
            return nnx.BatchNorm(channels, momentum=0.9, epsilon=1e-5, rngs=rngs)
        case arch.LayerNorm():
            return nnx.LayerNorm(channels, epsilon=1e-5, rngs=rngs)
        case arch.MaxPool(window, stride, pad):
            return Call(lambda x: nnx.max_pool(x, (window,) * 2, (stride,) * 2, ((pad, pad),) * 2))
        case arch.Do(function):
            return Call(FUNCTIONS[function])
        case arch.Dense(features):
            return nnx.Linear(channels, features, rngs=rngs)
        case arch.Scale():
            return Scaled(channels)
        case arch.Skip(stride, features):
            return Call(lambda x: skip(x, stride, features))
        case arch.Residual(body, shortcut):
            return Added(Net(body, shape, rngs), Net(shortcut, shape, rngs))
        case arch.Bridge(inner):
            return Bridged(Net(inner, shape, rngs))
    raise NotImplementedError(f"nnx: {layer}")
