"""Random networks and single operations for the prover to be wrong about.

Each program maps x (N, H, W, C), float64, to an array, and is a pure function of its seed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxconv as jc

Layer = Callable[[Any], Any]


class Network(NamedTuple):
    """A random program: its layers by name, the input's shape, and the axes that shift."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def network(seed: int, *, operations: int | None = None) -> Network:
    """A network drawn from a seed; `operations` fixes the number of layers."""
    rng = np.random.default_rng(seed)
    height, width = rng.choice([4, 6, 8], 2)
    shape = (int(rng.integers(1, 3)), int(height), int(width), int(rng.integers(1, 4)))
    axes = ((1, 2), (1, 2), (1,), (2,))[rng.integers(4)]
    count = int(rng.integers(2, 7)) if operations is None else operations
    names, layers, current = [], [], shape
    while len(layers) < count:
        name = str(rng.choice(list(FAMILIES)))
        try:
            layer = FAMILIES[name](rng, current)
            out = jax.eval_shape(layer, jax.ShapeDtypeStruct(current, jnp.float64))
        except (TypeError, ValueError, ZeroDivisionError):
            continue
        if out.ndim != 4 or 0 in out.shape or out.size > 4000 or out.dtype != jnp.float64:
            continue
        names.append(name)
        layers.append(layer)
        current = out.shape
    if rng.random() < 0.35:
        name = str(rng.choice(list(HEADS)))
        names.append(name)
        layers.append(HEADS[name](rng, current))
    return Network(tuple(names), tuple(layers), shape, axes)


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


def roll(rng, shape):
    amount, axis = int(rng.integers(-3, 4)), int(rng.integers(1, 3))
    return lambda x: jnp.roll(x, amount, axis)


def strided(rng, shape):
    start, step, axis = int(rng.integers(0, 2)), int(rng.integers(1, 3)), int(rng.integers(1, 3))
    return lambda x: jax.lax.slice_in_dim(x, start, x.shape[axis], step, axis)


def flip(rng, shape):
    axis = int(rng.integers(1, 3))
    skip = rng.random() < 0.5
    return lambda x: x + jnp.flip(x, axis) if skip else jnp.flip(x, axis)


def transpose(rng, shape):
    return lambda x: x.transpose(0, 2, 1, 3)


def patchify(rng, shape):
    n, h, w, c = shape
    return lambda x: (
        x.reshape(n, h // 2, 2, w // 2, 2, c)
        .transpose(0, 1, 3, 2, 4, 5)
        .reshape(n, h // 2, w // 2, 4 * c)
    )


def unpatchify(rng, shape):
    n, h, w, c = shape
    return lambda x: (
        x.reshape(n, h, w, 2, 2, c // 4)
        .transpose(0, 1, 3, 2, 4, 5)
        .reshape(n, 2 * h, 2 * w, c // 4)
    )


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


def take(rng, shape):
    axis = int(rng.integers(1, 3))
    offset, length = int(rng.integers(0, 4)), shape[axis] + int(rng.integers(0, 3))
    index = jnp.arange(offset, offset + length)
    mode = str(rng.choice(["wrap", "clip", "fill"]))
    return lambda x: jnp.take(x, index, axis, mode=mode, fill_value=0.0)


def scattered(rng, shape):
    axis = int(rng.integers(1, 3))
    index = jnp.asarray(rng.permutation(shape[axis])[: max(1, shape[axis] - 1)])
    place = (slice(None),) * axis + (index,)
    rows = (slice(None),) * axis + (slice(0, len(index)),)
    return lambda x: x.at[place].add(x[rows])


def updated(rng, shape):
    start = int(rng.integers(0, 2))
    return lambda x: jax.lax.dynamic_update_slice(x, 2 * x[:, :2], (0, start, 0, 0))


def ordered(rng, shape):
    axis = int(rng.integers(1, 4))
    kind = rng.integers(4)
    functions = (
        lambda x: jnp.sort(x, axis),
        lambda x: jnp.cumsum(x, axis),
        lambda x: jnp.flip(jax.lax.cummax(x, axis), axis),
        lambda x: jnp.moveaxis(jax.lax.top_k(jnp.moveaxis(x, axis, -1), 2)[0], -1, axis),
    )
    return functions[kind]


def arg(rng, shape):
    axis = int(rng.integers(1, 4))
    return lambda x: x + jnp.expand_dims(jnp.argmax(x, axis), axis).astype(x.dtype)


def skip(rng, shape):
    inner = circular_conv(rng, shape)
    kernel = _kernel(rng, shape[-1], jax.eval_shape(inner, jnp.zeros(shape)).shape[-1])
    return lambda x: inner(x) + x @ kernel


def concatenate(rng, shape):
    axis = int(rng.integers(1, 4))
    return lambda x: jnp.concatenate([x, jnp.tanh(x)], axis)


def loop(rng, shape):
    amount = int(rng.integers(0, 2))
    return lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.roll(y, amount, 1) * 0.5 + x, x)


def scanned(rng, shape):
    axis = int(rng.integers(1, 3))

    def run(x):
        rows = jnp.moveaxis(x, axis, 0)
        _, out = jax.lax.scan(lambda c, r: (c * 0.5 + r, c + r), jnp.zeros_like(rows[0]), rows)
        return jnp.moveaxis(out, 0, axis)

    return run


def branch(rng, shape):
    # a condition that a small change of the mean flips, so that no law holds by luck
    flips = lambda x: jnp.sin(300 * x.mean() + 0.5) > 0
    return lambda x: jax.lax.cond(flips(x), lambda y: 2 * y, lambda y: jnp.roll(y, 1, 1), x)


def gradient(rng, shape):
    inner = (circular_conv, conv, pool, norm, take)[rng.integers(5)](rng, shape)
    return jax.grad(lambda x: jnp.sum(jnp.sin(inner(x))))


def fourier(rng, shape):
    axis, kind = int(rng.integers(1, 3)), rng.integers(4)
    filters = jnp.asarray(rng.normal(size=shape[axis] // 2 + 1))
    filters = filters.reshape([-1 if d == axis else 1 for d in range(4)])
    size = shape[axis]
    functions = (
        lambda x: jnp.abs(jnp.fft.fft(x, axis=axis)),
        lambda x: jnp.fft.irfft(jnp.fft.rfft(x, axis=axis) * filters, n=size, axis=axis),
        lambda x: jnp.fft.ifft(jnp.fft.fft(x, axis=axis) ** 2, axis=axis).real,
        lambda x: jnp.fft.fft2(x, axes=(1, 2)).imag,
    )
    return functions[kind]


def padded(rng, shape):
    config = [(0, 0, 0)] + [tuple(int(v) for v in rng.integers(-1, 3, 3)) for _ in range(2)]
    config = [(low, high, max(inside, 0)) for low, high, inside in config]
    value = float(rng.integers(0, 2))
    return lambda x: jax.lax.pad(x, value, [*config, (0, 0, 0)])


def sorted_take(rng, shape):
    axis = int(rng.integers(1, 3))
    return lambda x: jnp.take_along_axis(x * x, jnp.argsort(x, axis), axis)


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


FAMILIES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Layer]] = {
    f.__name__: f
    for f in (
        *(conv, circular_conv, circular_conv, depthwise, transposed, pool, counted_pool, roll),
        *(strided, flip, transpose, patchify, unpatchify, pointwise, pointwise, dense_channels),
        *(mix_axis, resize, norm, attention, squeeze_excite, position, mask, take, scattered),
        *(updated, ordered, arg, skip, concatenate, loop, scanned, branch, gradient, fourier),
        *(padded, sorted_take, branches, adaptive, polyphase),
    )
}
HEADS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Layer]] = {
    "mean": lambda rng, shape: lambda x: x.mean((1, 2)),
    "max": lambda rng, shape: lambda x: x.max((1, 2)),
    "flatten": lambda rng, shape: lambda x: x.reshape(x.shape[0], -1),
    "dense": lambda rng, shape: _flat_dense(rng, shape),
}


def _flat_dense(rng, shape):
    kernel = _kernel(rng, int(np.prod(shape[1:])), 3)
    return lambda x: x.reshape(x.shape[0], -1) @ kernel
