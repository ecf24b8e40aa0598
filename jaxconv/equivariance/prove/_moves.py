"""Moving labels about: selection along an axis, transposition, reshape, concatenation."""

import math
from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    Known,
    Labels,
    Unmodelled,
    Value,
    bundle_rank,
    condensed,
    expanded,
    extent,
    plain,
    within_limit,
)
from jaxconv.equivariance.prove._hash import U, name_of
from jaxconv.equivariance.prove._labels import ZERO
from jaxconv.equivariance.prove._operands import LONG_AXIS, charges, uniform, zipped
from jaxconv.equivariance.prove._terms import as_terms


def _replaced(items: Sequence, axis: int, item) -> tuple:
    return (*items[:axis], item, *items[axis + 1 :])


def take(labels: Labels, axis: int, index: np.ndarray) -> Labels:
    """The given indices along one axis, in the given order."""
    index = np.asarray(index)
    size = labels.shape[axis]
    if len(index) == size and (index == np.arange(size)).all():
        return labels
    if len(index) == 0:
        raise Unmodelled("empty array")
    shape = _replaced(labels.shape, axis, len(index))
    state = labels.states[axis]
    if state == "E":
        return labels.rearranged(shape, labels.states, lambda a: a.take(index, axis + 1))
    if state == "B":
        key = index.tobytes() if len(index) < 64 else name_of(index.tobytes()).tobytes()
        place = bundle_rank(labels.states, axis)
        labels = labels.through("take", place, size, str(index.dtype), key)
    return labels.rearranged(shape, labels.states, lambda a: a)


def transposed(labels: Labels, permutation: Sequence[int]) -> Labels:
    """Axes in another order."""
    bundles = [axis for axis in permutation if labels.states[axis] == "B"]
    if bundles != sorted(bundles):
        labels = labels.through("transpose", [sorted(bundles).index(axis) for axis in bundles])
    order = [0, *[axis + 1 for axis in permutation]]
    return labels.rearranged(
        [labels.shape[axis] for axis in permutation],
        [labels.states[axis] for axis in permutation],
        lambda a: a.transpose(*order, *range(len(order), a.ndim)),
    )


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Smallest groups of neighboring axes (old, new) of equal size."""
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        a, b, size_a, size_b = [], [], 1, 1
        if i < len(old):
            a, size_a, i = [i], old[i], i + 1
        if j < len(new):
            b, size_b, j = [j], new[j], j + 1
        while size_a != size_b:
            if size_a < size_b:
                a.append(i)
                size_a, i = size_a * old[i], i + 1
            else:
                b.append(j)
                size_b, j = size_b * new[j], j + 1
        groups.append((a, b))
    return groups


def reshaped(labels: Labels, shape: Sequence[int]) -> Labels:
    """Row-major reshape: patches, windows, tokens, space to depth, flatten."""
    if 0 in labels.shape:
        raise Unmodelled("empty array")
    states, salts, explicit = ["R"] * len(shape), [], []
    for a, b in _groups(labels.shape, shape):
        old = [axis for axis in a if labels.shape[axis] > 1]
        new = [axis for axis in b if shape[axis] > 1]
        kinds = [labels.states[axis] for axis in old]
        if len(old) == 1 and len(new) == 1:
            states[new[0]] = kinds[0]
        elif "E" in kinds:
            explicit += old
            for axis in new:
                states[axis] = "E"
        elif "B" in kinds:
            for axis in new:
                states[axis] = "B"
            sizes = [labels.shape[axis] for axis in old], [shape[axis] for axis in new]
            salts.append((*sizes, kinds, bundle_rank(labels.states, old[0])))
    for axis in explicit:
        labels = expanded(labels, axis)
    if salts:
        labels = labels.through("reshape", salts)
    place = extent(shape, states)
    within_limit(*place)
    move = lambda a: a.reshape(a.shape[0], *place, *a.shape[1 + labels.ndim :])
    out = labels.rearranged(shape, states, move)
    return condensed(out, range(len(shape))) if explicit else out


def concatenated(values: Sequence[Value], axis: int, shape: Sequence[int], rank: int) -> Labels:
    """One after the other along an axis; at least one of them has labels."""
    values = [value for value in values if value.shape[axis] > 0]
    labelled = [value for value in values if isinstance(value, Labels)]
    along = {value.states[axis] for value in labelled}
    mode = "E" if "E" in along or along == {"R"} else "B"
    states = [mode if d == axis else _shared_state(values, d, size) for d, size in enumerate(shape)]
    within_limit(*extent(shape, states))
    shapes = [value.shape for value in values]
    if mode == "E":
        parts = uniform(values, shapes, states, rank)
        code = np.concatenate([part.code for part in parts], axis + 1)
        out = Labels(tuple(shape), tuple(states), code)
        _keep_terms(out, parts, axis)
        if any(part.charge is not None for part in parts):
            rows = [charges(part, value) for part, value in zip(parts, values, strict=True)]
            shapes = [(rank, *part.code.shape[1:]) for part in parts]
            rows = [np.broadcast_to(r, s) for r, s in zip(rows, shapes, strict=True)]
            out.charge = np.concatenate(rows, axis + 1)
            out.sizes = next(part.sizes for part in parts if part.charge is not None)
        return condensed(out, [axis])
    values = [plain(value) for value in values]
    parts = uniform(values, shapes, [s if d != axis else "-" for d, s in enumerate(states)], rank)
    layout = [(part.shape[axis], part.states[axis]) for part in parts]
    salt = name_of("concatenate", bundle_rank(states, axis), layout)
    return zipped(parts, shape, states, salt)


def _keep_terms(out: Labels, parts: Sequence[Labels], axis: int) -> None:
    """Gives a concatenation the terms of its parts: fewer are filled up with exact zeros."""
    kinds = {part.kind for part in parts if part.terms is not None}
    if len(kinds) != 1:
        return
    (kind,) = kinds
    rows = [as_terms(part, part, kind=kind) for part in parts]
    most = max(row.shape[-1] for row in rows)
    zero = np.concatenate([ZERO, np.zeros(out.rank, U), np.ones(out.rank, U)])
    wide = []
    for row in rows:
        missing = most - row.shape[-1]
        rest = zero.reshape((-1,) + (1,) * (row.ndim - 1))
        rest = np.broadcast_to(rest, (*row.shape[:-1], missing))
        wide.append(np.concatenate([row, rest], -1) if missing else row)
    out.terms, out.kind = np.concatenate(wide, axis + 1), kind


def _shared_state(values: Sequence[Value], axis: int, size: int) -> str:
    seen = {value.states[axis] for value in values if isinstance(value, Labels)}
    varies = any(isinstance(value, Known) and value.varies(axis) for value in values)
    if size == 1:
        return "R"
    if "E" in seen:
        return "E"
    if "B" in seen or (varies and size > LONG_AXIS):
        return "B"
    return "E" if varies else "R"


def stacked(values: Sequence[Value], axis: int, shape: Sequence[int], rank: int) -> Labels:
    """Arrays along a new axis."""
    wide: list[Value] = []
    for value in values:
        inner = (*value.shape[:axis], 1, *value.shape[axis:])
        known = isinstance(value, Known)
        wide.append(Known(value.array.reshape(inner)) if known else reshaped(value, inner))
    return concatenated(wide, axis, shape, rank)


def filled(labels: Labels, axis: int, index: np.ndarray, fill: Labels) -> Labels:
    """Indices along an explicit axis, where index = size selects `fill`."""
    size = labels.shape[axis]
    shape = _replaced(labels.shape, axis, len(index))
    states = _replaced(labels.states, axis, "E")
    place = _replaced(labels.code.shape[1:], axis, 1)
    edge = np.broadcast_to(fill.code, (fill.code.shape[0], *place))
    code = np.concatenate([labels.code, edge], axis + 1).take(index, axis + 1)
    assert labels.code.shape[axis + 1] == size
    return Labels(shape, states, code)


def count(shape: Sequence[int], states: Sequence[str]) -> int:
    """Number of labels at these states."""
    return math.prod(extent(shape, states))
