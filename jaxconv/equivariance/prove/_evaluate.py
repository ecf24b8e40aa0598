"""Numbers of a whole program, loops and branches included: independent of how it is analyzed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove import _number_windows as _number_windows
from jaxconv.equivariance.prove._numbers import computed

UNITS = 1e10
"""Differences of float64 by less than 1 / UNITS do not count where values are compared."""
EDGE = (5**0.5 - 1) / 2
"""Where values are parted, in units of that: no simple fraction lies there, as at one half."""
JUMPS = {"argmax", "argmin", "bitcast_convert_type", "sign", "floor", "ceil", "round"}
JUMPS |= {"eq", "ne", "lt", "le", "gt", "ge"}
"""Primitives that a difference by rounding may throw to another value."""


def steadily(equation: _jaxpr.Equation, operands: Sequence[Any]) -> list[Any]:
    """Values of an equation; those that choose, compare, or look at bits, see rounded numbers.

    That is the program with a rounding before the choice, position by position, which obeys every
    law that is proved of the program itself: equal numbers whose sums were added up in another
    order are equal again, and nothing else is hidden.
    """
    if equation.primitive in JUMPS or _truncates(equation):
        operands = [*map(_rounded, operands)]
    if equation.primitive == "sort":
        count = equation.params["num_keys"]
        before, after = equation.inputs, equation.outputs
        wide = equation._replace(inputs=before[:count] + before, outputs=after[:count] + after)
        return computed(wide, [*map(_rounded, operands[:count]), *operands])[count:]
    if equation.primitive == "top_k":
        index = computed(equation, [_rounded(operands[0])])[1]
        axis = equation.params.get("axis", -1)
        return [np.take_along_axis(np.asarray(operands[0]), np.asarray(index), axis), index]
    return computed(equation, operands)


def _truncates(equation: _jaxpr.Equation) -> bool:
    target = equation.params.get("new_dtype")
    return equation.primitive == "convert_element_type" and np.dtype(target).kind in "biu"


def _rounded(key: Any) -> Any:
    a = np.asarray(key)
    return np.floor(a * UNITS + EDGE) / UNITS if a.dtype == np.float64 else key


def evaluated(
    program: _jaxpr.Program, operands: Sequence[Any], watch: Callable[..., Any] | None = None
) -> list[Any]:
    """Values of the outputs of a program; `watch(equation, operands)` sees its equations.

    Raises:
        NotImplementedError: for `shard_map`, which needs its devices.
    """
    values = dict(zip(map(id, program.inputs), operands, strict=True))
    read = lambda v: values.get(id(v), v.constant)
    for equation in program.equations:
        arguments = [read(value) for value in equation.inputs]
        if watch:
            watch(equation, arguments)
        control = _CONTROL.get(equation.primitive, steadily)
        outputs = control(equation, arguments)
        values.update(zip(map(id, equation.outputs), outputs, strict=True))
    return [read(value) for value in program.outputs]


def _branch(equation: _jaxpr.Equation, operands: list[Any]) -> list[Any]:
    branches = _jaxpr.bodies(equation)
    return evaluated(branches[int(np.clip(operands[0], 0, len(branches) - 1))], operands[1:])


def _repeat(equation: _jaxpr.Equation, operands: list[Any]) -> list[Any]:
    heads, bodies = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    condition, body = _jaxpr.bodies(equation)
    carry = operands[heads + bodies :]
    while bool(evaluated(condition, [*operands[:heads], *carry])[0]):
        carry = evaluated(body, [*operands[heads : heads + bodies], *carry])
    return carry


def _scanned(equation: _jaxpr.Equation, operands: list[Any]) -> list[Any]:
    params, (body,) = equation.params, _jaxpr.bodies(equation)
    first = params["num_consts"] + params["num_carry"]
    consts, carry = operands[: params["num_consts"]], operands[params["num_consts"] : first]
    rows: list[list[Any]] = []
    for step in range(params["length"]):
        place = params["length"] - 1 - step if params["reverse"] else step
        out = evaluated(body, [*consts, *carry, *[xs[place] for xs in operands[first:]]])
        carry, row = out[: params["num_carry"]], out[params["num_carry"] :]
        rows.append(row)
    rows = rows[::-1] if params["reverse"] else rows
    return [*carry, *[np.stack(column) for column in zip(*rows, strict=True)]]


def _sharded(equation: _jaxpr.Equation, operands: list[Any]) -> list[Any]:
    raise NotImplementedError("shard_map needs its devices")


_CONTROL = {"cond": _branch, "while": _repeat, "scan": _scanned, "shard_map": _sharded}
