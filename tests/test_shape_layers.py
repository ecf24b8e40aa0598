"""Pools over the whole image, gates, upsampling, and other layers that move or weigh pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit, raises

from jaxconv import layers, ops


def normal(rng, *shape):
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def run(layer, x):
    params, state = layer.init(jax.random.key(0), x)
    assert (params, state) == ({}, {})
    return quick_jit(lambda x: layer.apply(params, state, x)[0])(x)


def test_layers_without_parameters_are_their_operations(rng):
    x = normal(rng, 2, 7, 6, 4)
    sliding = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "padding_mode": ("edge", "reflect")}
    sliding["dilation"] = (1, 2)
    pairs = [
        (layers.max_pool((3, 2), **sliding), lambda x: ops.max_pool(x, (3, 2), **sliding)),
        (layers.min_pool((3, 2), **sliding), lambda x: ops.min_pool(x, (3, 2), **sliding)),
        (
            layers.avg_pool((3, 2), count_padding=True, **sliding),
            lambda x: ops.avg_pool(x, (3, 2), count_padding=True, **sliding),
        ),
        (layers.lp_pool((3, 2), 3.0, **sliding), lambda x: ops.lp_pool(x, (3, 2), 3.0, **sliding)),
        (layers.adaptive_avg_pool((3, 2)), lambda x: ops.adaptive_avg_pool(x, (3, 2))),
        (layers.adaptive_max_pool((3, 2)), lambda x: ops.adaptive_max_pool(x, (3, 2))),
        (layers.pad(2, value=7), lambda x: ops.pad(x, 2, value=7)),
        (layers.pad(2, padding_mode="edge"), lambda x: ops.pad(x, 2, padding_mode="edge")),
        (layers.pixel_shuffle(2), lambda x: ops.pixel_shuffle(x, 2)),
        (layers.pixel_unshuffle((7, 2)), lambda x: ops.pixel_unshuffle(x, (7, 2))),
        (layers.upsample((2, 3), "bicubic"), lambda x: ops.resize(x, (14, 18), method="bicubic")),
        (layers.activation(jnp.tanh), jnp.tanh),
    ]
    program = quick_jit(lambda x: [(layer.apply({}, {}, x)[0], op(x)) for layer, op in pairs])
    for layer, expected in program(x):
        assert_close(layer, expected, 0)


def test_global_pools_are_numpys(rng):
    for shape in ((2, 5, 3), (2, 7, 6, 4), (2, 4, 3, 5, 2)):
        x = normal(rng, *shape)
        axes = tuple(range(1, len(shape) - 1))
        mean = np.asarray(x, np.float64).mean(axes).astype(np.float32)
        assert_close(run(layers.global_avg_pool(), x), mean)
        assert_close(run(layers.global_max_pool(), x), np.asarray(x).max(axes), 0)


def test_global_max_pool_keeps_nans_and_ties():
    """Both are lost by jnp.max with jaxlib 0.10.2 on CPU, which is why it is not used."""
    layer = layers.global_max_pool()
    pool = quick_jit(lambda x: layer.apply({}, {}, x)[0])
    for place in range(12):
        x = np.zeros((1, 3, 4, 8), np.float32)
        x.reshape(1, 12, 8)[0, place] = np.nan
        assert np.isnan(pool(x)).all()
    low = jnp.full((1, 3, 4, 8), -jnp.inf)
    assert (pool(low) == -jnp.inf).all()
    slope = quick_jit(jax.grad(lambda x: layer.apply({}, {}, x)[0].sum()))
    for first, second in ((0, 5), (3, 4), (1, 11), (7, 8)):
        x = np.zeros((1, 12, 1), np.float32)
        x[0, [first, second]] = 2
        expected = np.zeros((1, 12, 1), np.float32)
        expected[0, first] = 1
        np.testing.assert_array_equal(slope(x.reshape(1, 3, 4, 1)).reshape(1, 12, 1), expected)


@pytest.mark.peer("torch")
def test_global_max_pool_has_torchs_gradient(rng):
    import torch

    x = rng.integers(0, 3, (2, 5, 3, 4)).astype(np.float32)  # many ties
    image = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    weights = rng.standard_normal((2, 4)).astype(np.float32)
    (
        torch.nn.functional.max_pool2d(image, (5, 3))[..., 0, 0] * torch.tensor(weights)
    ).sum().backward()
    layer = layers.global_max_pool()
    slope = quick_jit(jax.grad(lambda x: jnp.vdot(layer.apply({}, {}, x)[0], weights)))(x)
    assert_close(slope, np.moveaxis(image.grad.numpy(), 1, -1), 0)


def test_nearest_upsampling_repeats(rng):
    x = normal(rng, 2, 3, 4, 5)
    expected = np.repeat(np.repeat(np.asarray(x), 2, axis=1), 3, axis=2)
    assert_close(run(layers.upsample((2, 3)), x), expected, 0)
    integers = jnp.arange(6, dtype=jnp.int8).reshape(1, 6, 1)
    assert_close(run(layers.upsample(2), integers), np.repeat(integers, 2, axis=1), 0)


def test_pixel_shuffle_undoes_unshuffle(rng):
    x = normal(rng, 2, 6, 4, 3)
    there = run(layers.pixel_unshuffle((3, 2)), x)
    assert there.shape == (2, 2, 2, 18)
    assert_close(run(layers.pixel_shuffle((3, 2)), there), x, 0)


def test_squeeze_excite_is_the_formula(rng):
    x = normal(rng, 2, 5, 4, 6)
    layer = layers.squeeze_excite(3, gate=jax.nn.hard_sigmoid)
    params, state = layer.init(jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: normal(rng, *leaf.shape), params)
    y, new = layer.apply(params, state, x)
    assert new == {}
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    hidden = np.asarray(x, np.float64).mean((1, 2)) @ p["squeeze"]["kernel"] + p["squeeze"]["bias"]
    gate = np.maximum(hidden, 0) @ p["excite"]["kernel"] + p["excite"]["bias"]
    gate = np.clip(gate / 6 + 0.5, 0, 1)
    assert len(np.unique(gate)) > 6
    assert_close(y, x * gate[:, None, None].astype(np.float32))


def test_activations_are_named_after_their_function():
    assert layers.activation(jax.nn.relu).name == "relu"
    assert layers.activation(jax.nn.relu, name="gate").name == "gate"


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        (
            TypeError,
            lambda: layers.activation("relu"),
            "activation: function cannot be called; expected a function. Got function='relu'. "
            "Leave it out, or pass one of jax.nn, say.",
        ),
        (
            ValueError,
            lambda: layers.upsample(2, "linear"),
            'upsample: method is unknown; expected one of "nearest", "bilinear", "bicubic", '
            "\"lanczos3\", \"lanczos5\". Got method='linear'. Use method='nearest', say.",
        ),
        (
            ValueError,
            lambda: run(layers.upsample((2, 2, 2)), jnp.ones((1, 4, 4, 1))),
            "upsample: scale has 3 entries for 2 spatial axes; expected one per spatial axis or a "
            "single int. Got scale=(2, 2, 2). Use scale=2 for all axes.",
        ),
        (
            ValueError,
            lambda: layers.max_pool(0),
            "max_pool: window is too small; expected at least 1. Got window=0. "
            "Use window=1 or more.",
        ),
        (
            ValueError,
            lambda: layers.adaptive_avg_pool(0),
            "adaptive_avg_pool: output_shape is too small; expected at least 1. "
            "Got output_shape=0. Use output_shape=1 or more.",
        ),
        (
            ValueError,
            lambda: run(layers.global_max_pool(), jnp.ones((1, 0, 4, 1))),
            "global_max_pool: x has no pixels; expected at least one. Got x of shape "
            "(1, 0, 4, 1). Use less stride or more padding before it.",
        ),
        (
            ValueError,
            lambda: run(layers.global_avg_pool(), jnp.ones((4, 1))),
            "global_avg_pool: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. "
            "Got x of shape (4, 1). Add a batch axis with x[None] or a channel axis with "
            "x[..., None].",
        ),
    ],
)
def test_impossible_arguments_are_refused(kind, make, message):
    with raises(kind, message):
        make()


def test_pools_refuse_empty_outputs_in_init(key):
    with pytest.raises(ValueError, match="max_pool: .*empty"):
        layers.max_pool(5).init(key, jax.ShapeDtypeStruct((1, 4, 4, 3), jnp.float32))
