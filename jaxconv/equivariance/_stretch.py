"""Cuts a program into stretches of rows that are compiled as one, with what passes between them.

Dispatched row by row, ResNet-50 takes twice as long as in one program: every value is written and
read again. As one program, with a comparison behind every value, it takes XLA minutes to compile.
Between them lie stretches of some rows: those of residual blocks are alike and compiled once. In
a small program a row is a stretch of its own: compilation is all of its time, and rows are shared
by many programs.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from jaxconv.equivariance import _laws
from jaxconv.equivariance._affine import is_affine, is_light
from jaxconv.equivariance._fold import HEAVY, Row
from jaxconv.equivariance._jaxpr import Program, Value
from jaxconv.equivariance._laws import Law, Turn
from jaxconv.equivariance._recipe import Recipe

LARGE = 2**22
"""Numbers in all values of a program from which rows are joined."""

FEWEST, MOST = 4, 24
"""Rows in a stretch: where the fewest values pass from one to the next, between these bounds.

Chosen for residual networks: a stem of 4 rows and blocks of 10 to 12, at whose ends one value
passes. With both in one stretch its temporary memory was beyond 32 MiB, which glibc maps anew.
"""

_DEAR = (*HEAVY, "cond", "custom_call", "fft", "sort", "top_k")
"""Operations whose results are kept: they cost more to compute again than to read."""


class Step(NamedTuple):
    """A row, its values as slots of its stretch.

    Attributes:
        recipe: from inputs to outputs.
        inputs: slots that it reads.
        outputs: slots that it makes.
        affine: whether what moves its inputs moves its output.
        light: whether that costs less than to move its output anew.
    """

    recipe: Recipe
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    affine: bool
    light: bool


class Stretch(NamedTuple):
    """Rows that are compiled as one; two are equal when they do the same to values alike.

    Attributes:
        steps: its rows.
        turned: per slot how it turns, along every axis that moves; None where it does not depend
            on the input.
        smooth: per slot whether it carries derivatives.
        given: slots that are read but not made here; they come first.
        kept: slots made here that a second visit is given: read later, or dear to compute.
        passed: slots made here that are read later, or results of the program.
        ideal: given slots whose moved value light rows read.
        moved: slots made here whose moved value light rows read later.
    """

    steps: tuple[Step, ...]
    turned: tuple[tuple[Turn, ...] | None, ...]
    smooth: tuple[bool, ...]
    given: tuple[int, ...]
    kept: tuple[int, ...]
    passed: tuple[int, ...]
    ideal: tuple[int, ...]
    moved: tuple[int, ...]

    @property
    def compared(self) -> list[int]:
        """The slots made here that a law is known of."""
        return [s for step in self.steps for s in step.outputs if self.turned[s] is not None]


class Piece(NamedTuple):
    """A stretch at its place in a program: its first row, and the value of every slot."""

    stretch: Stretch
    start: int
    values: tuple[Value, ...]

    def at(self, slots: Sequence[int]) -> list[Value]:
        """The values of some slots."""
        return [self.values[slot] for slot in slots]


def cut(
    program: Program,
    laws: dict[Value, Law],
    rows: Sequence[Row],
    shift: Sequence[float],
    *,
    ideal: bool,
) -> list[Piece]:
    """The stretches of a program, in the order of evaluation.

    Only where its inputs are moved ideally, as those of a whole program, do affine rows matter.
    """
    affine = [ideal and is_affine(program, laws, row) for row in rows]
    light = [a and is_light(program, laws, row) for a, row in zip(affine, rows, strict=True)]
    last = {value: k for k, row in enumerate(rows) for value in row.inputs}
    last |= dict.fromkeys(program.outputs, len(rows))
    moved = {v: k for k, row in enumerate(rows) if light[k] for v in row.inputs}
    numbers = sum(math.prod(value.shape) for row in rows for value in row.outputs)
    bounds = _bounds(rows, laws, last) if numbers >= LARGE else list(range(len(rows) + 1))
    pieces = []
    for start, end in itertools.pairwise(bounds):
        values, steps = _steps(rows[start:end], affine[start:end], light[start:end])
        count = len(values) - sum(len(step.outputs) for step in steps)
        made = range(count, len(values))
        dear = _dear(program, rows[start:end], values)
        read = {s for step in steps if step.light for s in step.inputs if s < count}
        stretch = Stretch(
            steps,
            tuple(_laws.circles(laws[v], shift) if v in laws else None for v in values),
            tuple(v in laws and jnp.issubdtype(v.dtype, jnp.inexact) for v in values),
            tuple(range(count)),
            tuple(s for s in made if s in dear or last.get(values[s], 0) >= end),
            tuple(s for s in made if last.get(values[s], 0) >= end),
            tuple(s for s in sorted(read) if values[s] in laws),
            tuple(s for s in made if moved.get(values[s], 0) >= end),
        )
        pieces.append(Piece(stretch, start, values))
    return pieces


def _steps(
    rows: Sequence[Row], affine: Sequence[bool], light: Sequence[bool]
) -> tuple[tuple[Value, ...], tuple[Step, ...]]:
    """The values of a stretch, those that it does not make first, and its rows in slots."""
    made = [value for row in rows for value in row.outputs]
    read = dict.fromkeys(value for row in rows for value in row.inputs)
    values = (*(value for value in read if value not in set(made)), *made)
    slots = {value: slot for slot, value in enumerate(values)}

    def at(some: Sequence[Value]) -> tuple[int, ...]:
        return tuple(slots[value] for value in some)

    marked = zip(rows, affine, light, strict=True)
    return values, tuple(Step(r.recipe, at(r.inputs), at(r.outputs), a, b) for r, a, b in marked)


def _dear(program: Program, rows: Sequence[Row], values: Sequence[Value]) -> set[int]:
    """Slots of rows that cost more to compute again than to read, in a stretch of several."""
    if len(rows) < 2:
        return set()
    names = [[program.equations[i].primitive for i in row.equations] for row in rows]
    dear = [row for row, found in zip(rows, names, strict=True) if set(found) & set(_DEAR)]
    made = {value for row in dear for value in row.outputs}
    return {slot for slot, value in enumerate(values) if value in made}


def _bounds(rows: Sequence[Row], laws: dict[Value, Law], last: dict[Value, int]) -> list[int]:
    """First rows of stretches, and the number of rows: cuts that the fewest values cross."""
    crossing = [0] * (len(rows) + 1)
    for k, row in enumerate(rows):
        for value in row.outputs:
            if value in laws:
                for bound in range(k + 1, last.get(value, k) + 1):
                    crossing[bound] += 1
    bounds = [0]
    while len(rows) - bounds[-1] > FEWEST:
        window = range(bounds[-1] + FEWEST, min(bounds[-1] + MOST, len(rows)) + 1)
        bounds.append(min(window, key=lambda bound: crossing[bound]))
    return bounds if bounds[-1] == len(rows) else [*bounds, len(rows)]
