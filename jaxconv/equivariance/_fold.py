"""Folds the operations of a program into the calls that a user wrote."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law
from jaxconv.equivariance._recipe import Recipe, is_number

HEAVY = (
    "conv_general_dilated",
    "dot_general",
    "reduce_window_max",
    "reduce_window_sum",
    "reduce_window",
    "scan",
    "while",
    "gather",
)
"""Operations that name a call, and of which a call has one: the second begins another row."""

_QUIET = ("broadcast_in_dim", "reshape", "convert_element_type", "squeeze", "copy", "transpose")


class Row(NamedTuple):
    """A run of operations that belong to one call of the user's.

    Attributes:
        equations: indices of its operations.
        inputs: values that it reads, numbers in the program left out.
        outputs: values that it makes and that are read outside.
        output: the one of them that stands for it: the last that depends on the input.
        name: its operation, in the words of the jaxpr.
        recipe: from its inputs to its outputs.
    """

    equations: tuple[int, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    output: Value
    name: str
    recipe: Recipe


def calls(program: Program, laws: dict[Value, Law]) -> list[Row]:
    """Operations in the order of evaluation, neighbors of one scope and line in one row.

    Operations that do not depend on the input are in no row.
    """
    runs: list[list[int]] = []
    for i in _moving(program, laws):
        if runs and _belongs(program.equations, runs[-1], i):
            runs[-1].append(i)
        else:
            runs.append([i])
    return _rows(program, laws, runs)


def singles(program: Program, laws: dict[Value, Law]) -> list[Row]:
    """One row for every operation that depends on the input."""
    return _rows(program, laws, [[i] for i in _moving(program, laws)])


def _moving(program: Program, laws: dict[Value, Law]) -> list[int]:
    pairs = enumerate(program.equations)
    return [i for i, e in pairs if any(value in laws for value in e.outputs)]


def _belongs(equations: Sequence[Equation], run: Sequence[int], i: int) -> bool:
    last, new = equations[run[-1]], equations[i]
    if (last.scope, last.source) != (new.scope, new.source) or last.source is None:
        return False
    return not (new.primitive in HEAVY and any(equations[j].primitive in HEAVY for j in run))


def _rows(program: Program, laws: dict[Value, Law], runs: Sequence[Sequence[int]]) -> list[Row]:
    readers: dict[Value, int] = {}
    for i, equation in enumerate(program.equations):
        for value in equation.inputs:
            readers[value] = i
    for value in program.outputs:
        readers[value] = len(program.equations)
    return [_row(program, run, laws, readers) for run in runs]


def _row(
    program: Program, run: Sequence[int], laws: dict[Value, Law], readers: dict[Value, int]
) -> Row:
    equations = [program.equations[i] for i in run]
    made = [v for equation in equations for v in equation.outputs]
    read = dict.fromkeys(v for e in equations for v in e.inputs if not is_number(v))
    inputs = tuple(v for v in read if v not in set(made))
    moving = [v for v in made if v in laws]
    outputs = tuple(v for v in made if readers.get(v, -1) > run[-1]) or (moving[-1],)
    output = next((v for v in reversed(outputs) if v in laws), moving[-1])
    outputs = outputs if output in outputs else (*outputs, output)
    names = [equation.primitive for equation in equations]
    loud = [name for name in names if name not in _QUIET]
    name = next((n for n in names if n in HEAVY), (loud or names)[-1])
    recipe = Recipe(equations, inputs, outputs)
    return Row(tuple(run), inputs, outputs, output, name, recipe)
