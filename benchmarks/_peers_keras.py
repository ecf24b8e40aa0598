"""The networks in Keras on JAX, channels last, trained through `stateless_call`."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras  # noqa: E402  (reads the backend when imported)
from keras import layers as kl  # noqa: E402

from benchmarks import _architectures as arch  # noqa: E402
from benchmarks._training import FUNCTIONS, Peer, filled, peer, skip  # noqa: E402

UNUSED = "zeros"
"""The first parameters, which `filled` replaces; a random draw compiles for every shape."""


def build(network: arch.Network, wrap=lambda f: f) -> Peer:
    """The network with its first parameters; `wrap` transforms its forward pass."""
    inputs = keras.Input(batch_shape=network.x)
    model = keras.Model(inputs, _run(network.layers, inputs))
    trained = filled([variable.value for variable in model.trainable_variables])
    rest = filled([variable.value for variable in model.non_trainable_variables])

    def logits(trained, rest, x):
        return model.stateless_call(trained, rest, x, training=True)

    return peer(wrap(logits), trained, rest)


class Scaled(kl.Layer):
    """One learned number per channel."""

    def build(self, shape):
        initializer = keras.initializers.Constant(1e-6)
        self.scale = self.add_weight(shape=(shape[-1],), initializer=initializer)

    def call(self, x):
        return x * self.scale


def _run(layers, x):
    for layer in layers:
        x = _one(layer, x)
    return x


def _one(layer, x):
    match layer:
        case arch.Conv(features, window, stride):
            if layer.padding and stride > 1:
                x = kl.ZeroPadding2D(layer.padding)(x)
            same = stride == 1 and layer.padding > 0
            options = {"padding": "same" if same else "valid", "use_bias": layer.bias}
            if layer.groups < 0:
                options["depthwise_initializer"] = UNUSED
                return kl.DepthwiseConv2D(window, stride, **options)(x)
            options |= {"groups": layer.groups, "kernel_initializer": UNUSED}
            return kl.Conv2D(features, window, stride, **options)(x)
        case arch.Up(features):
            return kl.Conv2DTranspose(features, 2, 2, kernel_initializer=UNUSED)(x)
        case arch.BatchNorm():
            return kl.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        case arch.LayerNorm():
            return kl.LayerNormalization(epsilon=1e-5)(x)
        case arch.MaxPool(window, stride, pad):
            return kl.MaxPooling2D(window, stride, "same" if pad else "valid")(x)
        case arch.Do("mean"):
            return kl.GlobalAveragePooling2D()(x)
        case arch.Do("flatten"):
            return kl.Flatten()(x)
        case arch.Do("gelu"):
            return kl.Activation(lambda x: keras.activations.gelu(x, approximate=False))(x)
        case arch.Do(function):
            return kl.Activation(FUNCTIONS[function])(x)
        case arch.Dense(features):
            return kl.Dense(features, kernel_initializer=UNUSED)(x)
        case arch.Scale():
            return Scaled()(x)
        case arch.Skip(stride, features):
            return kl.Lambda(lambda x: skip(x, stride, features))(x)
        case arch.Residual(body, shortcut):
            return kl.Add()([_run(body, x), _run(shortcut, x)])
        case arch.Bridge(inner):
            return kl.Concatenate()([x, _run(inner, x)])
    raise NotImplementedError(f"keras: {layer}")
