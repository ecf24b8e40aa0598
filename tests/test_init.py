"""Initial values: their distribution, their fans, and that they depend on key and shape only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit
from scipy import stats

from jaxconv import layers
from jaxconv.layers import _init

SHAPES = [(3,), (7, 5), (_init.CHUNK,), (_init.CHUNK + 1,), (3, 3, 64, 256)]


@pytest.mark.parametrize("shape", SHAPES)
def test_eager_jit_and_vmap_give_the_same_bits(shape, key):
    draw = _init.scaled_normal(2, fan_in=9)
    eager = draw(key, shape, jnp.float32)
    assert_close(jax.jit(lambda key: draw(key, shape, jnp.float32))(key), eager, 0)
    assert_close(jax.jit(lambda: draw(key, shape, jnp.float32))(), eager, 0)  # key not traced
    if eager.size < 100:
        mapped = jax.jit(jax.vmap(lambda key: draw(key, shape, jnp.float32)))(key[None])
        assert_close(mapped[0], eager, 0)
        with jax.disable_jit():
            assert_close(draw(key, shape, jnp.float32), eager, 1e-6)


def test_values_are_those_of_jax_in_distribution(key):
    shape, fan_in = (3, 3, 64, 256), 576
    ours = np.asarray(_init.scaled_normal(2, fan_in)(key, shape, jnp.float32)).ravel()
    theirs = np.asarray(jax.nn.initializers.he_normal()(key, shape, jnp.float32)).ravel()
    deviation = np.sqrt(2 / fan_in)
    cut = stats.truncnorm(-2, 2, scale=deviation / stats.truncnorm(-2, 2).std())
    assert stats.kstest(ours, cut.cdf).pvalue > 0.01
    assert stats.ks_2samp(ours, theirs).pvalue > 0.01
    assert stats.kstest(1.03 * ours, cut.cdf).pvalue < 1e-6  # control: three percent show
    assert abs(ours.std() / deviation - 1) < 0.005
    assert abs(np.abs(ours).max() - np.abs(theirs).max()) < 1e-3 * deviation


def test_chunks_and_neighbors_are_independent(key):
    values = np.asarray(_init.scaled_normal(1, 1)(key, (4 * _init.CHUNK,), jnp.float32))
    assert len(np.unique(values)) > 0.97 * values.size  # float32 repeats some by chance
    for lag in (1, 2, _init.CHUNK, 2 * _init.CHUNK):
        assert abs(np.corrcoef(values[lag:], values[:-lag])[0, 1]) < 5 / np.sqrt(values.size / 2)
    other = np.asarray(
        _init.scaled_normal(1, 1)(jax.random.key(1), (4 * _init.CHUNK,), jnp.float32)
    )
    assert abs(np.corrcoef(values, other)[0, 1]) < 5 / np.sqrt(values.size)


def output_variance(layer, shape):
    """Variance of what a layer makes of white noise: 2 for He's values, 1 for LeCun's."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
    made = quick_jit(lambda key, x: layer.apply(*layer.init(key, x), x)[0])
    return float(np.asarray(made(jax.random.key(0), x)).var())


CIRCULAR = {"padding_mode": "circular"}
FANS = [
    (layers.conv(256, 3, **CIRCULAR), 64, 2),
    (layers.conv(256, 3, groups=8, **CIRCULAR), 64, 2),
    (layers.depthwise_conv(3, **CIRCULAR), 256, 2),
    (layers.depthwise_conv(3, multiplier=4, **CIRCULAR), 64, 2),
    (layers.conv_transpose(32, 3, **CIRCULAR), 128, 2),
    (layers.conv_transpose(128, 3, **CIRCULAR), 32, 2),
    (layers.conv_transpose(64, 3, groups=4, **CIRCULAR), 256, 2),
    (layers.local_conv(16, 3, **CIRCULAR), 32, 2),
    (layers.dense(256), 64, 1),
]


@pytest.mark.parametrize(("layer", "channels", "variance"), FANS)
def test_fans_count_the_taps_that_an_output_sees(layer, channels, variance):
    assert abs(output_variance(layer, (2, 8, 8, channels)) / variance - 1) < 0.1


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (lambda init: layers.conv_transpose(32, 3, kernel_init=init, **CIRCULAR), 128),
        (lambda init: layers.conv_transpose(128, 3, groups=4, kernel_init=init, **CIRCULAR), 32),
        (lambda init: layers.local_conv(16, 3, kernel_init=init, **CIRCULAR), 32),
        (lambda init: layers.depthwise_conv(3, kernel_init=init, **CIRCULAR), 256),
        (lambda init: layers.conv(64, 3, groups=8, kernel_init=init, **CIRCULAR), 64),
    ],
)
def test_initializers_of_jax_count_the_same_fans(layer, channels):
    init = jax.nn.initializers.he_normal()
    assert abs(output_variance(layer(init), (2, 8, 8, channels)) / 2 - 1) < 0.1


def test_layout_of_a_transposed_kernel():
    """Group g holds the block [:, inputs, g · outputs : (g + 1) · outputs] that was asked for."""
    asked = []

    def count(key, shape, dtype):
        asked.append(shape)
        return jnp.arange(np.prod(shape), dtype=dtype).reshape(shape)

    layer = layers.conv_transpose(6, (2,), groups=2, kernel_init=count)  # 4 channels in, 6 out
    params, _ = layer.init(jax.random.key(0), jnp.ones((1, 5, 4)))
    assert asked == [(2, 2, 6)]
    plain = np.arange(24).reshape(2, 2, 6)  # (taps, inputs of a group, outputs of all groups)
    expected = np.concatenate([plain[..., :3], plain[..., 3:]], axis=1)  # inputs of all groups
    np.testing.assert_array_equal(params["kernel"], expected.transpose(0, 2, 1))


def test_values_depend_on_key_and_shape_only():
    x = jnp.ones((1, 8, 8, 4))
    first, second = (layers.conv(8, 3).init(jax.random.key(i), x)[0]["kernel"] for i in (0, 1))
    assert (first != second).any()
    others = [layers.conv(8, 3, stride=2, bias=False), layers.conv(8, 3, padding="valid")]
    for layer in others:
        assert_close(layer.init(jax.random.key(0), jnp.ones((3, 9, 7, 4)))[0]["kernel"], first, 0)
    old = jnp.asarray(jax.random.key_data(jax.random.key(0)))  # a key of the older kind
    assert_close(layers.conv(8, 3).init(old, x)[0]["kernel"], first, 0)


def test_bias_and_kernel_have_keys_of_their_own(key):
    normal = jax.nn.initializers.normal()
    layer = layers.dense(6, kernel_init=normal, bias_init=normal)
    params, _ = layer.init(key, jnp.ones((1, 1)))
    assert (params["kernel"][0] != params["bias"]).all()


def test_dtype_of_parameters(key):
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        for layer in (layers.conv(4, 3), layers.batch_norm()):
            trees = layer.init(key, jnp.ones((2, 5, 3), dtype))
            assert {leaf.dtype for leaf in jax.tree.leaves(trees)} == {jnp.dtype("float32")}
    with jax.enable_x64(True):
        for layer in (layers.conv(4, 3), layers.batch_norm()):
            trees = layer.init(key, jnp.ones((2, 5, 3), jnp.float64))
            assert {leaf.dtype for leaf in jax.tree.leaves(trees)} == {jnp.dtype("float64")}


def test_parameters_are_ours_to_donate(key):
    """They are made from NumPy memory, which a donated buffer must not share with anybody."""
    params, _ = layers.dense(64).init(key, jnp.ones((1, 64)))
    again, _ = layers.dense(64).init(key, jnp.ones((1, 64)))
    step = jax.jit(lambda p: jax.tree.map(lambda leaf: leaf + 1, p), donate_argnums=0)
    new = step(params)
    assert_close(new, jax.tree.map(lambda leaf: leaf + 1, again), 0)


def test_parameters_live_where_the_key_lives():
    device = jax.devices()[0]
    committed = jax.device_put(jax.random.key(0), device)
    params, state = layers.batch_norm().init(committed, jnp.ones((2, 3)))
    params |= layers.dense(4).init(committed, jnp.ones((2, 3)))[0]
    for leaf in jax.tree.leaves((params, state)):
        assert leaf.committed
        assert leaf.devices() == {device}
    free = layers.dense(4).init(jax.random.key(0), jnp.ones((2, 3)))[0]
    assert not free["kernel"].committed
