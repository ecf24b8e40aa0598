"""Runs a program on an input and on the shifted input, in stretches, and compares value by value.

What is kept of both runs is what later stretches read, and of the unshifted one what is dear to
compute again, for the second visit of the reverse pass. All else lives within one stretch.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _laws
from jaxconv.equivariance._fold import Row
from jaxconv.equivariance._gaps import NONE, Gap, measured
from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law, Turn
from jaxconv.equivariance._recipe import Recipe
from jaxconv.equivariance._stretch import Piece, Stretch, cut

Arrays = dict[Value, Any]

AHEAD = 1
"""Stretches that may be dispatched before the first of them is done: bounds what they hold."""


class Tape(NamedTuple):
    """A program cut into rows.

    Attributes:
        program: the program.
        laws: how its values move.
        rows: its rows.
        still: the values that do not depend on the input.
        shift: of the input, or how fast it moves.
        pieces: its stretches.
    """

    program: Program
    laws: dict[Value, Law]
    rows: list[Row]
    still: Arrays
    shift: tuple[float, ...]
    pieces: list[Piece]


def lay(
    program: Program,
    laws: dict[Value, Law],
    rows: list[Row],
    shift: Sequence[float],
    still: Arrays | None = None,
) -> Tape:
    """Evaluates what does not depend on the input, once, and cuts the rest into stretches.

    With `still`, those values, the program is a part of another whose inputs are not ideal: what
    is known of them says nothing of outputs.
    """
    arrays: Arrays = dict(still or {})
    for equation in program.equations if still is None else ():
        if not any(value in laws for value in equation.outputs):
            arrays.update(zip(equation.outputs, _evaluate(equation, arrays), strict=True))
    pieces = cut(program, laws, rows, shift, ideal=still is None)
    return Tape(program, laws, rows, arrays, tuple(shift), pieces)


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


def replay(stretch: Stretch, known: Sequence[Any]) -> dict[int, Any]:
    """All slots of a stretch from those that are given or were kept; to be compiled."""
    found = dict(zip((*stretch.given, *stretch.kept), known, strict=True))
    for step in stretch.steps:
        if not all(slot in found for slot in step.outputs):
            made = step.recipe([found[slot] for slot in step.inputs])
            for slot, y in zip(step.outputs, made, strict=True):
                found.setdefault(slot, y)
    return found


def known(tape: Tape, piece: Piece, first: Arrays) -> list[Any]:
    """What `replay` starts from."""
    return gather(tape, piece.at((*piece.stretch.given, *piece.stretch.kept)), first)


@functools.partial(jax.jit, static_argnums=0)
def _replayed(stretch: Stretch, known: list[Any]) -> dict[int, Any]:
    return replay(stretch, known)


def piece_of(tape: Tape, k: int) -> Piece:
    """The stretch of row k."""
    return next(piece for piece in reversed(tape.pieces) if piece.start <= k)


def recall(tape: Tape, first: Arrays, k: int) -> Arrays:
    """All values of the stretch of row k."""
    piece = piece_of(tape, k)
    found = _replayed(piece.stretch, known(tape, piece, first))
    return {piece.values[slot]: y for slot, y in found.items()}


class Finite(NamedTuple):
    """Both runs.

    Attributes:
        first: of the unshifted one, what later stretches read or is dear to compute.
        gaps: of every value that leaves a row.
        maps: error maps of values that stand for rows.
        errors: of the outputs, f(T x) - T f(x), zero where the law does not say.
    """

    first: Arrays
    gaps: dict[Value, Gap]
    maps: dict[Value, np.ndarray | None]
    errors: dict[Value, Any]


def finite(tape: Tape, leaves: Sequence[Any], moved: Sequence[Any]) -> Finite:
    """Runs the program on both inputs and compares every value that leaves a row."""
    one: Arrays = dict(zip(tape.program.inputs, leaves, strict=True))
    two: Arrays = dict(zip(tape.program.inputs, moved, strict=True))
    ideal: Arrays = dict(two)
    found, last = [], _last_readers(tape)
    for n, piece in enumerate(tape.pieces):
        stretch = piece.stretch
        given = piece.at(stretch.given)
        made, other, turned, compared = _advance(
            stretch,
            gather(tape, given, one),
            gather(tape, given, two),
            [ideal[value] for value in piece.at(stretch.ideal)],
            _borders(tape, piece),
        )
        one.update(zip(piece.at(stretch.kept), made, strict=True))
        two.update(zip(piece.at(stretch.passed), other, strict=True))
        ideal.update(zip(piece.at(stretch.moved), turned, strict=True))
        for value in last.get(n, ()):
            two.pop(value, None)
            ideal.pop(value, None)
        del made, other, turned
        found.append(compared)
        jax.block_until_ready(found[max(n - AHEAD, 0)])
    gaps: dict[Value, Any] = {v: NONE for v in tape.program.inputs if v in tape.laws}
    maps: dict[Value, Any] = {}
    for piece, (numbers, errors) in zip(tape.pieces, jax.device_get(found), strict=True):
        values = piece.at(piece.stretch.compared)
        gaps |= {v: Gap(*row) for v, row in zip(values, numbers.tolist(), strict=True)}
        maps |= dict(zip(values, errors, strict=True))
    ends = [v for v in tape.program.outputs if v in tape.laws]
    errors = {v: _error(one[v], two[v], _laws.turns(tape.laws[v], tape.shift)) for v in ends}
    return Finite(one, gaps, maps, errors)


def _borders(tape: Tape, piece: Piece) -> np.ndarray:
    """The borders of the values that a stretch compares; an argument, for they grow with depth."""
    laws = [tape.laws[value] for value in piece.at(piece.stretch.compared)]
    found = np.zeros((len(laws), len(tape.shift), 2), np.int32)
    for i, law in enumerate(laws):
        for a, border in enumerate(_laws.borders(law)):
            found[i, a] = border
    return found


@functools.partial(jax.jit, static_argnums=0)
def _advance(
    stretch: Stretch, one: list[Any], two: list[Any], ideal: list[Any], borders: Any
) -> tuple[list[Any], list[Any], list[Any], tuple[Any, list[Any]]]:
    """A stretch on both inputs: what is kept of each, and the gaps and error maps."""
    ys, zs = dict(enumerate(one)), dict(enumerate(two))
    moved = dict(zip(stretch.ideal, ideal, strict=True))
    gaps, maps = [], []
    for step in stretch.steps:
        inputs = [ys[slot] for slot in step.inputs]
        ys.update(zip(step.outputs, step.recipe(inputs), strict=True))
        zs.update(zip(step.outputs, step.recipe([zs[s] for s in step.inputs]), strict=True))
        for slot in step.outputs:
            turned = stretch.turned[slot]
            if turned is None:
                continue
            expected, known = _laws.moved(ys[slot], turned)
            if step.light:  # what moves its inputs moves its output
                sources = [moved.get(s, y) for s, y in zip(step.inputs, inputs, strict=True)]
                expected = step.recipe(sources)[0]
            moved[slot] = expected
            gap, error_map = measured(
                ys[slot], zs[slot], turned, borders[len(gaps)], (expected, known)
            )
            gaps.append(jnp.stack([jnp.asarray(number).astype(float) for number in gap]))
            maps.append(error_map)
    return (
        [ys[slot] for slot in stretch.kept],
        [zs[slot] for slot in stretch.passed],
        [moved[slot] for slot in stretch.moved],
        (jnp.stack(gaps), maps),
    )


@functools.partial(jax.jit, static_argnums=2)
def _error(y: Any, z: Any, turned: tuple[Turn, ...]) -> Any:
    expected, known = _laws.moved(y, turned)
    if not jnp.issubdtype(y.dtype, jnp.inexact):
        return jnp.zeros(y.shape, int)
    return jnp.where(known, z - expected, jnp.zeros((), y.dtype))


def _last_readers(tape: Tape) -> dict[int, list[Value]]:
    """Values by the piece that reads them last; results of the program are never dropped."""
    last: dict[Value, int] = {}
    for n, piece in enumerate(tape.pieces):
        last.update(dict.fromkeys(piece.values, n))
    found: dict[int, list[Value]] = {}
    for value, n in last.items():
        if value not in tape.program.outputs:
            found.setdefault(n, []).append(value)
    return found


def patched(
    tape: Tape, moved: Sequence[Any], patch: Value | None = None, ideal: Any = None
) -> Arrays:
    """All of the shifted run; with one value made ideal where its law is known, the outputs."""
    two: Arrays = dict(zip(tape.program.inputs, moved, strict=True))
    last = {value: k for k, row in enumerate(tape.rows) for value in row.inputs}
    for k, row in enumerate(tape.rows):
        two.update(zip(row.outputs, run(row.recipe, gather(tape, row.inputs, two)), strict=True))
        if patch in row.outputs:
            two[patch] = _ideal(ideal, two[patch], _laws.turns(tape.laws[patch], tape.shift))
        for value in row.inputs if patch is not None else ():
            if last[value] == k and value not in tape.program.outputs:
                two.pop(value, None)
    return two


@functools.partial(jax.jit, static_argnums=(2,))
def _ideal(y: Any, z: Any, turned: tuple[Turn, ...]) -> Any:
    expected, known = _laws.moved(y, turned)
    return jnp.where(known, expected, z)
