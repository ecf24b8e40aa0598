"""Wrapped functions commute with every shift; unwrapped, or with a wrong lattice, they do not."""

import itertools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit, raises

import jaxconv as jc
from jaxconv.equivariance import (
    canonical_position,
    canonical_translation,
    make_shift_equivariant,
    make_shift_invariant,
)

SPATIAL = (6, 8)
SHIFTS = np.array(list(itertools.product(*map(range, SPATIAL))))


def image(seed=0, channels=2):
    return np.random.default_rng(seed).standard_normal((*SPATIAL, channels)).astype(np.float32)


def every_shift(x):
    return np.stack([np.roll(x, shift, (0, 1)) for shift in SHIFTS])


def transformer(outputs, dtype=np.float32):
    """Self-attention over pixels with position embeddings: it knows where everything is."""
    rng = np.random.default_rng(3)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape) / 2, dtype)
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


def test_it_becomes_equivariant_periodic_images_included():
    """48 shifts of five images; of a periodic one, the output has the period too."""
    f = transformer(2)
    doubled = lambda x: {"same": f(x), "fine": jnp.repeat(f(x), 2, axis=1)}
    run = quick_jit(make_shift_equivariant(doubled))
    for name, x in IMAGES.items():
        y = jax.tree.map(np.asarray, run(jnp.asarray(every_shift(x))))
        same = np.stack([np.roll(y["same"][0], shift, (0, 1)) for shift in SHIFTS])
        fine = np.stack([np.roll(y["fine"][0], shift * [2, 1], (0, 1)) for shift in SHIFTS])
        assert relative(y["same"], same) <= 1e-6, name
        assert relative(y["fine"], fine) <= 1e-6, name
        if name == "periodic":
            np.testing.assert_allclose(y["same"][:, :3, :4], y["same"][:, 3:, 4:], atol=1e-6)
    x = IMAGES["random"]
    plain = np.asarray(quick_jit(f)(jnp.asarray(every_shift(x))))
    assert relative(plain, np.stack([np.roll(plain[0], s, (0, 1)) for s in SHIFTS])) > 0.1
    there = np.asarray(run(jnp.asarray(every_shift(x)))["same"])[0]
    back = (np.roll(p, -s, (0, 1)) for p, s in zip(plain, SHIFTS, strict=True))
    assert sum(relative(there, one) <= 1e-6 for one in back) == 1


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
        g = make_shift_invariant(strided(stride), method="average", lattice=lattice)
        y = np.asarray(quick_jit(g)(shifted))
        errors[stride, lattice] = relative(y, y[:1].repeat(len(y), 0))
    *right, wrong = errors.values()
    assert max(right) <= 1e-5
    assert wrong > 1e-2


def test_an_average_over_all_shifts_makes_anything_equivariant():
    """Periodic images too."""
    f = transformer(2)
    run = quick_jit(make_shift_equivariant(f, method="average", lattice=SPATIAL))
    for name in ("random", "periodic"):
        y = np.asarray(run(jnp.asarray(every_shift(IMAGES[name])[:16])))
        expected = np.stack([np.roll(y[0], shift, (0, 1)) for shift in SHIFTS[:16]])
        assert relative(y, expected) <= 1e-5


AMOUNTS = np.array([[0, 0], [1, 0], [0.5, 0.5], [0, -2.3], [3.75, 7.1], [-40.2, 1000]])


def every_translation(x):
    """By parts of a pixel, in float64, through the complex spectrum without Nyquist."""
    k = [np.fft.fftfreq(size) * size for size in SPATIAL]
    keep = (2 * np.abs(k[0]) < SPATIAL[0])[:, None] & (2 * np.abs(k[1]) < SPATIAL[1])
    turns = AMOUNTS[:, :1, None] * k[0][:, None] / 6 + AMOUNTS[:, 1:, None] * k[1] / 8
    spectrum = np.fft.fft2(x.astype(np.float64), axes=(0, 1)) * keep[..., None]
    return np.fft.ifft2(spectrum * np.exp(-2j * np.pi * turns)[..., None], axes=(1, 2)).real


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_by_phase_a_transformer_commutes_with_parts_of_a_pixel(dtype, limit):
    """By content it does not."""
    moved = every_translation(image())
    with jax.enable_x64(dtype == np.float64):
        f = transformer(2, dtype)
        both = lambda x: (
            make_shift_invariant(lambda x: f(x)[:, 0, 0], method="phase")(x),
            make_shift_equivariant(f, method="phase")(x),
            make_shift_invariant(lambda x: f(x)[:, 0, 0])(x),
            canonical_translation(x),
        )
        y, z, content, found = quick_jit(both)(jnp.asarray(moved, dtype))
    assert relative(y, np.asarray(y[:1]).repeat(len(y), 0)) <= limit
    assert relative(z, every_translation(np.asarray(z)[0])) <= limit
    assert relative(content, np.asarray(content[:1]).repeat(len(y), 0)) > 0.1
    turns = (np.asarray(found.shift, np.float64) - np.asarray(found.shift)[:1] - AMOUNTS) / SPATIAL
    assert np.abs(turns - np.round(turns)).max() <= limit
    np.testing.assert_array_equal(found.ties, 0)


def test_strength_is_the_share_of_the_longest_wave():
    i = np.arange(12)[:, None, None]
    waves = np.cos(2 * np.pi * i / 12) + np.sqrt(3) * np.cos(2 * np.pi * 2 * i / 12)
    x = np.broadcast_to(waves + 50, (12, 8, 3)) + np.zeros((1, 8, 1))
    found = canonical_translation(jnp.asarray(x, jnp.float32)[None])
    np.testing.assert_allclose(found.strength, [[0.5, 1]], atol=1e-5)
    np.testing.assert_allclose(found.shift, [[0, 0]], atol=1e-5)
    for name, ties in (("random", 0), ("constant", 0), ("one-hot", 1), ("periodic", 2)):
        assert canonical_translation(jnp.asarray(IMAGES[name])[None]).ties.tolist() == [ties]


def test_an_image_without_a_phase_is_refused_or_marked():
    """Never a result that the next shift flips."""
    x = jnp.asarray(np.stack([IMAGES["random"], IMAGES["periodic"]]))
    for make, f in ((make_shift_invariant, logits), (make_shift_equivariant, transformer(2))):
        g = make(f, method="phase")
        y = np.asarray(quick_jit(g)(x))
        assert np.isfinite(y[0]).all()
        assert np.isnan(y[1]).all()
        strength = canonical_translation(x).strength[1]
        axis = int(strength.argmin())
        with raises(
            ValueError,
            f"{make.__name__}: the first harmonic of example 1 along spatial axis {axis} is "
            f"{float(strength[axis]):.1e} of what varies there, so its phase is noise; expected "
            f'at least 3.5e-04. Got x of shape (2, 6, 8, 2). Use method="content", which is exact '
            f"for such images under whole shifts.",
        ):
            g(x)


def test_gradients_go_through_the_moves():
    """The gradient of an invariant number moves with the image."""
    loss = lambda x: jnp.sum(make_shift_invariant(logits)(x) ** 2)
    x = image()[None]
    gradient = quick_jit(jax.grad(loss))
    g, moved = gradient(jnp.asarray(x)), gradient(jnp.roll(x, (2, 3), (1, 2)))
    assert relative(moved, np.roll(g, (2, 3), (1, 2))) <= 1e-5
    assert float(jnp.abs(g).max()) > 1e-3


@pytest.mark.parametrize("method", ["content", "phase", "average"])
def test_wrapped_functions_are_mapped_and_exported_like_any_other(method):
    """Values and gradients, for every platform; the exported program computes the same."""
    options = {"method": method} | ({"lattice": (3, 4)} if method == "average" else {})
    g = make_shift_equivariant(transformer(2), **options)
    h = make_shift_invariant(logits, **options)
    both = lambda x: (g(x), h(x), jax.grad(lambda x: jnp.sum(g(x) ** 2) + jnp.sum(h(x) ** 2))(x))
    x = jnp.asarray(np.stack([image(seed) for seed in range(4)]))
    exported = jax.export.export(quick_jit(both), platforms=("cpu", "cuda", "tpu"))(x)
    again = jax.jit(exported.call)(x)
    mapped = quick_jit(jax.vmap(both))(x.reshape(2, 2, *x.shape[1:]))
    plain = quick_jit(both)(x)
    assert_close(again, plain)
    for found, expected in zip(mapped, plain, strict=True):
        assert_close(found.reshape(expected.shape), expected)
        assert np.isfinite(expected).all()
        assert np.abs(np.asarray(expected)[0] - np.asarray(expected)[1]).max() > 1e-2


def test_errors():
    x = jnp.zeros((1, 6, 8, 2))
    with raises(
        ValueError,
        "make_shift_invariant: a lattice of 4 does not divide the 6 pixels of spatial axis 0; "
        'expected a multiple of 4. Got x of shape (1, 6, 8, 2). Use method="content", or resize or '
        "pad that axis to 8.",
    ):
        make_shift_invariant(logits, method="average", lattice=4)(x)
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
    with raises(
        TypeError,
        "make_shift_equivariant: f returns int32, which has no mean and no NaN; expected floating "
        "outputs. Got an output of shape (1, 6, 8). Wrap the function that gives the scores, and "
        "take their argmax afterwards.",
    ):
        make_shift_equivariant(lambda x: jnp.argmax(x, -1))(x)
    with raises(
        ValueError,
        'make_shift_invariant: a lattice is for averages; expected method="average" with it. '
        "Got method='content', lattice=2. Use method=\"average\", or no lattice.",
    ):
        make_shift_invariant(logits, lattice=2)
    with raises(
        ValueError,
        "make_shift_invariant: an average needs the shifts that f keeps anyway; expected a "
        "lattice. Got lattice=None. Use lattice=2 for a function that strides by 2, say.",
    ):
        make_shift_invariant(logits, method="average")
    with raises(
        ValueError,
        'make_shift_equivariant: method is unknown; expected one of "content", "phase", '
        "\"average\". Got method='score'. Use method='content', say.",
    ):
        make_shift_equivariant(logits, method="score")


def test_no_images_give_no_outputs():
    """An empty batch is wrapped like any other; unwrapped, f says which shapes come out."""
    x, first = jnp.zeros((0, *SPATIAL, 3)), lambda x: x[:, 0, 0]
    assert make_shift_invariant(first)(x).shape == first(x).shape
    assert make_shift_equivariant(lambda x: 2 * x)(x).shape == x.shape
