"""Sharded programs: `shard_map` runs once per device, in lockstep, and collectives meet.

Every value of the body is a list, one entry a device, in row-major order of the mesh. An ordinary
equation acts on each entry alone; a collective is the sum, the maximum, the concatenation of the
entries of a group of devices. Slicing operands into shards and joining them are moves of labels,
so a sharded program obeys the law of the program that it is a sharding of.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove._arrays import Known, Unmodelled, Value, plain
from jaxconv.equivariance.prove._interpret import CONTROL, Interpreter
from jaxconv.equivariance.prove._moves import take
from jaxconv.equivariance.prove._operands import common_states, lift
from jaxconv.equivariance.prove._terms import as_terms, summed

MOST_DEVICES = 64


class Mesh(NamedTuple):
    """Names and sizes of the axes of a mesh, and where every device is."""

    sizes: dict[str, int]
    devices: list[dict[str, int]]

    def groups(self, names: Sequence[str]) -> list[list[int]]:
        """For every device, those that differ from it along `names` only, itself included."""
        fixed = [name for name in self.sizes if name not in names]
        same = lambda a, b: all(a[name] == b[name] for name in fixed)
        order = lambda number: [self.devices[number][name] for name in names]
        members = range(len(self.devices))
        return [
            sorted((j for j in members if same(device, self.devices[j])), key=order)
            for device in self.devices
        ]


Shards = list[Value]
"""A value on every device."""


def _shard_map(
    interpreter: Interpreter, equation: _jaxpr.Equation, operands: list[Value]
) -> list[Value]:
    """The body on every device, on slices of the operands; outputs are joined."""
    params, (body,) = equation.params, _jaxpr.bodies(equation)
    sizes = dict(params["mesh"].shape)
    if set(params["newly_manual_axes"]) != set(sizes) or math.prod(sizes.values()) > MOST_DEVICES:
        raise Unmodelled("shard_map over a part of a mesh, or a large one")
    places = itertools.product(*map(range, sizes.values()))
    mesh = Mesh(sizes, [dict(zip(sizes, place, strict=True)) for place in places])
    operands = [plain(value) for value in operands]
    values: dict[int, Shards] = {
        id(slot): [_shard(interpreter, equation, v, spec, mesh, d) for d in mesh.devices]
        for slot, v, spec in zip(body.inputs, operands, params["in_specs"], strict=True)
    }
    count = len(mesh.devices)

    def read(value: _jaxpr.Value) -> Shards:
        return values[id(value)] if id(value) in values else [Known(value.constant)] * count

    for inner in body.equations:
        shards = [read(value) for value in inner.inputs]
        columns = _on_devices(interpreter, mesh, inner, shards)
        values.update(zip(map(id, inner.outputs), columns, strict=True))
    rows = zip(body.outputs, params["out_specs"], equation.outputs, strict=True)
    return [
        _joined(interpreter, equation, read(value), spec, mesh, slot.shape)
        for value, spec, slot in rows
    ]


def _on_devices(
    interpreter: Interpreter, mesh: Mesh, equation: _jaxpr.Equation, shards: list[Shards]
) -> list[Shards]:
    """Outputs of one equation of the body, each on every device."""
    if equation.primitive in COLLECTIVES:
        if equation.params.get("axis_index_groups") is not None:
            raise Unmodelled("collective over groups of indices")
        if len(equation.outputs) != 1:
            raise Unmodelled("collective of several arrays")
        return [COLLECTIVES[equation.primitive](interpreter, mesh, equation, shards)]
    if any(_collective(program) for program in equation.programs):
        raise Unmodelled("collective in a loop or branch")
    rows = [
        interpreter.interpret(equation, [shard[device] for shard in shards])
        for device in range(len(mesh.devices))
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _collective(program: _jaxpr.Program) -> bool:
    return any(
        equation.primitive in COLLECTIVES or any(map(_collective, equation.programs))
        for equation in program.equations
    )


def _blocks(spec: Any, mesh: Mesh, device: dict[str, int]) -> list[tuple[int, int, int]]:
    """(axis, number of the block, blocks) for every axis that a spec splits."""
    found = []
    for axis, entry in enumerate(spec):
        names = entry if isinstance(entry, tuple) else () if entry is None else (entry,)
        number, blocks = 0, 1
        for name in names:
            number, blocks = number * mesh.sizes[name] + device[name], blocks * mesh.sizes[name]
        if names:
            found.append((axis, number, blocks))
    return found


def _shard(
    interpreter: Interpreter,
    equation: _jaxpr.Equation,
    value: Value,
    spec: Any,
    mesh: Mesh,
    device: dict[str, int],
) -> Value:
    """The slice of an operand that a device holds."""
    blocks = _blocks(spec, mesh, device)
    cut = lambda x: _cut(np.asarray(x), blocks)
    if isinstance(value, Known):
        return Known(cut(value.value))
    part = value.rearranged(value.shape, value.states, lambda a: a)
    for axis, number, count in blocks:
        size = part.shape[axis] // count
        part = take(part, axis, np.arange(number * size, (number + 1) * size))
    return interpreter.hand_on(equation, cut, [value], part)


def _cut(x: np.ndarray, blocks: list[tuple[int, int, int]]) -> np.ndarray:
    for axis, number, count in blocks:
        size = x.shape[axis] // count
        x = x.take(np.arange(number * size, (number + 1) * size), axis)
    return x


def _joined(
    interpreter: Interpreter,
    equation: _jaxpr.Equation,
    shards: Shards,
    spec: Any,
    mesh: Mesh,
    shape: tuple[int, ...],
) -> Value:
    """The whole output; along axes of the mesh that the spec leaves out, the first device's."""
    parts: dict[tuple[int, ...], Value] = {}
    for device, value in zip(mesh.devices, shards, strict=True):
        parts.setdefault(tuple(number for _, number, _ in _blocks(spec, mesh, device)), value)
    axes = [axis for axis, _, _ in _blocks(spec, mesh, mesh.devices[0])]
    for axis in axes[::-1]:
        rows: dict[tuple[int, ...], list[Value]] = {}
        for key in sorted(parts):
            rows.setdefault(key[:-1], []).append(parts[key])
        parts = {
            key: _apply(interpreter, equation, "concatenate", {"dimension": axis}, row)
            for key, row in rows.items()
        }
    assert parts[()].shape == shape
    return parts[()]


def _apply(
    interpreter: Interpreter,
    like: _jaxpr.Equation,
    primitive: str,
    params: dict[str, Any],
    operands: list[Value],
) -> Value:
    """One more equation at the place of `like`."""
    if len(operands) == 1:
        return operands[0]
    function = _FUNCTIONS[primitive]
    bind = lambda *a: function(params, *map(np.asarray, a))
    dtype = like.inputs[0].dtype if like.primitive != "shard_map" else like.outputs[0].dtype
    numbers = bind(*[np.zeros(value.shape, np.int8) for value in operands])
    slots = [_slot(value.shape, dtype) for value in operands]
    made = like._replace(
        primitive=primitive,
        params=params,
        bind=bind,
        inputs=tuple(slots),
        outputs=(_slot(numbers.shape, dtype),),
        programs=(),
    )
    (out,) = interpreter.interpret(made, operands)
    return out


def _slot(shape: tuple[int, ...], dtype: Any) -> _jaxpr.Value:
    return _jaxpr.Value(jax.ShapeDtypeStruct(shape, dtype))


_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "concatenate": lambda p, *a: np.concatenate(a, p["dimension"]),
    "stack": lambda p, *a: np.stack(a, p["axis"]),
}


def _names(equation: _jaxpr.Equation) -> tuple[str, ...]:
    names = equation.params.get("axes", equation.params.get("axis_name"))
    return names if isinstance(names, tuple) else (names,)


def _reduced(kind: str) -> Callable[..., Shards]:
    """Σ, max or min over a group of devices, all terms at once."""

    def collective(
        interpreter: Interpreter, mesh: Mesh, equation: _jaxpr.Equation, shards: list[Shards]
    ) -> Shards:
        groups = [tuple(group) for group in mesh.groups(_names(equation))]
        totals = {
            group: _total(interpreter, equation, [shards[0][n] for n in group], kind)
            for group in dict.fromkeys(groups)
        }
        return [totals[group] for group in groups]

    return collective


def _total(
    interpreter: Interpreter, equation: _jaxpr.Equation, values: list[Value], kind: str
) -> Value:
    function = {"sum": np.add, "max": np.maximum, "min": np.minimum}[kind]
    bind = lambda *parts: functools.reduce(function, map(np.asarray, parts))
    if all(isinstance(value, Known) for value in values):
        return Known(bind(*[value.value for value in values if isinstance(value, Known)]))
    shape, rank = equation.outputs[0].shape, interpreter.context.rank
    states = common_states(values, shape)
    parts = [as_terms(v, lift(v, shape, states, rank), kind=kind) for v in values]
    total = summed(parts, shape, states, search=True, kind=kind)
    return interpreter.hand_on(equation, bind, values, total)


def _gathered(
    interpreter: Interpreter, mesh: Mesh, equation: _jaxpr.Equation, shards: list[Shards]
) -> Shards:
    axis, tiled = equation.params["all_gather_dimension"], equation.params["tiled"]
    how = ("concatenate", {"dimension": axis}) if tiled else ("stack", {"axis": axis})
    if not tiled and len(mesh.groups(_names(equation))[0]) == 1:
        raise Unmodelled("all_gather on one device")
    rows = [[shards[0][n] for n in group] for group in mesh.groups(_names(equation))]
    return [_apply(interpreter, equation, *how, row) for row in rows]


def _permuted(
    interpreter: Interpreter, mesh: Mesh, equation: _jaxpr.Equation, shards: list[Shards]
) -> Shards:
    """Each device gets the value of its source, or zeros."""
    names, (slot,) = _names(equation), equation.outputs
    sources = {target: source for source, target in equation.params["perm"]}
    out: Shards = []
    for number, group in enumerate(mesh.groups(names)):
        source = sources.get(group.index(number))
        zeros = Known(np.zeros(slot.shape, slot.dtype))
        out.append(zeros if source is None else shards[0][group[source]])
    return out


def _index(
    interpreter: Interpreter, mesh: Mesh, equation: _jaxpr.Equation, shards: list[Shards]
) -> Shards:
    groups = mesh.groups(_names(equation))
    return [Known(np.int32(group.index(number))) for number, group in enumerate(groups)]


def _same(
    interpreter: Interpreter, mesh: Mesh, equation: _jaxpr.Equation, shards: list[Shards]
) -> Shards:
    return shards[0]


COLLECTIVES: dict[str, Callable[..., Shards]] = {
    **dict.fromkeys(("psum", "psum2", "psum_invariant"), _reduced("sum")),
    "pmax": _reduced("max"),
    "pmin": _reduced("min"),
    "all_gather": _gathered,
    "ppermute": _permuted,
    "axis_index": _index,
    **dict.fromkeys(("pvary", "pcast"), _same),
}
OTHERS = ("all_to_all", "reduce_scatter", "pgather", "pbroadcast", "all_gather_invariant")
"""Collectives without a rule here: the whole `shard_map` is then opaque."""


def _unknown(*_: Any) -> Shards:
    raise Unmodelled("collective without a rule")


COLLECTIVES.update(dict.fromkeys(OTHERS, _unknown))
CONTROL["shard_map"] = _shard_map
