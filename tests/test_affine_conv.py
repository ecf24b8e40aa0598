"""Normalization-equivariance: f(a·x + b) = a·f(x) + b, for layers, networks, and not for others."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit, raises

import jaxconv as jc
from jaxconv import layers, ops

GAINS, OFFSETS = (0.1, 0.7, 1.0, 3.0, 10.0), (-10.0, -0.5, 0.0, 4.0, 10.0)


def images(*shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


SORT = layers.sort_pool()


def denoiser(between=SORT, residual=layers.affine_residual):
    """A small U-Net: filters, a residual at half the resolution, and a skip connection."""

    def convs(features):
        first = layers.affine_conv(features, (3, 5), padding_mode="reflect")
        return jc.serial(first, between, layers.affine_conv(features, 3))

    deeper = jc.serial(
        layers.avg_pool(2),
        layers.affine_conv(6, 3, stride=2, padding_mode="reflect"),
        residual(convs(6)),
        layers.ideal_up(2),
        layers.affine_conv(8, 1),
        layers.pixel_shuffle(2),
    )
    skip = jc.parallel(lambda x: x, deeper, combine="concatenate")
    return jc.serial(convs(4), skip, layers.affine_conv(1, 3, padding_mode="edge"))


def worst(model, dtype):
    """The largest relative error of the law over 25 pairs of a gain and an offset."""
    with jax.enable_x64(dtype == np.float64):
        x = jnp.asarray(images(2, 8, 12, 2, dtype=dtype))
        params, state = model.init(jax.random.key(0), x)
        run = quick_jit(lambda x: model.apply(params, state, x)[0])
        y = np.asarray(run(x), np.float64)
        errors = []
        for gain, offset in itertools.product(GAINS, OFFSETS):
            found = np.asarray(run(gain * x + offset), np.float64)
            expected = gain * y + offset
            errors.append(np.abs(found - expected).max() / np.abs(expected).max())
    return max(errors)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_brightness_and_contrast_come_out_as_they_go_in(dtype, limit):
    assert worst(denoiser(), dtype) <= limit


def test_a_relu_a_plain_residual_or_a_bias_breaks_the_law():
    assert worst(denoiser(between=jax.nn.relu), np.float64) > 1e-2
    assert worst(denoiser(residual=jc.residual), np.float64) > 1e-2
    ordinary = layers.conv(3, 3, padding_mode="circular")
    assert worst(ordinary, np.float64) > 1e-1


def test_values_are_those_of_a_convolution_with_weights_that_sum_to_one():
    x = images(2, 6, 7, 3)
    with jax.enable_x64(True):
        layer = layers.affine_conv(4, (3, 2), padding_mode="edge")
        params, _ = layer.init(jax.random.key(0), x)
        kernel = np.asarray(params["kernel"])
        w = kernel - kernel.mean((0, 1, 2)) + 1 / 18
        np.testing.assert_allclose(w.sum((0, 1, 2)), 1, rtol=1e-14)
        expected = ops.conv(jnp.asarray(x), jnp.asarray(w), padding_mode="edge")
        assert_close(layer.apply(params, {}, jnp.asarray(x))[0], expected)


def test_pairs_are_sorted_and_a_negative_gain_is_not_covered():
    x = images(2, 5, 6)
    with jax.enable_x64(True):
        y = layers.sort_pool().apply({}, {}, jnp.asarray(x))[0]
        assert_close(y, jnp.asarray(np.sort(x.reshape(2, 5, 3, 2)).reshape(x.shape)), 0)
        flipped = layers.sort_pool().apply({}, {}, jnp.asarray(-x))[0]
    assert np.abs(flipped + y).max() > 0.1


def test_the_residual_is_a_mean_of_body_and_shortcut_with_a_learned_weight():
    x = images(2, 5, 4)
    with jax.enable_x64(True):
        layer = layers.affine_residual(layers.conv(4, 1), jnp.tanh, weight=0.3)
        params, state = layer.init(jax.random.key(0), x)
        body = layers.conv(4, 1).apply(params["body"], {}, jnp.asarray(x))[0]
        y, _ = layer.apply(params | {"weight": jnp.asarray(1.5)}, state, jnp.asarray(x))
        assert_close(y, 1.5 * body - 0.5 * jnp.tanh(jnp.asarray(x)))
        assert params["weight"] == 0.3


def test_errors():
    x = jnp.zeros((1, 4, 3))
    wider = layers.affine_residual(layers.affine_conv(5, 1))
    with raises(
        ValueError,
        "affine_residual: 'body' returns float32 (1, 4, 5) and 'shortcut' float32 (1, 4, 3); "
        "expected equal shapes and dtypes. Got shortcut of shape (1, 4, 3). Give both branches "
        "the same stride, padding and features.",
    ):
        wider.apply(*wider.init(jax.random.key(0), x), x)
    with raises(
        ValueError,
        "affine_conv: padding with zeros darkens the border, so that a·x + b does not give "
        'a·y + b; expected "circular", "reflect" or "edge". Got padding_mode=\'zeros\'. '
        'Use padding_mode="reflect" or padding="valid".',
    ):
        layers.affine_conv(3, 3, padding_mode="zeros")
    layers.affine_conv(3, 3, padding="valid", padding_mode="zeros")
    with raises(
        ValueError,
        "sort_pool: 3 channels do not split into pairs; expected an even number. Got x of shape "
        "(1, 4, 3). Use 4 features before.",
    ):
        layers.sort_pool().init(jax.random.key(0), jnp.zeros((1, 4, 3)))


def test_errors_name_the_layer_and_not_the_convolution_in_it():
    x = jnp.zeros((1, 4, 3))
    with raises(
        ValueError,
        "affine_conv: features is too small; expected at least 1. Got features=0. "
        "Use features=1 or more.",
    ):
        layers.affine_conv(0, 3)
    with raises(
        TypeError,
        "affine_conv: window is of type float; expected an int. Got window=1.5. "
        "Pass a whole number.",
    ):
        layers.affine_conv(2, 1.5)
    layer = layers.affine_conv(2, 5, padding="valid", name="first")
    with raises(
        ValueError,
        "affine_conv: the output is empty, a window of 5 pixels does not fit into 4 on spatial "
        "axis 0; expected at least 5 with padding. Got x of shape (1, 4, 3) and padding='valid'. "
        'Use padding="same" or a smaller window.',
    ):
        layer.init(jax.random.key(0), x)
    params, state = layer.init(jax.random.key(0), jnp.zeros((1, 6, 3)))
    with raises(
        TypeError,
        "affine_conv: x holds integers; expected a floating dtype. Got x of dtype int32. "
        "Use x.astype('float32').",
    ):
        layer.apply(params, state, jnp.zeros((1, 6, 3), jnp.int32))
    with raises(
        ValueError,
        "conv: features is too small; expected at least 1. Got features=0. Use features=1 or more.",
    ):
        layers.conv(0, 3)
