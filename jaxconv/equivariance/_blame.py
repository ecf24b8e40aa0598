"""Walks back from outputs that are wrong to the rows where it began."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _fold, _laws, _pass
from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law, Turn
from jaxconv.equivariance._pass import Arrays, Tape


def guilty(
    tape: Tape,
    found: _pass.Finite,
    moved: Sequence[Any],
    limit: float,
) -> set[int]:
    """Rows that make a wrong value of right ones, and that wrong outputs descend from.

    A value is right when it obeys its law, or when it does up to a roll by whole pixels that each
    sample chooses for itself: adaptive sampling picks another phase, and what follows may undo
    that (a mean over all pixels). The search goes back from outputs, through wrong values only,
    so a value that is wrong by itself but harms nothing is never accused. When every value is
    right up to such a roll, and only the output is wrong, the first row that rolled is guilty.
    """
    wrong = {value for value, gap in found.gaps.items() if not gap.obeys(limit)}
    ends = [value for value in tape.program.outputs if value in wrong]
    if not ends:
        return set()
    rolled = _rolled(tape, found.first, moved, wrong, limit)
    blamed = _search(tape, wrong - rolled, [v for v in ends if v not in rolled])
    if any(value in rolled for value in ends):
        blamed |= _search(tape, wrong, [v for v in ends if v in rolled])
    return blamed


def within(
    tape: Tape,
    found: _pass.Finite,
    moved: Sequence[Any],
    limit: float,
    blamed: set[int],
) -> dict[int, Equation]:
    """The operation inside each guilty row that is at fault, by running the row's one by one."""
    heads: dict[int, Equation] = {}
    many = [k for k in blamed if len(tape.rows[k].equations) > 1]
    second = _pass.patched(tape, moved) if many else {}
    for k in many:
        row = tape.rows[k]
        equations = tuple(tape.program.equations[i] for i in row.equations)
        inside = Program(row.inputs, row.outputs, equations)
        rows = _fold.singles(inside, tape.laws)
        part = _pass.lay(inside, tape.laws, rows, tape.shift, tape.still)
        one = _pass.gather(tape, row.inputs, _pass.recall(tape, found.first, k))
        seen = _pass.finite(part, one, _pass.gather(tape, row.inputs, second))
        wrong = {value for value, gap in seen.gaps.items() if not gap.obeys(limit)}
        at = _search(part, wrong, [value for value in row.outputs if value in wrong])
        heads.update((k, equations[part.rows[i].equations[0]]) for i in sorted(at)[:1])
    return heads


def _search(tape: Tape, wrong: set[Value], ends: list[Value]) -> set[int]:
    makers = {v: k for k, row in enumerate(tape.rows) for v in row.outputs}
    found, seen, waiting = set(), set(), list(ends)
    while waiting:
        value = waiting.pop()
        if value in seen or value not in makers:
            continue
        seen.add(value)
        causes = [v for v in tape.rows[makers[value]].inputs if v in wrong]
        if causes:
            waiting.extend(causes)
        else:
            found.add(_opener(tape, makers, makers[value]))
    return found


def _opener(tape: Tape, makers: dict[Value, int], k: int) -> int:
    """The row that cut the circle open which row k takes for whole, else k itself.

    A convolution without padding, or a crop, is right wherever it can be compared; the mean or
    the wrap padding that follows is not. What is at fault is the cut.
    """
    laws, at = tape.laws, k
    while True:
        moving = [v for v in tape.rows[at].inputs if v in laws and laws[v].moving]
        cut = [v for v in moving if any(m and m.count < m.period for m in laws[v].moves)]
        if not moving or len(cut) < len(moving):
            return at
        source = next((makers[v] for v in cut if v in makers), None)
        if source is None:
            return at
        at = source


def _rolled(
    tape: Tape, first: Arrays, moved: Sequence[Any], wrong: set[Value], limit: float
) -> set[Value]:
    """The wrong values that are right up to a roll by whole pixels, chosen per sample.

    Only programs that look something up by an index computed from the input can hold any.
    """
    if not any(_adaptive(equation, tape.laws) for equation in tape.program.equations):
        return set()
    second, batch, found = _pass.patched(tape, moved), moved[0].shape[0], set()
    for piece in tape.pieces:
        made = [v for v in piece.at(piece.stretch.compared) if v in wrong and tape.laws[v].moving]
        values = _pass.recall(tape, first, piece.start) if made else {}
        pairs = {v: (values[v], second[v], tape.laws[v]) for v in made}
        found |= {v for v, pair in pairs.items() if _best_roll(*pair, tape.shift, batch) <= limit}
    return found


def _adaptive(equation: Equation, laws: dict[Value, Law]) -> bool:
    """Whether an operation looks up at an index that depends on the input, or selects by one."""
    if equation.primitive in ("gather", "dynamic_slice", "dynamic_update_slice"):
        return any(value in laws for value in equation.inputs[1:])
    return equation.primitive in ("argmax", "argmin", "top_k", "sort")


def _best_roll(y: Any, z: Any, law: Law, shift: Sequence[float], batch: int) -> float:
    """eps_inf after the best roll of each sample by one whole pixel or none along each axis."""
    turned = _laws.turns(law, [t or 1 for t in shift])
    per_sample = y.shape[0] == batch and all(turn.axis != 0 for turn in turned)
    here = [
        int(np.floor(float(move.ratio) * t))
        for move, t in zip(law.moves, shift, strict=True)
        if move is not None
    ]
    steps = [[n + d for d in (-1, 0, 1, 2)] for n in here]
    rolls = np.array(np.meshgrid(*steps)).reshape(len(steps), -1).T
    return float(_roll_error(y, z, rolls, turned, per_sample))


@functools.partial(jax.jit, static_argnums=(3, 4))
def _roll_error(y: Any, z: Any, rolls: Any, turned: tuple[Turn, ...], per_sample: Any) -> Any:
    largest = _errors.scale_of(y, _errors.Frame((), ())).largest

    def error(amounts):
        expected, known = _laws.rolled(y, turned, amounts)
        gap = jnp.where(known, _errors.gap(expected, z), 0) / largest
        return gap.max(axis=tuple(range(1 if per_sample else 0, y.ndim)))

    return jax.lax.map(error, rolls).min(axis=0).max()
