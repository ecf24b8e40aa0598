"""Operands brought to common axis states; constants labelled on demand from their bytes.

Equal constant slices get equal labels, so a positional embedding has a label per row, while a
periodic mask or a circulant matrix repeats and keeps its symmetry.
"""

import math
from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    ANY,
    Known,
    Labels,
    Value,
    all_bundled,
    bundled,
    expanded,
    extent,
    plain,
    within_limit,
)
from jaxconv.equivariance.prove._hash import U, hash_rows, name_of
from jaxconv.equivariance.prove._labels import (
    combine,
    constant_code,
)

LONG_AXIS = 4096
"""A constant that varies along an axis longer than this is bundled there."""


def merge_ulps(a: np.ndarray) -> np.ndarray:
    """Identifies entries that differ by rounding only, such as normalized resize weights.

    Only clusters of total width <= 16 ulp of the largest entry are merged and never chains of
    them: a fine ramp must not become a constant.
    """
    b = a.astype(np.float32) if a.dtype.itemsize < 4 else a
    if b.size < 2 or not np.isfinite(b).all():
        return a
    values, inverse = np.unique(b, return_inverse=True)
    if len(values) < 2 or len(values) > 100_000:
        return a
    gap = 4 * np.finfo(b.dtype).eps * np.abs(values).max()
    cut = np.flatnonzero(np.diff(values) > gap) + 1
    cluster = np.zeros(len(values), int)
    cluster[cut] = 1
    cluster = np.cumsum(cluster)
    low, high = values[np.r_[0, cut]][cluster], values[np.r_[cut - 1, len(values) - 1]][cluster]
    narrow = high - low <= 4 * gap
    merged = np.where(narrow, low, values)
    merged = np.where(narrow & (low <= 0) & (high >= 0), 0, merged)
    return merged.astype(b.dtype)[inverse].reshape(a.shape)


def constant(known: Known, shape: Sequence[int], states: Sequence[str], rank: int) -> Labels:
    """Labels of a constant: one per index on E axes, from the bytes of the slice."""
    a = known.array
    if a.dtype.kind == "f":
        a = merge_ulps(a)
    if a.shape != tuple(shape):
        # n-ary equations broadcast scalars and axes of size 1 without saying so (jax 0.10.2)
        small = a.shape if a.ndim else (1,) * len(shape)
        states = ["R" if s == "B" and n == 1 else s for s, n in zip(states, small, strict=True)]
        a = np.broadcast_to(a, tuple(shape))
    states = tuple("R" if n == 1 else s for n, s in zip(shape, states, strict=True))
    for axis, state in enumerate(states):
        if state == "R":
            a = np.take(a, [0], axis)
    rows = [d for d, s in enumerate(states) if s == "E"]
    rest = [d for d, s in enumerate(states) if s != "E"]
    inner = tuple(a.shape[d] for d in rest)
    flat = np.ascontiguousarray(a.transpose(rows + rest)).reshape(
        math.prod(a.shape[d] for d in rows), math.prod(inner)
    )
    data = np.frombuffer(flat.tobytes(), np.uint8).reshape(len(flat), flat.shape[1] * flat.itemsize)
    data = np.pad(data, ((0, 0), (0, -data.shape[1] % 8)))
    bundle = tuple(a.shape[d] for d in rest if states[d] == "B")
    names = hash_rows(np.ascontiguousarray(data).view(U), name_of("constant", str(a.dtype), bundle))
    names = names.reshape((2, *extent(shape, states)))
    return Labels(tuple(shape), states, constant_code(names, rank))


def lift(value: Value, shape: Sequence[int], states: Sequence[str], rank: int) -> Labels:
    """The value at `shape`, explicit wherever `states` says "E"; scalars broadcast."""
    if isinstance(value, Known):
        states = states or ("-",) * len(shape)
        same = [not value.shape or not value.varies(axis) for axis in range(len(shape))]
        named = [s if s in "ERB" else "R" if r else "B" for s, r in zip(states, same, strict=True)]
        return constant(value, shape, named, rank)
    if value.ndim == 0 and len(shape):
        ndim = len(shape)
        expand = lambda a: a.reshape((a.shape[0], *(1,) * ndim, *a.shape[1:]))
        value = value.rearranged(tuple(shape), ("R",) * ndim, expand)
    elif value.shape != tuple(shape):
        value = value.rearranged(tuple(shape), value.states, lambda a: a)
    for axis, state in enumerate(states):
        if state == "E":
            value = expanded(value, axis)
    return value


def common_states(values: Sequence[Value], shape: Sequence[int]) -> tuple[str, ...]:
    """E where any operand is E or a constant varies, else B where any is B, else R."""
    states = []
    for axis, size in enumerate(shape):
        seen = {v.states[axis] for v in values if isinstance(v, Labels) and v.ndim}
        varies = any(isinstance(v, Known) and v.array.ndim and v.varies(axis) for v in values)
        if size == 1:
            states.append("R")
        elif "E" in seen:
            states.append("E")
        elif "B" in seen:
            states.append("B")
        else:
            states.append("R" if not varies else "E" if size <= LONG_AXIS else "B")
    within_limit(*extent(shape, states))
    return tuple(states)


def uniform(
    values: Sequence[Value], shapes: Sequence[Sequence[int]], states: Sequence[str], rank: int
) -> list[Labels]:
    """Operands at exactly the same states, to become parts of one array."""
    out = []
    for value, shape in zip(values, shapes, strict=True):
        labels = lift(value, shape, states, rank)
        for axis, state in enumerate(states):
            if state == "B":
                labels = bundled(labels, axis)
        out.append(labels)
    return out


def zipped(
    operands: Sequence[Labels], shape: Sequence[int], states: Sequence[str], salt: np.ndarray
) -> Labels:
    """One new function of all operands at every position."""
    codes = np.broadcast_arrays(*[labels.code for labels in operands])
    return Labels(tuple(shape), tuple(states), combine(np.stack(codes, -1), salt))


def opaque(operands: Sequence[Value], shape: Sequence[int], rank: int, salt: np.ndarray) -> Labels:
    """A whole output as one vector-valued function of all whole inputs: always sound."""
    codes = []
    for value in operands:
        labels = lift(plain(value), value.shape, ["B"] * len(value.shape), rank)
        labels = all_bundled(labels)
        layout = name_of("layout", labels.states, labels.shape)
        codes.append(labels.applied(layout).code.reshape(labels.code.shape[0]))
    states = ("B",) * len(shape)
    if codes:
        code = combine(np.stack(codes, -1), salt)
    else:
        code = constant_code(salt, rank)
    return Labels(tuple(shape), states, code.reshape((-1,) + (1,) * len(shape)))


def zero_entries(known: Known, states: Sequence[str]) -> np.ndarray:
    """Where a constant is exactly zero along all axes that are not explicit."""
    zero = np.asarray(known.array == 0)
    for axis, state in enumerate(states):
        if state != "E":
            zero = np.all(zero, axis=axis, keepdims=True)  # pyright: ignore  # any axis will do
    return np.asarray(zero)


def charges(labels: Labels, value: Value | None = None) -> np.ndarray:
    """Charges (D, ...) of all entries; of the zeros of a constant `value`, any."""
    if labels.charge is not None:
        return labels.charge
    out = np.zeros((labels.rank, *labels.code.shape[1:]), np.int64)
    if isinstance(value, Known):
        zero = zero_entries(Known(np.broadcast_to(value.array, labels.shape)), labels.states)
        out = np.where(zero, ANY, out)
    return out
