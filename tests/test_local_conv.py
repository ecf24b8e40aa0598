"""Unshared convolution: loops by value, conv as its special case, derivatives, errors whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_conv
from helpers import assert_close, quick_jit, raises

from jaxconv import ops

# (spatial, window, stride, dilation, padding as pairs, modes)
CASES = [
    ((9,), (3,), (2,), (1,), ((1, 1),), ("zeros",)),
    ((9,), (2,), (3,), (3,), ((5, -1),), ("circular",)),
    ((6, 5), (3, 2), (2, 1), (1, 2), ((1, 1), (0, 3)), ("reflect", "edge")),
    ((6, 5), (2, 2), (2, 2), (1, 1), ((-1, 1), (4, 0)), ("zeros", "zeros")),
    ((3, 4, 5), (2, 1, 3), (1, 2, 2), (1, 1, 1), ((0, 1), (0, 0), (1, 1)), ("zeros",) * 3),
]


def loops(x, kernel, case):
    _, _, stride, dilation, pads, modes = case
    plan = {"stride": stride, "pads": pads, "modes": modes, "dilation": dilation}
    return reference_conv.local_conv(x, kernel, **plan)


def call(case):
    _, _, stride, dilation, pads, modes = case
    return lambda x, k, b: ops.local_conv(
        x, k, b, stride=stride, dilation=dilation, padding=pads, padding_mode=modes
    )


def draw(rng, case):
    spatial, window, stride, dilation, pads, _ = case
    axes = zip(spatial, window, stride, pads, dilation, strict=True)
    output = [reference_conv.output_size(*axis) for axis in axes]
    kernel = rng.normal(size=(*output, *window, 3, 4))
    return rng.normal(size=(2, *spatial, 3)), kernel, rng.normal(size=(*output, 4))


def test_values_and_gradients_equal_loops(rng):
    arrays = [draw(rng, case) for case in CASES]
    outputs = [loops(x, k, case) for (x, k, _), case in zip(arrays, CASES, strict=True)]
    cotangents = [rng.normal(size=y.shape) for y in outputs]

    def everything(arrays, cotangents):
        for leaves, g, case in zip(arrays, cotangents, CASES, strict=True):
            y, pullback = jax.vjp(call(case), *leaves)
            yield y, *pullback(g)

    with jax.enable_x64(True):
        results = quick_jit(lambda *both: list(everything(*both)))(arrays, cotangents)
        results = jax.tree.map(np.asarray, results)
    for (x, k, b), g, case, (y, dx, dk, db) in zip(arrays, cotangents, CASES, results, strict=True):
        wanted = loops(x, k, case)
        assert_close(y, wanted + b)
        assert np.abs(loops(x, np.roll(k, 1, axis=0), case) + b - y).max() > 1e-3
        assert_close(db, g.sum(0))
        # y is linear in x and in k, so <dx, v> = <g, y(v)> for every v determines dx.
        v, w = rng.normal(size=x.shape), rng.normal(size=k.shape)
        np.testing.assert_allclose((dx * v).sum(), (g * loops(v, k, case)).sum(), rtol=1e-10)
        np.testing.assert_allclose((dk * w).sum(), (g * loops(x, w, case)).sum(), rtol=1e-10)
        assert abs((np.roll(dx, 1, axis=1) * v).sum() - (dx * v).sum()) > 1e-6


def test_one_kernel_copied_everywhere_is_conv(rng):
    x = rng.integers(-4, 5, (2, 6, 7, 3)).astype(np.float32)
    k = rng.integers(-4, 5, (3, 2, 3, 5)).astype(np.float32)
    everywhere = jnp.broadcast_to(k, (3, 4, *k.shape))
    y = ops.local_conv(x, everywhere, stride=2, padding_mode=("circular", "edge"))
    shared = ops.conv(x, k, stride=2, padding_mode=("circular", "edge"))
    np.testing.assert_array_equal(y, shared)
    changed = everywhere.at[0, 0].add(1.0)
    other = ops.local_conv(x, changed, stride=2, padding_mode=("circular", "edge"))
    assert not np.array_equal(other, shared)


def test_jvp_second_order_and_vmap(rng):
    case = CASES[2]
    x, k, b = draw(rng, case)
    tx, tk, tb = draw(rng, case)
    f = call(case)
    zero = np.zeros_like(b)
    with jax.enable_x64(True):
        g = np.random.default_rng(1).normal(size=loops(x, k, case).shape)

        def everything():
            _, tangent = jax.jvp(f, (x, k, b), (tx, tk, tb))
            wanted = f(tx, k, zero) + f(x, tk, tb)
            # d/dk of <tx, dx> in the direction tk is <g, f(tx, tk)>.
            inner = lambda k: (jax.vjp(lambda x: f(x, k, b), x)[1](g)[0] * tx).sum()
            second = (jax.grad(inner)(k) * tk).sum(), (g * f(tx, tk, zero)).sum()
            mapped = jax.vmap(f)(jnp.stack([x, tx]), jnp.stack([k, tk]), jnp.stack([b, tb]))
            return tangent, wanted, second, mapped, jnp.stack([f(x, k, b), f(tx, tk, tb)])

        results = quick_jit(everything)()
        tangent, wanted, second, mapped, stacked = jax.tree.map(np.asarray, results)
    assert_close(tangent, wanted)
    assert_close(mapped, stacked)
    np.testing.assert_allclose(*second, rtol=1e-10)
    assert np.abs(mapped[0] - mapped[1]).max() > 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_accumulate_in_float32(dtype):
    x, k = jnp.ones((1, 1, 3000), dtype), jnp.ones((1, 1, 3000, 2), dtype)
    y = ops.local_conv(x, k)
    assert y.dtype == dtype
    assert y.tolist() == jnp.full((1, 1, 2), 3000, dtype).tolist()
    f = lambda x, k: ops.local_conv(x, k).astype(jnp.float32).sum()
    dx, dk = jax.grad(f, (0, 1))(x, k)
    assert dx.dtype == dk.dtype == dtype
    assert np.unique(np.asarray(dx, np.float32)).tolist() == [2]
    assert np.unique(np.asarray(dk, np.float32)).tolist() == [1]


def test_batch_of_nothing():
    assert ops.local_conv(jnp.ones((0, 4, 1)), jnp.ones((4, 3, 1, 2))).shape == (0, 4, 2)


X = np.zeros((1, 8, 6, 3), np.float32)
K = np.zeros((8, 6, 3, 3, 3, 2), np.float32)
ERRORS = {
    "rank": (
        ValueError,
        lambda: ops.local_conv(X[0, 0], K),
        "local_conv: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of "
        "shape (6, 3). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ),
    "integers": (
        TypeError,
        lambda: ops.local_conv(X.astype(np.int32), K),
        "local_conv: x holds integers; expected a floating dtype. Got x of dtype int32. "
        "Use x.astype('float32').",
    ),
    "dtypes": (
        TypeError,
        lambda: ops.local_conv(X, K.astype(np.float16)),
        "local_conv: x is float32 and kernel is float16; expected one dtype. "
        "Got kernel of dtype float16. Use kernel.astype(x.dtype).",
    ),
    "kernel rank": (
        ValueError,
        lambda: ops.local_conv(X, K[0, 0]),
        "local_conv: kernel has 4 axes; expected 6, (*spatial', *window, C, features) for the 2 "
        "spatial axes of x. Got kernel of shape (3, 3, 3, 2) and x of shape (1, 8, 6, 3). "
        "Use conv for a kernel that all places share.",
    ),
    "empty kernel": (
        ValueError,
        lambda: ops.local_conv(X, K[:, :, :0]),
        "local_conv: kernel is empty; expected at least one place, tap, channel and feature. "
        "Got kernel of shape (8, 6, 0, 3, 3, 2). Use sizes of 1 or more.",
    ),
    "channels": (
        ValueError,
        lambda: ops.local_conv(X, K[..., :2, :]),
        "local_conv: x has 3 channels, the kernel reads 2; expected x of shape (N, *spatial, C) "
        "with C=2. Got x of shape (1, 8, 6, 3). Use a kernel that reads 3 channels.",
    ),
    "channels-first": (
        ValueError,
        lambda: ops.local_conv(np.zeros((1, 3, 8, 6), np.float32), K),
        "local_conv: x has 6 channels, the kernel reads 3; expected x of shape (N, *spatial, C) "
        "with C=3. Got x of shape (1, 3, 8, 6), which looks channels-first. "
        "Use jnp.moveaxis(x, 1, -1).",
    ),
    "places": (
        ValueError,
        lambda: ops.local_conv(X, K, padding="valid"),
        "local_conv: kernel has filters for (8, 6) places, the output has (6, 4); expected one "
        "filter bank per output pixel. Got kernel of shape (8, 6, 3, 3, 3, 2) and x of shape "
        "(1, 8, 6, 3). Use a kernel of shape (6, 4, 3, 3, 3, 2).",
    ),
    "stride": (
        ValueError,
        lambda: ops.local_conv(X, K, stride=0),
        "local_conv: stride is too small; expected at least 1. Got stride=0. Use stride=1 or more.",
    ),
    "dilation": (
        ValueError,
        lambda: ops.local_conv(X, K, dilation=0),
        "local_conv: dilation is too small; expected at least 1. Got dilation=0. "
        "Use dilation=1 or more.",
    ),
    "padding": (
        ValueError,
        lambda: ops.local_conv(X, K, padding="SAME"),
        "local_conv: padding is unknown; expected one of "
        '"same", "half", "valid", "causal", "full". '
        "Got padding='SAME'. Use padding='same', say.",
    ),
    "mode": (
        ValueError,
        lambda: ops.local_conv(X, K, padding_mode="wrap"),
        "local_conv: padding_mode is unknown; expected one of "
        '"zeros", "circular", "reflect", "edge". '
        "Got padding_mode='wrap'. Use padding_mode='zeros', say.",
    ),
    "empty output": (
        ValueError,
        lambda: ops.local_conv(X[:, :2], K, padding="valid"),
        "local_conv: the output is empty, a window of 3 pixels does not fit into 2 on spatial axis "
        "0; expected at least 3 with padding. Got x of shape (1, 2, 6, 3) and padding='valid'. "
        'Use padding="same" or a smaller window.',
    ),
    "bias": (
        ValueError,
        lambda: ops.local_conv(X, K, np.zeros(2, np.float32)),
        "local_conv: bias does not have one entry per output pixel and feature; expected shape "
        "(8, 6, 2). Got bias of shape (2,). "
        "Use jnp.broadcast_to(bias, (8, 6, 2)) for a bias that all places share.",
    ),
    "bias dtype": (
        TypeError,
        lambda: ops.local_conv(X, K, np.zeros((8, 6, 2), np.float16)),
        "local_conv: x is float32 and bias is float16; expected one dtype. "
        "Got bias of dtype float16. Use bias.astype(x.dtype).",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    kind, call, message = ERRORS[name]
    with raises(kind, message):
        call()
