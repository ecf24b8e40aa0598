"""Which rows would break the law by themselves, though what they read is wrong already."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _laws, _pass
from jaxconv.equivariance._fold import Row
from jaxconv.equivariance._jaxpr import Value
from jaxconv.equivariance._laws import Law, Turn
from jaxconv.equivariance._pass import Tape
from jaxconv.equivariance._sight.rules import POINTWISE
from jaxconv.equivariance._stretch import Step, Stretch


def others(tape: Tape, found: _pass.Finite, limit: float, blamed: set[int]) -> set[int]:
    """Rows after the guilty ones that would break the law by themselves.

    What they read is wrong already, so the search does not reach them. One of each kind is run on
    ideally moved inputs: does it commute with whole-pixel moves of what it reads?
    """
    if not blamed:
        return set()
    asked = [
        k
        for k, row in enumerate(tape.rows)
        if k not in blamed
        and not _step(tape, k).affine
        and any(v in found.gaps and not found.gaps[v].obeys(limit) for v in row.outputs)
        and all(np.isfinite(found.gaps[v].eps_inf) for v in row.inputs if v in found.gaps)
        and _closed(row, tape.laws)
        and not _pointwise(tape, row)
    ]
    errors: dict[Any, Any] = {}
    for k in asked:
        kind = _kind(tape, tape.rows[k])
        if kind not in errors:
            errors[kind] = _alone(tape, found.first, k)
    return {k for k in asked if not float(errors[_kind(tape, tape.rows[k])]) <= limit}


def _step(tape: Tape, k: int) -> Step:
    piece = _pass.piece_of(tape, k)
    return piece.stretch.steps[k - piece.start]


def _alone(tape: Tape, first: _pass.Arrays, k: int) -> Any:
    """eps_inf of a row on ideally moved inputs: whether it commutes with whole-pixel moves.

    What it reads moves by the audited shift times its pitch.
    """
    piece, step = _pass.piece_of(tape, k), _step(tape, k)
    own = _own_shift(tape.rows[k], tape.laws, tape.shift)
    turned = tuple(
        (slot, _laws.turns(tape.laws[value], own))
        for slot, value in enumerate(piece.values)
        if slot in (*step.inputs, *step.outputs) and value in tape.laws
    )
    known = _pass.known(tape, piece, first)
    return _error_alone(piece.stretch, k - piece.start, turned, known)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _error_alone(
    stretch: Stretch, number: int, turned: tuple[tuple[int, tuple[Turn, ...]], ...], known: Any
) -> Any:
    """The largest eps_inf of what a step makes; what it reads comes from what is known."""
    values, turns = _pass.replay(stretch, known), dict(turned)
    step = stretch.steps[number]
    inputs = [_laws.moved(values[slot], turns.get(slot, ()))[0] for slot in step.inputs]
    errors = []
    for slot, z in zip(step.outputs, step.recipe(inputs), strict=True):
        if slot in turns:
            y = values[slot]
            expected, where = _laws.moved(y, turns[slot])
            gap = _errors.most(jnp.where(where, _errors.gap(expected, z), 0))
            errors.append(gap / _errors.scale_of(y, _errors.Frame((), ())).largest)
    return functools.reduce(jnp.maximum, [error.astype(float) for error in errors])


def _own_shift(row: Row, laws: dict[Value, Law], shift: Sequence[float]) -> list[int]:
    """The input's shift that moves everything a row reads by whole pixels."""
    own = []
    for a, t in enumerate(shift):
        moves = [laws[v].moves[a] for v in row.inputs if v in laws]
        pitch = math.lcm(*((1 / move.ratio).numerator for move in moves if move is not None), 1)
        own.append(int(t) * pitch)
    return own


def _closed(row: Row, laws: dict[Value, Law]) -> bool:
    """Whether everything a row reads is a whole circle, so that it can be moved ideally."""
    moves = [move for v in row.inputs if v in laws for move in laws[v].moves if move]
    return all(move.period.denominator == 1 and move.count >= move.period for move in moves)


def _kind(tape: Tape, row: Row) -> Any:
    """The same for rows that do the same to values that move alike; one stands for all."""
    moves = [tape.laws[v].motion() for v in (*row.inputs, *row.outputs) if v in tape.laws]
    return row.recipe, str(moves)


_RELABELS = ("reshape", "transpose", "squeeze", "broadcast_in_dim", "expand_dims")


def _pointwise(tape: Tape, row: Row) -> bool:
    """Whether a row acts on every entry alike, which commutes with all moves of whole pixels."""
    for equation in (tape.program.equations[i] for i in row.equations):
        output = equation.outputs[0]
        if equation.primitive in _RELABELS:
            if _circles(tape.laws, equation.inputs[0]) != _circles(tape.laws, output):
                return False
        elif equation.primitive not in POINTWISE or not all(
            _alike(value, output, tape.laws) for value in equation.inputs
        ):
            return False
    return True


def _circles(laws: dict[Value, Law], value: Value) -> list[Any] | None:
    """What moves in a value, whatever axes that is kept on."""
    return (
        [m and (m.count, m.ratio, m.period) for m in laws[value].moves] if value in laws else None
    )


def _alike(value: Value, output: Value, laws: dict[Value, Law]) -> bool:
    """Whether an operand moves as the output does, or is the same everywhere along its axes."""
    if value in laws and laws[value].moving:
        return laws[value].motion() == laws[output].motion()
    if len(value.shape) != len(output.shape):
        return not value.shape
    return all(value.shape[axis] == 1 for axis in _laws.axes_of(laws[output]))
