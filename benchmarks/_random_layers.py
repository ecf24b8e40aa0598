"""Layers of networks, drawn at random: (rng, shape of x (N, H, W, C)) -> a function of x."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxconv as jc

Layer = Callable[[Any], Any]
Family = Callable[[np.random.Generator, tuple[int, ...]], Layer]


def _conv(x, kernel, stride=(1, 1), padding="SAME", **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, stride, padding, dimension_numbers=numbers, **options
    )


def _kernel(rng, *shape):
    return jnp.asarray(rng.normal(size=shape))


def conv(rng, shape):
    k, c = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kernel = _kernel(rng, k, k, shape[-1], c)
    stride = tuple(int(s) for s in rng.integers(1, 3, 2))
    padding = ("SAME", "VALID", ((1, 0), (2, 1)), ((0, 0), (-1, 1)))[rng.integers(4)]
    dilation = tuple(int(s) for s in rng.integers(1, 3, 2))
    options = {"rhs_dilation": dilation} if rng.random() < 0.3 else {}
    return lambda x: _conv(x, kernel, stride, padding, **options)


def circular_conv(rng, shape):
    kernel = _kernel(rng, 3, 3, shape[-1], int(rng.integers(1, 4)))
    stride = (1, 1) if rng.random() < 0.6 else (2, 2)
    return lambda x: _conv(_wrapped(x, 1), kernel, stride, "VALID")


def _wrapped(x, amount):
    return jnp.pad(x, ((0, 0), (amount, amount), (amount, amount), (0, 0)), mode="wrap")


def depthwise(rng, shape):
    kernel = _kernel(rng, 3, 3, 1, shape[-1])
    pad = str(rng.choice(["wrap", "edge", "reflect", "constant"]))
    widths = ((0, 0), (1, 1), (1, 1), (0, 0))
    groups = shape[-1]
    return lambda x: _conv(
        jnp.pad(x, widths, mode=pad), kernel, padding="VALID", feature_group_count=groups
    )


def transposed(rng, shape):
    kernel = _kernel(rng, 2, 2, shape[-1], 2)
    padding = (((1, 1), (1, 1)), ((0, 1), (1, 0)))[rng.integers(2)]
    return lambda x: _conv(x, kernel, padding=padding, lhs_dilation=(2, 2))


def pool(rng, shape):
    size, stride = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    padding = str(rng.choice(["SAME", "VALID"]))
    operation, start = ((jax.lax.max, -jnp.inf), (jax.lax.add, 0.0))[rng.integers(2)]
    dims = (1, size, size, 1), (1, stride, stride, 1)
    return lambda x: jax.lax.reduce_window(x, start, operation, *dims, padding)


def counted_pool(rng, shape):
    dims = (1, 3, 3, 1), (1, 1, 1, 1), "SAME"
    mean = lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, *dims)
    return lambda x: mean(x) / mean(jnp.ones_like(x))


def pointwise(rng, shape):
    kind = rng.integers(5)
    functions = (jax.nn.relu, jnp.tanh, jnp.square, lambda x: -x, lambda x: 2 * x - 1)
    return functions[kind]


def dense_channels(rng, shape):
    kernel = _kernel(rng, shape[-1], int(rng.integers(1, 4)))
    return lambda x: x @ kernel


def mix_axis(rng, shape):
    axis = int(rng.integers(1, 3))
    matrix = rng.normal(size=(shape[axis],) * 2)
    if rng.random() < 0.6:
        matrix = np.stack([np.roll(matrix[0], i) for i in range(len(matrix))])
    return lambda x: jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ jnp.asarray(matrix), -1, axis)


def resize(rng, shape):
    n, h, w, c = shape
    method = str(rng.choice(["nearest", "bilinear", "cubic"]))
    scale = ((2, 1), (1, 2), (2, 2))[rng.integers(3)]
    return lambda x: jax.image.resize(x, (n, h * scale[0], w * scale[1], c), method)


def norm(rng, shape):
    axes = ((1, 2), (3,), (0, 1, 2), (1,), (2, 3))[rng.integers(5)]
    return lambda x: (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 0.1)


def attention(rng, shape):
    n, h, w, c = shape
    kernel = _kernel(rng, c, c)

    def attend(x):
        t = x.reshape(n, h * w, c)
        return (jax.nn.softmax(t @ kernel @ t.transpose(0, 2, 1), -1) @ t).reshape(shape)

    return attend


def squeeze_excite(rng, shape):
    kernel = _kernel(rng, shape[-1], shape[-1])
    return lambda x: x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True) @ kernel)


def position(rng, shape):
    n, h, w, c = shape
    kind = rng.integers(3)
    rows = rng.normal(size=(1, h, 1, 1))
    if kind == 0:
        rows = np.tile(rng.normal(size=(1, 2, 1, 1)), (1, h // 2, 1, 1))
    table = jnp.asarray(rows if kind < 2 else rng.normal(size=(1, h, w, c)))
    return (lambda x: x + table) if rng.random() < 0.5 else (lambda x: x * table)


def mask(rng, shape):
    n, h, w, c = shape
    keep = jnp.asarray((np.arange(h)[:, None] + np.arange(w)) % 2 == 0)[None, :, :, None]
    return lambda x: jnp.where(keep, x, 0.0)


def skip(rng, shape):
    inner = circular_conv(rng, shape)
    kernel = _kernel(rng, shape[-1], jax.eval_shape(inner, jnp.zeros(shape)).shape[-1])
    return lambda x: inner(x) + x @ kernel


def branches(rng, shape):
    phases = lambda x: jnp.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    return lambda x: phases(x).max(0)


def adaptive(rng, shape):
    norms = lambda p: jnp.abs(p).sum((1, 2, 3, 4))

    def sample(x):
        phases = jnp.stack([x[:1, i::2, j::2] for i in (0, 1) for j in (0, 1)])
        return phases[jnp.argmax(norms(phases))]

    return sample


def polyphase(rng, shape):
    strides = tuple(int(s) for s in rng.choice([1, 2, 2], 2))
    again = float(rng.random())

    def sample(x):
        y, index = jc.ops.polyphase_down(x[:1], strides)
        if again < 0.3:  # a branch that shares the choice, or one that does not
            index = index if again < 0.15 else None
            y = y + jc.ops.polyphase_down(jnp.tanh(x[:1]), strides, index=index)[0]
        return y

    return sample


def _flat_dense(rng, shape):
    kernel = _kernel(rng, int(np.prod(shape[1:])), 3)
    return lambda x: x.reshape(x.shape[0], -1) @ kernel


HEADS: dict[str, Family] = {
    "mean": lambda rng, shape: lambda x: x.mean((1, 2)),
    "max": lambda rng, shape: lambda x: x.max((1, 2)),
    "flatten": lambda rng, shape: lambda x: x.reshape(x.shape[0], -1),
    "dense": lambda rng, shape: _flat_dense(rng, shape),
}
"""Layers without positions, for the end of a network."""
