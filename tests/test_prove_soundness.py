"""The pitfalls of naming functions by hashes, each with a program that would fall into it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxconv.equivariance.prove import Law, _table, prove, prove_sizes
from jaxconv.equivariance.prove._arrays import Known
from jaxconv.equivariance.prove._hash import (
    Unmodelled,
    divisors,
    frozen,
    hash_rows,
    mix,
    name_of,
    salted,
)
from jaxconv.equivariance.prove._labels import (
    absolute,
    assemble,
    combine,
    constant_code,
    periods_of,
    shifts_of,
)
from jaxconv.equivariance.prove._multisets import multiset
from jaxconv.equivariance.prove._operands import constant, merge_ulps
from jaxconv.equivariance.prove._oracle import broken_labels
from jaxconv.equivariance.prove._program import trace

X = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)


def kinds(f, x=X, **options):
    return [law.kind for law in prove(f, x, **options).outputs[0].laws]


def labels(rng, count, rank=2, sizes=(4, 6)):
    """Random labels whose coordinates fit their periods."""
    names = rng.integers(0, 2**63, (2, count), dtype=np.uint64)
    periods = np.stack([rng.choice(divisors(n), count) for n in sizes])
    return assemble(names, rng.integers(0, 24, (rank, count)), periods)


# ulps


def test_entries_that_differ_by_rounding_are_merged():
    weights = np.array([0.1 + 0.2, 0.3, 0.6, 0.3 + 0.3], np.float64)
    assert len(np.unique(weights)) > len(np.unique(merge_ulps(weights))) == 2


def test_clusters_are_merged_up_to_16_ulp_and_chains_never():
    step = np.float32(2.0**-23)
    narrow = 1 + step * np.arange(0, 12, 4, dtype=np.float32)
    chain = 1 + step * np.arange(0, 400, 4, dtype=np.float32)
    assert len(np.unique(merge_ulps(narrow))) == 1
    assert len(np.unique(merge_ulps(chain))) == len(chain)
    ramp = jnp.asarray(np.resize(chain, (1, 8, 1, 1)))
    assert kinds(lambda x: jnp.tanh(x * ramp)) == ["unproved", "equivariant"]


def test_zero_is_never_moved_by_merging():
    values = np.array([0.0, 1e-12, -1e-12, 1.0])
    assert merge_ulps(values)[0] == 0.0


# broadcasting, literals, keys


def test_axes_of_size_one_broadcast_without_saying_so():
    rows = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
    assert kinds(lambda x: jnp.tanh(x - rows)) == ["unproved", "equivariant"]
    mean = lambda x: x - x.mean((1, 2), keepdims=True)  # (1, 1, 1, 3) beside (1, 8, 8, 3)
    assert kinds(mean) == ["equivariant"] * 2


@pytest.mark.parametrize("number", [2.0, np.float32(2), np.int8(2), True, 3])
def test_literals_are_constants_whatever_their_type(number):
    assert kinds(lambda x: jnp.sin(x) + jnp.asarray(number).astype(x.dtype)) == ["equivariant"] * 2


def test_random_numbers_of_a_fixed_key_are_a_constant():
    key = jax.random.key(3)
    noise = lambda x: x + jax.random.normal(key, x.shape)
    assert kinds(lambda x: jnp.tanh(noise(x))) == ["unproved"] * 2
    assert kinds(lambda x: jnp.tanh(x + jax.random.normal(key))) == ["equivariant"] * 2
    assert np.array_equal(Known(key).array, jax.random.key_data(key))


def test_random_numbers_of_two_keys_are_two_constants():
    draw = lambda seed: jax.random.normal(jax.random.key(seed), (1, 8, 1, 1))
    assert kinds(lambda x: jnp.tanh(x * (draw(0) - draw(0) + 1))) == ["equivariant"] * 2
    assert kinds(lambda x: jnp.tanh(x * (draw(0) - draw(1) + 1)))[0] == "unproved"


# names


def test_names_have_128_bits_of_which_each_depends_on_every_bit():
    assert name_of("a").nbytes == 16
    base = np.arange(4, dtype=np.uint64).reshape(1, 4)
    salt = name_of("rows")
    before = hash_rows(base, salt)
    for bit in (0, 31, 63):
        after = hash_rows(base ^ np.uint64(1 << bit), salt)
        flipped = np.unpackbits((before ^ after).view(np.uint8)).mean()
        assert 0.25 < flipped < 0.75, bit


def test_the_two_lanes_are_mixed_apart():
    names = np.stack([np.arange(1, 2000, dtype=np.uint64)] * 2)
    other = salted(names, name_of("g"))
    assert not (other[0] == other[1]).any()


def test_mixing_is_a_bijection_on_a_sample():
    words = np.random.default_rng(0).integers(0, 2**63, 100_000, dtype=np.uint64)
    assert len(np.unique(mix(words))) == len(np.unique(words))


def test_names_tell_tuples_apart():
    parts = [("a", "b"), ("ab",), ("a", ("b",)), (1, 2), (12,), ("1", 2), (1.0, 2), (True, 2), ()]
    names = [name_of(*part).tobytes() for part in parts]
    assert len(set(names)) == len(parts)


def test_parameters_become_text_that_differs_when_they_do():
    values = [1, 1.0, True, "1", (1,), [1], None, np.float32(1), np.dtype("f4"), {"a": 1}, {"a": 2}]
    values += [np.zeros(2), np.zeros(2, np.float32), np.zeros((2, 1)), np.arange(2000), b"1"]
    ramp = np.arange(2000)
    ramp[1000] += 1  # printing arrays of this size would leave the difference out
    texts = [frozen(value) for value in [*values, ramp]]
    assert len(set(texts)) == len(texts)
    with pytest.raises(Unmodelled, match="parameter of type object"):
        frozen(object())


def test_constants_of_other_shape_dtype_or_value_have_other_names():
    shapes = [np.zeros(4), np.zeros(4, np.float32), np.zeros((2, 2)), np.zeros((4, 1)), np.ones(4)]
    shapes += [np.zeros(4, int), np.array([0, 0, 0, 1.0]), np.zeros(5)]
    names = set()
    for value in shapes:
        whole = constant(Known(value), value.shape, ["B"] * value.ndim, 2)
        names.add(whole.code[:2].tobytes())
    assert len(names) == len(shapes) - 1  # (4,) and (4, 1) are one vector of four numbers


def test_large_tables_are_hashed_whole():
    table = np.zeros((1, 8, 8, 600), np.float32)
    other = table.copy()
    other[0, 5, 2, 301] = 1.0
    wide = jax.ShapeDtypeStruct(table.shape, jnp.float32)
    assert kinds(lambda x: jnp.tanh(x + table), wide) == ["equivariant"] * 2
    assert kinds(lambda x: jnp.tanh(x + other), wide) == ["interior"] * 2


# the concretization equations of the two combinations, on random labels


def evaluate(code, x, sizes):
    """A function F_κ(T_-τ x) for every label, which obeys the period of the label."""
    names, shifts, periods = code[:2], shifts_of(code).T, periods_of(code).T
    values = []
    for name, shift, period in zip(names.T, shifts, periods, strict=True):
        noise = np.random.default_rng(list(name)).normal(size=sizes)
        seen = np.roll(x, -shift, (0, 1))
        rolls = itertools.product(*[range(0, n, p) for n, p in zip(sizes, period, strict=True)])
        values.append(np.mean([np.sin(np.roll(seen, r, (0, 1)) * noise).sum() for r in rolls]))
    return np.array(values)


@pytest.mark.parametrize("operation", ["combine", "multiset"])
def test_equal_names_are_equal_functions_on_random_labels(operation):
    """Rows that a shift of x turns into each other must be named so, and obey their period."""
    rng, sizes = np.random.default_rng(8), (4, 6)
    x = rng.normal(size=sizes)
    weights = rng.normal(size=3)
    join = (lambda v: np.tanh(v @ weights)) if operation == "combine" else (lambda v: v.sum())
    apply = combine if operation == "combine" else multiset
    for _ in range(12):
        row = labels(rng, 3)
        shift = rng.integers(0, 24, (2, 1))
        moved = assemble(row[:2], shifts_of(row) + shift, periods_of(row))
        rows = np.stack([row, moved], 1)  # two places: the second sees x after a shift
        out = apply(rows, name_of(operation))
        values = [join(evaluate(np.ascontiguousarray(r), x, sizes)) for r in rows.swapaxes(0, 1)]
        for place, value in enumerate(values):
            code = out[:, place]
            for axis, period in enumerate(periods_of(code)):
                again = join(evaluate(rows[:, place], np.roll(x, period, axis), sizes))
                assert np.isclose(again, value, rtol=0, atol=1e-9)
        if (out[:2, 0] == out[:2, 1]).all():
            back = (shifts_of(out)[:, 1] - shifts_of(out)[:, 0]).tolist()
            seen = join(evaluate(rows[:, 1], np.roll(x, back, (0, 1)), sizes))
            assert np.isclose(seen, values[0], rtol=0, atol=1e-9)


def test_shifted_rows_share_a_name():
    rng = np.random.default_rng(9)
    row = labels(rng, 3)
    moved = assemble(row[:2], shifts_of(row) + [[1], [5]], periods_of(row))
    for apply in (combine, multiset):
        out = apply(np.stack([row, moved], 1), name_of("f"))
        assert (out[:2, 0] == out[:2, 1]).all()
    other = row.copy()
    other[:2, 1] ^= np.uint64(1)
    out = combine(np.stack([row, other], 1), name_of("f"))
    assert not (out[:2, 0] == out[:2, 1]).any()


def test_constants_are_invariant():
    code = constant_code(name_of("c").reshape(2, 1), 2)
    assert (periods_of(code) == 1).all()
    assert (absolute(code) == absolute(code)).all()


# the judge


def test_the_judge_sees_a_constant_that_is_none(monkeypatch):
    zero = lambda context, call, x: Known(np.zeros(call.shape, call.dtypes[0]))
    monkeypatch.setitem(_table.RULES, "tanh", zero)
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(1, 4, 4, 1))
        found = broken_labels(trace("test", jnp.tanh, x, (1, 2), None, "generic"), x)
    assert found[0] == "tanh: not the constant that it is taken for"


# sizes


def test_a_law_is_one_of_a_size():
    def f(x):
        wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
        return jax.lax.reduce_window(
            wide, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID"
        ).mean((1, 2))

    proofs = prove_sizes(f, X, [14, 15, (14, 15)])
    laws = {size: proof.outputs[0].laws for size, proof in proofs.items()}
    assert laws[14] == (Law("invariant", 2),) * 2
    assert [law.kind for law in laws[15]] == ["unproved"] * 2
    assert [law.kind for law in laws[14, 15]] == ["invariant", "unproved"]
