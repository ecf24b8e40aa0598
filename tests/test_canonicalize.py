"""Wrapped functions commute with every shift; unwrapped, or with a wrong lattice, they do not."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import quick_jit, raises

import jaxconv as jc
from jaxconv.equivariance import (
    canonical_position,
    make_shift_equivariant,
    make_shift_invariant,
)

SPATIAL = (6, 8)
SHIFTS = np.array(list(itertools.product(*map(range, SPATIAL))))


def image(seed=0, channels=2):
    return np.random.default_rng(seed).standard_normal((*SPATIAL, channels)).astype(np.float32)


def every_shift(x):
    return np.stack([np.roll(x, shift, (0, 1)) for shift in SHIFTS])


def transformer(outputs):
    """Self-attention over pixels with position embeddings: it knows where everything is."""
    rng = np.random.default_rng(3)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape) / 2, jnp.float32)
    places, mix, head = draw(1, 48, 4), draw(3, 4, 4), draw(4, outputs)

    def f(x):
        tokens = x.reshape(x.shape[0], 48, 2) @ draw_in + places
        query, key, value = (tokens @ m for m in mix)
        weights = jax.nn.softmax(jnp.einsum("nic,njc->nij", query, key), axis=-1)
        y = jnp.tanh(tokens + weights @ value) @ head
        return y.reshape(x.shape[0], *SPATIAL, outputs)

    draw_in = draw(2, 4)
    return f


def logits(x):
    """The class token of the transformer: one of its pixels."""
    return transformer(5)(x)[:, 0, 0]


def relative(found, expected):
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


IMAGES = {
    "random": image(),
    "constant": np.full_like(image(), 0.7),
    "lattice": np.sign(image(1)),
    "periodic": np.tile(image(2)[:3, :4], (2, 2, 1)),
    "one-hot": np.eye(6, 8, dtype=np.float32)[..., None] * np.eye(1, 2, dtype=np.float32),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_transformer_with_position_embeddings_becomes_invariant(name):
    """48 shifts; exact on periodic images as well, since all their positions see the same."""
    shifted = jnp.asarray(every_shift(IMAGES[name]))
    y = np.asarray(quick_jit(make_shift_invariant(logits))(shifted))
    assert relative(y, y[:1].repeat(len(y), 0)) <= 1e-6
    if name == "random":
        plain = np.asarray(quick_jit(logits)(shifted))
        assert relative(plain, plain[:1].repeat(len(y), 0)) > 0.1


def test_it_becomes_equivariant_where_the_image_is_not_periodic():
    f = transformer(2)
    doubled = lambda x: {"same": f(x), "fine": jnp.repeat(f(x), 2, axis=1)}
    run = quick_jit(make_shift_equivariant(doubled))
    x = IMAGES["random"]
    y = jax.tree.map(np.asarray, run(jnp.asarray(every_shift(x))))
    same = np.stack([np.roll(y["same"][0], shift, (0, 1)) for shift in SHIFTS])
    fine = np.stack([np.roll(y["fine"][0], shift * [2, 1], (0, 1)) for shift in SHIFTS])
    assert relative(y["same"], same) <= 1e-6
    assert relative(y["fine"], fine) <= 1e-6
    plain = np.asarray(f(jnp.asarray(every_shift(x))))
    assert relative(plain, np.stack([np.roll(plain[0], s, (0, 1)) for s in SHIFTS])) > 0.1


def test_positions_follow_the_image_and_ties_count_its_periods():
    for name, ties in (("random", 0), ("lattice", 0), ("one-hot", 0)):
        found = canonical_position(jnp.asarray(every_shift(IMAGES[name])))
        expected = (np.asarray(found.shift)[:1] + SHIFTS) % SPATIAL
        np.testing.assert_array_equal(found.shift, expected)
        np.testing.assert_array_equal(found.ties, ties)
    assert canonical_position(jnp.asarray(IMAGES["constant"])[None]).ties.tolist() == [47]
    assert canonical_position(jnp.asarray(IMAGES["periodic"])[None]).ties.tolist() == [3]


def strided(stride):
    """A circular network that keeps shifts by its stride only."""
    model = jc.serial(
        jc.conv(4, 3, stride=stride, padding_mode="circular"), jax.nn.relu, jc.global_avg_pool()
    )
    params, state = model.init(jax.random.key(0), image()[None])
    return lambda x: model.apply(params, state, x)[0]


def test_an_average_over_cosets_needs_the_right_lattice():
    shifted = jnp.asarray(every_shift(image()))
    errors = {}
    for stride, lattice in ((2, 2), ((2, 4), (2, 4)), ((2, 4), 2)):
        g = make_shift_invariant(strided(stride), lattice=lattice)
        y = np.asarray(quick_jit(g)(shifted))
        errors[stride, lattice] = relative(y, y[:1].repeat(len(y), 0))
    *right, wrong = errors.values()
    assert max(right) <= 1e-5
    assert wrong > 1e-2


def test_an_average_over_all_shifts_makes_anything_equivariant():
    """Periodic images too."""
    f = transformer(2)
    run = quick_jit(make_shift_equivariant(f, lattice=SPATIAL))
    for name in ("random", "periodic"):
        y = np.asarray(run(jnp.asarray(every_shift(IMAGES[name])[:16])))
        expected = np.stack([np.roll(y[0], shift, (0, 1)) for shift in SHIFTS[:16]])
        assert relative(y, expected) <= 1e-5


def test_gradients_go_through_the_moves():
    """The gradient of an invariant number moves with the image."""
    loss = lambda x: jnp.sum(make_shift_invariant(logits)(x) ** 2)
    x = image()[None]
    gradient = quick_jit(jax.grad(loss))
    g, moved = gradient(jnp.asarray(x)), gradient(jnp.roll(x, (2, 3), (1, 2)))
    assert relative(moved, np.roll(g, (2, 3), (1, 2))) <= 1e-5
    assert float(jnp.abs(g).max()) > 1e-3


def test_errors():
    x = jnp.zeros((1, 6, 8, 2))
    with raises(
        ValueError,
        "make_shift_invariant: a lattice of 4 does not divide the 6 pixels of spatial axis 0; "
        "expected a multiple of 4. Got x of shape (1, 6, 8, 2). Leave lattice out, or resize or "
        "pad that axis to 8.",
    ):
        make_shift_invariant(logits, lattice=4)(x)
    with raises(
        ValueError,
        "make_shift_equivariant: f turns x of shape (1, 6, 8, 2) into (1, 5); expected axes of "
        "the same sizes (6, 8), or multiples. Got f=float32 (1, 5). Use make_shift_invariant, or "
        "resize the output of f.",
    ):
        make_shift_equivariant(logits)(x)
    with raises(
        TypeError,
        "canonical_position: x holds integers; expected a floating dtype. Got x of dtype int32. "
        "Use x.astype('float32').",
    ):
        canonical_position(x.astype(jnp.int32))
