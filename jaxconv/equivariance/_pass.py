"""Runs a program on an input and on the shifted input, row by row, and compares value by value.

Rows are compiled one by one and dispatched from Python: as one program, with a comparison behind
every value, ResNet-50 takes XLA more than eight minutes to compile; its 54 kinds of rows, five
seconds. An activation of the shifted run is dropped after its last reader.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _laws
from jaxconv.equivariance._affine import is_affine
from jaxconv.equivariance._fold import Row
from jaxconv.equivariance._gaps import NONE, Gap, compare
from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law, Turn
from jaxconv.equivariance._recipe import Recipe

Arrays = dict[Value, Any]

AHEAD = 8
"""Rows that may be dispatched before the first of them is done: bounds what they hold."""


class Tape(NamedTuple):
    """A program cut into rows.

    Attributes:
        program: the program.
        laws: how its values move.
        rows: its rows.
        still: the values that do not depend on the input.
        affine: per row, whether it commutes with every motion.
    """

    program: Program
    laws: dict[Value, Law]
    rows: list[Row]
    still: Arrays
    affine: list[bool]


def lay(program: Program, laws: dict[Value, Law], rows: list[Row]) -> Tape:
    """Evaluates what does not depend on the input, once."""
    still: Arrays = {}
    for equation in program.equations:
        if not any(value in laws for value in equation.outputs):
            still.update(zip(equation.outputs, _evaluate(equation, still), strict=True))
    return Tape(program, laws, rows, still, [is_affine(program, laws, row) for row in rows])


def _evaluate(equation: Equation, arrays: Arrays) -> list[Any]:
    made = equation.bind(*(_read(value, arrays) for value in equation.inputs))
    return list(made) if isinstance(made, (list, tuple)) else [made]


def _read(value: Value, arrays: Arrays) -> Any:
    """An array that was computed, or a constant."""
    if value in arrays:
        return arrays[value]
    constant = value.constant
    return constant if hasattr(constant, "dtype") else jnp.asarray(constant, value.dtype)


def gather(tape: Tape, values: Sequence[Value], arrays: Arrays) -> list[Any]:
    """The arrays of some values."""
    return [arrays[v] if v in arrays else _read(v, tape.still) for v in values]


@functools.partial(jax.jit, static_argnums=0)
def run(recipe: Recipe, arrays: list[Any]) -> list[Any]:
    """One row."""
    return recipe(arrays)


@functools.partial(jax.jit, static_argnums=0)
def _run_both(recipe: Recipe, one: list[Any], two: list[Any]) -> tuple[list[Any], list[Any]]:
    """One row, on both inputs."""
    return recipe(one), recipe(two)


class Finite(NamedTuple):
    """Both runs.

    Attributes:
        first: all values of the unshifted one.
        gaps: of every value that leaves a row.
        maps: error maps of values that stand for rows.
        errors: of the outputs, f(T x) - T f(x), zero where the law does not say.
    """

    first: Arrays
    gaps: dict[Value, Gap]
    maps: dict[Value, np.ndarray | None]
    errors: dict[Value, Any]


def finite(tape: Tape, leaves: Sequence[Any], moved: Sequence[Any], shift: Sequence[float]):
    """Runs the program on both inputs and compares every value that leaves a row."""
    one: Arrays = dict(zip(tape.program.inputs, leaves, strict=True))
    two: Arrays = dict(zip(tape.program.inputs, moved, strict=True))
    last, stands = _last_readers(tape), {row.output for row in tape.rows}
    wanted = {
        v for row, affine in zip(tape.rows, tape.affine, strict=True) if affine for v in row.inputs
    }
    ideal: Arrays = dict(zip(tape.program.inputs, moved, strict=True))
    gaps: dict[Value, Any] = {v: NONE for v in tape.program.inputs if v in tape.laws}
    maps, waiting = {}, []
    for k, row in enumerate(tape.rows):
        inputs = gather(tape, row.inputs, one), gather(tape, row.inputs, two)
        made, other = _run_both(row.recipe, *inputs)
        one.update(zip(row.outputs, made, strict=True))
        two.update(zip(row.outputs, other, strict=True))
        recipe = row.recipe if tape.affine[k] else None
        sources = [ideal.get(v, y) for v, y in zip(row.inputs, inputs[0], strict=True)]
        for value, y, z in zip(row.outputs, made, other, strict=True):
            if value in tape.laws:
                gaps[value], error_map, expected = compare(
                    y, z, tape.laws[value], shift, recipe, sources if recipe else ()
                )
                if value in stands:
                    maps[value] = error_map
                if value in wanted:
                    ideal[value] = expected
                del expected
        for value in last.get(k, ()):
            two.pop(value, None)
            ideal.pop(value, None)
        del inputs, made, other, y, z, sources
        waiting.append(gaps.get(row.output))
        if len(waiting) > AHEAD:
            jax.block_until_ready(waiting.pop(0))
    ends = [v for v in tape.program.outputs if v in tape.laws]
    errors = {v: _error(one[v], two[v], _laws.turns(tape.laws[v], shift)) for v in ends}
    return Finite(one, _fetched(gaps), _fetched(maps), errors)


def _fetched(found: dict[Value, Any]) -> dict[Value, Any]:
    return dict(zip(found, jax.device_get(list(found.values())), strict=True))


@functools.partial(jax.jit, static_argnums=2)
def _error(y: Any, z: Any, turned: tuple[Turn, ...]) -> Any:
    expected, known = _laws.moved(y, turned)
    if not jnp.issubdtype(y.dtype, jnp.inexact):
        return jnp.zeros(y.shape, int)
    return jnp.where(known, z - expected, jnp.zeros((), y.dtype))


def _last_readers(tape: Tape) -> dict[int, list[Value]]:
    """Values by the row that reads them last; results of the program are never dropped."""
    last: dict[Value, int] = {}
    for k, row in enumerate(tape.rows):
        last.update(dict.fromkeys((*row.inputs, *row.outputs), k))
    found: dict[int, list[Value]] = {}
    for value, k in last.items():
        if value not in tape.program.outputs:
            found.setdefault(k, []).append(value)
    return found


@functools.partial(jax.jit, static_argnums=(1,))
def _moved(y: Any, turned: tuple[Turn, ...]) -> Any:
    return _laws.moved(y, turned)[0]


def alone(tape: Tape, first: Arrays, row: Row, shift: Sequence[float]) -> float:
    """eps_inf of a row on ideally moved inputs: whether it commutes with whole-pixel moves.

    What it reads moves by `shift` times its pitch. Asked may be rows whose inputs' circles close.
    """
    own = _own_shift(row, tape.laws, shift)
    inputs = [
        _moved(y, _laws.turns(tape.laws[v], own)) if v in tape.laws else y
        for v, y in zip(row.inputs, gather(tape, row.inputs, first), strict=True)
    ]
    made = run(row.recipe, inputs)
    found = [
        _largest(first[v], z, _laws.turns(tape.laws[v], own))
        for v, z in zip(row.outputs, made, strict=True)
        if v in tape.laws
    ]
    return max(map(float, found))


@functools.partial(jax.jit, static_argnums=2)
def _largest(y: Any, z: Any, turned: tuple[Turn, ...]) -> Any:
    """eps_inf of one value."""
    expected, known = _laws.moved(y, turned)
    gap = jnp.where(known, _errors.gap(expected, z), 0)
    return _errors.most(gap) / _errors.scale_of(y, _errors.Frame((), ())).largest


def _own_shift(row: Row, laws: dict[Value, Law], shift: Sequence[float]) -> list[int]:
    """The input's shift that moves everything a row reads by whole pixels."""
    own = []
    for a, t in enumerate(shift):
        moves = [laws[v].moves[a] for v in row.inputs if v in laws]
        pitch = math.lcm(*((1 / move.ratio).numerator for move in moves if move is not None), 1)
        own.append(int(t) * pitch)
    return own


def closed(row: Row, laws: dict[Value, Law]) -> bool:
    """Whether everything a row reads is a whole circle, so that it can be moved ideally."""
    moves = [move for v in row.inputs if v in laws for move in laws[v].moves if move]
    return all(move.period.denominator == 1 and move.count >= move.period for move in moves)


def patched(
    tape: Tape, first: Arrays, moved: Sequence[Any], shift: Sequence[float], patch: Value | None
) -> Arrays:
    """The shifted run with one value made ideal where its law is known."""
    two: Arrays = dict(zip(tape.program.inputs, moved, strict=True))
    last = _last_readers(tape)
    for k, row in enumerate(tape.rows):
        two.update(zip(row.outputs, run(row.recipe, gather(tape, row.inputs, two)), strict=True))
        if patch in row.outputs:
            turned = _laws.turns(tape.laws[patch], shift)
            two[patch] = _ideal(first[patch], two[patch], turned)
        for value in last.get(k, ()) if patch is not None else ():
            two.pop(value, None)
    return two


@functools.partial(jax.jit, static_argnums=(2,))
def _ideal(y: Any, z: Any, turned: tuple[Turn, ...]) -> Any:
    expected, known = _laws.moved(y, turned)
    return jnp.where(known, expected, z)
