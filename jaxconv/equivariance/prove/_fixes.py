"""What mending one operation would buy: the proof again, with that operation assumed mended.

A border is mended by making it circular. A stride of s is mended by adaptive sampling: the
operation is run on x shifted by 0, 1, .. s - 1 of the shifts that its input obeys, one branch for
each phase that a sampler may choose, and a law holds if a shift of x maps branch to branch. That
is exact off ties. Anti-aliasing approaches the same law: it idealizes the sampled map to move by
fractions of a pixel, as after a perfect low-pass filter, and what follows to move with it, which
nonlinearities do only approximately.

References:
    Zhang 2019, arXiv:1904.11486, section 3 (blur, then sample).
    Chaman and Dokmanic 2021, arXiv:2011.14214, section 4 (choose the phase).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxconv.equivariance.prove._arrays import Labels, Value
from jaxconv.equivariance.prove._fork import Branches, law_of
from jaxconv.equivariance.prove._hash import U, name_of
from jaxconv.equivariance.prove._interpret import ahead
from jaxconv.equivariance.prove._laws import UNPROVED, Law, coarsened
from jaxconv.equivariance.prove._limits import Limit, whole
from jaxconv.equivariance.prove._program import Program
from jaxconv.equivariance.prove._rows import Row
from jaxconv.equivariance.prove._table import Context, Repair

MOST_PHASES = 64
"""Branches that one repair may try."""
IDEALIZED = {
    "circular": "",
    "adaptive": "off ties",
    "blurred": "as the low-pass filter becomes ideal, and if what follows moves by fractions of a "
    "pixel as by whole ones",
}


@dataclass(frozen=True)
class Fix:
    """A repair of one operation, or of several that only help together, and what it buys.

    Attributes:
        repair: "circular" borders, "adaptive" sampling, or a "blurred" stride.
        operations: the calls that it mends, with their lines.
        laws: what is proved then, per output and shifted axis.
        borders: whether all borders are taken to be circular too, without which it buys nothing.
        idealized: what the repair assumes beyond what is proved.
        shifts: how many of all shifts every output obeys then.
        gain: how many times as many as without it.
    """

    repair: str
    operations: tuple[str, ...]
    laws: tuple[tuple[Law, ...], ...]
    borders: bool
    idealized: str
    shifts: int
    gain: float


class Link(NamedTuple):
    """Operations that sample together, and those that put the samples back.

    Attributes:
        rows: the operations, which sample one phase.
        steps: per shifted axis, the finest shifts before and after them.
        back: operations of finer output that put it on the pixels that were sampled.
    """

    rows: Sequence[Row]
    steps: Sequence[tuple[int, int]]
    back: Sequence[Row] = ()


def shifts_of(laws: Sequence[Sequence[Law]], sizes: Sequence[int]) -> int:
    """How many circular shifts all outputs obey exactly."""
    axes = [math.lcm(*[whole(row[axis], n) for row in laws]) for axis, n in enumerate(sizes)]
    return math.prod(n // p for n, p in zip(sizes, axes, strict=True))


def fixes(
    program: Program,
    rows: Sequence[Row],
    laws: Sequence[Sequence[Law]],
    circular: Sequence[tuple[Law, ...]],
    limits: Sequence[Limit],
    values: Sequence[Sequence[Value]],
) -> tuple[Fix, ...]:
    """All repairs of single operations that buy something, the most helpful first.

    `values` are the outputs of the runs that gave `laws` and `circular`.
    """
    found = []
    broken = [row for row in rows if charged(row, limits, "border")]
    everywhere = len(broken) > 1 and _better(circular, laws, program.sizes)
    if everywhere:
        found.append(_fix("circular", program, broken, circular, laws))
    for row in broken if _any_helps(program, broken, laws) else ():
        mended = laws_with(program, [row])
        if _better(mended, laws, program.sizes):
            found.append(_fix("circular", program, [row], mended, laws))
    exact = all(law.exact for row in laws for law in row)
    base = laws if exact else circular
    for steps, group in strided(rows, limits).items():
        mended = _adaptive(program, group, steps, values[0 if exact else 1], periodic=not exact)
        if mended is not None and _better(mended, base, program.sizes):
            for repair in ("adaptive", "blurred"):
                found.append(_fix(repair, program, group, mended, base, borders=not exact))
    return tuple(sorted(found, key=lambda fix: (-fix.shifts, fix.borders, _halos(fix.laws))))


def cost(
    program: Program,
    rows: Sequence[Row],
    laws: Sequence[Sequence[Law]],
    limits: Sequence[Limit],
) -> int:
    """How many runs `fixes` takes, unless more than one border has to be mended."""
    borders = sum(charged(row, limits, "border") for row in rows)
    borders = borders if math.isfinite(_halos(laws)) else min(borders, 2)
    phases = [
        math.prod(step.after // step.before for step in steps if step)
        for steps, group in strided(rows, limits).items()
        if not _all_through(program, _repair(group))
    ]
    return borders + sum(n for n in phases if n <= MOST_PHASES)


def _any_helps(program: Program, broken: Sequence[Row], laws: Sequence[Sequence[Law]]) -> bool:
    """Whether a single border may be worth mending.

    To mend one is no better than to mend all but one other: where that does not help, neither
    with one left nor with another, no single repair does.
    """
    if len(broken) < 3 or math.isfinite(_halos(laws)):
        return True
    rest = ([row for row in broken if row is not left] for left in broken[:2])
    return any(_better(laws_with(program, rows), laws, program.sizes) for rows in rest)


def charged(row: Row, limits: Sequence[Limit], level: str) -> bool:
    return any(limit.level == level and limit.order in row.orders for limit in limits)


def strided(
    rows: Sequence[Row], limits: Sequence[Limit]
) -> dict[tuple[Limit | None, ...], list[Row]]:
    """Rows with a stride by what it costs per axis: equal ones are branches that meet again."""
    groups: dict[tuple, tuple[tuple[Limit | None, ...], list[Row]]] = {}
    axes = range(1 + max([limit.axis for limit in limits], default=0))
    for row in rows:
        mine = [limit for limit in limits if limit.level == "stride" and limit.order in row.orders]
        mine = [limit for limit in mine if limit.after % limit.before == 0]
        steps = tuple(next((m for m in mine if m.axis == axis), None) for axis in axes)
        if any(steps) and all(m.cause != "operation" and "position" not in m.cause for m in mine):
            key = tuple(step and (step.before, step.after) for step in steps)
            groups.setdefault(key, (steps, []))[1].append(row)
    return dict(groups.values())


def _adaptive(
    program: Program,
    group: Sequence[Row],
    steps: Sequence[Limit | None],
    values: Sequence[Value],
    *,
    periodic: bool,
) -> list[tuple[Law, ...]] | None:
    """Laws if the operations of a group sampled a phase that moves with x, all the same one."""
    pairs = [(s.before, s.after) if s else (1, 1) for s in steps]
    pairs += [(1, 1)] * (len(program.sizes) - len(pairs))
    return sampled(program, [Link(group, pairs)], values, periodic=periodic)


def sampled(
    program: Program, links: Sequence[Link], values: Sequence[Value], *, periodic: bool
) -> list[tuple[Law, ...]] | None:
    """Laws if the operations of every link sampled a phase that moves with x.

    Every link begins with the shifts that the link before it leaves: together they choose one
    phase. None where there are too many phases, or no shift is left to choose.
    """
    begin, end = links[0].steps, links[-1].steps
    if any(after == size for (_, after), size in zip(end, program.sizes, strict=True)):
        return None
    spans = [range(0, last[1], first[0]) for first, last in zip(begin, end, strict=True)]
    phases = list(itertools.product(*spans))
    back = any(link.back for link in links)
    through = not back and all(_all_through(program, _repair(link.rows)) for link in links)
    if not 1 < len(phases) <= MOST_PHASES * (16 if through else 4 if back else 1):
        return None
    children = []
    for shifts in phases:
        if through:  # all that the outputs know of x is what it was after the shift
            outputs = [ahead(value, shifts) for value in values]
        else:
            repairs = tuple(repair for link in links for repair in _parts(link, shifts))
            context = Context(program.sizes, periodic=periodic, repairs=repairs)
            outputs = program.run(context).outputs
        children.append(Branches(outputs=outputs))
    code = np.zeros((2 + 2 * len(end), len(phases)), U)
    code[:2] = name_of("phase")[:, None]
    for axis, (_, after) in enumerate(end):
        code[2 + axis] = [-shifts[axis] % after for shifts in phases]
        code[2 + len(end) + axis] = after
    tree = Branches(None, Labels((len(phases),), ("E",), code), tuple(children))
    return [
        tuple(
            coarsened(law_of(tree, output, axis, size) or UNPROVED, program.finest[axis])
            for axis, size in enumerate(program.sizes)
        )
        for output in range(len(program.paths))
    ]


def _parts(link: Link, shifts: Sequence[int]) -> list[Repair]:
    """The share of a phase that one link chooses, and the way back."""
    own = [
        s % after // before * before for s, (before, after) in zip(shifts, link.steps, strict=True)
    ]
    found = [_repair(link.rows, shifts=tuple(own))]
    for row in link.back:
        pairs = zip(row.circular or row.laws, own, link.steps, strict=True)
        rolls = tuple((law.axis, -s // before) for law, s, (before, _) in pairs if law.axis)
        found.append(Repair(frozenset({id(row.equations[-1])}), frozenset(), rolls=rolls))
    return found


def _repair(rows: Sequence[Row], *, circular: bool = False, shifts: tuple = ()) -> Repair:
    equations = [equation for row in rows for equation in row.equations]
    inner = frozenset(id(slot) for equation in equations for slot in equation.outputs)
    return Repair(frozenset(map(id, equations)), inner, circular, shifts)


def _all_through(program: Program, repair: Repair) -> bool:
    """Whether the outputs see x through the equations of a repair alone, and through each once."""
    body = program.program
    fresh = {id(value) for value in body.inputs[len(program.weights) :]}
    past: set[int] = set()
    for equation in body.equations:
        read, made = ({id(v) for v in values} for values in (equation.inputs, equation.outputs))
        if id(equation) in repair.equations:
            if (read - repair.inner) & past:
                return False
            past |= made
            continue
        past |= made if read & past else set()
        fresh |= made if read & fresh else set()
    return not any(id(value) in fresh for value in body.outputs)


def laws_with(program: Program, rows: Sequence[Row]) -> list[tuple[Law, ...]]:
    """Laws of the outputs with the borders of `rows` circular."""
    context = Context(program.sizes, repairs=(_repair(rows, circular=True),))
    return [program.laws(value) for value in program.run(context).outputs]


def _better(
    mended: Sequence[Sequence[Law]], base: Sequence[Sequence[Law]], sizes: Sequence[int]
) -> bool:
    key = lambda laws: (shifts_of(laws, sizes), -_halos(laws))
    return key(mended) > key(base)


def _halos(laws: Sequence[Sequence[Law]]) -> float:
    """Input pixels that borders cost in all; infinite where nothing is proved."""
    return sum(
        sum(law.halo) * abs(law.shift / (law.roll or 1))
        if law.exact or law.kind == "interior"
        else math.inf
        for row in laws
        for law in row
    )


def _fix(
    repair: str,
    program: Program,
    group: Sequence[Row],
    laws: Sequence[tuple[Law, ...]],
    base: Sequence[Sequence[Law]],
    *,
    borders: bool = False,
) -> Fix:
    shifts = shifts_of(laws, program.sizes)
    return Fix(
        repair,
        tuple(row.name for row in group),
        tuple(laws),
        borders,
        IDEALIZED[repair],
        shifts,
        shifts / shifts_of(base, program.sizes),
    )
