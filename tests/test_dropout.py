"""Dropout: what is dropped, how often, what remains, and which keys decide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit, raises

from jaxconv import layers

KINDS = [
    (layers.dropout, {}, lambda shape: shape),
    (layers.dropout, {"whole_channels": True}, lambda shape: (shape[0], 1, 1, shape[-1])),
    (layers.drop_path, {}, lambda shape: (shape[0], 1, 1, 1)),
]


def train(layer, x, seed=0):
    return layer.apply({}, {}, x, train=True, key=jax.random.key(seed))[0]


@pytest.mark.parametrize(("make", "options", "drawn"), KINDS)
def test_what_is_dropped_together(make, options, drawn):
    """Zeros come in blocks of the drawn shape, and blocks are not all alike."""
    x = jnp.ones((16, 5, 4, 6))
    y = np.asarray(train(make(0.5, **options), x))
    assert set(np.unique(y)) == {0.0, 2.0}
    block = tuple(slice(0, size) for size in drawn(x.shape))
    np.testing.assert_array_equal(y, np.broadcast_to(y[block], x.shape))
    for axis, size in enumerate(drawn(x.shape)):
        first = np.take(y[block], [0], axis)
        assert (y[block] != first).any() == (size > 1), f"axis {axis}"


@pytest.mark.parametrize(("make", "options", "drawn"), KINDS)
@pytest.mark.parametrize("drop_probability", [0.1, 0.8])
def test_how_often_and_the_mean(make, options, drawn, drop_probability):
    x = jnp.ones((2000, 2, 2, 10))
    y = np.asarray(train(make(drop_probability, **options), x), np.float64)
    draws = np.prod(drawn(x.shape))
    deviation = np.sqrt(drop_probability * (1 - drop_probability) / draws)
    assert abs((y == 0).mean() - drop_probability) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / (1 - drop_probability)


def test_what_remains_is_scaled(rng):
    x = jnp.asarray(rng.standard_normal((3, 4, 5, 6)), jnp.float32)
    y = train(layers.dropout(0.25), x)
    kept = np.asarray(y != 0)
    assert 0.5 < kept.mean() < 1
    assert_close(np.asarray(y)[kept], (np.asarray(x) / np.float32(0.75))[kept])


def test_infinities_are_dropped_too():
    """A product with a mask would make NaN of a dropped infinity."""
    y = train(layers.dropout(0.5), jnp.full((1, 1000), jnp.inf))
    assert set(np.unique(y)) == {0.0, np.inf}


@pytest.mark.parametrize(("make", "options"), [kind[:2] for kind in KINDS])
def test_keys_decide(make, options):
    x, layer = jnp.ones((16, 3, 4, 6)), make(0.5, **options)

    def draw(key):
        return layer.apply({}, {}, x, train=True, key=key)[0]

    program = quick_jit(lambda keys: (jax.vmap(draw)(keys), [draw(key) for key in keys]))
    keys = jax.random.split(jax.random.key(2), 3)
    mapped, alone = program(keys)
    assert_close(mapped, jnp.stack(alone), 0)
    assert (mapped[0] != mapped[1]).any()
    assert_close(program(keys)[0], mapped, 0)


@pytest.mark.parametrize(("make", "options"), [kind[:2] for kind in KINDS])
def test_evaluation_is_the_identity(make, options, rng):
    x = jnp.asarray(rng.standard_normal((2, 3, 4, 5)), jnp.float32)
    layer = make(0.5, **options)
    assert layer.init(jax.random.key(0), x) == ({}, {})
    assert layer.apply({}, {}, x)[0] is x
    assert layer.apply({}, {}, x, key=jax.random.key(0))[0] is x
    assert make(0.0, **options).apply({}, {}, x, train=True)[0] is x


@pytest.mark.parametrize("make", [layers.dropout, layers.drop_path])
def test_training_needs_a_key(make):
    where = make(0.1).name
    with raises(
        ValueError,
        f"{where}: has no key to draw the mask from; expected one when train=True. Got key=None. "
        "Call apply(..., train=True, key=jax.random.key(0)), with a new key every step.",
    ):
        make(0.1).apply({}, {}, jnp.ones((2, 3)), train=True)


@pytest.mark.parametrize("value", [1.0, -0.1, float("nan")])
def test_impossible_probabilities_are_refused(value):
    with raises(
        ValueError,
        "drop_path: drop_probability is no probability below 1; expected "
        f"0 <= drop_probability < 1. Got drop_probability={value}. Use drop_probability=0.1, say.",
    ):
        layers.drop_path(value)


def test_integers_are_refused():
    with raises(
        TypeError,
        "dropout: x holds integers; expected a floating dtype. Got x of dtype int32. "
        "Use x.astype('float32').",
    ):
        train(layers.dropout(0.5), jnp.ones((2, 3), jnp.int32))
