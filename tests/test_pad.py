"""Padding: numpy.pad by value, croppings by position, gradients by adjointness, errors whole."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_conv
from helpers import assert_close, quick_jit, raises

from jaxconv import ops

NUMPY_MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "edge": "edge"}
PAIRS = [(0, 0), (1, 2), (4, 0), (7, 9), (0, 3)]
CROPS = [(-1, 2), (3, -2), (-2, -1), (-5, 7), (6, -7), (-3, 0)]


def by_position(x, pairs, modes):
    """Every pixel of the result looked up in x, one by one."""
    sizes = [n + low + high for n, (low, high) in zip(x.shape[1:-1], pairs, strict=True)]
    y = np.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    for i in itertools.product(*map(range, sizes)):
        axes = zip(i, pairs, x.shape[1:-1], modes, strict=True)
        j = tuple(reference_conv.source(p - low, n, mode) for p, (low, _), n, mode in axes)
        if None not in j:
            y[(slice(None), *i)] = x[(slice(None), *j)]
    return y


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_equals_numpy_for_any_excess(mode, rng):
    images = [rng.normal(size=(2, size, 3)).astype(np.float32) for size in (1, 2, 3, 5)]
    cases = list(itertools.product(images, PAIRS))
    padded = quick_jit(lambda: [ops.pad(x, (pair,), padding_mode=mode) for x, pair in cases])()
    for y, (x, pair) in zip(padded, cases, strict=True):
        wanted = np.pad(x, ((0, 0), pair, (0, 0)), mode=NUMPY_MODES[mode])
        np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_negative_amounts_look_at_the_continuation(mode, rng):
    x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    padded = quick_jit(lambda: [ops.pad(x, (pair,), padding_mode=mode) for pair in CROPS])()
    noticed = 0
    for y, pair in zip(padded, CROPS, strict=True):
        np.testing.assert_array_equal(y, by_position(x, (pair,), (mode,)))
        noticed += not np.array_equal(y, by_position(x[:, ::-1], (pair,), (mode,)))
    assert noticed >= 4, noticed


def test_one_mode_per_axis(rng):
    x = rng.normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
    pairs, modes = ((1, 2), (5, -1), (0, 3)), ("circular", "zeros", "reflect")
    y = quick_jit(lambda x: ops.pad(x, pairs, padding_mode=modes))(x)
    np.testing.assert_array_equal(y, by_position(x, pairs, modes))
    assert not np.array_equal(y, by_position(x, pairs, ("circular", "zeros", "edge")))


def test_value_fills_zeros_mode_only():
    x = jnp.arange(3).reshape(1, 3, 1)
    assert ops.pad(x, ((1, 1),), value=7).ravel().tolist() == [7, 0, 1, 2, 7]
    edge = ops.pad(x, ((1, 1),), value=7, padding_mode="edge")
    assert edge.ravel().tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("dtype", ["bool", "int32", "bfloat16", "float32"])
def test_keeps_dtype_and_an_unpadded_array(dtype):
    x = jnp.ones((2, 3, 4, 1), dtype)
    assert ops.pad(x, 1).dtype == dtype
    assert ops.pad(x, 0) is x


def test_gradient_is_the_adjoint(rng):
    cases = [(mode, pair) for mode in NUMPY_MODES for pair in (*PAIRS, *CROPS[:2])]
    with jax.enable_x64(True):
        x = rng.normal(size=(2, 5, 3))
        cotangents = [rng.normal(size=(2, 5 + sum(pair), 3)) for _, pair in cases]

        def pullbacks(x, cotangents):
            for (mode, pair), cotangent in zip(cases, cotangents, strict=True):
                pad = lambda x, pair=pair, mode=mode: ops.pad(x, (pair,), padding_mode=mode)
                yield jax.vjp(pad, x)[1](cotangent)[0]

        gradients = quick_jit(lambda *arguments: list(pullbacks(*arguments)))(x, cotangents)
    for (mode, pair), cotangent, gradient in zip(cases, cotangents, gradients, strict=True):
        wanted = (by_position(x, (pair,), (mode,)) * cotangent).sum()
        np.testing.assert_allclose((x * np.asarray(gradient)).sum(), wanted, rtol=1e-12)
        if mode != "zeros" and max(pair) > 0:
            wrong = (by_position(x, (pair,), ("zeros",)) * cotangent).sum()
            assert abs(wrong - wanted) > 1e-6


def test_vmap_pads_each(rng):
    x = rng.normal(size=(3, 2, 4, 5, 1)).astype(np.float32)
    pad = lambda x: ops.pad(x, ((1, 2), (-1, 3)), padding_mode=("circular", "zeros"))
    assert_close(jax.vmap(pad)(x), jnp.stack([pad(each) for each in x]), tolerance=0)


def test_an_axis_may_vanish():
    assert ops.pad(jnp.ones((1, 3, 1)), ((-1, -2),)).shape == (1, 0, 1)
    assert ops.pad(jnp.ones((1, 3, 1)), ((-1, -2),), padding_mode="edge").shape == (1, 0, 1)


X = np.zeros((1, 3, 4, 1), np.float32)
ERRORS = {
    "word": (
        lambda: ops.pad(X, "same"),
        "pad: padding is a word, which needs a window; expected an int or one pair (low, high) "
        "per spatial axis. Got padding='same'. Use padding=1, say.",
    ),
    "form": (
        lambda: ops.pad(X, (1, 1)),
        "pad: padding is not understood; expected one of same, half, valid, causal, full, an int, "
        "or one pair (low, high) per spatial axis. Got padding=(1, 1). "
        'Use padding="same" or padding=((1, 1), (1, 1)), say.',
    ),
    "rank": (
        lambda: ops.pad(X, ((1, 1),)),
        "pad: padding has 1 entries for 2 spatial axes; expected one pair (low, high) per spatial "
        "axis. Got padding=((1, 1),). Use padding=((1, 1), (1, 1)), say.",
    ),
    "mode": (
        lambda: ops.pad(X, 1, padding_mode="wrap"),
        'pad: padding_mode is unknown; expected one of "zeros", "circular", "reflect", "edge". '
        "Got padding_mode='wrap'. Use padding_mode='zeros', say.",
    ),
    "modes": (
        lambda: ops.pad(X, 1, padding_mode=("zeros",)),
        "pad: padding_mode has 1 entries for 2 spatial axes; expected one per spatial axis or a "
        "single word. Got padding_mode=('zeros',). Use padding_mode=\"zeros\" for all axes.",
    ),
    "axes": (
        lambda: ops.pad(X[0, 0], 1),
        "pad: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(4, 1). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ),
    "crop": (
        lambda: ops.pad(X, ((0, 0), (-3, -2))),
        "pad: padding crops spatial axis 1 to -1 pixels; expected at least 0. Got x of shape "
        "(1, 3, 4, 1). Crop at most 4 pixels.",
    ),
    "nothing": (
        lambda: ops.pad(X[:, :0], 1, padding_mode="circular"),
        "pad: spatial axis 0 has no pixel to repeat; expected at least 1 for "
        "padding_mode='circular'. Got x of shape (1, 0, 4, 1). "
        'Use padding_mode="zeros" for that axis.',
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, message = ERRORS[name]
    with raises(ValueError, message):
        call()


def test_errors_need_the_whole_message():
    call, message = ERRORS["word"]
    with pytest.raises(AssertionError), raises(ValueError, message[:-1]):
        call()


def test_gradients_are_slices_and_sums_not_scatters():
    pad = lambda x: ops.pad(x, 3, padding_mode=("circular", "reflect")).sum()
    text = str(jax.make_jaxpr(jax.grad(pad))(jnp.ones((1, 5, 6, 2))))
    assert "gather" not in text
    assert "scatter" not in text
    assert "slice" in text
