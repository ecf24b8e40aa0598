"""Proofs confirmed by numbers, and proofs as assertions."""

import jax
import jax.numpy as jnp
import pytest
from helpers import raises

from jaxconv.equivariance.prove import _proof as proofs
from jaxconv.equivariance.prove import assert_proved, prove
from jaxconv.equivariance.prove._laws import Law

X = jax.ShapeDtypeStruct((1, 8, 8, 2), jnp.float32)
ROWS = jnp.arange(8.0).reshape(1, 8, 1, 1)


def outcomes(f, **options):
    return [check.outcome for check in prove(f, X, **options).verify(jax.random.key(0))]


def test_claims_are_confirmed():
    assert outcomes(lambda x: x[:, ::2]) == ["confirmed", "confirmed"]
    assert outcomes(lambda x: jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))[:, 2:]) == [
        "confirmed",
        "confirmed",
    ]


def test_what_is_not_proved_is_refuted_by_a_shift_where_it_is_false():
    assert outcomes(lambda x: x + ROWS) == ["refuted", "confirmed"]


def test_what_is_true_and_not_proved_is_undecided():
    hidden = lambda x: (x + ROWS).mean((1, 2)) - ROWS.mean()  # a linear identity
    assert outcomes(hidden)[0] in ("undecided", "confirmed")
    even = lambda x: jnp.sum(x * jnp.cos(ROWS) ** 2 + x * jnp.sin(ROWS) ** 2, (1, 2))
    assert outcomes(even) == ["undecided", "confirmed"]


def test_a_false_claim_would_be_contradicted():
    proof = prove(lambda x: x + ROWS, X)
    (output,) = proof.outputs
    wrong = proofs.Output(output.path, output.shape, (Law("equivariant", 1, 1, 1),) * 2, ())
    forged = proofs.Proof(proof.program, (wrong,), (), (), periodic=False)
    found = [check.outcome for check in forged.verify(jax.random.key(0))]
    assert found == ["contradicted", "contradicted"] or found[0] == "contradicted"


def test_generic_weights_are_drawn():
    f = lambda p, x: jnp.tanh(x + p)
    assert outcomes(f, params=jnp.zeros((1, 8, 8, 1))) == ["refuted", "refuted"]


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
