"""The table of a proof: one row per call of the user's, with the laws of what it made."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance._fold import HEAVY
from jaxconv.equivariance._receptive_field import ReceptiveField, sights
from jaxconv.equivariance._sight.walk import Walk
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._limits import Seen, spoken
from jaxconv.equivariance.prove._program import Program

QUIET = {
    "broadcast_in_dim",
    "concatenate",
    "convert_element_type",
    "copy",
    "gather",
    "pad",
    "reshape",
    "select_n",
    "slice",
    "squeeze",
    "transpose",
}
"""Operations that do not name a call where another one can."""


@dataclass(frozen=True)
class Row:
    """One call: a module, or a library function, or a line of the user's.

    Attributes:
        operation: what names it, in the words of the jaxpr.
        layer: path of named scopes, "" outside of any.
        source: the user's line, or None.
        shape: of what it made.
        laws: of what it made, per shifted axis.
        extents: size of the axis that each law speaks of.
        entered: the same of what it reads first, if all borders so far were circular.
        circular: the laws if all borders so far were circular.
        fields: the receptive field per shifted axis; () where it is unknown.
        changed: whether less, or more, holds after it than before.
        orders: positions of its equations in the program.
        equations: its equations.
    """

    operation: str
    layer: str
    source: _jaxpr.Source | None
    shape: tuple[int, ...]
    laws: tuple[Law, ...]
    extents: tuple[int, ...]
    entered: tuple[int, ...]
    circular: tuple[Law, ...]
    fields: tuple[ReceptiveField, ...]
    changed: bool
    orders: tuple[int, ...]
    equations: tuple[_jaxpr.Equation, ...]

    @property
    def name(self) -> str:
        """The layer, or the operation outside of any, and the line."""
        return (self.layer or spoken(self.operation)) + (
            f" at {self.source}" if self.source else ""
        )


def rows(seen: Sequence[Seen], circular: Sequence[Seen], walks: Sequence[Walk]) -> tuple[Row, ...]:
    """Neighboring steps of one scope and line, with the laws of the last value that they made."""
    runs: list[list[int]] = []
    for number, step in enumerate(seen):
        if runs and _belongs(seen, runs[-1], step):
            runs[-1].append(number)
        else:
            runs.append([number])
    aligned = len(seen) == len(circular)
    return tuple(
        _row([seen[i] for i in run], [circular[i] for i in run] if aligned else [], walks)
        for run in runs
    )


def _belongs(seen: Sequence[Seen], run: Sequence[int], step: Seen) -> bool:
    last, new = seen[run[-1]].equation, step.equation
    if last is new:
        return True
    if (last.scope, last.source) != (new.scope, new.source) or not (last.source or last.scope):
        return False
    heavy = any(seen[i].equation.primitive in HEAVY for i in run)
    return not (heavy and new.primitive in HEAVY)


def _row(run: Sequence[Seen], circular: Sequence[Seen], walks: Sequence[Walk]) -> Row:
    last, names = run[-1], [step.equation.primitive for step in run]
    loud = [name for name in names if name not in QUIET]
    name = next((n for n in names if n in HEAVY and n not in QUIET), (loud or names)[-1])
    fields = tuple(walk.field(last.slot) for walk in walks if last.slot in walk.sights)
    return Row(
        name,
        "/".join(last.equation.scope),
        last.equation.source,
        last.slot.shape,
        last.after.laws,
        last.after.extents,
        _entered(circular or run),
        circular[-1].after.laws if circular else (),
        fields if len(fields) == len(walks) else (),
        _changes(run) or _changes(circular),
        tuple(step.order for step in run),
        tuple({id(step.equation): step.equation for step in run}.values()),
    )


def _changes(run: Sequence[Seen]) -> bool:
    """Whether the last value obeys other shifts than anything that came from outside."""
    if not run:
        return False
    made = {id(step.after) for step in run}
    inherited = {id(trail) for step in run for trail in step.before if step.after is trail}
    outside = [t for s in run for t in s.before if id(t) not in made or id(t) in inherited]
    return all(_shifts(trail.laws) != _shifts(run[-1].after.laws) for trail in outside)


def _entered(run: Sequence[Seen]) -> tuple[int, ...]:
    """Sizes of the axes of the first value that moves and is read."""
    moving = (trail.extents for step in run for trail in step.before if trail.moves)
    return next(moving, ())


def _shifts(laws: Sequence[Law]) -> list[tuple]:
    return [(law.kind, law.shift if law.exact else 0) for law in laws]


def walks_of(program: Program) -> tuple[Walk, ...]:
    """What every value sees of each shifted axis; nothing for several inputs."""
    if len(program.inputs) != 1:
        return ()
    rank = len(program.inputs[0].shape)
    position = len(program.weights)
    return tuple(sights(program.program, position, axis % rank) for axis in program.axes)
