"""Folds the operations of a program into the calls that a user wrote."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law

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


class Call(NamedTuple):
    """A run of operations that belong to one call of the user's.

    Attributes:
        equations: indices of its operations.
        output: the value that stands for it: the last that later operations read.
        name: its operation, in the words of the jaxpr.
    """

    equations: tuple[int, ...]
    output: Value
    name: str


def calls(program: Program, laws: dict[Value, Law]) -> list[Call]:
    """Operations in the order of evaluation, neighbors of one scope and line in one call.

    Operations that do not depend on the input make no call of their own.
    """
    runs: list[list[int]] = []
    for i, equation in enumerate(program.equations):
        if not any(value in laws for value in equation.outputs):
            continue
        if runs and _belongs(program.equations, runs[-1], i):
            runs[-1].append(i)
        else:
            runs.append([i])
    readers: dict[Value, int] = {}
    for i, equation in enumerate(program.equations):
        for value in equation.inputs:
            readers[value] = i
    for value in program.outputs:
        readers[value] = len(program.equations)
    return [_call(program, run, laws, readers) for run in runs]


def _belongs(equations: Sequence[Equation], run: Sequence[int], i: int) -> bool:
    last, new = equations[run[-1]], equations[i]
    if (last.scope, last.source) != (new.scope, new.source) or last.source is None:
        return False
    return not (new.primitive in HEAVY and any(equations[j].primitive in HEAVY for j in run))


def _call(
    program: Program, run: Sequence[int], laws: dict[Value, Law], readers: dict[Value, int]
) -> Call:
    made = [v for i in run for v in program.equations[i].outputs if v in laws]
    outside = [value for value in made if readers.get(value, -1) > run[-1]]
    names = [program.equations[i].primitive for i in run]
    loud = [name for name in names if name not in _QUIET]
    name = next((n for n in names if n in HEAVY), (loud or names)[-1])
    return Call(tuple(run), (outside or made)[-1], name)
