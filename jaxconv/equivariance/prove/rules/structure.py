"""Structure: elements move and are copied, their labels with them."""

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    ANY,
    Known,
    Labels,
    Unmodelled,
    Value,
    bundled,
    expanded,
    uncharged,
)
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._labels import ZERO, constant_code
from jaxconv.equivariance.prove._moves import (
    concatenated,
    filled,
    reshaped,
    stacked,
    take,
    transposed,
)
from jaxconv.equivariance.prove._operands import lift, zipped
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove._terms import as_terms


@rule("broadcast_in_dim", charged=True)
def broadcast(context: Context, call: Call, x: Labels, *_: Value) -> Labels:
    """New axes and stretched axes are replicated."""
    places = call.params["broadcast_dimensions"]
    states, place = ["R"] * len(call.shape), [1] * len(call.shape)
    for axis, target in enumerate(places):
        if x.shape[axis] == call.shape[target]:
            states[target], place[target] = x.states[axis], x.code.shape[axis + 1]
    move = lambda a: a.reshape(a.shape[0], *place, *a.shape[1 + x.ndim :])
    return x.rearranged(call.shape, states, move)


@rule("squeeze", "expand_dims", "reshape", charged=True)
def reshape(context: Context, call: Call, x: Labels, *_: Value) -> Labels:
    """Row-major reshape, after a transposition if `dimensions` asks for one."""
    dimensions = call.params.get("dimensions")
    if call.name == "reshape" and dimensions is not None:
        x = transposed(x, dimensions)
    out = reshaped(x, call.shape)
    if out is not x and [n for n in call.shape if n > 1] == [n for n in x.shape if n > 1]:
        out.order = x.order
    return out


@rule("transpose", charged=True)
def transpose(context: Context, call: Call, x: Labels) -> Labels:
    """Axes in another order."""
    return transposed(x, call.params["permutation"])


@rule("slice", charged=True)
def slice_(context: Context, call: Call, x: Labels) -> Labels:
    """Strided slice of every axis."""
    strides = call.params["strides"] or (1,) * x.ndim
    bounds = zip(call.params["start_indices"], call.params["limit_indices"], strides, strict=True)
    for axis, (start, stop, step) in enumerate(bounds):
        x = take(x, axis, np.arange(start, stop, step))
    return x


@rule("rev", charged=True)
def reverse(context: Context, call: Call, x: Labels) -> Labels:
    """Axes back to front."""
    for axis in call.params["dimensions"]:
        x = take(x, axis, np.arange(x.shape[axis])[::-1])
    return x


@rule("tile", charged=True)
def tile(context: Context, call: Call, x: Labels) -> Labels:
    """Repeats whole axes."""
    for axis, times in enumerate(call.params["reps"]):
        if times != 1:
            x = take(x, axis, np.tile(np.arange(x.shape[axis]), times))
    return x


@rule("split", charged=True)
def split(context: Context, call: Call, x: Labels) -> list[Value]:
    """Consecutive pieces of one axis."""
    ends = np.cumsum(call.params["sizes"])
    pieces = zip(ends - np.asarray(call.params["sizes"]), ends, strict=True)
    return [take(x, call.params["axis"], np.arange(start, stop)) for start, stop in pieces]


@rule("unstack", charged=True)
def unstack(context: Context, call: Call, x: Labels) -> list[Value]:
    """Every index of one axis, without that axis."""
    axis = call.params["axis"]
    rows = [take(x, axis, np.array([i])) for i in range(x.shape[axis])]
    return [reshaped(row, (*row.shape[:axis], *row.shape[axis + 1 :])) for row in rows]


@rule("concatenate", charged=True)
def concatenate(context: Context, call: Call, *operands: Value) -> Labels:
    """One after the other."""
    return concatenated(operands, call.params["dimension"], call.shape, context.rank)


@rule("stack", charged=True)
def stack(context: Context, call: Call, *operands: Value) -> Labels:
    """Along a new axis."""
    return stacked(operands, call.params["axis"], call.shape, context.rank)


@rule("pad", charged=True)
def pad(context: Context, call: Call, x: Value, value: Value) -> Labels:
    """Low, high and interior padding, negative amounts included."""
    if isinstance(x, Known):
        states = ["B"] * len(x.shape)
        x = lift(x, x.shape, states, context.rank)
    for axis, (low, high, inside) in enumerate(call.params["padding_config"]):
        if (low, high, inside) != (0, 0, 0):
            x = _pad_axis(context, x, value, axis, (low, high, inside))
    return x


def _pad_axis(
    context: Context, x: Labels, value: Value, axis: int, amounts: tuple[int, int, int]
) -> Labels:
    low, high, inside = amounts
    size = x.shape[axis]
    last = size + max(size - 1, 0) * inside
    position = np.arange(-low, last + high)
    if context.periodic and low >= 0 and high >= 0 and inside == 0 and x.states[axis] == "E":
        position = position % size
    valid = (position >= 0) & (position < last) & (position % (inside + 1) == 0)
    shape = (*x.shape[:axis], len(position), *x.shape[axis + 1 :])
    if 0 in shape or 0 in x.shape:
        raise Unmodelled("empty array")
    if x.states[axis] == "B":
        x, fill = uncharged(x), lift(value, x.shape, (), context.rank)
        return zipped([x, fill], shape, x.states, name_of("pad", axis, x.states, amounts))
    if valid.all() and x.states[axis] == "R":
        return x.rearranged(shape, x.states, lambda a: a)
    if low > 0 or high > 0:
        context.notes.add("zero padding" if _is_zero(value) else "constant padding")
    return _filled(
        context, expanded(x, axis), value, axis, np.where(valid, position // (inside + 1), size)
    )


def _is_zero(value: Value) -> bool:
    return isinstance(value, Known) and bool((value.array == 0).all())


def _filled(context: Context, x: Labels, value: Value, axis: int, index: np.ndarray) -> Labels:
    place = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    if isinstance(value, Known):
        value = Known(np.broadcast_to(value.array.reshape((1,) * x.ndim), place))
    fill = lift(value, place, ["B" if s == "B" else "-" for s in x.states], context.rank)
    for d, state in enumerate(x.states):
        fill = bundled(fill, d) if state == "B" else fill
    out = filled(x, axis, index, fill)
    if _is_zero(value) and x.kind == "sum":
        terms = as_terms(x, x)
        names = np.broadcast_to(
            ZERO.reshape((2,) + (1,) * x.ndim + (1,)),
            (2, *terms.shape[1 : axis + 1], 1, *terms.shape[axis + 2 :]),
        )
        wide = np.concatenate([terms, constant_code(names, context.rank)], axis + 1)
        out.terms = wide.take(index, axis + 1)
    if x.charge is not None:
        edge = np.full_like(np.take(x.charge, [0], axis + 1), ANY if _is_zero(value) else 0)
        out.sizes = x.sizes
        out.charge = np.concatenate([x.charge, edge], axis + 1).take(index, axis + 1)
    return out
