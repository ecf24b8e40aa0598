"""Walks a program: what every value sees, through loops and branches, and constants on demand."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxconv.equivariance._jaxpr import Equation, Program, Value, bodies
from jaxconv.equivariance._sight import rules
from jaxconv.equivariance._sight.algebra import ReceptiveField, Sight, field, join, whole
from jaxconv.equivariance._sight.step import Step

_LARGEST_CONSTANT = 2**22
"""Entries of an array that is computed to see its band; more is left alone."""

_PATIENCE = 1000
"""Turns of a loop that are followed; a loop that still sees more after them may see all."""


class Walk:
    """What the values of a program see of one axis of one input.

    Attributes:
        pixels: size of that axis.
        sights: what each value that depends on the input sees.
    """

    def __init__(self, program: Program, seen: Sequence[Sight | None], pixels: int):
        """Walks `program`, whose inputs see `seen`."""
        self.pixels = pixels
        self.sights: dict[Value, Sight | None] = {}
        self._makers: dict[Value, Equation] = {}
        self._arrays: dict[Value, np.ndarray | None] = {}
        self._run(program, seen)

    def field(self, value: Value) -> ReceptiveField:
        """The receptive field of a value."""
        sight = self.sights.get(value)
        if sight is not None and sight.axis is not None:
            sight = sight.plain(value.shape[sight.axis], self.pixels)
        return field(sight)

    def _run(self, program: Program, seen: Sequence[Sight | None]) -> list[Sight | None]:
        self.sights.update(zip(program.inputs, seen, strict=True))
        for equation in program.equations:
            for value in equation.outputs:
                self._makers[value] = equation
            sights = [self.sights.get(value) for value in equation.inputs]
            seen = [sight and sight.tight() for sight in self._step(equation, sights)]
            self.sights.update(zip(equation.outputs, seen, strict=True))
        return [self.sights.get(value) for value in program.outputs]

    def _step(self, equation: Equation, sights: list[Sight | None]) -> list[Sight | None]:
        if all(sight is None for sight in sights):
            return [None] * len(equation.outputs)
        special = {"scan": self._scan, "while": self._while, "cond": self._cond}
        if equation.primitive in special:
            return special[equation.primitive](equation, sights)
        return rules.apply(Step(equation, sights, self.pixels, self._concrete))

    def _cond(self, equation: Equation, sights: list[Sight | None]) -> list[Sight | None]:
        branches = [self._run(body, sights[1:]) for body in bodies(equation)]
        chosen = sights[0] and sights[0].still(1, self.pixels)
        return [
            join([chosen, *seen], value.shape, self.pixels)
            for value, seen in zip(equation.outputs, zip(*branches, strict=True), strict=True)
        ]

    def _scan(self, equation: Equation, sights: list[Sight | None]) -> list[Sight | None]:
        params, body = equation.params, bodies(equation)[0]
        fixed, turning = params["num_consts"], params["num_consts"] + params["num_carry"]
        length = params["length"]
        rows = [_row(sight, length, self.pixels) for sight in sights[turning:]]
        carry, stacked = sights[fixed:turning], None
        for turn in range(min(length, _PATIENCE)):
            seen = self._run(body, [*sights[:fixed], *carry, *rows])
            new, made = seen[: len(carry)], [_stacked(sight) for sight in seen[len(carry) :]]
            stacked = made if stacked is None else self._joined(equation, stacked, made)
            if new == carry or turn + 1 == length:
                return [*new, *stacked]
            carry = new
        return [whole(self.pixels, known=length == 0)] * len(equation.outputs)

    def _joined(
        self, equation: Equation, before: list[Sight | None], now: list[Sight | None]
    ) -> list[Sight | None]:
        values = equation.outputs[len(equation.outputs) - len(now) :]
        return [
            join(pair, value.shape, self.pixels)
            for value, *pair in zip(values, before, now, strict=True)
        ]

    def _while(self, equation: Equation, sights: list[Sight | None]) -> list[Sight | None]:
        params, (test, body) = equation.params, bodies(equation)
        first = params["cond_nconsts"]
        fixed = first + params["body_nconsts"]
        carry = sights[fixed:]
        for _ in range(_PATIENCE):
            asked = self._run(test, [*sights[:first], *carry])[0]
            new = self._run(body, [*sights[first:fixed], *carry])
            new = [
                join([asked, old, sight], value.shape, self.pixels)
                for value, old, sight in zip(equation.outputs, carry, new, strict=True)
            ]
            if new == carry:
                return carry
            carry = new
        return [whole(self.pixels, known=False)] * len(equation.outputs)

    def _concrete(self, value: Value) -> np.ndarray | None:
        """The entries of a value made of numbers in the program; None for weights closed over."""
        if value not in self._arrays:
            self._arrays[value] = self._computed(value)
        return self._arrays[value]

    def _computed(self, value: Value, *, weights: bool = False) -> np.ndarray | None:
        """Runs the equations that make a value, in one compilation."""
        chain: dict[int, Equation] = {}
        if not self._collect(value, chain, weights=weights):
            return None

        def replay() -> Any:
            arrays: dict[Value, Any] = {}
            for equation in chain.values():
                made = equation.bind(*(_literal(v, arrays) for v in equation.inputs))
                made = made if isinstance(made, (list, tuple)) else [made]
                arrays.update(zip(equation.outputs, made, strict=True))
            return _literal(value, arrays)

        with jax.ensure_compile_time_eval():
            return np.asarray(jax.jit(replay)())

    def _collect(self, value: Value, chain: dict[int, Equation], *, weights: bool) -> bool:
        """Adds to `chain` what makes a value, first things first; False when it cannot be had."""
        if value.constant is not None:
            return weights or not value.shape or np.issubdtype(value.dtype, np.integer)
        maker = self._makers.get(value)
        if maker is None or math.prod(value.shape) > _LARGEST_CONSTANT:
            return False
        if id(maker) in chain:
            return True
        if not all(self._collect(operand, chain, weights=weights) for operand in maker.inputs):
            return False
        chain[id(maker)] = maker
        return True


def _literal(value: Value, arrays: dict[Value, Any]) -> Any:
    """A value that was computed, or a number in the program."""
    return arrays[value] if value.constant is None else np.asarray(value.constant, value.dtype)


def _row(sight: Sight | None, length: int, pixels: int) -> Sight | None:
    """What one row of a scanned array sees."""
    if sight is None or sight.axis is None:
        return sight
    return sight.still(length, pixels) if sight.axis == 0 else sight.at(sight.axis - 1)


def _stacked(sight: Sight | None) -> Sight | None:
    """What rows see once they are stacked."""
    return sight if sight is None or sight.axis is None else sight.at(sight.axis + 1)
