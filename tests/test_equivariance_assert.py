"""Assertions on how functions transform: what obeys passes, what does not fails and says where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import raises

from jaxconv import equivariance as eq
from jaxconv import ops

X = jax.random.normal(jax.random.key(0), (2, 6, 8, 3))
K = jax.random.normal(jax.random.key(1), (3, 3, 3, 4)) / 5


def circular(x, **options):
    return ops.conv(x, K, padding_mode="circular", **options)


EQUIVARIANT = {
    "identity": (lambda x: x, {}),
    "circular conv": (circular, {}),
    "conv and relu": (lambda x: jax.nn.relu(circular(x)), {}),
    "strided, whole strides": (lambda x: circular(x, stride=2), {"lattice": 2}),
    "zeros, interior": (lambda x: ops.conv(x, K), {"action": "interior"}),
    "valid, interior": (lambda x: ops.conv(x, K, padding="valid"), {"action": "interior"}),
    "strided zeros, interior": (
        lambda x: ops.conv(x, K, stride=2),
        {"action": "interior", "lattice": 2},
    ),
    "rectangular axis only": (
        lambda x: ops.conv(x, K, padding_mode=("zeros", "circular")),
        {"axes": (2,)},
    ),
    "channels first": (
        lambda x: jnp.moveaxis(circular(jnp.moveaxis(x, 1, -1)), -1, 1),
        {"axes": (2, 3), "x": jnp.moveaxis(X, -1, 1)},
    ),
    "upsampled": (lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2), {}),
    "many outputs": (lambda x: {"a": circular(x), "b": x**2}, {}),
    "bfloat16": (
        lambda x: ops.conv(x, K.astype(x.dtype), padding_mode="circular"),
        {"x": X.astype(jnp.bfloat16)},
    ),
    "crops": (lambda x: ops.conv(x, K), {"action": eq.crop_shift((5, 6))}),
}

NOT_EQUIVARIANT = {
    "zero-padded conv": (lambda x: ops.conv(x, K), {}),
    "strided conv": (lambda x: circular(x, stride=2), {}),
    "strided conv, interior": (lambda x: ops.conv(x, K, stride=2), {"action": "interior"}),
    "strided, wrong lattice": (lambda x: circular(x, stride=2), {"lattice": 3}),
    "position map": (lambda x: x + jnp.arange(8.0).reshape(1, 1, 8, 1), {}),
    "position map, interior": (
        lambda x: ops.conv(x + jnp.arange(8.0).reshape(1, 1, 8, 1), K),
        {"action": "interior"},
    ),
    "stands still": (lambda x: jnp.broadcast_to(X[:1], x.shape), {}),
    "one output of two": (lambda x: {"a": circular(x), "b": ops.conv(x, K)}, {}),
    "not a number": (lambda x: x * jnp.nan, {}),
    "hidden by an offset": (lambda x: ops.conv(x, K) + 1e4, {"tolerance": 1e-6}),
}

INVARIANT = {
    "circular, mean": (lambda x: circular(x).mean((1, 2)), {}),
    "strided, whole strides": (lambda x: circular(x, stride=2).max((1, 2)), {"lattice": 2}),
    "interior object": (
        lambda x: x.sum((1, 2)),
        {"action": "interior", "x": jnp.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)))},
    ),
}

NOT_INVARIANT = {
    "zero-padded conv": (lambda x: ops.conv(x, K).max((1, 2)), {}),
    "strided": (lambda x: jax.nn.relu(circular(x, stride=2)).mean((1, 2)), {}),
    "flatten and dense": (
        lambda x: x.reshape(2, -1) @ jax.random.normal(jax.random.key(2), (144, 10)),
        {},
    ),
    "an equivariant map": (lambda x: x, {}),
}


def _run(check, function, options):
    options = dict(options)
    check(function, options.pop("x", X), **options)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_equivariant_functions_pass(name):
    _run(eq.assert_shift_equivariant, *EQUIVARIANT[name])


@pytest.mark.parametrize("name", NOT_EQUIVARIANT)
def test_other_functions_fail(name):
    with pytest.raises(AssertionError, match=r"is not equivariant"):
        _run(eq.assert_shift_equivariant, *NOT_EQUIVARIANT[name])


@pytest.mark.parametrize("name", INVARIANT)
def test_invariant_functions_pass(name):
    _run(eq.assert_shift_invariant, *INVARIANT[name])


@pytest.mark.parametrize("name", NOT_INVARIANT)
def test_functions_that_vary_fail(name):
    with pytest.raises(AssertionError, match=r"is not invariant"):
        _run(eq.assert_shift_invariant, *NOT_INVARIANT[name])


def test_a_stride_fails_already_at_one_pixel():
    with pytest.raises(AssertionError, match=r"at \(0, 1\)"):
        eq.assert_shift_equivariant(lambda x: circular(x, stride=2), X, shifts=[[0, 1]])


IMPULSE = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(1.0)


def test_message_of_a_border_failure():
    def padded(x):
        return ops.conv(x, jnp.ones((3, 3, 1, 1)))

    spot = jnp.zeros((1, 8, 8, 1)).at[0, 3, 4, 0].set(1.0)
    with raises(
        AssertionError,
        "assert_shift_equivariant: f is not equivariant to the circular shift, 1 of 1 elements "
        "fail; expected eps_inf <= 1.0e-05. Got eps_inf=1.00e+00 (eps_2=6.23e-01, noise floor "
        "1.2e-07) at (4, 0), the largest at output (0, 0, 3, 0), border 1.0e+00, interior 0.0e+00. "
        "The first operation at fault is conv_general_dilated at test_equivariance_assert.py:"
        f"{padded.__code__.co_firstlineno + 1}. Only outputs within ((2, 2), (2, 2)) of the edges "
        'differ, so padding breaks it: use padding_mode="circular", or compare with '
        'action="interior".',
    ):
        eq.assert_shift_equivariant(padded, spot, shifts=[[4, 0]])


def test_message_of_a_stride():
    with raises(
        AssertionError,
        "assert_shift_equivariant: f is not equivariant to the circular shift, 12 of 16 elements "
        "fail; expected eps_inf <= 1.0e-05. Got eps_inf=5.00e-01 (eps_2=8.16e-01, noise floor "
        "1.2e-07) at (0, 1), the largest at output (0, 0, 1, 0), border 5.0e-01, interior 0.0e+00. "
        f"The first operation at fault is slice at test_equivariance_assert.py:{_sliced_line()}. "
        "Shifts by multiples of 2 are exact, so a stride breaks the others: pass lattice=2 if that "
        "is what you claim, or downsample adaptively.",
    ):
        eq.assert_shift_equivariant(_sliced, IMPULSE)


def _sliced(x):
    return x[:, ::2, ::2]


def _sliced_line():
    return _sliced.__code__.co_firstlineno + 1


def test_an_empty_interior_is_not_testable():
    with raises(
        ValueError,
        "assert_shift_equivariant: not testable, no output lies clear of the border at any shift; "
        "expected an interior to compare. Got f(x) of shape (1, 4, 4, 1) with border ((3, 3), "
        '(3, 3)). Use a larger x, or circular padding and action="circular".',
    ):
        eq.assert_shift_equivariant(
            lambda x: ops.conv(x, jnp.ones((5, 5, 1, 1))),
            IMPULSE,
            action="interior",
            border=3,
        )
    with pytest.raises(ValueError, match="not testable"):
        eq.assert_shift_equivariant(
            lambda x: x - x.mean((1, 2), keepdims=True), X, action="interior"
        )
    with pytest.raises(ValueError, match="not testable"):
        eq.assert_shift_invariant(lambda x: x.sum((1, 2)), X, action="interior")


def test_whole_messages_of_impossible_checks():
    with raises(
        ValueError,
        "assert_shift_invariant: nothing can move; expected x (N, *spatial, C) or axes=. "
        "Got x of shape (2, 3). Add a batch axis with x[None], or name the moved axes.",
    ):
        eq.assert_shift_invariant(lambda x: x, jnp.ones((2, 3)))
    with raises(
        ValueError,
        "shift_error: inputs that move together differ in size; expected equal spatial sizes. "
        "Got (4, 4) and (8, 8). Resize one, or close over the one that stays.",
    ):
        eq.shift_error(lambda x: x[0], (IMPULSE, jnp.ones((1, 8, 8, 1))))
    with raises(
        ValueError,
        "assert_shift_equivariant: an output has 2 axes; expected moved axes (1, 2) in it. "
        "Got f(x) of shape (1, 1). Use assert_shift_invariant, or output_axes=.",
    ):
        eq.assert_shift_equivariant(lambda x: x.sum((1, 2)), IMPULSE)
    with raises(
        ValueError,
        "circular_shift: shifts is an array of shape (3,); expected one row of 2 numbers per "
        "shift, one per moved axis. Got shifts=[1, 2, 3]. "
        'Use shifts="all", a number of them to draw, or [[1, 1]].',
    ):
        eq.shift_error(lambda x: x, IMPULSE, shifts=[1, 2, 3])
    with raises(
        TypeError,
        "assert_gradient_equivariant: f returns more than a number; expected a scalar. "
        "Got f(x) of shape (1, 1). Use lambda x: f(x).sum().",
    ):
        eq.assert_gradient_equivariant(lambda x: x.sum((1, 2)), IMPULSE)


def test_gradients_of_invariant_scalars_move():
    eq.assert_gradient_equivariant(lambda x: jnp.sin(circular(x)).mean(), X)
    with pytest.raises(AssertionError):
        eq.assert_gradient_equivariant(lambda x: jnp.sin(ops.conv(x, K)).mean(), X)


def test_intensity():
    average = jnp.full((3, 3, 1, 1), 1 / 9)
    smooth = lambda x: ops.conv(x, average, padding_mode="circular")
    eq.assert_intensity_equivariant(smooth, X[..., :1])
    eq.assert_intensity_equivariant(lambda x: x.argmax(1), X, law="invariant", offsets=(0.0,))
    with pytest.raises(AssertionError):  # zeros come in at the border
        eq.assert_intensity_equivariant(lambda x: ops.conv(x, average), X[..., :1])
    eq.assert_intensity_equivariant(lambda x: ops.conv(x, average), X[..., :1], offsets=(0.0,))
    eq.assert_equivariant(jax.nn.relu, X, eq.gain())
    with pytest.raises(AssertionError):
        eq.assert_equivariant(jax.nn.relu, X, eq.offset())
    with pytest.raises(AssertionError):
        eq.assert_equivariant(jnp.tanh, X, eq.gain())


def test_flips_and_turns():
    square = X[:, :, :6]
    symmetric = jnp.ones((3, 3, 3, 2)) / 9
    eq.assert_equivariant(lambda x: ops.conv(x, symmetric), square, eq.flip())
    eq.assert_equivariant(lambda x: ops.conv(x, symmetric), square, eq.quarter_turn())
    eq.assert_equivariant(lambda x: x.max((1, 2)), square, eq.quarter_turn())
    for action in (eq.flip(), eq.quarter_turn()):
        with pytest.raises(AssertionError):
            eq.assert_equivariant(lambda x: ops.conv(x, K), square, action)
    with raises(
        ValueError,
        "quarter_turn: the moved axes have sizes (6, 8); expected two of one size. "
        "Got x with these. Cut a square out of x, or name two axes.",
    ):
        eq.assert_equivariant(lambda x: x, X, eq.quarter_turn())


def test_real_translations():
    smooth = jnp.sin(2 * jnp.pi * jnp.arange(8.0) / 8).reshape(1, 8, 1)
    half = eq.translation([[0.5], [2.25], [3.0]])
    kernel = jnp.array([1.0, -2.0, 0.5]).reshape(3, 1, 1)
    eq.assert_equivariant(lambda x: ops.conv(x, kernel, padding_mode="circular"), smooth, half)
    with pytest.raises(AssertionError):  # shift-equivariant, not translation-equivariant
        eq.assert_equivariant(jax.nn.relu, smooth, half)


def test_inputs_move_jointly():
    masked = lambda pair: pair[0] * pair[1]
    pair = (X, (X[..., :1] > 0).astype(X.dtype))
    eq.assert_shift_equivariant(masked, pair)
    fixed = pair[1]
    with pytest.raises(AssertionError):
        eq.assert_shift_equivariant(lambda x: x * fixed, X)
    eq.assert_shift_equivariant(
        lambda p: p["x"] * p["gain"][:, None, None], {"x": X, "gain": jnp.ones((2, 1))}
    )


def test_one_and_three_axes():
    wave = jax.random.normal(jax.random.key(3), (2, 9, 2))
    volume = jax.random.normal(jax.random.key(3), (1, 3, 4, 5, 2))
    for x in (wave, volume):
        kernel = jnp.ones((3,) * (x.ndim - 2) + (2, 2))
        eq.assert_shift_equivariant(lambda x, k=kernel: ops.conv(x, k, padding_mode="circular"), x)
        with pytest.raises(AssertionError):
            eq.assert_shift_equivariant(lambda x, k=kernel: ops.conv(x, k), x)


def test_receptive_field():
    image = jax.random.normal(jax.random.key(0), (1, 12, 14, 1))
    kernel = jnp.ones((3, 5, 1, 1))
    eq.assert_receptive_field(lambda x: ops.conv(x, kernel), image, (3, 5))
    eq.assert_receptive_field(
        lambda x: ops.conv(x, kernel, padding_mode="circular", dilation=2), image, (5, 9)
    )
    with raises(
        AssertionError,
        "assert_receptive_field: outputs see 5 inputs along axis 2; expected 3. Got size=3. "
        "Check window, dilation and stride, or use size=5.",
    ):
        eq.assert_receptive_field(lambda x: ops.conv(x, kernel), image, 3)
    with raises(
        ValueError,
        "assert_receptive_field: not testable, axis 1 has 12 pixels; expected more than the "
        "receptive field. Got size=12. Use x with 24 pixels there.",
    ):
        eq.assert_receptive_field(lambda x: x, image, 12)


def test_causal():
    wave = jax.random.normal(jax.random.key(0), (2, 12, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2))
    for stride in (1, 2):
        eq.assert_causal(lambda x, s=stride: ops.conv(x, kernel, padding="causal", stride=s), wave)
    with raises(
        AssertionError,
        "assert_causal: output 0 along axis 1, which stands at input 0, sees input 1; expected "
        'none later. Got stride=1. Use padding="causal", or pad before and not after.',
    ):
        eq.assert_causal(lambda x: ops.conv(x, kernel), wave)


def test_batch_independent():
    eq.assert_batch_independent(circular, X)
    eq.assert_batch_independent(lambda p: p[0] + p[1], (X, X))
    with raises(
        AssertionError,
        "assert_batch_independent: sample 0 of f changes by 9.78e-01 when the others in its batch "
        "are replaced; expected at most 1.0e-05. Got a batch of 2. Use train=False, or statistics "
        "that each sample has for itself.",
    ):
        eq.assert_batch_independent(
            lambda x: x - x.mean(0, keepdims=True), jnp.arange(8.0).reshape(2, 4, 1)
        )
    with raises(
        ValueError,
        "assert_batch_independent: not testable, the batch has 1 sample; expected at least 2. "
        "Got x of shape (1, 4, 4, 1). Use x of two or more samples.",
    ):
        eq.assert_batch_independent(circular, IMPULSE)


def test_measures_both_sides_and_every_leaf():
    error = eq.shift_error(lambda x: {"map": ops.conv(x, K), "pooled": x.mean((1, 2))}, X)
    by_path = {leaf.path: leaf for leaf in error.leaves}
    assert by_path["['pooled']"].law == "invariant"
    assert by_path["['pooled']"].eps_inf.max() <= 1e-6
    assert by_path["['map']"].law == "equivariant"
    assert error.elements.shape == (48, 2)
    assert error.obeys.sum() == 1
    worst = error.worst_leaf
    expected, actual = error.sides(worst.worst)
    gap = np.abs(np.asarray(expected["map"]) - np.asarray(actual["map"]))
    scale = np.abs(np.asarray(ops.conv(X, K))).max()
    np.testing.assert_allclose(gap.max() / scale, worst.eps_inf.max(), rtol=1e-5)
    assert tuple(np.unravel_index(gap.argmax(), gap.shape)) == worst.place[worst.worst]
    assert worst.interior.max() <= 1e-6 < worst.border.max()


def test_errors_equal_a_plain_loop():
    function = lambda x: jax.nn.relu(ops.conv(x, K, stride=2, padding_mode="circular"))
    error = eq.shift_error(function, X, lattice=2, shifts=5, seed=3)
    assert len(error.elements) == 5
    error = eq.shift_error(lambda x: ops.conv(x, K), X)
    y = np.asarray(ops.conv(X, K), np.float64)
    for k, (a, b) in enumerate(error.elements.astype(int)):
        moved = np.asarray(ops.conv(jnp.roll(X, (a, b), (1, 2)), K), np.float64)
        gap = np.roll(y, (a, b), (1, 2)) - moved
        leaf = error.leaves[0]
        np.testing.assert_allclose(leaf.eps_inf[k], np.abs(gap).max() / np.abs(y).max(), atol=1e-6)
        contrast = np.linalg.norm(y - y.mean((1, 2), keepdims=True))
        np.testing.assert_allclose(leaf.eps_2[k], np.linalg.norm(gap) / contrast, atol=1e-6)


def test_chunks_do_not_change_errors():
    one, seven = (
        eq.shift_error(lambda x: ops.conv(x, K), X, chunk=chunk).leaves[0].eps_inf
        for chunk in (1, 7)
    )
    np.testing.assert_allclose(one, seven, atol=1e-6)


def test_prints_a_table():
    text = str(eq.shift_error(lambda x: x[:, ::2, ::2], IMPULSE))
    assert text.splitlines()[0] == (
        "4 of 16 elements of the circular shift obeyed, 1 images, worst eps_inf 5.00e-01"
    )
    assert text.splitlines()[1].startswith("output           equivariant  worst 5.00e-01")


def test_whole_messages_of_unknown_choices():
    choices = {
        "action": ("shift_error", '"circular", "interior"', "circular", {"action": "mine"}),
        "law": ("shift_error", '"auto", "equivariant", "invariant"', "auto", {"law": "mine"}),
    }
    for name, (where, known, first, options) in choices.items():
        with raises(
            ValueError,
            f"{where}: {name} is unknown; expected one of {known}. Got {name}='mine'. "
            f"Use {name}='{first}', say.",
        ):
            eq.shift_error(lambda x: x, IMPULSE, **options)
    with raises(
        ValueError,
        'translation: nyquist is unknown; expected one of "real", "zero". Got nyquist=\'mine\'. '
        "Use nyquist='real', say.",
    ):
        eq.translation(nyquist="mine")
    with raises(
        ValueError,
        'crop_shift: method is unknown; expected one of "none", "bilinear", "lanczos". '
        "Got method='mine'. Use method='none', say.",
    ):
        eq.crop_shift(2, method="mine")
    with raises(
        ValueError,
        "crop_shift: an axis has 4 pixels; expected at least the 6 of a crop. Got size=6. "
        "Use size=4 or less, or a larger image.",
    ):
        eq.shift_error(lambda x: x, IMPULSE, eq.crop_shift(6))


def test_messages_of_outputs_that_are_no_numbers_and_of_gains():
    def broken(x):
        return x * jnp.nan

    with raises(
        AssertionError,
        "assert_shift_equivariant: f is not equivariant to the circular shift, 1 of 1 elements "
        "fail; expected eps_inf <= 1.0e-05. Got eps_inf=inf (eps_2=inf, noise floor 0.0e+00) at "
        "(1, 0), the largest at output (0, 0, 0, 0), border 0.0e+00, interior inf. The first "
        "operation at fault is mul at test_equivariance_assert.py:"
        f"{broken.__code__.co_firstlineno + 1}. Outputs are not finite: check f(x) itself first.",
    ):
        eq.assert_shift_equivariant(broken, IMPULSE, shifts=[[1, 0]])
    with raises(
        AssertionError,
        "assert_equivariant: f is not equivariant to the gain, 1 of 1 elements fail; expected "
        "eps_inf <= 1.0e-05. Got eps_inf=3.33e-01 (eps_2=2.07e+00, noise floor 7.9e-08) at (2, 0), "
        "the largest at output (0, 0, 0, 0), border 3.3e-01, interior 3.3e-01. "
        "A bias, relu and a kernel that does not sum to 1 break it: use affine layers.",
    ):
        eq.assert_equivariant(lambda x: x * 2 + 1, IMPULSE, eq.gain([2.0]))


def test_pytest_shows_the_line_that_called_and_not_ours():
    asserts = [getattr(eq, name) for name in dir(eq) if "assert_" in name]
    asserts = [function for function in asserts if callable(function)]
    assert len(asserts) >= 9
    assert all("__tracebackhide__" in function.__code__.co_varnames for function in asserts)
