"""Single operations of JAX, drawn at random: (rng, shape of x (N, H, W, C)) -> a function of x."""

import jax
import jax.numpy as jnp

from benchmarks import _random_layers


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
    inner = (
        _random_layers.circular_conv,
        _random_layers.conv,
        _random_layers.pool,
        _random_layers.norm,
        take,
    )[rng.integers(5)](rng, shape)
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
