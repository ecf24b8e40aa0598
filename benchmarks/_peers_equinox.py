"""The networks in Equinox: channels first, one example, vmapped over the batch."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks import _architectures as arch
from benchmarks._training import FUNCTIONS, Peer, filled, peer


def build(network: arch.Network, wrap=lambda f: f) -> Peer:
    """The network with its first parameters; `wrap` transforms its forward pass."""
    make = eqx.nn.make_with_state(_net)
    key = jax.random.key(0)
    model, state = eqx.filter_eval_shape(make, network.layers, network.x[1:], key)
    params, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    params, state = filled((params, state))

    def logits(params, state, x):
        net = eqx.combine(params, static)
        return jax.vmap(net, axis_name="batch", in_axes=(0, None), out_axes=(-1, None))(x, state)

    def last(params, state, x):
        y, state = logits(params, state, x)
        return jnp.moveaxis(y, -1, 0) if y.ndim == 2 else y.transpose(3, 1, 2, 0), state

    return peer(wrap(last), params, state, images=lambda x: jnp.moveaxis(x, -1, 1))


class Net(eqx.Module):
    """Runs layers in order."""

    layers: tuple[Any, ...]

    def __call__(self, x, state):
        for layer in self.layers:
            x, state = layer(x, state)
        return x, state


class Call(eqx.Module):
    """A layer without state."""

    function: Any

    def __call__(self, x, state):
        return self.function(x), state


class Scaled(eqx.Module):
    """One learned number per channel."""

    scale: jax.Array

    def __call__(self, x):
        return x * self.scale[:, None, None]


class Normed(eqx.Module):
    """Layer norm of the channels of each pixel."""

    norm: eqx.nn.LayerNorm

    def __call__(self, x):
        return jax.vmap(jax.vmap(self.norm, 1, 1), 2, 2)(x)


class Added(eqx.Module):
    """body(x) + shortcut(x)."""

    body: Net
    shortcut: Net

    def __call__(self, x, state):
        y, state = self.body(x, state)
        z, state = self.shortcut(x, state)
        return y + z, state


class Bridged(eqx.Module):
    """x beside inner(x)."""

    inner: Net

    def __call__(self, x, state):
        y, state = self.inner(x, state)
        return jnp.concatenate([x, y]), state


def _net(layers, shape, key):
    keys = jax.random.split(key, max(len(layers), 1))
    pairs = zip(arch.with_shapes(layers, shape), keys, strict=False)
    return Net(tuple(_make(layer, inner, k) for (layer, inner), k in pairs))


def _make(layer, shape, key):
    channels = shape[-1]
    match layer:
        case arch.BatchNorm():
            return eqx.nn.BatchNorm(channels, "batch", momentum=0.9, mode="batch")
        case arch.Residual(body, shortcut):
            return Added(_net(body, shape, key), _net(shortcut, shape, key))
        case arch.Bridge(inner):
            return Bridged(_net(inner, shape, key))
    return Call(_function(layer, shape, key))


def _function(layer, shape, key):
    channels = shape[-1]
    match layer:
        case arch.Conv(features, window, stride):
            groups = layer.split(channels)
            return eqx.nn.Conv2d(
                channels, features, window, stride, layer.padding,
                groups=groups, use_bias=layer.bias, key=key,
            )  # fmt: skip
        case arch.Up(features):
            return eqx.nn.ConvTranspose2d(channels, features, 2, 2, key=key)
        case arch.LayerNorm():
            return Normed(eqx.nn.LayerNorm(channels))
        case arch.MaxPool(window, stride, pad):
            return eqx.nn.MaxPool2d(window, stride, pad)
        case arch.Do("mean"):
            return lambda x: x.mean((1, 2))
        case arch.Do("flatten"):
            return jnp.ravel
        case arch.Do(function):
            return FUNCTIONS[function]
        case arch.Dense(features):
            if len(shape) == 3:
                return eqx.nn.Conv2d(channels, features, 1, key=key)
            return eqx.nn.Linear(channels, features, key=key)
        case arch.Scale():
            return Scaled(jnp.full((channels,), 1e-6))
        case arch.Skip(stride, features):
            widths = [(0, features - channels), (0, 0), (0, 0)]
            return lambda x: jnp.pad(x[:, ::stride, ::stride], widths)
    raise NotImplementedError(f"equinox: {layer}")
