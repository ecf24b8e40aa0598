"""Reductions: multisets where order does not matter, tuples where it does."""

import math

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
from jaxconv.equivariance.prove._labels import combine, multiset
from jaxconv.equivariance.prove._operands import as_terms
from jaxconv.equivariance.prove._table import Call, Context, rule

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


@rule("reduce_sum")
def reduce_sum(context: Context, call: Call, x: Labels) -> Labels:
    """Computes y = Σ x: a sum of the terms of the terms."""
    axes = sorted(call.params["axes"])
    explicit = [axis for axis in axes if x.states[axis] == "E"]
    if x.terms is None or not explicit or len(explicit) != len(axes):
        return reduced(x, axes, "reduce_sum", commutes=True)
    terms = as_terms(x, x)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    order = [0, *[axis + 1 for axis in (*kept, *axes)], terms.ndim - 1]
    place = tuple(x.code.shape[axis + 1] for axis in kept)
    flat = terms.transpose(order).reshape(terms.shape[0], *place, -1)
    code = multiset(flat, name_of("sum"))
    return Labels(
        tuple(x.shape[axis] for axis in kept), tuple(x.states[axis] for axis in kept), code
    )


@rule("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor")
def reduce_commutative(context: Context, call: Call, x: Labels) -> Labels:
    """Computes y = op over the axes, in any order."""
    return reduced(x, sorted(call.params["axes"]), call.name, commutes=True)


@rule("argmax", "argmin")
def reduce_index(context: Context, call: Call, x: Labels) -> Value:
    """Position of an extreme: order matters. A choice among few candidates may be forked on."""
    axes = call.params["axes"]
    size = x.shape[axes[0]]
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
    x = bundled(x, axis)
    return x.applied(call.salt(bundle_rank(x.states, axis), x.shape[axis], x.states[axis]))


@rule("sort")
def sort(context: Context, call: Call, x: Labels, *others: Value) -> Labels:
    """Sorted along an axis: a function of the multiset."""
    if others:
        raise Unmodelled("sort of several operands")
    axis = call.params["dimension"]
    if x.states[axis] == "E":
        out = reduced(x, [axis], "sort", commutes=True)
        states = (*x.states[:axis], "B", *x.states[axis + 1 :])
        code = np.expand_dims(out.code, axis + 1)
        return Labels(x.shape, states, code).through("sorted", bundle_rank(states, axis))
    return x.applied(call.salt(bundle_rank(x.states, axis), x.states))


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
