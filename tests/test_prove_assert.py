"""Proofs confirmed by numbers, and proofs as assertions."""

import jax
import jax.numpy as jnp
import pytest
from helpers import raises

from jaxconv.equivariance import assert_shift_equivariant, assert_shift_invariant
from jaxconv.equivariance._cosets import representatives
from jaxconv.equivariance.prove import _proof as proofs
from jaxconv.equivariance.prove import assert_proved, prove
from jaxconv.equivariance.prove._laws import Law

X = jax.ShapeDtypeStruct((1, 8, 8, 2), jnp.float32)
ROWS = jnp.arange(8.0).reshape(1, 8, 1, 1)


def outcomes(f, x=X, **options):
    """(axis, shift, outcome) of every check."""
    checks = prove(f, x, **options).verify(jax.random.key(0))
    return [(check.axis, check.shift, check.outcome) for check in checks]


def test_claims_are_confirmed_at_multiples_of_their_shift_and_finer_ones_refuted():
    assert outcomes(lambda x: x[:, ::2]) == [
        (1, 2, "confirmed"),
        (1, 4, "confirmed"),
        (1, 6, "confirmed"),
        (1, 1, "refuted"),
        (2, 1, "confirmed"),
        (2, 2, "confirmed"),
        (2, 3, "confirmed"),
    ]


def test_an_interior_is_confirmed_and_its_border_refuted():
    zeros = lambda x: jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))[:, 2:]
    found = outcomes(zeros)[:4]
    assert found == [
        (1, 1, "confirmed"),
        (1, 2, "confirmed"),
        (1, 3, "confirmed"),
        (1, 4, "refuted"),
    ]


def test_what_is_not_proved_is_refuted_by_the_coarsest_shift_of_every_kind():
    twelve = jax.ShapeDtypeStruct((1, 12, 4, 2), jnp.float32)
    rows = jnp.arange(12.0).reshape(1, 12, 1, 1)
    assert outcomes(lambda x: x + rows, twelve)[:2] == [(1, 6, "refuted"), (1, 4, "refuted")]


def test_a_refutation_holds_its_counterexample():
    proof = prove(lambda x: x + ROWS, X)
    (check,) = [c for c in proof.verify(jax.random.key(0)) if c.outcome == "refuted"]
    before, after = check.x + ROWS, jnp.roll(check.x, check.shift, 1) + ROWS
    rolls = [jnp.roll(before, q, 1) for q in range(8)]
    assert min(float(jnp.abs(after - roll).max()) for roll in rolls) > 1


def test_what_is_true_and_not_proved_is_undecided():
    even = lambda x: jnp.sum(x * jnp.cos(ROWS) ** 2 + x * jnp.sin(ROWS) ** 2, (1, 2))
    assert outcomes(even)[0] == (1, 4, "undecided")


def test_numbers_that_are_not_finite_decide_nothing():
    found = outcomes(lambda x: jnp.log(x - 100)[:, ::2])
    assert {outcome for _, _, outcome in found} == {"undecided"}


def test_a_false_claim_would_be_contradicted():
    proof = prove(lambda x: x + ROWS, X)
    (output,) = proof.outputs
    wrong = proofs.Output(output.path, output.shape, (Law("equivariant", 1, 1, 1),) * 2)
    forged = proofs.Proof(proof.program, (wrong,), (), (), periodic=False)
    found = {check.outcome for check in forged.verify(jax.random.key(0)) if check.axis == 1}
    assert found == {"contradicted"}


def test_generic_weights_are_drawn():
    f = lambda p, x: jnp.tanh(x + p)
    found = outcomes(f, params=jnp.zeros((1, 8, 8, 1)))
    assert found == [(1, 4, "refuted"), (2, 4, "refuted")]


def test_a_periodic_proof_is_not_about_f():
    with raises(
        ValueError,
        "verify: the proof is about circular borders, which f does not have; expected a proof of "
        "f itself. Got periodic=True. Use prove(..., periodic=False).",
    ):
        prove(jnp.tanh, X, periodic=True).verify(jax.random.key(0))


def test_assert_proved_passes():
    assert_proved(jnp.tanh, X, law="equivariant")
    assert_proved(lambda x: x[:, ::2, ::2].mean((1, 2)), X, law="invariant", shift=2)
    assert_proved(lambda x: x.mean((1, 2)), X, law="permuted", shift=(1, 4))


def test_assert_proved_fails_with_what_is_proved_instead():
    with pytest.raises(AssertionError) as caught:
        assert_proved(lambda x: x[:, ::2].mean((1, 2)), X, law="invariant")
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "assert_proved: invariant on all shifts is not proved; expected it for every output."
    )
    assert lines[1] == "  output, axis 1: invariant to shifts by multiples of 2"
    assert "at test_prove_assert.py:" in lines[2]


def test_assert_proved_says_which_size_fails():
    halves = lambda x: x[:, ::2, ::2].mean((1, 2))
    assert_proved(halves, X, law="invariant", shift=2, sizes=[6, 8])
    with pytest.raises(AssertionError, match="size 7: output, axis 1: not proved"):
        assert_proved(halves, X, law="invariant", shift=2, sizes=[7, 8])


def test_assert_proved_knows_its_words():
    with raises(
        ValueError,
        'assert_proved: law is unknown; expected one of "invariant", "equivariant", "permuted", '
        '"adaptive", "interior". Got law=\'stable\'. Use law="equivariant", say.',
    ):
        assert_proved(jnp.tanh, X, law="stable")


def test_a_check_of_a_proved_function_needs_one_shift_of_every_coset():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
    halves = lambda x: jnp.tanh(x[:, ::2, ::2])
    assert representatives(halves, X, "equivariant", None, 2).tolist() == [[0, 0], [2, 2]]
    assert representatives(halves, X, "equivariant", None, 1).shape == (5, 2)
    assert representatives(lambda x: x + ROWS, X, "equivariant", None, 1) is None
    assert representatives(lambda x: halves(x)[:, ::-1], X, "equivariant", None, 1) is None
    assert_shift_equivariant(halves, x, lattice=2)
    assert_shift_invariant(lambda x: x.mean((1, 2)), x)


def test_a_check_that_fails_at_a_coset_reports_all_shifts():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
    with pytest.raises(AssertionError, match="48 of 64 elements fail"):
        assert_shift_equivariant(lambda x: x[:, ::2, ::2], x)
