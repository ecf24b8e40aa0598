"""A stack of alias-free blocks moves with every translation; with ordinary layers it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from helpers import assert_close, quick_jit, raises

import jaxconv as jc
from jaxconv import layers

SIZE, STAGES = 16, 2
WIDE = jax.nn.initializers.he_normal()
TRANSLATIONS = ((1, 0), (0.5, 0.5), (0, 0.5), (2.25, -0.7), (3, 5))


def image(dtype):
    """Band-limited noise: nothing at the Nyquist frequency."""
    x = np.random.default_rng(0).standard_normal((2, SIZE, SIZE, 3))
    return np.asarray(translated(x, (0, 0)), dtype)


def translated(x, amounts):
    """Through the complex spectrum, in float64, without the Nyquist frequency."""
    for axis, amount in enumerate(amounts, start=1):
        k = np.fft.fftfreq(x.shape[axis]) * x.shape[axis]
        ramp = np.exp(-2j * np.pi * k * amount / x.shape[axis]) * (2 * np.abs(k) < x.shape[axis])
        spectrum = np.fft.fft(np.asarray(x, np.float64), axis=axis)
        x = np.fft.ifft(
            spectrum * np.expand_dims(ramp, (*range(axis), *range(axis + 1, 4))), axis=axis
        ).real
    return x


def block(features, act, norm):
    """As in ConvNeXt: depthwise filter, norm, wider, activation, narrower, residual."""
    return jc.residual(
        jc.serial(
            layers.depthwise_conv(5, padding_mode="circular"),
            norm(),
            layers.dense(2 * features),
            act(),
            layers.dense(features),
        )
    )


def stack(act=layers.filtered_polynomial, norm=layers.alias_free_norm, down=layers.ideal_down):
    """Features at a quarter of the resolution; `pooled` is their mean over pixels."""
    stages = []
    for stage in range(STAGES):
        features = 8 * 2**stage
        stages += [layers.conv(features, 3, padding_mode="circular"), block(features, act, norm)]
        stages += [down(2), norm()]
    return jc.serial(*stages)


def differences(model, dtype):
    """Largest mean differences of features and of their means over pixels, of five translations."""
    with jax.enable_x64(dtype == np.float64):
        x = image(dtype)
        params, state = model.init(jax.random.key(0), jnp.asarray(x))
        run = quick_jit(lambda x: model.apply(params, state, x)[0])
        moved = np.concatenate([translated(image(np.float64), t) for t in TRANSLATIONS])
        y, *found = np.split(np.asarray(run(jnp.asarray(np.concatenate([x, moved]), dtype))), 6)
    size = np.abs(y).mean()
    assert 0.3 < size < 3
    features, pooled = [], []
    for t, z in zip(TRANSLATIONS, found, strict=True):
        expected = translated(y, np.divide(t, 2**STAGES))
        features.append(np.abs(z - expected).mean())
        pooled.append(
            np.abs(z.mean((1, 2), dtype=np.float64) - y.mean((1, 2), dtype=np.float64)).mean()
        )
    return max(features), max(pooled)


@pytest.mark.parametrize(
    ("dtype", "features", "pooled"), [(np.float32, 2e-5, 5e-6), (np.float64, 1e-11, 1e-11)]
)
def test_features_move_with_the_image_by_parts_of_a_pixel(dtype, features, pooled):
    found = differences(stack(), dtype)
    assert found[0] <= features
    assert found[1] <= pooled


ORDINARY = {
    "relu": {"act": lambda: jc.as_layer(jax.nn.relu)},
    "layer_norm": {"norm": layers.layer_norm},
    "strided": {"down": lambda stride: layers.max_pool(1, stride=stride)},
}


@pytest.mark.parametrize("name", ORDINARY)
def test_one_kind_of_ordinary_layer_breaks_it(name):
    features, pooled = differences(stack(**ORDINARY[name]), np.float32)
    assert features > 1e-2
    assert pooled > 1e-2


def test_values_are_those_of_a_polynomial_of_the_finer_image():
    """Degrees 2 to 4, odd and even axes; a finer grid than the layer's own changes nothing."""
    for degree, size in ((2, 8), (3, 9), (4, 12)):
        x = np.random.default_rng(degree).standard_normal((2, size, 2))
        rows = np.random.default_rng(9).standard_normal(degree + 1)
        with jax.enable_x64(True):
            layer = layers.filtered_polynomial(rows)
            y = layer.apply(*layer.init(jax.random.key(0), jnp.asarray(x)), jnp.asarray(x))[0]
        fine = np.polynomial.polynomial.polyval(scipy.signal.resample(x, 8 * size, axis=1), rows)
        spectrum = np.fft.rfft(fine, axis=1)
        kept = spectrum[:, : (size + 1) // 2]
        expected = np.fft.irfft(kept, size, axis=1) / 8
        assert_close(y, expected, 1e-12)
        assert np.abs(np.polynomial.polynomial.polyval(x, rows) - expected).max() > 0.1


def test_the_first_coefficients_are_those_nearest_to_gelu():
    x, weight = np.polynomial.hermite_e.hermegauss(80)
    gelu = np.asarray(jax.nn.gelu(jnp.asarray(x, jnp.float32), approximate=False), np.float64)
    expected = np.polynomial.polynomial.polyfit(x, gelu, 2, w=np.sqrt(weight))
    layer = layers.filtered_polynomial()
    params, _ = layer.init(jax.random.key(0), jnp.zeros((1, 6, 3)))
    rows = jnp.asarray(expected, jnp.float32)[:, None]
    assert_close(params["coefficients"], jnp.broadcast_to(rows, (3, 3)), 1e-5)


def test_the_norm_has_one_deviation_per_image():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)) * 7 + 3
    centered = x - x.mean(-1, keepdims=True)
    expected = centered / np.sqrt((centered**2).mean((1, 2, 3), keepdims=True) + 1e-3)
    with jax.enable_x64(True):
        layer = layers.alias_free_norm(epsilon=1e-3)
        y = layer.apply(*layer.init(jax.random.key(0), jnp.asarray(x)), jnp.asarray(x))[0]
    assert_close(y, expected)


def test_errors():
    x = jnp.zeros((1, 4, 3))
    with raises(
        ValueError,
        "filtered_polynomial: 2 coefficients make a line, which is no activation; expected 3 or "
        "more. Got coefficients=(0, 1). Use coefficients=(0, 0.5, 0.25).",
    ):
        layers.filtered_polynomial((0, 1))
    layer = layers.filtered_polynomial()
    params, state = layer.init(jax.random.key(0), x)
    with raises(
        ValueError,
        "filtered_polynomial: x has 5 channels and the parameters are for 3; expected x of shape "
        "(N, *spatial, 3). Got x of shape (1, 4, 5). Pass x with 3 channels, or the params of an "
        "init with 5.",
    ):
        layer.apply(params, state, jnp.zeros((1, 4, 5)))
    with raises(
        ValueError,
        "alias_free_norm: epsilon does not keep the variance away from zero; expected a number "
        "above 0. Got epsilon=0. Use epsilon=1e-5.",
    ):
        layers.alias_free_norm(epsilon=0)
    with raises(
        ValueError,
        "alias_free_norm: statistics of 1 value per pixel say nothing; expected at least 2 "
        "values. Got x of shape (1, 4, 1). Use instance_norm, or more channels.",
    ):
        layers.alias_free_norm().init(jax.random.key(0), x[..., :1])


def bending(norm, *, sums):
    """Nine residual blocks, each with a parabola, and with one of its sum if asked for."""
    parabola = lambda: jc.serial(norm(), layers.filtered_polynomial())
    conv = lambda: jc.serial(layers.conv(4, 3, padding_mode="circular"), layers.batch_norm())
    block = jc.residual(jc.serial(conv(), parabola(), conv()))
    return jc.repeat(9, jc.serial(block, parabola()) if sums else block)


def test_a_residual_network_of_parabolas_is_steady():
    """For an image of 30 times the contrast; parabolas of batch norms or of sums burst."""
    x = 30 * jnp.asarray(np.random.default_rng(0).standard_normal((1, 8, 4)), jnp.float32)

    def largest(model):
        y = quick_jit(lambda key: model.apply(*model.init(key, x), x)[0])(jax.random.key(0))
        return float(jnp.abs(y).max())

    assert largest(bending(layers.alias_free_norm, sums=False)) < 1e3
    assert not largest(bending(layers.batch_norm, sums=False)) < 1e20
    assert not largest(bending(layers.batch_norm, sums=True)) < 1e30


def test_a_resnet_whose_sums_nothing_bends():
    x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    options = {"down": layers.ideal_down, "activation": layers.filtered_polynomial()}
    for activate_sums in (True, False):
        model = jc.models.resnet(20, **options, activate_sums=activate_sums)
        params, _ = jax.eval_shape(model.init, jax.random.key(0), x)
        bent = [name for name in params["stage_1"] if not name.startswith("block")]
        assert len(bent) == 3 * activate_sums
        assert "activation_1" in params["stage_1"]["block"]["body"]
