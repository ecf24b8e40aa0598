"""Ideal resampling against SciPy's FFTs, translations by parts of a pixel, Nyquist, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from helpers import assert_close, quick_jit, raises

from jaxconv import models, ops
from jaxconv.layers import ideal_down, ideal_up
from jaxconv.ops._circle import LARGEST_MATRIX

SIZES, FACTORS = (8, 9, 12, 15, 132), (1, 2, 3, 5)


def waves(size, seed=0):
    return np.random.default_rng(seed).standard_normal((2, size, 3))


def without_nyquist(x, axis=1):
    spectrum = np.fft.rfft(x, axis=axis)
    if x.shape[axis] % 2 == 0:
        np.moveaxis(spectrum, axis, 0)[-1] = 0
    return np.fft.irfft(spectrum, x.shape[axis], axis)


def below_new_nyquist(x, stride):
    """Every stride-th sample, once all from the new Nyquist frequency up is gone."""
    spectrum = np.fft.fft(x, axis=1)
    frequency = np.abs(np.fft.fftfreq(x.shape[1]) * x.shape[1])
    spectrum[:, frequency >= x.shape[1] / stride / 2] = 0
    return np.fft.ifft(spectrum, axis=1).real[:, ::stride]


def translated(x, amount):
    """By a real amount, through the complex spectrum; the Nyquist frequency is taken out."""
    spectrum = np.fft.fft(without_nyquist(x), axis=1)
    ramp = np.exp(-2j * np.pi * np.fft.fftfreq(x.shape[1]) * amount)
    return np.fft.ifft(spectrum * ramp[:, None], axis=1).real


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_values_are_those_of_ffts(dtype, limit):
    """Even and odd axes, to even and odd ones, by matrices and by FFTs."""
    assert max(SIZES) > LARGEST_MATRIX
    with jax.enable_x64(dtype == np.float64):
        x = {size: jnp.asarray(waves(size), dtype) for size in SIZES}
        pairs = [(size, factor) for size in SIZES for factor in FACTORS]

        @quick_jit
        def everything(x):
            up = [ops.ideal_up(x[size], factor) for size, factor in pairs]
            down = [ops.ideal_down(x[a], s) for a, s in pairs if a % s == 0 and s > 1]
            return up, down

        up, down = everything(x)
    for y, (size, factor) in zip(up, pairs, strict=True):
        expected = scipy.signal.resample(waves(size), size * factor, axis=1)
        assert_close(y, expected.astype(dtype), limit)
        assert_close(y[:, ::factor], waves(size).astype(dtype), limit)
    rows = [(a, s) for a, s in pairs if a % s == 0 and s > 1]
    for y, (size, stride) in zip(down, rows, strict=True):
        assert_close(y, below_new_nyquist(waves(size), stride).astype(dtype), limit)
    assert len(rows) == 8


def test_axes_are_resampled_one_after_the_other():
    x = np.random.default_rng(1).standard_normal((1, 6, 8, 9, 2)).astype(np.float32)
    y = ops.ideal_up(jnp.asarray(x), (2, 1, 3))
    expected = scipy.signal.resample(scipy.signal.resample(x, 12, axis=1), 27, axis=3)
    assert_close(y, expected.astype(np.float32))
    same = jax.vmap(lambda x: ops.ideal_down(x, (2, 1, 3)))(y[None])[0]
    expected = without_nyquist(x.astype(np.float64)).astype(np.float32)
    assert_close(same, expected)


@pytest.mark.parametrize("size", [12, 15, 132])
def test_they_commute_with_translations_by_parts_of_a_pixel(size):
    """And plain sampling, and an image with a Nyquist frequency, do not."""
    x = without_nyquist(waves(size))
    with jax.enable_x64(True):
        run = quick_jit(lambda x: (ops.ideal_down(x, 3), ops.ideal_up(x, 2)))
        down, up = (np.asarray(y) for y in run(jnp.asarray(x)))
        worst = 0.0
        for amount in (1, 0.5, 2.3):
            low, high = (np.asarray(y) for y in run(jnp.asarray(translated(x, amount))))
            worst = max(worst, np.abs(low - translated(down, amount / 3)).max())
            worst = max(worst, np.abs(high - translated(up, 2 * amount)).max())
        assert worst <= 1e-11
        sampled = translated(x, 0.5)[:, ::3] - translated(x[:, ::3], 0.5 / 3)
        assert np.abs(sampled).max() > 0.1
        if size % 2 == 0:
            nyquist = jnp.asarray(np.resize([1.0, -1.0], (1, size, 1)))
            assert jnp.abs(ops.ideal_up(nyquist, 2)[:, 1::2]).max() <= 1e-12  # cos(πi / 2)
            assert_close(ops.ideal_up(nyquist, 2)[:, ::2], nyquist)


def test_it_is_the_down_and_the_up_of_models():
    x = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    net = models.unet(2, (4, 6), padding_mode="circular", down=ideal_down, up=ideal_up)
    params, state = jax.eval_shape(net.init, jax.random.key(0), x)
    y, _ = jax.eval_shape(net.apply, params, state, x)
    assert y.shape == (1, 16, 16, 2)
    assert "window_strides=(2, 2)" not in str(jax.make_jaxpr(net.apply)(params, state, x))


def test_errors():
    x = jnp.zeros((1, 9, 8, 3))
    with raises(
        ValueError,
        "ideal_down: a stride of 2 does not divide the 9 pixels of the circular spatial axis 0; "
        "expected a multiple of 2. Got x of shape (1, 9, 8, 3). Resize or pad that axis to 10 "
        "pixels.",
    ):
        ideal_down(2).init(jax.random.key(0), x)
    with raises(
        TypeError,
        "ideal_up: x holds integers; expected a floating dtype. Got x of dtype int32. "
        "Use x.astype('float32').",
    ):
        ops.ideal_up(x.astype(jnp.int32))
    with raises(
        ValueError,
        "ideal_up: scale is too small; expected at least 1. Got scale=0. Use scale=1 or more.",
    ):
        ideal_up(0)
