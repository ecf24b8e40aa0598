"""Walks back from outputs that are wrong to the operations where it began."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _laws, _pass
from jaxconv.equivariance._jaxpr import Program, Value
from jaxconv.equivariance._laws import Law


def guilty(
    program: Program, laws: dict[Value, Law], gaps: dict[Value, Any], limit: float, case: Any
) -> set[int]:
    """Operations that make a wrong value of right ones, and that wrong outputs descend from.

    A value is right when it obeys its law, or when it does up to a roll by whole pixels that each
    sample chooses for itself: adaptive sampling picks another phase, and what follows may undo
    that (a mean over all pixels). The search goes back from outputs, through wrong values only,
    so a value that is wrong by itself but harms nothing is never accused. When every value is
    right up to such a roll, and only the output is wrong, the first operation that rolled is
    guilty.
    """
    wrong = {value for value, gap in gaps.items() if not _right(gap, limit)}
    ends = [value for value in program.outputs if value in wrong]
    if not ends:
        return set()
    rolled = _rolled(program, laws, wrong, limit, case)
    found = _search(program, laws, wrong - rolled, [v for v in ends if v not in rolled])
    if any(value in rolled for value in ends):
        found |= _search(program, laws, wrong, [v for v in ends if v in rolled])
    return found


def others(
    program: Program,
    laws: dict[Value, Law],
    gaps: dict[Value, Any],
    limit: float,
    case: Any,
    found: set[int],
) -> set[int]:
    """Operations after the guilty ones that would break the law by themselves.

    What they read is wrong already, so the search does not reach them. Each is run on ideally
    moved inputs: does it commute with whole-pixel moves of what it reads?
    """
    asked = [
        k
        for k, equation in enumerate(program.equations)
        if k not in found
        and any(v in gaps and not _right(gaps[v], limit) for v in equation.outputs)
        and _pass.closed(equation, laws)
    ]
    if not found or not asked:
        return set()
    run = jax.jit(_pass.local_pass(program, laws, case.shift, asked))
    errors = run(case.constants, case.leaves)
    return {k for k, error in zip(asked, errors, strict=True) if not float(error) <= limit}


def _right(gap: Any, limit: float) -> bool:
    return not bool(gap.compared) or bool(gap.eps_inf <= limit)


def _search(
    program: Program, laws: dict[Value, Law], wrong: set[Value], ends: list[Value]
) -> set[int]:
    makers = {v: i for i, equation in enumerate(program.equations) for v in equation.outputs}
    found, seen, waiting = set(), set(), list(ends)
    while waiting:
        value = waiting.pop()
        if value in seen or value not in makers:
            continue
        seen.add(value)
        causes = [v for v in program.equations[makers[value]].inputs if v in wrong]
        if causes:
            waiting.extend(causes)
        else:
            found.add(_opener(program, laws, makers, makers[value]))
    return found


def _opener(program: Program, laws: dict[Value, Law], makers: dict[Value, int], k: int) -> int:
    """The operation that cut the circle open which operation k takes for whole, else k itself.

    A convolution without padding, or a crop, is right wherever it can be compared; the mean or
    the wrap padding that follows is not. What is at fault is the cut.
    """
    at = k
    while True:
        moving = [v for v in program.equations[at].inputs if v in laws and laws[v].moving]
        cut = [v for v in moving if any(m and m.count < m.period for m in laws[v].moves)]
        if not moving or len(cut) < len(moving):
            return at
        source = next((makers[v] for v in cut if v in makers), None)
        if source is None:
            return at
        at = source


def _rolled(
    program: Program, laws: dict[Value, Law], wrong: set[Value], limit: float, case: Any
) -> set[Value]:
    """The wrong values that are right up to a roll by whole pixels, chosen per sample.

    Only programs that look something up by an index computed from the input can hold any.
    """
    if not any(_adaptive(equation, laws) for equation in program.equations):
        return set()
    asked = [v for v in _pass.ordered(program, laws) if v in wrong and laws[v].moving]
    keys, batch = list(_pass.held(program)), case.leaves[0].shape[0]

    def run(constants, leaves, moved):
        runs = []
        for inputs in (leaves, moved):
            arrays = dict(zip(keys, constants, strict=True))
            arrays.update(zip(program.inputs, inputs, strict=True))
            for equation in program.equations:
                made = _pass.evaluate(equation, arrays)
                arrays.update(zip(equation.outputs, made, strict=True))
            runs.append(arrays)
        return [_best_roll(runs[0][v], runs[1][v], laws[v], case.shift, batch) for v in asked]

    errors = jax.jit(run)(case.constants, case.leaves, case.moved)
    return {v for v, error in zip(asked, errors, strict=True) if float(error) <= limit}


def _adaptive(equation: Any, laws: dict[Value, Law]) -> bool:
    """Whether an operation looks up at an index that depends on the input, or selects by one."""
    if equation.primitive in ("gather", "dynamic_slice", "dynamic_update_slice"):
        return any(value in laws for value in equation.inputs[1:])
    return equation.primitive in ("argmax", "argmin", "top_k", "sort")


def _best_roll(y: jax.Array, z: jax.Array, law: Law, shift: Any, batch: int) -> jax.Array:
    """eps_inf after the best roll of each sample by one whole pixel or none along each axis."""
    moves = [move for move in law.moves if move is not None]
    per_sample = y.shape[0] == batch and all(move.axis != 0 for move in moves)
    steps = [
        sorted({int(np.floor(float(m.ratio) * t)) + d for d in (-1, 0, 1, 2)})
        for m, t in zip(law.moves, shift, strict=True)
        if m is not None
    ]
    largest = _errors.scale_of(y, _errors.Frame((), ())).largest
    best = jnp.full(batch if per_sample else 1, jnp.inf)
    for amounts in np.array(np.meshgrid(*steps)).reshape(len(steps), -1).T:
        whole = [1 / move.ratio * int(n) for move, n in zip(moves, amounts, strict=True)]
        turned = iter(whole)
        rolls: Any = [next(turned) if move is not None else 0 for move in law.moves]
        expected, known = _laws.moved(y, law, rolls)
        gap = jnp.where(known, _errors.gap(expected, z), 0) / largest
        axes = tuple(range(1 if per_sample else 0, y.ndim))
        best = jnp.minimum(best, gap.max(axis=axes).astype(best.dtype).reshape(best.shape))
    return best.max()
