"""Small programs, a few for every transfer rule: the cases of the concretization tests.

Each maps x (2, 4, 6, 2), float64, to a pytree. Constants are drawn once, so that a program is the
same function on every call.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from jaxconv import ops

SHAPE = (2, 4, 6, 2)
_RNG = np.random.default_rng(7)
K33 = _RNG.normal(size=(3, 3, 2, 4))
K22 = _RNG.normal(size=(2, 2, 2, 4))
GROUPED = _RNG.normal(size=(3, 1, 1, 4))
COLUMNS = _RNG.normal(size=(6, 6))
POSITION = _RNG.normal(size=(1, 4, 6, 1))
DENSE = _RNG.normal(size=(48, 3))
CIRCULANT = np.stack([np.roll(COLUMNS[0], i) for i in range(6)])


def conv(x, kernel, stride=(1, 1), padding="SAME", **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, jnp.asarray(kernel), stride, padding, dimension_numbers=numbers, **options
    )


def wrap(x, amount=1):
    return jnp.pad(x, ((0, 0), (amount, amount), (amount, amount), (0, 0)), mode="wrap")


def tokens(x):
    return x.reshape(2, 24, 2)


def attention(x):
    t = tokens(x)
    return jax.nn.softmax(t @ t.transpose(0, 2, 1), -1) @ t


def window(x, operation, initial, size=(1, 2, 3, 1), stride=(1, 2, 1, 1), padding="SAME"):
    return jax.lax.reduce_window(x, initial, operation, size, stride, padding)


def normalized(x, axes):
    return (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)


def energy(x):
    return jnp.sum(conv(wrap(x), K33, padding="VALID") ** 2)


PROGRAMS = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "softmax": lambda x: jax.nn.softmax(x, (1, 2)),
    "add position": lambda x: x + POSITION,
    "add rows": lambda x: x + POSITION[:, :, :1],
    "subtract itself rolled": lambda x: jnp.roll(x, 2, 2) - x,
    "negate": lambda x: -(x - jnp.roll(x, 1, 1)),
    "select by constant": lambda x: jnp.where(POSITION > 0, x, -x),
    "select by x": lambda x: jnp.where(x > 0, x, x.mean()),
    "bits": lambda x: jax.lax.bitcast_convert_type(x, jnp.uint32),
    "bits of pairs": lambda x: jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint64),
    "clamp": lambda x: jnp.clip(x, -0.5, 0.5),
    "flip and add": lambda x: x[:, ::-1] + x,
    "patchify": lambda x: x.reshape(2, 2, 2, 3, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 8),
    "tokens": tokens,
    "stack": lambda x: jnp.stack([x, x * 2, jnp.ones_like(x)], 2),
    "concatenate": lambda x: jnp.concatenate([x, POSITION + jnp.zeros(SHAPE)], 1),
    "concatenate channels": lambda x: jnp.concatenate([x, x * 2, POSITION + jnp.zeros(SHAPE)], 3),
    "tile": lambda x: jnp.tile(x, (1, 2, 1, 1)),
    "repeat": lambda x: jnp.repeat(x, 2, 2),
    "split": lambda x: jnp.split(x, 2, 2),
    "pad": lambda x: jax.lax.pad(x, 0.5, ((0, 0, 0), (-1, 2, 1), (1, 0, 0), (0, 1, 0))),
    "pad with zeros": lambda x: jnp.pad(x, ((0, 0), (1, 0), (0, 2), (1, 1))),
    "wrap": wrap,
    "wrap far": lambda x: wrap(x, 3),
    "reflect": lambda x: jnp.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)), mode="reflect"),
    "conv": lambda x: conv(x, K33),
    "conv stride": lambda x: conv(x, K22, (2, 2)),
    "conv stride same": lambda x: conv(x, K33, (2, 3)),
    "conv circular": lambda x: conv(wrap(x), K33, padding="VALID"),
    "conv dilated": lambda x: conv(
        x, K33, padding=((1, 2), (3, 0)), lhs_dilation=(2, 1), rhs_dilation=(1, 2)
    ),
    "conv grouped": lambda x: conv(x, GROUPED, feature_group_count=2),
    "conv of a sum": lambda x: conv(x + x.mean((1, 2), keepdims=True), K33),
    "conv negative padding": lambda x: conv(x, K22, padding=((-1, 1), (0, -1))),
    "max pool": lambda x: window(x, jax.lax.max, -jnp.inf),
    "mean pool": lambda x: window(x, jax.lax.add, 0.0),
    "window from one": lambda x: window(x, jax.lax.add, 1.0, (1, 3, 3, 1), (1, 1, 1, 1)),
    "global mean": lambda x: x.mean((1, 2)),
    "global max": lambda x: x.max((1, 2)),
    "mean of one axis": lambda x: x.mean(2),
    "channel norm": lambda x: normalized(x, 3),
    "instance norm": lambda x: normalized(x, (1, 2)),
    "batch norm": lambda x: normalized(x, (0, 1, 2)),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "cummax channels": lambda x: jax.lax.cummax(x, 3),
    "sort": lambda x: jnp.sort(x, 2),
    "argmax": lambda x: jnp.argmax(x, 1),
    "top k": lambda x: jax.lax.top_k(x, 2),
    "top k of positions": lambda x: jax.lax.top_k(x.mean(3).reshape(2, 24), 3),
    "dense": lambda x: x.reshape(2, -1) @ DENSE,
    "mix columns": lambda x: jnp.einsum("nhwc,wv->nhvc", x, COLUMNS),
    "mix columns circulant": lambda x: jnp.einsum("nhwc,wv->nhvc", x, CIRCULANT),
    "attention": attention,
    "resize": lambda x: jax.image.resize(x, (2, 8, 9, 2), "bilinear"),
    "resize nearest": lambda x: jax.image.resize(x, (2, 8, 12, 2), "nearest"),
    "scan": lambda x: jax.lax.scan(
        lambda c, r: (c + r, c * r), jnp.zeros((2, 6, 2)), x.transpose(1, 0, 2, 3)
    ),
    "cond": lambda x: jax.lax.cond(x.sum() > 0, lambda y: y * 2, lambda y: y + 1, x),
    "while": lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.roll(y, 1, 1) + x, x),
    "vmap": lambda x: jax.vmap(lambda y: jnp.sort(y, 0))(x),
    "remat": jax.checkpoint(lambda x: jnp.sin(x).mean(1)),
    "gradient": jax.grad(energy),
    "kernel gradient": lambda x: jax.grad(
        lambda k: jnp.sum(conv(wrap(x), k, padding="VALID") ** 2)
    )(jnp.asarray(K33)),
    "constant output": lambda x: jnp.arange(6.0),
}

TABLE = _RNG.normal(size=(5, 3))


def pooled_energy(x):
    return jnp.sum(window(x, jax.lax.max, -jnp.inf, (1, 3, 2, 1), (1, 2, 1, 1)) ** 2)


def select_first(x):
    return jax.lax.dynamic_slice(x, (jnp.argmax(x[0, 0, :2, 0]), 0, 0, 0), (1, 4, 6, 2))


PROGRAMS |= {
    "take rows": lambda x: jnp.take(x, jnp.array([0, 2, 1, 1]), axis=1),
    "take wrap": lambda x: jnp.take(x, jnp.arange(-1, 7), axis=2, mode="wrap"),
    "take with holes": lambda x: jnp.take(x, jnp.array([0, 9, 1]), axis=1, mode="fill"),
    "take channels": lambda x: x[..., jnp.array([1, 1, 0])],
    "advanced index": lambda x: x[:, jnp.array([0, 1, 3]), jnp.array([5, 0, 2])],
    "take along": lambda x: jnp.take_along_axis(
        x, jnp.array([3, 0, 1]).reshape(1, 3, 1, 1), axis=1
    ),
    "look up": lambda x: jnp.asarray(TABLE)[(x > 0).astype(int) + (x > 1).astype(int)],
    "one hot": lambda x: jax.nn.one_hot((x > 0).sum(-1), 3),
    "dynamic slice": lambda x: jax.lax.dynamic_slice(x, (0, 1, 2, 0), (2, 2, 3, 1)),
    "dynamic slice by x": select_first,
    "dynamic update": lambda x: jax.lax.dynamic_update_slice(x, x[:, :2] * 2, (0, 1, 0, 0)),
    "dynamic update channel": lambda x: x.at[..., 1].set(0.0),
    "set rows": lambda x: x.at[:, jnp.array([0, 2])].set(x[:, :2]),
    "add rows at": lambda x: x.at[:, jnp.array([0, 2, 0])].add(x[:, :3]),
    "subtract rows at": lambda x: x.at[:, jnp.array([0, 2, 0])].subtract(1.0),
    "maximum at": lambda x: x.at[:, :, jnp.array([5, 1, 5])].max(x[:, :, :3]),
    "multiply at": lambda x: x.at[:, :, jnp.array([5, 1])].multiply(2.0),
    "gradient of take": jax.grad(
        lambda x: jnp.sum(jnp.take(x, jnp.arange(-1, 7), axis=2, mode="wrap") ** 3)
    ),
    "gradient of max pool": jax.grad(pooled_energy),
    "tangent of max pool": lambda x: jax.jvp(pooled_energy, (x,), (x * x,))[1],
    "histogram": lambda x: jnp.zeros(3).at[jnp.clip(jnp.floor(x), 0, 2).astype(int)].add(1.0),
    "dropout": lambda x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, SHAPE), x, 0.0),
    "sort pairs": lambda x: jax.lax.sort((x, x * x), dimension=1, num_keys=1),
    "no rows": lambda x: (x[:, :0], jnp.concatenate([x[:, :0], x], 1), x[:, :0].sum(1) + x[:, 0]),
}

FILTER = _RNG.normal(size=(4, 1, 1)) + 1j * _RNG.normal(size=(4, 1, 1))
SPECTRAL = _RNG.normal(size=(4, 4, 2, 3)) + 1j * _RNG.normal(size=(4, 4, 2, 3))
LOW = (np.abs(np.fft.fftfreq(6)) < 0.2)[:, None]


def spectrum(x, axis=1):
    return jnp.fft.fft(x, axis=axis)


def spectral_conv(x):
    modes = jnp.fft.rfft2(x, axes=(1, 2))
    return jnp.fft.irfft2(jnp.einsum("nhwc,hwcd->nhwd", modes, SPECTRAL), (4, 6), axes=(1, 2))


def upsampled(x):
    """Ideal interpolation of rows from 4 to 8: zeros between the halves of the spectrum."""
    s = jnp.fft.fft(x, axis=1)
    s = jnp.concatenate([s[:, :2], jnp.zeros((2, 5, 6, 2), complex), s[:, 3:]], 1)
    return 2 * jnp.fft.ifft(s, axis=1).real


PROGRAMS |= {
    "fft": lambda x: (spectrum(x), spectrum(x, 2), spectrum(x, 0), spectrum(x, 3)),
    "fft of strided": lambda x: spectrum(x[:, ::2]),
    "fft of flipped": lambda x: jnp.abs(spectrum(jnp.flip(x, 2) + 1.0, 2)),
    "fft and back": lambda x: jnp.fft.ifft(spectrum(jnp.roll(x, 1, 1)), axis=1).real,
    "fft twice": lambda x: spectrum(spectrum(x)),
    "fft2": lambda x: jnp.abs(jnp.fft.fft2(x, axes=(1, 2))),
    "rfft2": lambda x: jnp.fft.rfft2(x, axes=(1, 2)),
    "spectral filter": lambda x: jnp.fft.irfft(
        jnp.fft.rfft(x, axis=2) * jnp.asarray(FILTER)[None, None, :, 0], 6, axis=2
    ),
    "spectral conv": spectral_conv,
    "ideal low pass": lambda x: (
        jnp.fft.ifft(spectrum(x, 2) * LOW.astype(complex)[None, None], axis=2).real
    ),
    "low pass by select": lambda x: (
        jnp.fft.ifft(jnp.where(LOW[None], spectrum(x, 2), 0.0), axis=2).real
    ),
    "ideal upsampling": upsampled,
    "ideal downsampling": lambda x: jnp.fft.ifft(
        jnp.concatenate([spectrum(x, 2)[:, :, :2], spectrum(x, 2)[:, :, -1:]], 2), axis=2
    ),
    "shifted spectrum": lambda x: jnp.fft.fftshift(jnp.fft.fft2(x, axes=(1, 2)), axes=(1, 2)),
    "power spectrum": lambda x: (spectrum(x) * jnp.conj(spectrum(x)), jnp.abs(spectrum(x)) ** 2),
    "bispectrum": lambda x: spectrum(x)[:, 1] * spectrum(x)[:, 2] / spectrum(x)[:, 3],
    "sum of spectra": lambda x: (spectrum(x) - 2 * spectrum(jnp.tanh(x)), -spectrum(x) + 1),
    "mix of frequencies": lambda x: (spectrum(x).sum(1), spectrum(x, 2).sum((1, 2))),
    "square and back": lambda x: jnp.fft.ifft(spectrum(x) ** 2, axis=1).real,
    "half of a spectrum of one": lambda x: jnp.fft.irfft(spectrum(x)[:, 1:2], 2, axis=1),
    "inverse real of rows only": lambda x: jnp.fft.irfft(jnp.fft.rfft2(x, axes=(1, 2)), axis=1),
    "transform of channels and rows": lambda x: jnp.fft.fftn(x, axes=(1, 3)),
    "padded spectrum": lambda x: jnp.fft.fft(jnp.pad(spectrum(x), ((0, 0),) * 3 + ((1, 1),))),
    "low modes set": lambda x: jnp.fft.ifft(
        jnp.zeros((2, 4, 6, 2), complex).at[:, :2].set(spectrum(x)[:, :2]), axis=1
    ),
    "low modes updated": lambda x: jnp.fft.ifft(
        jax.lax.dynamic_update_slice(spectrum(x), jnp.zeros((2, 2, 6, 2), complex), (0, 1, 0, 0)),
        axis=1,
    ),
    "scaled sums": lambda x: ((x + jnp.roll(x, 1, 1)) * 2 + x / 3, (x - 1) * 0.0, (x + x[:1]) * 1),
    "gradient of a circular pool": jax.grad(
        lambda x: jnp.sum(window(wrap(x), jax.lax.max, -jnp.inf, padding="VALID") ** 2)
    ),
    "pool of pools": lambda x: window(window(x, jax.lax.max, -jnp.inf), jax.lax.max, -jnp.inf),
    "sum of mean pool": lambda x: window(x, jax.lax.add, 0.0).sum((1, 2, 3)),
    "max of rolled": lambda x: jnp.maximum(jnp.maximum(x, jnp.roll(x, 1, 1)), x).max((1, 3)),
    "relu of pool": lambda x: jnp.minimum(jax.nn.relu(window(x, jax.lax.max, -jnp.inf)), 0.2),
    "argsort and take": lambda x: jnp.take_along_axis(jnp.tanh(x), jnp.argsort(x, 1), 1),
    "order of another": lambda x: jnp.take_along_axis(
        x, jnp.argsort(jax.nn.relu(jnp.roll(x, 1, 2)), 2), 2
    ),
    "order of clipped": lambda x: jnp.take_along_axis(x, jnp.argsort(jax.nn.relu(x), 2), 2),
    "order of channels": lambda x: jnp.take_along_axis(x, jnp.argsort(x, 3), 3),
    "order along the other axis": lambda x: jnp.take_along_axis(x, jnp.argsort(x[:, :2], 1), 1),
    "sort companions": lambda x: jax.lax.sort(
        (jax.nn.relu(x), jax.nn.relu(x) * 2, x), dimension=1, num_keys=1
    ),
    "halves of integer sums": lambda x: (
        jax.lax.div((9 * x).astype(int) + jnp.roll((9 * x).astype(int), 1, 1), 2)
        - jax.lax.div(jnp.roll((9 * x).astype(int), 1, 1), 2)
    ),
    "pick among ties": lambda x: jnp.argmax(
        jnp.stack([(x + jnp.flip(x, 2))[:, :, i::2].sum((1, 2)) for i in (0, 1)]), 0
    ),
    "order among ties": lambda x: jnp.argsort(jnp.abs(jnp.fft.fft(x, axis=2)) ** 2, 2),
    "largest among ties": lambda x: jnp.moveaxis(
        jax.lax.top_k(jnp.moveaxis(jnp.abs(jnp.fft.fft(x, axis=2)) ** 2, 2, -1), 2)[1], -1, 2
    ),
    "gradient of an empty pool": jax.grad(
        lambda x: window(x[:, :1], jax.lax.max, -jnp.inf, (1, 2, 2, 1), padding="VALID").sum()
    ),
    "sort by two keys": lambda x: jax.lax.sort((x > 0, x), dimension=2, num_keys=2),
    "pick the largest": lambda x: jnp.take_along_axis(x, jnp.argmax(x, 1, keepdims=True), 1),
}


def our_energy(x):
    y = ops.conv(x, jnp.asarray(GROUPED), groups=2, padding_mode="circular", stride=2)
    return jnp.sum(ops.max_pool(jnp.sin(y), 2, stride=1) ** 2)


def our_kernel_gradient(x):
    loss = lambda k: jnp.sum(ops.depthwise_conv(x, k, padding_mode="circular") ** 2)
    return jax.grad(loss)(jnp.asarray(GROUPED[..., :2]))


PROGRAMS |= {
    "our convolution": lambda x: ops.conv(x, jnp.asarray(K33), padding=((1, 0), (0, 2))),
    "our grouped convolution and pool": jax.grad(our_energy),
    "our kernel gradient": our_kernel_gradient,
    "our average pool": lambda x: ops.avg_pool(x, 3, stride=1),
    "our shuffle": lambda x: ops.pixel_shuffle(jnp.concatenate([x, -x], 3), 2),
    "our pool with indices": lambda x: ops.max_pool_with_indices(x, 2)[0],
    "named": lambda x: checkpoint_name(x * 2, "hidden"),
}
