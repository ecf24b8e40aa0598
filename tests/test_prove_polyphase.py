"""Polyphase layers: exact under every shift, by the stride or not, and what breaks that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv as jc
from jaxconv.equivariance import prove
from jaxconv.equivariance.prove import _fork
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._program import trace
from jaxconv.equivariance.prove._ties import any_tie

X = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)


def network(*, mode="circular", down=jc.polyphase_down):
    """Two convolutions and two samplings in turn, and a mean."""
    conv = lambda: jc.conv(2, 3, padding_mode=mode)
    model = jc.serial(conv(), down((2, 1)), conv(), down((2, 1)), jc.global_avg_pool())
    weights = jax.eval_shape(model.init, jax.random.key(0), X)
    return prove(lambda w, x: model.apply(*w, x)[0], X, params=weights)


def test_a_network_is_invariant_to_every_shift():
    proof = network()
    assert proof.outputs[0].laws == (Law("invariant", 1),) * 2
    assert [law.off_ties for law in proof.outputs[0].laws] == [True, False]
    assert proof.theorem == (
        "Output is invariant to all circular shifts (64 of 64 shifts, ties excluded)."
    )
    assert {check.outcome for check in proof.verify(jax.random.key(1))} == {"confirmed"}


@pytest.mark.parametrize(
    "broken", [{"mode": "zeros"}, {"down": lambda stride: jc.max_pool(stride)}]
)
def test_zero_padding_or_a_plain_stride_is_not(broken):
    assert network(**broken).outputs[0].laws[0] != Law("invariant", 1)


def branches(x, *, shared):
    """Two branches of a block, sampled with one choice or each with its own."""
    y, index = jc.ops.polyphase_down(x, (2, 1))
    z, _ = jc.ops.polyphase_down(jnp.sin(x), (2, 1), index=index if shared else None)
    return jnp.tanh(y + z)


def test_branches_that_share_the_choice_roll_together_and_others_do_not():
    adaptive = Law("adaptive", 1, 1, 1, rolls=(0, 1))
    assert prove(lambda x: branches(x, shared=True), X).outputs[0].laws[0] == adaptive
    (output,) = prove(lambda x: branches(x, shared=False), X).outputs
    assert output.laws[0] == Law("equivariant", 2, 1, 1)
    assert {limit.primitive for limit in output.strides if limit.axis == 0} == {"add"}


def test_down_and_up_again_is_equivariant():
    def around(x):
        y, index = jc.ops.polyphase_down(x, (2, 1))
        return jc.ops.polyphase_up(jnp.tanh(y), index, (2, 1))

    expected = tuple(Law("equivariant", 1, axis, 1) for axis in (1, 2))
    assert prove(around, X).outputs[0].laws == expected


def test_branches_that_are_matched_wrongly_are_contradicted(monkeypatch):
    monkeypatch.setattr(_fork, "_leaf_rolls", lambda *_: {_fork.STILL})
    proof = prove(lambda x: jc.ops.polyphase_down(x, (2, 1))[0], X)
    assert proof.outputs[0].laws[0] == Law("invariant", 1)
    assert "contradicted" in {check.outcome for check in proof.verify(jax.random.key(0))}


def opposite(x):
    """Both rows are opposite once their mean is taken off: their norms tie at every input."""
    x = x - x.mean(1, keepdims=True)
    rows = jnp.stack([x[:, 0], x[:, 1]])
    return rows[jnp.argmax(jnp.abs(rows).sum((1, 2, 3)))]


def test_a_claim_that_excludes_ties_is_neither_confirmed_nor_contradicted_by_one():
    proof = prove(opposite, jax.ShapeDtypeStruct((1, 2, 7, 3), jnp.float32), axes=(1,))
    (law,) = proof.outputs[0].laws
    assert law == Law("invariant", 1)
    assert law.off_ties
    checks = [check for seed in range(6) for check in proof.verify(jax.random.key(seed))]
    outcomes = {check.outcome for check in checks if check.law == law}
    assert "undecided" in outcomes
    assert "contradicted" not in outcomes


def test_a_choice_ties_where_the_two_best_are_equal_but_for_rounding():
    program = trace("test", opposite, np.zeros((1, 2, 7, 3), np.float32), (1,), None, "generic")
    clear = trace("test", lambda x: x[0, jnp.argmax(x[0, :, 0, 0])], X, (1,), None, "generic")
    rng = np.random.default_rng(0)
    assert any_tie(program.program, [rng.normal(size=(1, 2, 7, 3)).astype(np.float32)])
    x = rng.normal(size=X.shape).astype(np.float32)
    assert not any_tie(clear.program, [x])
    order = np.argsort(x[0, :, 0, 0])
    x[0, order[-2], 0, 0] = np.nextafter(x[0, order[-1], 0, 0], np.float32(-9))
    assert any_tie(clear.program, [x])
    x[0, order[-2], 0, 0] -= 0.01
    assert not any_tie(clear.program, [x])


def test_float64_is_chosen_by_its_bits_too():
    with jax.enable_x64(True):
        x = jax.ShapeDtypeStruct(X.shape, jnp.float64)
        (output,) = prove(lambda x: jc.ops.polyphase_down(x, (2, 1))[0], x).outputs
    assert output.laws[0].kind == "adaptive"


def test_an_argmax_that_steers_nothing_is_not_branched_on(monkeypatch):
    monkeypatch.setattr(_fork, "_branches", None)
    f = lambda x: jnp.argmax(jnp.tanh(x[:, ::2]).sum((1, 2)) @ jnp.ones((1, 4)), -1)
    assert prove(f, X).outputs[0].laws[0] == Law("invariant", 2)


@pytest.mark.slow
def test_a_resnet_20_is_invariant_to_all_its_shifts():
    model = jc.models.resnet(20, padding_mode="circular", down=jc.polyphase_down)
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    weights = jax.eval_shape(model.init, jax.random.key(0), x)
    proof = prove(lambda w, x: model.apply(*w, x)[0], x, params=weights)
    assert "invariant to all circular shifts (1,024 of 1,024 shifts" in proof.theorem
    assert proof.unmodelled == ()
