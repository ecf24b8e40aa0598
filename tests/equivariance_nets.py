"""Small networks that are invariant to circular shifts, and the same with one thing broken.

Every way to break one is a function of its own, so that the line at fault is known. `net(seed)`
returns a sound network, `mutant(kind, seed)` a broken one with the line and the scope at fault.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SIZE = 8
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def _conv(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=DIMENSIONS)


def circular(x, kernel):
    wrapped = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
    return _conv(wrapped, kernel)


def norm(x, kernel):
    del kernel
    centered = x - x.mean((1, 2, 3), keepdims=True)
    return centered / jnp.sqrt((centered**2).mean((1, 2, 3), keepdims=True) + 1e-5)


def affine(x, kernel):
    return x * kernel[:1, :1, :1, :1] + 0.1


def residual(x, kernel):
    return x + jax.nn.relu(circular(x, kernel))


def excite(x, kernel):
    gate = jax.nn.sigmoid(x.mean((1, 2), keepdims=True) * kernel[1:2, 1:2, :1, :1])
    return x * gate


def max_stride_one(x, kernel):
    del kernel
    wrapped = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
    return lax.reduce_window(wrapped, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 1, 1, 1), "VALID")


def phases(x):
    n, h, w, c = x.shape
    split = x.reshape(n, h // 2, 2, w // 2, 2, c)
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(n, 4, h // 2, w // 2, c)


def chosen(x):
    return jnp.argmax((phases(x) ** 2).sum((2, 3, 4)), axis=1)


def pick(x, index):
    return jnp.take_along_axis(phases(x), index[:, None, None, None, None], axis=1)[:, 0]


def adaptive(x, kernel):
    y = jax.nn.relu(circular(x, kernel))
    index = chosen(y)
    return pick(y, index) + pick(x, index)


SOUND = (residual, norm, affine, excite, max_stride_one, circular)


def zero_padded_conv(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)


def strided_conv(x, kernel):
    wrapped = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
    return lax.conv_general_dilated(wrapped, kernel, (2, 2), "VALID", dimension_numbers=DIMENSIONS)


def strided_slice(x, kernel):
    del kernel
    return x[:, ::2, ::2]


def max_pool(x, kernel):
    del kernel
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def reflect_padding(x, kernel):
    del kernel
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")


def position_map(x, kernel):
    return x + jax.random.normal(jax.random.key(7), x.shape[1:])[None] * jnp.abs(kernel).max()


def coordinate_channel(x, kernel):
    column = jnp.linspace(-1.0, 1.0, x.shape[2]).reshape(1, 1, -1, 1) * jnp.abs(kernel).max()
    return x + jnp.broadcast_to(column, x.shape)


def train_mode_dropout(x, kernel):
    del kernel
    return jnp.where(jax.random.bernoulli(jax.random.key(3), 0.7, x.shape), x, 0)


def crop(x, kernel):
    del kernel
    return x[:, 1:-1, 1:-1]


def unshared_index(x, kernel):
    y = jax.nn.relu(circular(x, kernel))
    a, b = pick(y, chosen(y)), pick(x, chosen(x))
    return 2 * a * b


def flatten(x, kernel):
    del kernel
    weights = jax.random.normal(jax.random.key(5), (int(np.prod(x.shape[1:])), 10))
    return x.reshape(x.shape[0], -1) @ weights


MUTATIONS = {
    zero_padded_conv: 1,
    strided_conv: 2,
    strided_slice: 2,
    max_pool: 2,
    reflect_padding: 2,
    position_map: 1,
    coordinate_channel: 2,
    train_mode_dropout: 2,
    crop: 2,
    unshared_index: 3,
    flatten: 3,
}
"""Ways to break a network, with the line at fault, counted from the `def`."""


def _plan(seed):
    rng = np.random.default_rng(seed)
    blocks = [SOUND[i] for i in rng.integers(0, len(SOUND), 3)]
    if seed % 3 == 0:
        blocks.append(adaptive)
    kernels = [jnp.asarray(rng.normal(size=(3, 3, 4, 4)) / 4, jnp.float32) for _ in range(6)]
    head = jnp.asarray(rng.normal(size=(4, 10)), jnp.float32)
    activation = (jax.nn.relu, jnp.tanh, jax.nn.gelu)[seed % 3]
    return blocks, kernels, head, activation, rng


def _build(blocks, kernels, head, activation):
    def apply(x):
        for i, (block, kernel) in enumerate(zip(blocks, kernels, strict=False)):
            with jax.named_scope(f"block{i}"):
                x = activation(block(x, kernel))
        if x.ndim == 4:
            x = x.mean((1, 2)) @ head
        return x

    return apply


def net(seed):
    """A sound network."""
    blocks, kernels, head, activation, _ = _plan(seed)
    return _build(blocks, kernels, head, activation)


def mutant(kind, seed):
    """A broken network, and the line and scope at fault."""
    blocks, kernels, head, activation, rng = _plan(seed)
    place = len(blocks) if kind is flatten else int(rng.integers(0, len(blocks)))
    blocks = [*blocks[:place], kind, *([] if kind is flatten else blocks[place:])]
    line = inspect.getsourcelines(kind)[1] + MUTATIONS[kind]
    return _build(blocks, kernels, head, activation), line, f"block{place}"


def image(seed):
    """A batch of two images of smooth noise; no two phases of them have equal energy."""
    rng = np.random.default_rng(1000 + seed)
    return jnp.asarray(rng.normal(size=(2, SIZE, SIZE, 4)), jnp.float32)
