"""Contractions: pairs of labels, and multisets of pairs over the contracted axes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

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
from jaxconv.equivariance.prove._hash import Names, name_of
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
    free = _free(a, contract_a, batch_a), _free(b, contract_b, batch_b)
    contracted = list(zip(contract_a, contract_b, strict=True))
    pairs = [*contracted, *zip(batch_a, batch_b, strict=True)]
    shared = {pair: _explicit(a, pair[0]) or _explicit(b, pair[1]) for pair in pairs}
    summing = any(shared[pair] for pair in contracted)
    if summing:
        a, b = plain(a), plain(b)
    wanted = _wanted_states((a, b), free, shared, summing=summing)
    left = lift(a, a.shape, wanted[0], context.rank)
    right = lift(b, b.shape, wanted[1], context.rank)
    orders = [*batch_a, *free[0], *contract_a], [*batch_b, *free[1], *contract_b]
    layout = _Layout(orders, (len(batch_a), len(free[0]), len(free[1])))
    salt = name_of("dot", str(call.dtypes[0]), *layout.sides(left, right), layout.sizes)
    code = layout.merged(_products((a, b), (left, right), layout, salt, summing=summing))
    states = [
        _either(left.states[i], right.states[j]) for i, j in zip(batch_a, batch_b, strict=True)
    ]
    states += [left.states[d] for d in free[0]] + [right.states[d] for d in free[1]]
    code = multiset(code, joint(call.shape, states)) if summing else code[..., 0]
    out = Labels(call.shape, tuple(states), code)
    if has_phase(left, right):
        _set_phases(out, left, right, layout, context)
    return condensed(out, _constant_axes(a, b, layout.sizes))


class _Layout(NamedTuple):
    """How the axes of two operands become those of all products.

    Attributes:
        orders: axes of either operand: the batch's, its free ones, the contracted ones.
        sizes: how many axes are the batch's, free of the first and free of the second operand.
    """

    orders: tuple[list[int], list[int]]
    sizes: tuple[int, int, int]

    def place(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes (row, *shape) of both as (row, batch, free, free, contracted), to broadcast."""
        return self.place_one(first, 0), self.place_one(second, 1)

    def place_one(self, array: np.ndarray, side: int) -> np.ndarray:
        """The same of one operand, whose axes for the other's free ones have one entry."""
        batch, free_a, free_b = self.sizes
        array = array.transpose(0, *[axis + 1 for axis in self.orders[side]])
        start, count = (1 + batch, free_a) if side else (1 + batch + free_a, free_b)
        return np.expand_dims(array, tuple(range(start, start + count)))

    def merged(self, code: np.ndarray) -> np.ndarray:
        """All contracted axes as one, the last."""
        return code.reshape(*code.shape[: sum(self.sizes) + 1], -1)

    def sides(self, left: Labels, right: Labels) -> list[list[tuple]]:
        """What a name says of the axes of either operand, in order."""
        return [
            [(labels.states[d], bundle_rank(labels.states, d), labels.shape[d]) for d in order]
            for labels, order in zip((left, right), self.orders, strict=True)
        ]


def _products(
    values: tuple[Value, Value],
    lifted: tuple[Labels, Labels],
    layout: _Layout,
    salt: Names,
    *,
    summing: bool,
) -> np.ndarray:
    """A name of every product; of a sum, those with a constant zero are left out."""
    left, right = lifted
    both = layout.place(plain(left).code, plain(right).code)
    code = combine(np.stack(np.broadcast_arrays(*both), -1), salt)
    if summing:
        for side, (value, labels) in enumerate(zip(values, lifted, strict=True)):
            if isinstance(value, Known):
                zero = zero_entries(value, labels.states)[None]
                code = without(code, layout.place_one(zero, side)[0])
    return code


def _set_phases(
    out: Labels, left: Labels, right: Labels, layout: _Layout, context: Context
) -> None:
    """Periods of products are common multiples, their charges sums."""
    rank, shape = context.rank, out.code.shape[1:]
    rows = np.broadcast_arrays(*layout.place(left.code, right.code))
    periods = np.lcm(*(row[2 + rank :] for row in rows))
    out.code[2 + rank :] = periods.reshape(rank, *shape)
    charge = added_charges(*layout.place(charges(left), charges(right)), context.sizes)
    charge = charge.reshape(charge.shape[: sum(layout.sizes) + 1])  # one entry along the others
    out.charge = np.broadcast_to(charge, (rank, *shape))
    out.sizes = context.sizes


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


def _constant_axes(a: Value, b: Value, sizes: tuple[int, int, int]) -> list[int]:
    batch, free_a, free_b = sizes
    if isinstance(a, Known):
        return list(range(batch, batch + free_a))
    if isinstance(b, Known):
        return list(range(batch + free_a, batch + free_a + free_b))
    return []
