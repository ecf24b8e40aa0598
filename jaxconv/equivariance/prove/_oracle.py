"""The concretization equations, checked number by number: the judge of every rule.

For every value of a program and every label (κ, τ, g) on it, on every shift u of G:

    v[i](T_{u+τ} x) = F_κ(T_u x)    the same for all i and all values that carry κ
    F_κ(T_{u+h} x) = F_κ(T_u x)     for h in g_1 Z x ... x g_D Z

so a rule that gives one name to two functions is caught at the equation where it does.
"""

import contextlib
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxconv.equivariance.prove._arrays import Known, Value
from jaxconv.equivariance.prove._evaluate import evaluated, steadily
from jaxconv.equivariance.prove._interpret import Step
from jaxconv.equivariance.prove._labels import periods_of, shifts_of
from jaxconv.equivariance.prove._program import Program, Run
from jaxconv.equivariance.prove._table import Context
from jaxconv.equivariance.prove._ties import tied

TOLERANCE = 1e-9
"""Of float64 values, relative to the largest of the array."""
INDEPENDENT = 3
"""Shifts on which the whole program is also evaluated by itself."""


def broken_labels(program: Program, x: Any, context: Context | None = None) -> list[str]:
    """Every equation of a program whose labels the numbers contradict, in program order.

    Args:
        program: a trace with a single input and no weights.
        x: a value of that input; float64, or rounding will look like a contradiction.
        context: how to analyze; plain by default.
    """
    return observed(program, x, context).broken


class Observed(NamedTuple):
    """A run beside its numbers on every shift of x.

    Attributes:
        broken: the equations whose labels the numbers contradict.
        run: the analysis.
        outputs: numbers of every output; the shifts come first, one axis for each shifted axis.
        tied: whether some choice among candidates tied, on some shift.
    """

    broken: list[str]
    run: Run
    outputs: list[np.ndarray]
    tied: bool


def observed(program: Program, x: Any, context: Context | None = None) -> Observed:
    """Analyzes a program, and computes it on every shift of x."""
    oracle = _Oracle(program, np.asarray(x))
    steps: list[Step] = []
    run = program.run(context or Context(program.sizes), steps.append)
    start = run.operands[-1]
    oracle.check("input", start, list(oracle.inputs))
    numbers: dict[int, list[Any]] = {id(start): list(oracle.inputs)}
    count, ties = len(oracle.inputs), False
    read = lambda value: [value.value] * count if isinstance(value, Known) else numbers[id(value)]
    for step in steps:
        columns = list(zip(*map(read, step.operands), strict=True))
        ties = ties or any(tied(step.equation, row) for row in columns)
        rows = [_values(step, row) for row in columns]
        for value, column in zip(step.outputs, zip(*rows, strict=True), strict=True):
            numbers[id(value)] = list(column)
            oracle.check(step.equation.primitive, value, column)
    columns = [read(value) for value in run.outputs]
    with contextlib.suppress(NotImplementedError):
        for number in range(0, count, -(-count // INDEPENDENT)):
            alone = evaluated(program.program, [oracle.inputs[number]])
            for column, value in zip(columns, alone, strict=True):
                oracle.compare("output", np.asarray(column[number]), np.asarray(value))
    outputs = []
    for path, value, column in zip(program.paths, run.outputs, columns, strict=True):
        oracle.check(f"output {path}", value, column)
        stacked = np.stack([np.asarray(number) for number in column])
        outputs.append(stacked.reshape(*program.sizes, *stacked.shape[1:]))
    return Observed(oracle.broken, run, outputs, ties)


def _values(step: Step, row: Sequence[Any]) -> list[Any]:
    return [step.equation.bind(*row)] if step.inner else steadily(step.equation, row)


class _Oracle:
    """The shifts of an input, and the functions named so far."""

    def __init__(self, program: Program, x: np.ndarray):
        self.sizes, self.broken = program.sizes, []
        self.grid = np.array(list(itertools.product(*map(range, self.sizes))))
        axes = tuple(axis % x.ndim for axis in program.axes)
        self.inputs = np.stack([np.roll(x, tuple(s), axes) for s in self.grid])
        self.functions: dict[bytes, np.ndarray] = {}

    def check(self, where: str, labels: Value, numbers: Sequence[Any]) -> None:
        """Compares all elements that carry one name, on all shifts."""
        keys = not isinstance(getattr(numbers[0], "dtype", np.dtype(float)), np.dtype)
        if keys or math.prod(labels.shape) == 0:
            return
        values = np.stack([np.asarray(number) for number in numbers])
        scale = np.abs(np.nan_to_num(values.astype(complex), posinf=0, neginf=0)).max() + 1
        if isinstance(labels, Known):
            if not _close(np.broadcast_to(labels.array, values.shape), values, scale).all():
                self.broken.append(f"{where}: not the constant that it is taken for")
            return
        for axis in [axis for axis, state in enumerate(labels.states) if state == "R"]:
            first = np.take(values, [0], axis + 1)
            if not _close(np.broadcast_to(first, values.shape), values, scale).all():
                self.broken.append(f"{where}: axis {axis} is not replicated")
            values = first
        kept = [axis for axis, state in enumerate(labels.states) if state == "E"]
        inner = [axis for axis, state in enumerate(labels.states) if state != "E"]
        order = [0, *[axis + 1 for axis in (*kept, *inner)]]
        width = math.prod(values.shape[axis + 1] for axis in inner)
        flat = values.transpose(order).reshape(len(values), -1, width)
        code = labels.code.reshape(labels.code.shape[0], -1)
        functions = self._functions(code, flat)
        if labels.charge is not None:
            functions = functions * self._phases(labels.charge.reshape(len(self.sizes), -1))
        self._stable(where, code, functions, scale)
        self._named(where, code, functions, scale)

    def compare(self, where: str, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Compares what the analyzed equations give with what the program gives."""
        scale = np.abs(np.nan_to_num(theirs.astype(complex), posinf=0, neginf=0)).max(initial=0) + 1
        if ours.shape != theirs.shape or not _close(ours, theirs, scale).all():
            self.broken.append(f"{where}: not what the program gives")

    def _functions(self, code: np.ndarray, values: np.ndarray) -> np.ndarray:
        """F_κ(T_u x) for every element and every u, from values (u, element, ...)."""
        place = self._places(self.grid[None] + shifts_of(code).T[:, None])
        return values[place, np.arange(code.shape[1])[:, None]]

    def _places(self, shifts: np.ndarray) -> np.ndarray:
        """Rows of the grid that hold shifts (..., D)."""
        wrapped = np.moveaxis(shifts % np.array(self.sizes), -1, 0)
        return np.asarray(np.ravel_multi_index(tuple(wrapped), self.sizes))

    def _phases(self, charge: np.ndarray) -> np.ndarray:
        turns = charge.T @ (self.grid / np.array(self.sizes)).T
        return np.exp(2j * np.pi * turns)[..., None]

    def _stable(self, where: str, code: np.ndarray, functions: np.ndarray, scale: float) -> None:
        elements = np.arange(code.shape[1])[:, None]
        for axis, periods in enumerate(periods_of(code)):
            step = np.zeros((code.shape[1], 1, len(self.sizes)), int)
            step[:, 0, axis] = periods
            again = functions[elements, self._places(self.grid[None] + step)]
            if not _close(again, functions, scale).all():
                self.broken.append(f"{where}: not invariant to its period along {axis}")

    def _named(self, where: str, code: np.ndarray, functions: np.ndarray, scale: float) -> None:
        keys = np.ascontiguousarray(code[:2].T).view([("a", code.dtype), ("b", code.dtype)])[:, 0]
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        same = _close(functions[first][inverse.reshape(-1)], functions, scale).all()
        for element in first:
            function = functions[element]
            known = self.functions.setdefault(keys[element].tobytes(), function)
            same &= known.shape == function.shape and bool(_close(known, function, scale).all())
        if not same:
            self.broken.append(f"{where}: one name for two functions")


def _close(a: np.ndarray, b: np.ndarray, scale: float) -> np.ndarray:
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        return a == b
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= TOLERANCE * scale
    return near | (a == b) | (np.isnan(a) & np.isnan(b))
