"""The networks in this library: its own models where it has one."""

from typing import Any

import jax
import jax.numpy as jnp

import jaxconv as jc
from benchmarks import _architectures as arch
from benchmarks._training import FUNCTIONS, Peer, filled, peer

MODELS = {
    "lenet": lambda: jc.models.lenet(),
    "resnet20": lambda: jc.models.resnet(20),
    "resnet18": lambda: jc.models.resnet(18),
    "mobilenet_v2": lambda: jc.models.mobilenet_v2(drop_probability=0.0),
    "unet": lambda: jc.models.unet(2, (16, 32, 64)),
}


def build(network: arch.Network) -> Peer:
    """The network with its first parameters."""
    known = network is arch.NETWORKS.get(network.name) and network.name in MODELS
    model = MODELS[network.name]() if known else jc.serial(*map(_layer, network.layers))
    x = jax.ShapeDtypeStruct(network.x, jnp.float32)
    params, state = filled(jax.eval_shape(model.init, jax.random.key(0), x))
    logits = lambda params, state, x: model.apply(params, state, x, train=True)
    return peer(logits, params, state)


def _layer(layer: Any) -> Any:
    match layer:
        case arch.Conv(features, window, stride):
            padding, options = layer.padding, {"stride": stride, "bias": layer.bias}
            if layer.groups < 0:
                return jc.depthwise_conv(window, padding=padding, **options)
            return jc.conv(features, window, padding=padding, groups=layer.groups, **options)
        case arch.Up(features):
            return jc.conv_transpose(features, 2, stride=2)
        case arch.BatchNorm():
            return jc.batch_norm()
        case arch.LayerNorm():
            return jc.layer_norm()
        case arch.MaxPool(window, stride, pad):
            return jc.max_pool(window, stride=stride, padding=pad)
        case arch.Do("mean"):
            return jc.global_avg_pool()
        case arch.Do(function):
            known = FUNCTIONS | {"gelu": jc.ops.gelu}
            return jc.activation(known[function], name=function)
        case arch.Dense(features):
            return jc.dense(features)
        case arch.Scale():
            from jaxconv.models.convnext import layer_scale

            return layer_scale()
        case arch.Residual(body, shortcut):
            return jc.residual(jc.serial(*map(_layer, body)), jc.serial(*map(_layer, shortcut)))
        case arch.Bridge(inner):
            inside = jc.serial(*map(_layer, inner))
            join = lambda a, b: jnp.concatenate([a, b], -1)
            return jc.parallel(bridge=lambda x: x, deeper=inside, combine=join)
    raise NotImplementedError(f"jaxconv: {layer}")
