"""The concretization equations, checked number by number: the judge of every rule.

For every value of a program and every label (κ, τ, g) on it, on every shift u of G:

    v[i](T_{u+τ} x) = F_κ(T_u x)    the same for all i and all values that carry κ
    F_κ(T_{u+h} x) = F_κ(T_u x)     for h in g_1 Z x ... x g_D Z

so a rule that gives one name to two functions is caught at the equation where it does.
"""

import itertools
import math
from typing import Any

import jax
import numpy as np

from jaxconv.equivariance.prove._arrays import Known, Labels, Value
from jaxconv.equivariance.prove._interpret import Step
from jaxconv.equivariance.prove._labels import periods_of, shifts_of
from jaxconv.equivariance.prove._program import Program
from jaxconv.equivariance.prove._table import Context

FAST_COMPILE = {"xla_backend_optimization_level": 0}
TOLERANCE = 1e-9
"""Of float64 values, relative to the largest of the array."""


def broken_labels(program: Program, x: Any, context: Context | None = None) -> list[str]:
    """Every equation of a program whose labels the numbers contradict, in program order.

    Args:
        program: a trace with a single input and no weights.
        x: a value of that input; float64, or rounding will look like a contradiction.
        context: how to analyze; plain by default.
    """
    oracle = _Oracle(program, np.asarray(x))
    steps: list[Step] = []
    run = program.run(context or Context(program.sizes), steps.append)
    oracle.check("input", run.operands[-1], oracle.inputs)
    shadows = _Shadows(run.operands[-1], steps)
    function = lambda x: (shadows.values(x), jax.tree.leaves(program.function(x)))
    compiled = jax.jit(jax.vmap(function), compiler_options=FAST_COMPILE)
    values, results = compiled(oracle.inputs)
    for (where, labels), value in zip(shadows.labels, values, strict=True):
        oracle.check(where, labels, np.asarray(value))
    for path, labels, value in zip(program.paths, run.outputs, results, strict=True):
        oracle.check(f"output {path}", labels, np.asarray(value))
    return oracle.broken


class _Shadows:
    """Numbers for every label array of a run, computed equation by equation."""

    def __init__(self, start: Value, steps: list[Step]):
        self.start, self.steps, self.labels = start, steps, []
        known = {id(start)}
        for step in steps:
            if all(isinstance(v, Known) or id(v) in known for v in step.operands):
                found = [v for v in step.outputs if isinstance(v, Labels)]
                known.update(map(id, found))
                self.labels += [(step.equation.primitive, v) for v in found]

    def values(self, x: Any) -> list[Any]:
        """Values of `labels` for one x; what loops and branches hand on is not followed."""
        numbers = {id(self.start): x}
        for step in self.steps:
            if all(isinstance(v, Known) or id(v) in numbers for v in step.operands):
                read = lambda v: v.value if isinstance(v, Known) else numbers[id(v)]
                out = step.equation.bind(*map(read, step.operands))
                out = out if isinstance(out, (list, tuple)) else [out]
                numbers.update(zip(map(id, step.outputs), out, strict=True))
        return [numbers[id(labels)] for _, labels in self.labels]


class _Oracle:
    """The shifts of an input, and the functions named so far."""

    def __init__(self, program: Program, x: np.ndarray):
        self.sizes, self.broken = program.sizes, []
        self.grid = np.array(list(itertools.product(*map(range, self.sizes))))
        axes = tuple(axis % x.ndim for axis in program.axes)
        self.inputs = np.stack([np.roll(x, tuple(s), axes) for s in self.grid])
        self.functions: dict[bytes, np.ndarray] = {}

    def check(self, where: str, labels: Value, values: np.ndarray) -> None:
        """Compares all elements that carry one name, on all shifts."""
        if isinstance(labels, Known) or values.size == 0:
            return
        scale = np.abs(np.nan_to_num(values.astype(complex), posinf=0, neginf=0)).max() + 1
        for axis in [axis for axis, state in enumerate(labels.states) if state == "R"]:
            first = np.take(values, [0], axis + 1)
            if not _close(np.broadcast_to(first, values.shape), values, scale):
                self.broken.append(f"{where}: axis {axis} is not replicated")
            values = first
        kept = [axis for axis, state in enumerate(labels.states) if state == "E"]
        inner = [axis for axis, state in enumerate(labels.states) if state != "E"]
        order = [0, *[axis + 1 for axis in (*kept, *inner)]]
        width = math.prod(values.shape[axis + 1] for axis in inner)
        flat = values.transpose(order).reshape(len(values), -1, width)
        code = labels.code.reshape(labels.code.shape[0], -1)
        charge = None if labels.charge is None else labels.charge.reshape(len(self.sizes), -1)
        for element in range(code.shape[1]):
            function = self._function(code[:, element], flat[:, element])
            if charge is not None:
                function = function * self._phases(charge[:, element])
            self._compare(where, code[:, element], function, scale)

    def _function(self, code: np.ndarray, values: np.ndarray) -> np.ndarray:
        """F_κ(T_u x) for every u."""
        moved = (self.grid + shifts_of(code)) % np.array(self.sizes)
        return values[np.ravel_multi_index(tuple(moved.T), self.sizes)]

    def _phases(self, charge: np.ndarray) -> np.ndarray:
        turns = (self.grid * charge / np.array(self.sizes)).sum(1)
        return np.exp(2j * np.pi * turns)[:, None]

    def _compare(self, where: str, code: np.ndarray, function: np.ndarray, scale: float) -> None:
        for axis, period in enumerate(periods_of(code)):
            step = np.zeros(len(self.sizes), int)
            step[axis] = period
            again = (self.grid + step) % np.array(self.sizes)
            again = function[np.ravel_multi_index(tuple(again.T), self.sizes)]
            if not _close(again, function, scale):
                self.broken.append(f"{where}: not invariant to {period} along {axis}")
        key = code[:2].tobytes()
        known = self.functions.setdefault(key, function)
        if known.shape != function.shape or not _close(known, function, scale):
            self.broken.append(f"{where}: one name for two functions")


def _close(a: np.ndarray, b: np.ndarray, scale: float) -> bool:
    if a.dtype == bool or a.dtype.kind in "iu":
        return bool((a == b).all())
    return bool(np.allclose(a, b, rtol=0, atol=TOLERANCE * scale, equal_nan=True))
