"""Indexing: gathers and slices with constant indices move labels; tables are looked up."""

import math
from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    LIMIT,
    Known,
    Labels,
    Unmodelled,
    Value,
    all_bundled,
    bundled,
    condensed,
    expanded,
    extent,
    within_limit,
)
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._labels import constant_code
from jaxconv.equivariance.prove._moves import reshaped, take
from jaxconv.equivariance.prove._operands import charges, common_states, lift, uniform, zipped
from jaxconv.equivariance.prove._phases import has_phase
from jaxconv.equivariance.prove._places import gathered_places
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove.rules.reduce import along_axis, sorted_along


@rule("dynamic_slice")
def dynamic_slice(context: Context, call: Call, x: Value, *starts: Value) -> Labels:
    """A block of x at constant starts; along replicated axes any start will do."""
    if isinstance(x, Known):
        raise Unmodelled("x-dependent index into a constant")
    sizes = call.params["slice_sizes"]
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        if size == x.shape[axis]:
            continue
        if isinstance(start, Known):
            first = int(np.clip(int(start.array), 0, x.shape[axis] - size))
        elif x.states[axis] == "R":
            first = 0
        else:
            raise Unmodelled(DEPENDS)
        x = take(x, axis, np.arange(first, first + size))
    return x


DEPENDS = "index that depends on x"
"""Reason that makes the analysis try every value of a choice that came before."""


@rule("dynamic_update_slice", charged=True)
def dynamic_update_slice(
    context: Context, call: Call, x: Value, update: Value, *starts: Value
) -> Labels:
    """X with a block replaced, at constant starts."""
    if any(isinstance(start, Labels) for start in starts):
        raise Unmodelled(DEPENDS)
    sizes = list(zip(x.shape, update.shape, strict=True))
    first = [
        int(np.clip(int(start.array), 0, outer - inner))  # type: ignore[union-attr]
        for start, (outer, inner) in zip(starts, sizes, strict=True)
    ]
    labelled = [value for value in (x, update) if isinstance(value, Labels)]
    states = [
        "E" if outer != inner or any(v.states[axis] == "E" for v in labelled) else "B"
        for axis, (outer, inner) in enumerate(sizes)
    ]
    within_limit(*extent(x.shape, states))
    under, over = uniform((x, update), (x.shape, update.shape), states, context.rank)
    code = under.code.copy()
    block = [
        slice(start, start + inner) if state == "E" and outer > 1 else slice(None)
        for start, state, (outer, inner) in zip(first, states, sizes, strict=True)
    ]
    code[(slice(None), *block)] = over.code
    out = Labels(x.shape, tuple(states), code)
    if has_phase(x, update):
        shape = context.rank, *code.shape[1:]
        out.charge = np.broadcast_to(charges(under, x), shape).copy()
        out.charge[(slice(None), *block)] = charges(over, update)
        out.sizes = context.sizes
    return condensed(out, [axis for axis, (outer, inner) in enumerate(sizes) if outer != inner])


@rule("gather")
def gather(context: Context, call: Call, x: Value, index: Value) -> Labels:
    """Windows of x at given starts."""
    if isinstance(index, Labels):
        along = _axis_along(call, x, index)
        if along is not None:
            return _taken_along(context, call, x, index, along)
        return _looked_up(context, call, x, index)
    x = lift(x, x.shape, (), context.rank)
    numbers, sizes = call.params["dimension_numbers"], list(call.params["slice_sizes"])
    fills = "FILL" in str(call.params["mode"])
    removed = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    kept = [axis for axis in range(x.ndim) if axis not in removed]
    for axis in range(x.ndim):
        whole = axis in kept and sizes[axis] == x.shape[axis]
        whole = whole and not (fills and axis in numbers.start_index_map)
        if x.states[axis] != "E" and whole:
            sizes[axis] = 1
        elif x.states[axis] != "E":
            x = expanded(x, axis)
    place = x.code.shape[1:]
    if math.prod(call.shape) > 50 * LIMIT:
        raise Unmodelled("more elements than fit")
    out = _out_shape(call, sizes)
    picked = gathered_places({**call.params, "slice_sizes": sizes}, place, index.array, out)
    inner = dict(zip(numbers.offset_dims, kept, strict=True))
    states = [x.states[inner[d]] if d in inner else "E" for d in range(len(call.shape))]
    bundle = [n for n, state in zip(x.shape, x.states, strict=True) if state == "B"]
    fill = name_of("fill", str(call.params["fill_value"]), str(call.dtypes[0]), bundle)
    flat = np.concatenate(
        [x.code.reshape(x.code.shape[0], -1), constant_code(fill, context.rank)[:, None]], 1
    )
    labels = Labels(call.shape, tuple(states), flat[:, picked])
    return condensed(labels, [axis for axis, state in enumerate(labels.states) if state == "E"])


def _out_shape(call: Call, sizes: Sequence[int]) -> tuple[int, ...]:
    """Shape of the gathered labels: windows of `sizes` where the call has its slice sizes."""
    numbers = call.params["dimension_numbers"]
    removed = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    kept = iter([size for axis, size in enumerate(sizes) if axis not in removed])
    return tuple(next(kept) if d in numbers.offset_dims else n for d, n in enumerate(call.shape))


def _axis_along(call: Call, x: Value, index: Labels) -> int | None:
    """The axis of y[i, j, k] = x[i, index[i, j, k], k] if that is what is asked; or None."""
    numbers, ndim = call.params["dimension_numbers"], len(x.shape)
    removed = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    kept = [d for d in range(ndim) if d not in removed]
    rest = [d for d in range(len(call.shape)) if d not in numbers.offset_dims]
    batches = [rest[d] for d in numbers.start_indices_batching_dims]
    if len(numbers.start_index_map) != 1 or len(call.shape) != ndim or index.shape[-1] != 1:
        return None
    (axis,) = numbers.start_index_map
    aligned = tuple(numbers.operand_batching_dims) == tuple(batches)
    single = list(numbers.offset_dims) == kept and all(x.shape[d] == 1 for d in kept)
    whole = len(batches) + len(kept) == ndim - 1
    return axis if aligned and single and whole and axis not in kept else None


def _taken_along(context: Context, call: Call, x: Value, index: Labels, axis: int) -> Labels:
    """A function of the vectors of x and index along one axis; of a multiset, after argsort."""
    order, index = index.order, reshaped(index, _with_axis(call, index))
    if order is not None and order[1] == axis and isinstance(x, Labels) and call.shape == x.shape:
        keys = order[0]
        if keys.shape == x.shape and keys.token in x.determined | {x.token}:
            # x is a function of the keys: the order of ties does not matter
            states = common_states((keys, x), call.shape)
            both = [lift(v, call.shape, states, context.rank) for v in (keys, x)]
            salt = name_of("by order", [labels.states for labels in both])
            return sorted_along(zipped(both, call.shape, states, salt), axis, call)
    both: list[Labels] = [along_axis(context, v, axis) for v in (x, index)]
    widths = [labels.shape[axis] for labels in both]
    shapes = [(*call.shape[:axis], width, *call.shape[axis + 1 :]) for width in widths]
    states = list(common_states(both, call.shape))
    states[axis] = "B"
    lifted = [
        lift(v, s, ["-" if d == axis else t for d, t in enumerate(states)], context.rank)
        for v, s in zip(both, shapes, strict=True)
    ]
    salt = call.salt([labels.states for labels in lifted], widths)
    return zipped(lifted, call.shape, states, salt)


def _with_axis(call: Call, index: Labels) -> tuple[int, ...]:
    """Shape of the indices beside the output: axes of size 1 where x has them."""
    sizes = iter(index.shape[:-1])
    offset = call.params["dimension_numbers"].offset_dims
    return tuple(1 if d in offset else next(sizes) for d in range(len(call.shape)))


def _looked_up(context: Context, call: Call, x: Value, index: Labels) -> Labels:
    """Each index picks from the same whole table: one function of both, index by index."""
    numbers = call.params["dimension_numbers"]
    if numbers.operand_batching_dims:
        raise Unmodelled(DEPENDS)
    if isinstance(x, Labels) and any(state == "E" for state in x.states):
        raise Unmodelled(DEPENDS)
    table = all_bundled(lift(x, x.shape, ["B"] * len(x.shape), context.rank))
    last = index.ndim - 1
    index = bundled(index, last)
    rest = iter(range(last))
    order = [None if d in numbers.offset_dims else next(rest) for d in range(len(call.shape))]
    states = tuple("B" if axis is None else index.states[axis] for axis in order)
    place = extent(call.shape, states)
    rows = index.code.reshape(index.code.shape[0], *place)
    whole = table.code.reshape((-1,) + (1,) * len(place))
    whole = np.broadcast_to(whole, rows.shape)
    salt = call.salt(index.states, table.states)
    parts = [Labels(call.shape, states, code) for code in (rows, whole)]
    return zipped(parts, call.shape, states, salt)
