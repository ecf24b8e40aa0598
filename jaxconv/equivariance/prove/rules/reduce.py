"""Reductions: multisets where order does not matter, tuples where it does."""

import math
from dataclasses import replace

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    Known,
    Labels,
    Unmodelled,
    Value,
    bundle_rank,
    bundled,
    renamed,
)
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._labels import combine
from jaxconv.equivariance.prove._moves import reshaped
from jaxconv.equivariance.prove._multisets import multiset
from jaxconv.equivariance.prove._operands import common_states, lift, zipped
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove._terms import as_terms, summed

MOST_CANDIDATES = 16
"""An argmax over more is not forked on."""


def reduced(x: Labels, axes: list[int], name: str, *, commutes: bool) -> Labels:
    """One function of everything along `axes`."""
    explicit = [axis for axis in axes if x.states[axis] == "E"]
    inner = [axis for axis in axes if axis not in explicit]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    salt = name_of(name, [(x.states[d], x.shape[d], bundle_rank(x.states, d)) for d in axes])
    order = [0, *[axis + 1 for axis in (*kept, *inner, *explicit)]]
    place = tuple(x.code.shape[axis + 1] for axis in kept)
    code = x.code.transpose(order).reshape(x.code.shape[0], *place, -1)
    if not explicit:
        code = renamed(code[..., 0], salt)
    else:
        code = (multiset if commutes else combine)(code, salt)
    return Labels(
        tuple(x.shape[axis] for axis in kept), tuple(x.states[axis] for axis in kept), code
    )


@rule("reduce_sum", "reduce_max", "reduce_min")
def reduce_terms(context: Context, call: Call, x: Labels) -> Labels:
    """Computes y = Σ x (max x, min x): of the terms of the terms."""
    axes, kind = sorted(call.params["axes"]), call.name.removeprefix("reduce_")
    if all(x.shape[axis] == 1 for axis in axes):
        return reshaped(x, call.shape)
    explicit = [axis for axis in axes if x.states[axis] == "E"]
    if not explicit:
        return reduced(x, axes, call.name, commutes=True)
    inner = [axis for axis in axes if axis not in explicit]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    terms = as_terms(x, x, kind=kind)
    if inner:
        parts = [(x.states[d], x.shape[d], bundle_rank(x.states, d)) for d in inner]
        terms = renamed(terms, name_of(call.name, parts), keep_zero=True)
    order = [0, *[axis + 1 for axis in (*kept, *inner, *explicit)], terms.ndim - 1]
    place = tuple(x.code.shape[axis + 1] for axis in kept)
    flat = terms.transpose(order).reshape(terms.shape[0], *place, -1)
    shape, states = [x.shape[d] for d in kept], [x.states[d] for d in kept]
    return summed([flat], shape, states, search=True, kind=kind)


@rule("psum")
def sum_of_examples(context: Context, call: Call, x: Labels) -> Labels:
    """What a sum over a named axis becomes under vmap: one over axes of the array."""
    axes = call.params["axes"]
    if not all(isinstance(axis, int) for axis in axes) or call.params.get("axis_index_groups"):
        raise Unmodelled("sum over devices")
    return reduce_terms(context, replace(call, name="reduce_sum", params={"axes": axes}), x)


@rule("reduce_prod", "reduce_and", "reduce_or", "reduce_xor")
def reduce_commutative(context: Context, call: Call, x: Labels) -> Labels:
    """Computes y = op over the axes, in any order."""
    return reduced(x, sorted(call.params["axes"]), call.name, commutes=True)


@rule("argmax", "argmin")
def reduce_index(context: Context, call: Call, x: Labels) -> Value:
    """Position of an extreme: order matters. A choice among few candidates may be forked on."""
    axes = call.params["axes"]
    size = x.shape[axes[0]]
    if size == 1:
        return Known(np.zeros(call.shape, call.dtypes[0]))
    whole = len(axes) == 1 and x.states[axes[0]] == "E" and math.prod(x.shape) == size
    if whole and size <= MOST_CANDIDATES:
        site = context.choices
        context.choices += 1
        context.sites[site] = x
        if site in context.forks:
            return Known(np.full(call.shape, context.forks[site], call.dtypes[0]))
    return reduced(x, sorted(call.params["axes"]), f"{call.name}{call.dtypes[0]}", commutes=False)


@rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def cumulative(context: Context, call: Call, x: Labels) -> Labels:
    """Running reductions: a function of the whole vector along the axis."""
    axis = call.params["axis"]
    if x.shape[axis] == 1 and call.name != "cumlogsumexp":
        return x
    x = bundled(x, axis)
    return x.applied(call.salt(bundle_rank(x.states, axis), x.shape[axis], x.states[axis]))


@rule("sort")
def sort(context: Context, call: Call, x: Value, *others: Value) -> list[Value]:
    """Sorted along an axis: a function of the multiset; companions follow the first operand."""
    axis, keys = call.params["dimension"], call.params["num_keys"]
    if keys != 1 or isinstance(x, Known):
        bundles = [along_axis(context, v, axis) for v in (x, *others)]
        return [_zip(context, bundles, call, number) for number in range(len(call.shapes))]
    outputs: list[Value] = [sorted_along(x, axis, call)]
    for number, other in enumerate(others):
        if isinstance(other, Labels) and x.token in other.determined | {other.token}:
            # equal keys have equal companions, so that the order of ties does not matter
            states = common_states((x, other), call.shape)
            both = [lift(v, call.shape, states, context.rank) for v in (x, other)]
            pairs = zipped(both, call.shape, states, name_of("pair", [b.states for b in both]))
            outputs.append(sorted_along(pairs, axis, call))
            continue
        both = [along_axis(context, v, axis) for v in (x, other)]
        out = _zip(context, both, call, number)
        out.order = (x, axis) if _counts(other, axis) else None
        outputs.append(out)
    return outputs


def _counts(value: Value, axis: int) -> bool:
    """Whether a constant is 0, 1, 2, ... along an axis."""
    if not isinstance(value, Known):
        return False
    place = [-1 if d == axis else 1 for d in range(len(value.shape))]
    return bool((value.array == np.arange(value.shape[axis]).reshape(place)).all())


def sorted_along(x: Labels, axis: int, call: Call) -> Labels:
    """Sorted along an axis: one label for the multiset."""
    if x.states[axis] != "E":
        return x.applied(call.salt(bundle_rank(x.states, axis), x.states))
    out = reduced(x, [axis], "sort", commutes=True)
    states = (*x.states[:axis], "B", *x.states[axis + 1 :])
    code = np.expand_dims(out.code, axis + 1)
    return Labels(x.shape, states, code).through("sorted", bundle_rank(states, axis))


def along_axis(context: Context, value: Value, axis: int) -> Labels:
    """The value with one label for each vector along an axis."""
    states = ["B" if d == axis else "-" for d in range(len(value.shape))]
    return bundled(lift(value, value.shape, states, context.rank), axis)


def _zip(context: Context, values: list[Labels], call: Call, number: int) -> Labels:
    states = common_states(values, call.shape)
    lifted = [lift(value, call.shape, states, context.rank) for value in values]
    salt = call.salt([labels.states for labels in lifted], number)
    return zipped(lifted, call.shape, states, salt)


@rule("top_k")
def top_k(context: Context, call: Call, x: Labels) -> list[Value]:
    """The k largest: values are a function of the multiset, indices of the order."""
    axis = call.params.get("axis", x.ndim - 1) % x.ndim
    states = (*x.states[:axis], "B", *x.states[axis + 1 :])
    outputs: list[Value] = []
    for number, shape in enumerate(call.shapes):
        name = f"top_k {number} {call.params['k']}"
        out = reduced(x, [axis], name, commutes=number == 0)
        code = np.expand_dims(out.code, axis + 1)
        labels = Labels(shape, states, code)
        outputs.append(labels.through("placed", bundle_rank(states, axis)))
    return outputs
