"""Patches and fold: loops and torch by value, each the adjoint of the other, errors whole."""

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
    ((9,), (1,), (2,), (1,), ((0, 0),), ("zeros",)),
    ((6, 5), (3, 2), (2, 1), (1, 2), ((1, 1), (0, 3)), ("reflect", "edge")),
    ((6, 5), (2, 2), (2, 2), (1, 1), ((-1, 1), (4, 0)), ("zeros", "zeros")),
    ((3, 4, 5), (2, 1, 3), (1, 2, 2), (1, 1, 1), ((0, 1), (0, 0), (1, 1)), ("zeros",) * 3),
]


def options(case):
    _, _, stride, dilation, pads, modes = case
    return {"stride": stride, "dilation": dilation, "padding": pads, "padding_mode": modes}


def plan(case):
    _, _, stride, dilation, pads, modes = case
    return {"stride": stride, "dilation": dilation, "pads": pads, "modes": modes}


def test_equal_loops_and_are_adjoint(rng):
    images = [rng.normal(size=(2, *case[0], 3)) for case in CASES]
    laid = [reference_conv.patches(x, c[1], **plan(c)) for x, c in zip(images, CASES, strict=True)]
    windows = [rng.normal(size=each.shape) for each in laid]

    def everything(images, windows):
        for x, w, case in zip(images, windows, CASES, strict=True):
            y = ops.patches(x, case[1], **options(case))
            z, pullback = jax.vjp(lambda w, c=case: ops.fold(w, c[0], **options(c)), w)
            yield y, z, pullback(x)[0]

    with jax.enable_x64(True):
        results = quick_jit(lambda *arguments: list(everything(*arguments)))(images, windows)
        results = jax.tree.map(np.asarray, results)
    for x, p, w, case, (y, z, back) in zip(images, laid, windows, CASES, results, strict=True):
        np.testing.assert_array_equal(y, p)
        np.testing.assert_array_equal(back, p)  # the gradient of fold is patches
        assert_close(z, reference_conv.fold(w, case[0], **plan(case)))
        np.testing.assert_allclose((y * w).sum(), (x * z).sum(), rtol=1e-12)
        assert abs((y * w).sum() - (x * np.roll(z, 1, axis=1)).sum()) > 1e-6


@pytest.mark.peer("torch")
def test_equal_torch(rng):
    import torch
    import torch.nn.functional as F

    x = rng.normal(size=(2, 7, 8, 3)).astype(np.float32)
    settings = {"dilation": (1, 2), "padding": (1, 2), "stride": (2, 3)}
    wanted = F.unfold(torch.tensor(x).movedim(-1, 1), (3, 2), **settings)
    back = F.fold(wanted, (7, 8), (3, 2), **settings).movedim(1, -1).numpy()
    wanted = wanted.numpy().reshape(2, 3, 3, 2, 4, 4).transpose(0, 4, 5, 2, 3, 1)
    ours = {"dilation": (1, 2), "padding": ((1, 1), (2, 2)), "stride": (2, 3)}
    y = ops.patches(x, (3, 2), **ours)
    np.testing.assert_array_equal(y, wanted)
    assert_close(ops.fold(y, (7, 8), **ours), back)
    assert not np.array_equal(ops.patches(x, (3, 2), **ours | {"dilation": (2, 1)})[:, :4], wanted)


def test_convolution_is_a_product_with_patches(rng):
    x = rng.integers(-4, 5, (2, 6, 7, 3)).astype(np.float32)
    k = rng.integers(-4, 5, (3, 2, 3, 5)).astype(np.float32)
    windows = ops.patches(x, (3, 2), stride=2, padding="same")
    product = jnp.tensordot(windows, k, 3)
    np.testing.assert_array_equal(product, ops.conv(x, k, stride=2))
    assert not np.array_equal(product, ops.conv(x, k[::-1], stride=2))


def test_infinity_and_integers_stay_what_they_are():
    x = jnp.array([1, jnp.inf, jnp.nan, 2]).reshape(1, 4, 1)
    y = ops.patches(x, 2)[0, :, :, 0]
    np.testing.assert_array_equal(y, [[1, np.inf], [np.inf, np.nan], [np.nan, 2]])
    assert ops.patches(jnp.arange(4).reshape(1, 4, 1), 2).dtype == jnp.int32


def test_disjoint_windows_come_back(rng):
    x = rng.normal(size=(2, 6, 4, 3)).astype(np.float32)
    windows = ops.patches(x, (3, 2), stride=(3, 2))
    np.testing.assert_array_equal(ops.fold(windows, (6, 4), stride=(3, 2)), x)


def test_vmap_and_jvp_are_the_map_itself(rng):
    x = rng.normal(size=(3, 2, 5, 2)).astype(np.float32)
    f = lambda x: ops.patches(x, 2, padding=1, padding_mode="circular")
    assert_close(jax.vmap(f)(x), jnp.stack([f(each) for each in x]), tolerance=0)
    assert_close(jax.jvp(f, (x[0],), (x[1],))[1], f(x[1]), tolerance=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_keeps_dtype(dtype):
    windows = ops.patches(jnp.ones((1, 5, 1), dtype), 3)
    assert windows.dtype == dtype
    folded = ops.fold(windows, 5)
    assert folded.dtype == dtype
    assert folded.ravel().tolist() == [1, 2, 3, 2, 1]


X = np.zeros((1, 5, 4, 2), np.float32)
P = np.zeros((1, 3, 2, 3, 3, 2), np.float32)
ERRORS = {
    "rank": (
        ValueError,
        lambda: ops.patches(X[0, 0], 3),
        "patches: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(4, 2). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ),
    "window": (
        ValueError,
        lambda: ops.patches(X, 0),
        "patches: window is too small; expected at least 1. Got window=0. Use window=1 or more.",
    ),
    "window type": (
        TypeError,
        lambda: ops.patches(X, 2.0),
        "patches: window is of type float; expected an int. Got window=2.0. Pass a whole number.",
    ),
    "windows": (
        ValueError,
        lambda: ops.patches(X, (3, 3, 3)),
        "patches: window has 3 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got window=(3, 3, 3). Use window=3 for all axes.",
    ),
    "stride": (
        ValueError,
        lambda: ops.patches(X, 3, stride=0),
        "patches: stride is too small; expected at least 1. Got stride=0. Use stride=1 or more.",
    ),
    "strides": (
        ValueError,
        lambda: ops.patches(X, 3, stride=(1,)),
        "patches: stride has 1 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got stride=(1,). Use stride=1 for all axes.",
    ),
    "dilation": (
        ValueError,
        lambda: ops.patches(X, 3, dilation=-1),
        "patches: dilation is too small; expected at least 1. Got dilation=-1. "
        "Use dilation=1 or more.",
    ),
    "padding": (
        ValueError,
        lambda: ops.patches(X, 3, padding="SAME"),
        'patches: padding is unknown; expected one of "same", "half", "valid", "causal", "full". '
        "Got padding='SAME'. Use padding='same', say.",
    ),
    "mode": (
        ValueError,
        lambda: ops.patches(X, 3, padding_mode="wrap"),
        'patches: padding_mode is unknown; expected one of "zeros", "circular", "reflect", "edge". '
        "Got padding_mode='wrap'. Use padding_mode='zeros', say.",
    ),
    "empty": (
        ValueError,
        lambda: ops.patches(X, 5),
        "patches: the output is empty, a window of 5 pixels does not fit into 4 on spatial axis 1; "
        "expected at least 5 with padding. Got x of shape (1, 5, 4, 2) and padding='valid'. "
        'Use padding="same" or a smaller window.',
    ),
    "fold integers": (
        TypeError,
        lambda: ops.fold(P.astype(np.int32), (5, 4)),
        "fold: patches holds integers; expected a floating dtype. Got patches of dtype int32. "
        "Use patches.astype('float32').",
    ),
    "fold rank": (
        ValueError,
        lambda: ops.fold(P[0], (5, 4)),
        "fold: patches has 5 axes; expected (N, *spatial, *window, C) with as many window as "
        "spatial axes. Got patches of shape (3, 2, 3, 3, 2). "
        "Use patches[..., None] if the channel axis is missing.",
    ),
    "fold output_shape": (
        ValueError,
        lambda: ops.fold(P, (5, 5)),
        "fold: an image of output_shape=(5, 5) has (3, 3) windows, patches holds (3, 2); expected "
        "as many. Got patches of shape (1, 3, 2, 3, 3, 2). "
        "Use the stride, padding and dilation that patches was called with.",
    ),
    "fold output_shape rank": (
        ValueError,
        lambda: ops.fold(P, (5,)),
        "fold: output_shape has 1 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got output_shape=(5,). Use output_shape=5 for all axes.",
    ),
    "fold output_shape zero": (
        ValueError,
        lambda: ops.fold(P, 0),
        "fold: output_shape is too small; expected at least 1. Got output_shape=0. "
        "Use output_shape=1 or more.",
    ),
    "fold stride": (
        ValueError,
        lambda: ops.fold(P, (5, 4), stride=0),
        "fold: stride is too small; expected at least 1. Got stride=0. Use stride=1 or more.",
    ),
    "fold dilation": (
        ValueError,
        lambda: ops.fold(P, (5, 4), dilation=0),
        "fold: dilation is too small; expected at least 1. Got dilation=0. Use dilation=1 or more.",
    ),
    "fold padding": (
        ValueError,
        lambda: ops.fold(P, (5, 4), padding=((1, 1),)),
        "fold: padding has 1 entries for 2 spatial axes; expected one pair (low, high) per spatial "
        "axis. Got padding=((1, 1),). Use padding=((1, 1), (1, 1)), say.",
    ),
    "fold mode": (
        ValueError,
        lambda: ops.fold(P, (5, 4), padding_mode=("zeros",)),
        "fold: padding_mode has 1 entries for 2 spatial axes; expected one per spatial axis or a "
        "single word. Got padding_mode=('zeros',). Use padding_mode=\"zeros\" for all axes.",
    ),
    "fold empty": (
        ValueError,
        lambda: ops.fold(P, (5, 2)),
        "fold: the output is empty, a window of 3 pixels does not fit into 2 on spatial axis 1; "
        "expected at least 3 with padding. Got x of shape (1, 5, 2, 2) and padding='valid'. "
        'Use padding="same" or a smaller window.',
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    kind, call, message = ERRORS[name]
    with raises(kind, message):
        call()


def test_nothing_mapped():
    """A mapped axis of length 0, forward and backward."""
    x = jnp.zeros((0, 2, 5, 6, 3))
    assert jax.vmap(lambda x: ops.patches(x, 2, padding="valid"))(x).shape == (0, 2, 4, 5, 2, 2, 3)
    square = lambda x: (ops.avg_pool(x, 2) ** 2).sum()
    assert jax.vmap(jax.grad(square))(x).shape == x.shape
