"""Scatters at constant places: elements replaced, summed, or combined in any order."""

import math
from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    Known,
    Labels,
    Unmodelled,
    Value,
    bundled,
    condensed,
    expanded,
    within_limit,
)
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._labels import ZERO, constant_code
from jaxconv.equivariance.prove._multisets import multiset
from jaxconv.equivariance.prove._operands import charges, lift
from jaxconv.equivariance.prove._phases import has_phase
from jaxconv.equivariance.prove._places import scattered_places
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove._terms import as_terms, summed
from jaxconv.equivariance.prove.rules.index import DEPENDS


def _shrunk(context: Context, call: Call, x: Value, updates: Value) -> tuple[Labels, Labels]:
    """Operand and updates, explicit along every axis but those that a scatter leaves alone."""
    numbers = call.params["dimension_numbers"]
    removed = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    windows = [axis for axis in range(len(x.shape)) if axis not in removed]
    pairs = dict(zip(windows, numbers.update_window_dims, strict=True))
    before = lift(x, x.shape, (), context.rank)
    after = lift(updates, updates.shape, (), context.rank)
    for axis in range(len(x.shape)):
        other = pairs.get(axis)
        free = other is not None and axis not in numbers.scatter_dims_to_operand_dims
        free = free and before.shape[axis] == after.shape[other or 0]
        both = () if other is None else (before.states[axis], after.states[other])
        if free and other is not None and "E" not in both:
            if "B" in both:
                before, after = bundled(before, axis), bundled(after, other)
        else:
            before = expanded(before, axis)
            after = after if other is None else expanded(after, other)
    for axis in range(after.ndim):
        if axis not in pairs.values():
            after = expanded(after, axis)
    return before, after


@rule("scatter", charged=True)
def scatter(context: Context, call: Call, x: Value, index: Value, updates: Value) -> Labels:
    """X with elements replaced, at constant places."""
    if isinstance(index, Labels):
        raise Unmodelled(DEPENDS)
    before, after = _shrunk(context, call, x, updates)
    targets = _targets(call, before.code.shape[1:], index, after.code.shape[1:])
    rows, landed = before.code.shape[0], targets >= 0
    code = before.code.reshape(rows, -1).copy()
    code[:, targets[landed]] = after.code.reshape(rows, -1)[:, landed]
    out = Labels(x.shape, before.states, code.reshape(before.code.shape))
    if has_phase(x, updates):
        charge = _flat_charges(before, x).copy()
        charge[:, targets[landed]] = _flat_charges(after, updates)[:, landed]
        out.charge = charge.reshape(-1, *before.code.shape[1:])
        out.sizes = context.sizes
    return condensed(out, range(out.ndim))


def _flat_charges(labels: Labels, value: Value) -> np.ndarray:
    rows = np.broadcast_to(charges(labels, value), (labels.rank, *labels.code.shape[1:]))
    return rows.reshape(labels.rank, -1)


@rule("scatter-add", "scatter-sub")
def scatter_add(context: Context, call: Call, x: Value, index: Value, updates: Value) -> Labels:
    """X plus (or minus) every update that lands on a place: a sum of terms."""
    if isinstance(index, Labels):
        raise Unmodelled(DEPENDS)
    before, after = _shrunk(context, call, x, updates)
    targets = _targets(call, before.code.shape[1:], index, after.code.shape[1:])
    sign = -1 if "sub" in call.name else 1
    landing = _landing(as_terms(updates, after, sign), targets, before.code.shape[1:])
    parts = [as_terms(x, before), landing]
    return summed(parts, x.shape, before.states, search=landing[0].size < 100_000)


@rule("scatter-mul", "scatter-min", "scatter-max")
def scatter_other(context: Context, call: Call, x: Value, index: Value, updates: Value) -> Labels:
    """X combined with every update that lands on a place, in any order."""
    if isinstance(index, Labels):
        raise Unmodelled(DEPENDS)
    before, after = _shrunk(context, call, x, updates)
    targets = _targets(call, before.code.shape[1:], index, after.code.shape[1:])
    landing = _landing(after.code[..., None], targets, before.code.shape[1:])
    both = np.concatenate([before.code[..., None], landing], -1)
    return Labels(x.shape, before.states, multiset(both, name_of(call.name, before.states)))


def _targets(
    call: Call, shape: Sequence[int], index: Known, update_shape: Sequence[int]
) -> np.ndarray:
    """Flat place that each update lands on, -1 where it is dropped."""
    return scattered_places(call.params, shape, index.array, update_shape).reshape(-1)


def _landing(terms: np.ndarray, targets: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Terms (rows, ..., m) of the updates, gathered at the places where they land."""
    rows, width = terms.shape[0], terms.shape[-1]
    order = np.argsort(targets, kind="stable")
    order = order[targets[order] >= 0]
    places = targets[order]
    first = np.searchsorted(places, places)
    slot = np.arange(len(places)) - first
    depth = int(slot.max(initial=-1)) + 1
    within_limit(math.prod(shape), max(depth, 1), width)
    empty = constant_code(_zeros((math.prod(shape), max(depth, 1), width)), rows // 2 - 1)
    empty[:, places, slot] = terms.reshape(rows, -1, width)[:, order]
    return empty.reshape(rows, *shape, -1)


def _zeros(shape: Sequence[int]) -> np.ndarray:
    """Names of terms that are exactly zero."""
    return np.broadcast_to(ZERO.reshape((2,) + (1,) * len(shape)), (2, *shape)).copy()
