"""Sharded programs obey the laws of the programs that they shard; labels and numbers agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxconv.equivariance.prove import Law, prove
from jaxconv.equivariance.prove._oracle import observed
from jaxconv.equivariance.prove._program import trace

MESH = jax.sharding.AbstractMesh((2, 3), ("rows", "columns"))
SPLIT = P(None, "rows", "columns")
X = np.random.default_rng(2).normal(size=(2, 4, 6, 2))


def sharded(body, out=SPLIT, spec=SPLIT):
    return jax.shard_map(body, mesh=MESH, in_specs=spec, out_specs=out, check_vma=False)


def mean(x, names):
    return jax.lax.pmean(x.mean((1, 2), keepdims=True), names)


def halo(x):
    """The sum of each pixel and the one above it, around the image."""
    above = jax.lax.ppermute(x[:, -1:], "rows", [(0, 1), (1, 0)])
    return x + jnp.concatenate([above, x[:, :-1]], 1)


def open_halo(x):
    above = jax.lax.ppermute(x[:, -1:], "rows", [(0, 1)])
    return x + jnp.concatenate([above, x[:, :-1]], 1)


def place(x):
    return x + jax.lax.axis_index("rows").astype(x.dtype)


def blocked(x):
    return x - mean(x, "columns")


def first_rows(x):
    x = np.asarray(x).copy()
    x[:, 2:] += 1
    return x


def padded_above(x):
    return x + np.concatenate([0 * x[:, :1], x[:, :-1]], 1)


def without_block_rows(x):
    means = x.reshape(2, 2, 2, 6, 2).mean((2, 3), keepdims=True)
    return (x.reshape(2, 2, 2, 6, 2) - means).reshape(x.shape)


EQUIVARIANT = tuple(Law("equivariant", 1, axis, 1) for axis in (1, 2))
INVARIANT = (Law("invariant", 1),) * 2
CASES = {
    "position by position": (sharded(jnp.tanh), np.tanh, EQUIVARIANT),
    "norm over the mesh": (
        sharded(lambda x: x - mean(x, ("rows", "columns"))),
        lambda x: x - x.mean((1, 2), keepdims=True),
        EQUIVARIANT,
    ),
    "norm over blocks of rows": (
        sharded(blocked),
        without_block_rows,
        (Law("equivariant", 2, 1, 2), Law("equivariant", 1, 2, 1)),
    ),
    "exchange of borders": (sharded(halo), lambda x: x + np.roll(x, 1, 1), EQUIVARIANT),
    "exchange with an end": (
        sharded(open_halo),
        padded_above,
        (Law("interior", 1, 1, 1, (1, 0)), EQUIVARIANT[1]),
    ),
    "largest": (
        sharded(lambda x: jax.lax.pmax(x.max((1, 2)), ("rows", "columns")), P()),
        lambda x: x.max((1, 2)),
        INVARIANT,
    ),
    "gathered": (
        sharded(lambda x: jax.lax.all_gather(x, "columns", axis=2, tiled=True), P(None, "rows")),
        lambda x: x,
        EQUIVARIANT,
    ),
    "place of a device": (
        sharded(place),
        first_rows,
        (Law("interior", 1, 1, 1, (0, 2)), EQUIVARIANT[1]),
    ),
    "joint split": (
        sharded(
            lambda x: 2 * x, P(None, None, ("rows", "columns")), P(None, None, ("rows", "columns"))
        ),
        lambda x: 2 * x,
        EQUIVARIANT,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_laws_of_sharded_programs(name):
    f, reference, expected = CASES[name]
    with jax.enable_x64(True):
        program = trace("test", f, X, (1, 2), None, "generic")
        broken, _, (values,), _ = observed(program, X)
        proof = prove(f, X)
    assert broken == []
    assert proof.unmodelled == ()
    np.testing.assert_allclose(values[0, 0], reference(X), rtol=0, atol=1e-12)
    kinds = [(law.kind, law.shift, law.axis, law.roll) for law in proof.outputs[0].laws]
    assert kinds == [(law.kind, law.shift, law.axis, law.roll) for law in expected]


def test_collectives_without_a_rule_are_reported():
    f = sharded(
        lambda x: jax.lax.all_to_all(x, "rows", 3, 1, tiled=True), P(None, None, "columns", "rows")
    )
    with jax.enable_x64(True):
        (gap,) = prove(f, X).unmodelled
    assert (gap.primitive, gap.reason) == ("shard_map", "collective without a rule")


def test_sharding_constraints_change_nothing():
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.NamedSharding(mesh, P(None, "d"))
    proof = prove(lambda x: jax.lax.with_sharding_constraint(x * 2, spec), X.astype(np.float32))
    assert proof.outputs[0].laws == EQUIVARIANT
    assert proof.unmodelled == ()
