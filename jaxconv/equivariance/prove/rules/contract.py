"""Contractions: pairs of labels, and multisets of pairs over the contracted axes."""

import math
from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    LIMIT,
    Known,
    Labels,
    Unmodelled,
    Value,
    bundle_rank,
    condensed,
    plain,
)
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._labels import combine
from jaxconv.equivariance.prove._multisets import multiset
from jaxconv.equivariance.prove._operands import charges, lift, zero_entries
from jaxconv.equivariance.prove._phases import added_charges, has_phase
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove._terms import joint, without


@rule("dot_general", charged=True)
def dot_general(context: Context, call: Call, a: Value, b: Value) -> Labels:
    """Computes y[batch, i, j] = Σ_c a[batch, i, c] · b[batch, j, c]."""
    (contract_a, contract_b), (batch_a, batch_b) = call.params["dimension_numbers"]
    free_a = _free(a, contract_a, batch_a)
    free_b = _free(b, contract_b, batch_b)
    pairs = [*zip(contract_a, contract_b, strict=True), *zip(batch_a, batch_b, strict=True)]
    shared = {pair: _explicit(a, pair[0]) or _explicit(b, pair[1]) for pair in pairs}
    summing = any(shared[pair] for pair in zip(contract_a, contract_b, strict=True))
    if summing:
        a, b = plain(a), plain(b)
    wanted = _wanted_states((a, b), (free_a, free_b), shared, summing=summing)
    left = lift(a, a.shape, wanted[0], context.rank)
    right = lift(b, b.shape, wanted[1], context.rank)
    order_a, order_b = [*batch_a, *free_a, *contract_a], [*batch_b, *free_b, *contract_b]
    sizes = len(batch_a), len(free_a), len(free_b)
    salt = name_of(
        "dot",
        str(call.dtypes[0]),
        [(left.states[d], bundle_rank(left.states, d), left.shape[d]) for d in order_a],
        [(right.states[d], bundle_rank(right.states, d), right.shape[d]) for d in order_b],
        sizes,
    )
    place = lambda array, order, first: _placed(array, order, sizes, first=first)
    both = place(plain(left).code, order_a, True), place(plain(right).code, order_b, False)
    wide = np.broadcast_arrays(*both)
    code = combine(np.stack(wide, -1), salt)
    if summing:
        for value, labels, order, first in ((a, left, order_a, True), (b, right, order_b, False)):
            if isinstance(value, Known):
                zero = zero_entries(value, labels.states)[None]
                code = without(code, place(zero, order, first)[0])
    kept = sum(sizes)
    code = code.reshape(*code.shape[: kept + 1], -1)
    states = [
        _either(left.states[i], right.states[j]) for i, j in zip(batch_a, batch_b, strict=True)
    ]
    states += [left.states[d] for d in free_a] + [right.states[d] for d in free_b]
    code = multiset(code, joint(call.shape, states)) if summing else code[..., 0]
    out = Labels(call.shape, tuple(states), code)
    if has_phase(left, right):
        rows = place(left.code, order_a, True), place(right.code, order_b, False)
        rows = [row[2 + context.rank :] for row in np.broadcast_arrays(*rows)]
        out.code[2 + context.rank :] = np.lcm(*rows).reshape(context.rank, *code.shape[1:])
        rows = place(charges(left), order_a, True), place(charges(right), order_b, False)
        charge = added_charges(*rows, context.sizes)  # axes that are contracted have one entry
        charge = charge.reshape(context.rank, *charge.shape[1 : kept + 1])
        out.charge = np.broadcast_to(charge, (context.rank, *code.shape[1:]))
        out.sizes = context.sizes
    return condensed(out, _constant_axes(a, b, sizes))


def _free(value: Value, contracted: Sequence[int], batch: Sequence[int]) -> list[int]:
    return [d for d in range(len(value.shape)) if d not in contracted and d not in batch]


def _explicit(value: Value, axis: int) -> bool:
    return isinstance(value, Labels) and value.states[axis] == "E"


def _either(first: str, second: str) -> str:
    return "E" if "E" in (first, second) else "B" if "B" in (first, second) else "R"


def _wanted_states(
    values: tuple[Value, Value],
    free: tuple[list[int], list[int]],
    shared: dict[tuple[int, int], bool],
    *,
    summing: bool,
) -> list[list[str]]:
    """States of both operands: shared axes alike; a constant matrix is explicit if that fits."""
    for explicit_constant in (summing, False):
        wanted = []
        for side, value in enumerate(values):
            known = isinstance(value, Known)
            states = ["B" if known else "-"] * len(value.shape)
            for pair, explicit in shared.items():
                if explicit:
                    states[pair[side]] = "E"
            for axis in free[side]:
                if _explicit(value, axis) or (known and explicit_constant):
                    states[axis] = "E"
            wanted.append(states)
        count = _count(values[0], wanted[0], range(len(values[0].shape)))
        count *= _count(values[1], wanted[1], free[1])
        if count <= LIMIT:
            return wanted
    raise Unmodelled("more products than fit")


def _count(value: Value, states: list[str], axes: Sequence[int]) -> int:
    return math.prod(value.shape[d] for d in axes if states[d] == "E" or _explicit(value, d))


def _placed(
    array: np.ndarray, order: list[int], sizes: tuple[int, int, int], *, first: bool
) -> np.ndarray:
    """Axes as (row, batch, free of a, free of b, contracted)."""
    batch, free_a, free_b = sizes
    array = array.transpose(0, *[axis + 1 for axis in order])
    start, count = (1 + batch + free_a, free_b) if first else (1 + batch, free_a)
    return np.expand_dims(array, tuple(range(start, start + count)))


def _constant_axes(a: Value, b: Value, sizes: tuple[int, int, int]) -> list[int]:
    batch, free_a, free_b = sizes
    if isinstance(a, Known):
        return list(range(batch, batch + free_a))
    if isinstance(b, Known):
        return list(range(batch + free_a, batch + free_a + free_b))
    return []
