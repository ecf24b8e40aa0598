"""Runs a program on labels: constants are computed, unknown equations are opaque functions."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove import _number_windows as _number_windows
from jaxconv.equivariance.prove import rules as rules
from jaxconv.equivariance.prove._arrays import Known, Labels, Unmodelled, Value, plain
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._known import PARAMETERS
from jaxconv.equivariance.prove._labels import assemble, periods_of, shifts_of
from jaxconv.equivariance.prove._moves import take
from jaxconv.equivariance.prove._numbers import computed
from jaxconv.equivariance.prove._operands import opaque
from jaxconv.equivariance.prove._table import CHARGED, RULES, Call, Context, Repair

BORDERED = {"conv_general_dilated", "reduce_window_sum", "reduce_window_max", "reduce_window_min"}
"""Equations whose padding wraps around in periodic mode, on constants too (pooling counts)."""


class Step(NamedTuple):
    """One equation as it was interpreted.

    Attributes:
        equation: the equation, with its scope and the user's line.
        operands: labels and constants that it read.
        outputs: labels and constants that it made.
        notes: what its rule has to say ("zero padding").
        gap: why no rule describes it, or None.
        inner: whether it only hands a value on between a loop or branch and its body.
    """

    equation: _jaxpr.Equation
    operands: Sequence[Value]
    outputs: Sequence[Value]
    notes: frozenset[str]
    gap: str | None
    inner: bool = False


class Interpreter:
    """One run over one program; `observe(step)` sees every step whose output may depend on x."""

    def __init__(self, context: Context, observe: Callable[[Step], None] | None = None):
        """Starts with nothing opaque."""
        self.context = context
        self.observe = observe
        self.gaps: list[tuple[_jaxpr.Equation, str]] = []

    def run(self, program: _jaxpr.Program, operands: Sequence[Value]) -> list[Value]:
        """Values of the outputs of a program."""
        values = dict(zip(map(id, program.inputs), operands, strict=True))
        read = lambda v: values[id(v)] if id(v) in values else Known(v.constant)
        for equation in program.equations:
            arguments = [read(value) for value in equation.inputs]
            repairs = [r for r in self.context.repairs if id(equation) in r.equations]
            if repairs:
                outputs = self._repaired(repairs[0], equation, arguments)
            else:
                outputs = self.interpret(equation, arguments)
            for slot, value in zip(equation.outputs, outputs, strict=True):
                assert slot.shape == tuple(value.shape), (equation, slot.shape, value.shape)
                values[id(slot)] = value
        return [read(value) for value in program.outputs]

    def _repaired(
        self, repair: Repair, equation: _jaxpr.Equation, operands: list[Value]
    ) -> list[Value]:
        """The equation with circular borders, on the input as it is after a shift, or rolled."""
        if repair.shifts:
            pairs = zip(operands, equation.inputs, strict=True)
            operands = [
                v if id(slot) in repair.inner else ahead(v, repair.shifts) for v, slot in pairs
            ]
        before = self.context.periodic
        self.context.periodic = before or repair.circular
        try:
            return [_rolled(value, repair.rolls) for value in self.interpret(equation, operands)]
        finally:
            self.context.periodic = before

    def interpret(self, equation: _jaxpr.Equation, operands: list[Value]) -> list[Value]:
        """Values of the outputs of one equation."""
        control = equation.primitive in CONTROL
        if not control and all(isinstance(value, Known) for value in operands):
            return self._computed(equation, operands)
        self.context.notes.clear()
        gap = None
        try:
            if control:
                return CONTROL[equation.primitive](self, equation, operands)
            outputs = self._ruled(equation, operands)
        except Unmodelled as reason:
            gap = str(reason)
            outputs = self._unknown(equation, operands, gap)
        if self.observe is not None:
            notes = frozenset(self.context.notes)
            self.observe(Step(equation, operands, outputs, notes, gap))
        return outputs

    def hand_on(
        self,
        equation: _jaxpr.Equation,
        bind: Callable[..., Any],
        operands: Sequence[Value],
        output: Value,
    ) -> Value:
        """Tells the observer of a value that control flow makes, which bind(*numbers) computes."""
        if self.observe is not None:
            made = equation._replace(bind=bind)
            self.observe(Step(made, operands, [output], frozenset(), None, inner=True))
        return output

    def _ruled(self, equation: _jaxpr.Equation, operands: list[Value]) -> list[Value]:
        if all(0 in slot.shape for slot in equation.outputs):
            return [Known(np.zeros(slot.shape, slot.dtype)) for slot in equation.outputs]
        if equation.primitive not in RULES:
            raise Unmodelled("no rule")
        unknown = set(equation.params) - PARAMETERS.get(equation.primitive, set(equation.params))
        if unknown:
            raise Unmodelled(
                f"parameter {', '.join(sorted(unknown))}, which the rule does not know"
            )
        call = Call(
            equation.primitive,
            dict(equation.params),
            [slot.shape for slot in equation.outputs],
            [slot.dtype for slot in equation.outputs],
            equation.bind,
        )
        if equation.primitive not in CHARGED:
            operands = [plain(value) for value in operands]
        result = RULES[equation.primitive](self.context, call, *operands)
        outputs = result if isinstance(result, list) else [result]
        return [_copied(value, operands) for value in outputs]

    def _unknown(
        self, equation: _jaxpr.Equation, operands: list[Value], reason: str
    ) -> list[Value]:
        self.gaps.append((equation, reason))
        # named by the equation, so that runs over one program that are compared agree
        name = "opaque", equation.primitive, id(equation)
        return [
            opaque(operands, slot.shape, self.context.rank, name_of(*name, position))
            for position, slot in enumerate(equation.outputs)
        ]

    def _computed(self, equation: _jaxpr.Equation, operands: list[Value]) -> list[Value]:
        values = [value.value for value in operands]  # type: ignore[union-attr]
        if self.context.periodic and equation.primitive in BORDERED:
            values, equation = _wrapped(equation, values)
        return [Known(value) for value in computed(equation, values)]


def ahead(value: Value, shifts: tuple[int, ...]) -> Value:
    """The value for the input shifted by `shifts`."""
    if isinstance(value, Known):
        return value
    rank, value = len(shifts), plain(value)

    def move(code: np.ndarray) -> np.ndarray:
        amounts = np.array(shifts).reshape((rank,) + (1,) * (code.ndim - 1))
        return assemble(code[:2], shifts_of(code) - amounts, periods_of(code))

    terms = None if value.terms is None else move(value.terms)
    return Labels(value.shape, value.states, move(value.code), terms, value.kind)


def _rolled(value: Value, rolls: Sequence[tuple[int, int]]) -> Value:
    """The value with axes rolled by amounts."""
    for axis, amount in rolls:
        if isinstance(value, Labels):
            value = take(value, axis, np.roll(np.arange(value.shape[axis]), amount))
    return value


def _copied(value: Value, operands: list[Value]) -> Value:
    """A fresh object for an output that is an operand, so that each has its own history."""
    if isinstance(value, Labels) and any(value is operand for operand in operands):
        return dataclasses.replace(value, trail=None)
    return value


def _wrapped(equation: _jaxpr.Equation, values: list[Any]) -> tuple[list[Any], _jaxpr.Equation]:
    """The equation with circular padding."""
    params, x = equation.params, np.asarray(values[0])
    if equation.primitive == "conv_general_dilated":
        axes, base = params["dimension_numbers"].lhs_spec[2:], params["lhs_dilation"]
    else:
        axes, base = range(x.ndim), params["base_dilation"]
    if any(d != 1 for d in base):
        return values, equation
    widths = [(0, 0)] * x.ndim
    for axis, (low, high) in zip(axes, params["padding"], strict=True):
        widths[axis] = (max(low, 0), max(high, 0))
    rest = tuple((min(low, 0), min(high, 0)) for low, high in params["padding"])
    wide = np.pad(x, widths, mode="wrap")
    bind = functools.partial(equation.bind, padding=rest)
    return [wide, *values[1:]], equation._replace(params={**params, "padding": rest}, bind=bind)


CONTROL: dict[str, Callable[[Interpreter, _jaxpr.Equation, list[Value]], list[Value]]] = {}
"""Control flow, filled by `_control`."""
