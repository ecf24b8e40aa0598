"""Runs a program on an input and on the shifted input at once, and compares value by value.

Both runs advance operation by operation inside one compiled program, so no activation outlives
its readers. Beside them run the tangent along the shift and, on request, a reverse pass that says
what each operation contributes to the Lie derivative of the outputs.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _laws
from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law

Arrays = dict[Value, jax.Array]


class Gap(NamedTuple):
    """How far a value is from where it should be.

    eps_inf and eps_2 as in `LeafError`; border: share of the squared error at entries that see
    beyond the input's edges; compared: whether anything could be.
    """

    eps_inf: jax.Array
    eps_2: jax.Array
    border: jax.Array
    compared: jax.Array


def held(program: Program) -> dict[Value, Any]:
    """Constants large enough to be arguments of the compiled program."""
    found = {}
    for equation in program.equations:
        for value in equation.inputs:
            if value.constant is not None and np.size(value.constant) > 64:
                found[value] = value.constant
    return found


def evaluate(equation: Equation, arrays: Arrays) -> list[jax.Array]:
    """The results of one operation."""
    made = equation.bind(*(read(value, arrays) for value in equation.inputs))
    return list(made) if isinstance(made, (list, tuple)) else [made]


def read(value: Value, arrays: Arrays) -> Any:
    """An array that was computed, or a constant."""
    if value in arrays:
        return arrays[value]
    constant = value.constant
    return constant if hasattr(constant, "dtype") else jnp.asarray(constant, value.dtype)


def gap_of(y: jax.Array, z: jax.Array, law: Law, shift: Sequence[float]) -> Gap:
    """Compares a value of the shifted run (z) with the shifted value of the other (y)."""
    expected, known = _laws.moved(y, law, shift)
    clean = _laws.clean_mask(y.shape, law, shift)
    axes = tuple(sorted({move.axis for move in law.moves if move}))
    frame = _errors.Frame(axes, ())
    scale = _errors.scale_of(y, frame)
    difference = jnp.where(known, _errors.gap(expected, z), 0)
    squares = difference**2
    total = jnp.sum(squares)
    outside = jnp.sum(jnp.where(clean, 0, squares))
    share = jnp.where(total > 0, outside / jnp.where(total > 0, total, 1), 0)
    return Gap(
        difference.max(initial=0.0) / scale.largest,
        jnp.sqrt(total) / scale.contrast,
        share,
        known.any(),
    )


def error_map(y: jax.Array, z: jax.Array, law: Law, shift: Sequence[float]) -> jax.Array | None:
    """Largest difference over everything but the moved axes, relative to the largest value."""
    axes = [move.axis for move in law.moves if move and move.inner == 1]
    if not axes or len(set(axes)) != len(axes) or axes != sorted(axes):
        return None
    expected, known = _laws.moved(y, law, shift)
    difference = jnp.where(known, _errors.gap(expected, z), 0)
    others = tuple(a for a in range(y.ndim) if a not in axes)
    largest = _errors.scale_of(y, _errors.Frame((), ())).largest
    return difference.max(axis=others) / largest


def finite_pass(
    program: Program,
    laws: dict[Value, Law],
    shift: Sequence[float],
    mapped: Sequence[Value] = (),
) -> Callable[..., Any]:
    """(held constants, leaves, shifted leaves) -> gaps of `ordered` values, maps of `mapped`."""
    keys, wanted = list(held(program)), set(mapped)

    def run(constants, leaves, moved):
        one: Arrays = dict(zip(keys, constants, strict=True))
        two: Arrays = dict(one)
        one.update(zip(program.inputs, leaves, strict=True))
        two.update(zip(program.inputs, moved, strict=True))
        gaps, maps = [], {}
        for equation in program.equations:
            made = evaluate(equation, one)
            moving = any(value in laws for value in equation.outputs)
            other = evaluate(equation, two) if moving else made
            one.update(zip(equation.outputs, made, strict=True))
            two.update(zip(equation.outputs, other, strict=True))
            for value, y, z in zip(equation.outputs, made, other, strict=True):
                if value in laws:
                    gaps.append(gap_of(y, z, laws[value], shift))
                if value in wanted:
                    maps[value] = error_map(y, z, laws[value], shift)
        return gaps, [maps[value] for value in mapped]

    return run


def ordered(program: Program, laws: dict[Value, Law]) -> list[Value]:
    """Values made by operations that a gap is measured for, in the order of evaluation."""
    return [v for equation in program.equations for v in equation.outputs if v in laws]


def local_pass(
    program: Program, laws: dict[Value, Law], shift: Sequence[float], asked: Sequence[int]
) -> Callable[..., Any]:
    """(constants, leaves) -> eps_inf of the asked operations, each on ideally moved inputs.

    Whether an operation, alone, commutes with whole-pixel moves of what it reads: its inputs move
    by `shift` times their pitch. Asked may be operations whose inputs' circles close (`closed`).
    """
    keys, wanted = list(held(program)), set(asked)

    def run(constants, leaves):
        arrays: Arrays = dict(zip(keys, constants, strict=True))
        arrays.update(zip(program.inputs, leaves, strict=True))
        errors = {}
        for k, equation in enumerate(program.equations):
            made = evaluate(equation, arrays)
            if k in wanted:
                own = _own_shift(equation, laws, shift)
                ideal = dict(arrays)
                for v in equation.inputs:
                    if v in laws:
                        ideal[v] = _laws.moved(arrays[v], laws[v], own)[0]
                other = evaluate(equation, ideal)
                gaps = [
                    gap_of(y, z, laws[v], own).eps_inf
                    for v, y, z in zip(equation.outputs, made, other, strict=True)
                    if v in laws
                ]
                errors[k] = jnp.stack([gap.astype(jnp.float32) for gap in gaps]).max()
            arrays.update(zip(equation.outputs, made, strict=True))
        return [errors[k] for k in asked]

    return run


def _own_shift(equation: Equation, laws: dict[Value, Law], shift: Sequence[float]) -> list[int]:
    """The input's shift that moves everything an operation reads by whole pixels."""
    own = []
    for a, t in enumerate(shift):
        moves = [laws[v].moves[a] for v in equation.inputs if v in laws]
        pitch = math.lcm(*((1 / move.ratio).numerator for move in moves if move is not None), 1)
        own.append(int(t) * pitch)
    return own


def closed(equation: Equation, laws: dict[Value, Law]) -> bool:
    """Whether everything an operation reads is a whole circle, so that it can be moved ideally."""
    moves = [move for v in equation.inputs if v in laws for move in laws[v].moves if move]
    return all(move.period.denominator == 1 and move.count >= move.period for move in moves)


def patched_pass(
    program: Program, laws: dict[Value, Law], shift: Sequence[float], patches: Sequence[Value]
) -> Callable[..., Any]:
    """(constants, leaves, shifted leaves, which) -> gaps of the outputs, one value made ideal."""
    keys, numbers = list(held(program)), {value: i for i, value in enumerate(patches)}

    def run(constants, leaves, moved, which):
        one: Arrays = dict(zip(keys, constants, strict=True))
        two: Arrays = dict(one)
        one.update(zip(program.inputs, leaves, strict=True))
        two.update(zip(program.inputs, moved, strict=True))
        for equation in program.equations:
            made = evaluate(equation, one)
            moving = any(value in laws for value in equation.outputs)
            other = evaluate(equation, two) if moving else made
            for i, value in enumerate(equation.outputs):
                if value in numbers:
                    ideal, known = _laws.moved(made[i], laws[value], shift)
                    other[i] = jnp.where(known & (which == numbers[value]), ideal, other[i])
            one.update(zip(equation.outputs, made, strict=True))
            two.update(zip(equation.outputs, other, strict=True))
        return [
            gap_of(read(v, one), read(v, two), laws[v], shift) for v in program.outputs if v in laws
        ]

    return run
