"""Adaptive phases: values by loops, every shift to the last bit, ties, shared choices, errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit, raises
from sklearn.datasets import load_digits

import jaxconv as jc
from jaxconv import layers, models, ops
from jaxconv.models._blocks import strided_residual

NUMPY_NORM = {"l2": 2, "l1": 1, "linf": np.inf}


def images(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def shifts(spatial):
    return list(itertools.product(*map(range, spatial)))


def rolled(x, shift):
    return np.roll(x, shift, tuple(range(x.ndim - 1 - len(shift), x.ndim - 1)))


def every_shift(x):
    """One image (*spatial, C) under every circular shift, as a batch."""
    return np.stack([rolled(x, shift) for shift in shifts(x.shape[:-1])])


def loudest(x, strides, norm):
    """The phase of one image (*spatial, C) with the largest norm, and its number."""
    phases = [
        x[tuple(slice(p, None, s) for p, s in zip(phase, strides, strict=True))]
        for phase in itertools.product(*map(range, strides))
    ]
    number = int(np.argmax([np.linalg.norm(phase.ravel(), NUMPY_NORM[norm]) for phase in phases]))
    return phases[number], number


@pytest.mark.parametrize("norm", NUMPY_NORM)
def test_values_equal_the_loops(norm):
    cases = [((12,), (4,)), ((6, 8), (3, 2)), ((4, 2, 6), (2, 1, 3))]
    xs = [jnp.asarray(images(5, *spatial, 3)) for spatial, _ in cases]

    @quick_jit
    def everything(xs):
        found = []
        for x, (_, strides) in zip(xs, cases, strict=True):
            y, index = ops.polyphase_down(x, strides, norm=norm)
            found.append((y, index, ops.polyphase_up(y, index, strides)))
        return found

    chosen = set()
    for x, (_, strides), (y, index, up) in zip(xs, cases, everything(xs), strict=True):
        for one, y1, p1, up1 in zip(np.asarray(x), y, index, np.asarray(up), strict=True):
            expected, number = loudest(one, strides, norm)
            assert int(p1) == number
            np.testing.assert_array_equal(y1, expected)
            np.testing.assert_array_equal(up1[up1 != 0], one[up1 != 0])
            assert (up1 != 0).sum() == expected.size
            chosen.add(number)
    assert len(chosen) > 3


def digits():
    x = np.zeros((12, 12, 1), np.float32)
    x[1:9, 2:10, 0] = load_digits().images[7]
    return x


def tie_suite():
    """Images whose phases have equal norms, or are equal."""
    rng = np.random.default_rng(1)
    hot = np.zeros((12, 12, 1), np.float32)
    hot[5, 7] = 1
    board = np.indices((12, 12)).sum(0)[..., None] % 2
    return {
        "random": images(12, 12, 2),
        "constant": np.full((12, 12, 1), 0.3, np.float32),
        "zero": np.zeros((12, 12, 1), np.float32),
        "lattice": rng.choice(np.float32([-1, 1]), (12, 12, 1)),
        "two lattices": rng.choice(np.float32([-1, 1]), (12, 12, 2)),
        "board": np.float32(2 * board - 1),
        "one-hot": hot,
        "binary": rng.choice(np.float32([0, 1]), (12, 12, 1)),
        "digit": digits(),
        "permuted": permuted_phases(rng),
    }


def permuted_phases(rng):
    """Four phases of the same values in other places: every norm ties."""
    values = rng.standard_normal(36).astype(np.float32)
    x = np.zeros((12, 12, 1), np.float32)
    for p, q in itertools.product(range(2), range(2)):
        x[p::2, q::2, 0] = rng.permutation(values).reshape(6, 6)
    return x


@quick_jit
def down_by(x):
    """Samples and selections by strides of 2 and 3, by every norm."""
    return {
        (stride, norm): (
            ops.polyphase_down(x, stride, norm=norm)[0],
            ops.polyphase_select(x, stride, norm=norm),
        )
        for stride in (2, 3)
        for norm in NUMPY_NORM
    }


def is_a_roll(y, reference):
    return any(np.array_equal(y, rolled(reference, t)) for t in shifts(reference.shape[:-1]))


def first_loudest(x, stride):
    """The usual choice: the first of the largest float sums."""
    squares = [np.sum(x[p::stride, q::stride] ** 2) for p in range(stride) for q in range(stride)]
    p, q = divmod(int(np.argmax(squares)), stride)
    return x[p::stride, q::stride]


@pytest.mark.parametrize("name", tie_suite())
def test_every_shift_rolls_the_samples_to_the_last_bit(name):
    """144 shifts × 2 strides × 3 norms; without ties the choice follows the shift."""
    x = tie_suite()[name]
    moves = shifts((12, 12))
    for (stride, _), (y, found) in down_by(every_shift(x)).items():
        y = np.asarray(y)
        assert all(is_a_roll(one, y[0]) for one in np.unique(y, axis=0))
        np.testing.assert_array_equal(found.margin, found.margin[0])
        np.testing.assert_array_equal(found.ties, found.ties[0])
        if found.ties[0] == 0:
            phase = np.stack(np.divmod(np.asarray(found.index), stride), -1)
            np.testing.assert_array_equal(phase, (phase[0] + np.array(moves)) % stride)


def test_the_first_of_the_largest_flips_on_ties():
    """The negative control: the suite is hard for a choice that is not made by content."""
    flipped = set()
    for name, x in tie_suite().items():
        samples = [first_loudest(one, 2) for one in every_shift(x)]
        if not all(is_a_roll(one, samples[0]) for one in samples):
            flipped.add(name)
    assert {"lattice", "two lattices", "board", "permuted"} <= flipped


def test_ties_are_counted():
    suite = tie_suite()
    found = {name: ops.polyphase_select(x[None], 2) for name, x in suite.items()}
    ties = {name: int(selection.ties[0]) for name, selection in found.items()}
    expected = dict.fromkeys(suite, 0) | {"constant": 3, "zero": 3, "board": 1}
    assert ties == expected
    assert float(found["lattice"].margin[0]) == 0 < float(found["random"].margin[0])
    assert float(found["one-hot"].margin[0]) == 1


def test_narrow_and_wide_dtypes_choose_alike():
    x = images(6, 8, 8, 3)
    with jax.enable_x64(True):
        chosen = [
            np.asarray(ops.polyphase_select(jnp.asarray(x).astype(dtype), 2).index)
            for dtype in (jnp.float32, jnp.float64, jnp.bfloat16)
        ]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    np.testing.assert_array_equal(chosen[0], chosen[2])


def test_up_is_the_adjoint_of_down_with_its_index():
    x = jnp.asarray(images(4, 6, 8, 3))
    y, index = ops.polyphase_down(x, (3, 2))
    back = jax.vjp(lambda x: ops.polyphase_down(x, (3, 2))[0], x)[1](y)[0]
    np.testing.assert_array_equal(back, ops.polyphase_up(y, index, (3, 2)))
    other = ops.polyphase_up(y, (index + 1) % 6, (3, 2))
    assert not np.array_equal(back, other)


def test_a_low_pass_is_sampled_and_the_choice_is_made_without_it():
    x = jnp.asarray(images(4, 8, 8, 3))
    y, index = ops.polyphase_down(x, 2, low_pass=5)
    np.testing.assert_array_equal(index, ops.polyphase_select(x, 2).index)
    assert_close(y, ops.polyphase_down(ops.blur(x, 5), 2, index=index)[0])


def encoder_and_decoder():
    """A U-Net of three resolutions."""
    bottom = layers.polyphase_around(layers.conv(4, 3, padding_mode="circular"), 2)
    middle = jc.serial(
        layers.conv(4, 3, padding_mode="circular"),
        jax.nn.relu,
        jc.parallel(lambda x: x, bottom, combine="concatenate"),
    )
    outer = layers.polyphase_around(middle, 3, low_pass=3)
    both = jc.parallel(lambda x: x, outer, combine="concatenate")
    return jc.serial(both, layers.conv(2, 3, padding_mode="circular"))


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_an_encoder_and_its_decoder_commute_with_every_shift(dtype, limit):
    with jax.enable_x64(dtype == np.float64):
        model, x = encoder_and_decoder(), images(12, 12, 2, dtype=dtype)
        params, state = model.init(jax.random.key(0), x[None])
        y = np.asarray(quick_jit(model.apply)(params, state, every_shift(x))[0])
    expected = every_shift(y[0])
    assert np.abs(y - expected).max() / np.abs(expected).max() <= limit
    assert np.abs(y - y[0]).max() / np.abs(expected).max() > 0.1


def block(shared):
    """A residual block that samples its body and its shortcut by one choice, or by two."""
    before = {"conv": layers.conv(3, 3, padding_mode="circular"), "relu": jax.nn.relu}
    after = {"conv_1": layers.conv(3, 3, padding_mode="circular")}
    down = layers.polyphase_down(2)
    if shared:
        inner = strided_residual(before, after, (down, lambda x: x), {"down": down})
    else:
        inner = jc.residual(jc.serial(**before, down=down, **after), down)
    return jc.serial(inner, jax.nn.relu, layers.conv(5, 3, padding_mode="circular"), jnp.tanh)


@pytest.mark.parametrize("seed", range(3))
def test_branches_that_choose_apart_break_what_one_choice_keeps(seed):
    x = images(8, 8, 3, seed=seed)
    errors = {}
    for shared in (True, False):
        model = jc.serial(block(shared), layers.global_avg_pool())
        params, state = model.init(jax.random.key(seed), x[None])
        y = np.asarray(quick_jit(model.apply)(params, state, every_shift(x))[0])
        errors[shared] = np.abs(y - y[0]).max() / np.abs(y).max()
    assert errors[True] <= 1e-5
    assert errors[False] > 1e-2


def invariance(model, x):
    """The largest difference of logits over every shift, relative to them; and the classes."""
    params, state = model.init(jax.random.key(1), x[None])
    f = jax.jit(lambda x: model.apply(params, state, x)[0])
    batches = np.split(every_shift(x), 8)
    y = np.concatenate([np.asarray(f(jnp.asarray(batch))) for batch in batches])
    return np.abs(y - y[0]).max() / np.abs(y).max(), set(y.argmax(-1).tolist())


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_a_resnet_is_invariant_to_all_1024_shifts(dtype, limit):
    """Measured: 1.6e-7 in float32."""
    with jax.enable_x64(dtype == np.float64):
        model = models.resnet(20, padding_mode="circular", down=layers.polyphase_down)
        error, classes = invariance(model, images(32, 32, 3, dtype=dtype))
    assert error <= limit
    assert len(classes) == 1


def test_a_resnet_is_invariant_to_all_shifts_and_its_strided_twin_is_not():
    x = images(16, 16, 3)
    exact = models.resnet(20, padding_mode="circular", down=layers.polyphase_down)
    assert invariance(exact, x)[0] <= 1e-5
    strided = models.resnet(20, padding_mode="circular")
    assert invariance(strided, x)[0] > 1e-2


def test_errors():
    x = jnp.zeros((2, 9, 8, 3))
    for function, where in (
        (lambda x: ops.polyphase_down(x, 2), "polyphase_down"),
        (lambda x: ops.polyphase_select(x, 2), "polyphase_select"),
    ):
        with raises(
            ValueError,
            f"{where}: a stride of 2 does not divide the 9 pixels of the circular spatial axis 0; "
            "expected a multiple of 2. Got x of shape (2, 9, 8, 3). Resize or pad that axis to "
            "10 pixels.",
        ):
            function(x)
    x = x[:, :8]
    with raises(
        ValueError,
        "polyphase_down: index has shape (3,); expected (2,), one phase per example of x. Got x "
        "of shape (2, 8, 8, 3). Pass the index that polyphase_down returned for the same batch.",
    ):
        ops.polyphase_down(x, 2, index=jnp.zeros(3, jnp.int32))
    with raises(
        TypeError,
        "polyphase_up: index does not hold integers; expected the index that polyphase_down "
        "returns. Got index of dtype float32. Use index.astype('int32').",
    ):
        ops.polyphase_up(x, jnp.zeros(2), 2)
    for make in (
        layers.polyphase_down,
        lambda **options: layers.polyphase_around(jax.nn.relu, **options),
    ):
        where = make(stride=2).name
        with raises(
            ValueError,
            f'{where}: norm is unknown; expected one of "l2", "l1", "linf". Got norm=\'l3\'. '
            "Use norm='l2', say.",
        ):
            make(norm="l3")
    with raises(
        ValueError,
        "polyphase_down: stride is too small; expected at least 1. Got stride=0. "
        "Use stride=1 or more.",
    ):
        layers.polyphase_down(0)
