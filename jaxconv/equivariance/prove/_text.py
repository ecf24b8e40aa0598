"""Proofs in words: one sentence, the laws, what limits them, and a table of operations."""

import collections
import math
from collections.abc import Sequence
from dataclasses import replace

from jaxconv.equivariance._fold import HEAVY
from jaxconv.equivariance._receptive_field import ReceptiveField
from jaxconv.equivariance.prove._fixes import Fix
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._limits import Limit, spoken
from jaxconv.equivariance.prove._rows import Row

PADDING = "  "
LEGEND = (
    "p/q: moves by q when the input moves by p. inv p: unchanged by shifts of p. [a,b): rows where "
    "that is exact. field: input pixels that an output sees."
)
"""What the cells of the table mean."""
MOST_FIXES = 6
"""Repairs that a printed proof shows."""


def sentence(name: str, laws: Sequence[Law], axes: Sequence[int], sizes: Sequence[int]) -> str:
    """What is proved about an output, as a clause."""
    kinds = {law.kind for law in laws}
    verb = "are" if name.endswith("s") else "is"
    if kinds == {"invariant"}:
        return f"{name} {verb} invariant to {_multiples(laws, axes)} ({_count(laws, sizes)})"
    if kinds <= {"invariant", "equivariant"}:
        return f"{name} {verb} equivariant: {_moves(laws, axes)} ({_count(laws, sizes)})"
    if kinds == {"permuted"}:
        return (
            f"{name} {verb} equivariant up to a fixed permutation of its elements under "
            f"{_multiples(laws, axes)} ({_count(laws, sizes)})"
        )
    if kinds == {"unproved"}:
        return f"{name}: no shift law is proved"
    if kinds == {"interior"}:
        return f"{name} {verb} equivariant away from the border only: {_moves(laws, axes)}"
    return f"{name}: " + "; ".join(
        f"when axis {axis} shifts, {describe(law)}" for law, axis in zip(laws, axes, strict=True)
    )


def _multiples(laws: Sequence[Law], axes: Sequence[int]) -> str:
    shifts = {law.shift for law in laws}
    if len(shifts) == 1:
        p = shifts.pop()
        return "all circular shifts" if p == 1 else f"shifts by multiples of {p}"
    return "shifts by " + " and ".join(
        f"{_lattice(law.shift)} along axis {axis}" for law, axis in zip(laws, axes, strict=True)
    )


def _lattice(p: int) -> str:
    return "any amount" if p == 1 else f"multiples of {p}"


def _moves(laws: Sequence[Law], axes: Sequence[int]) -> str:
    parts = []
    for law, axis in zip(laws, axes, strict=True):
        if law.kind == "invariant":
            parts.append(f"unchanged by shifts by {_lattice(law.shift)} along axis {axis}")
        else:
            parts.append(
                f"input {law.shift} along axis {axis} moves output axis {law.axis} by {law.roll}"
                + (f" outside the halo {law.halo}" if law.kind == "interior" else "")
            )
    return "; ".join(parts)


def _count(laws: Sequence[Law], sizes: Sequence[int]) -> str:
    good = math.prod(size // law.shift for law, size in zip(laws, sizes, strict=True))
    ties = ", ties excluded" if any(law.off_ties for law in laws) else ""
    return f"{good:,} of {math.prod(sizes):,} shifts{ties}"


def describe(law: Law) -> str:
    """One law in words."""
    if law.off_ties and law.kind != "adaptive":
        return f"{describe(replace(law, off_ties=False))} (ties excluded)"
    p = law.shift
    if law.kind == "invariant":
        return f"invariant to shifts by {_lattice(p)}"
    if law.kind == "equivariant":
        return f"equivariant, input {p} to output {law.roll} along axis {law.axis}"
    if law.kind == "permuted":
        return f"equivariant up to a fixed permutation, shifts by multiples of {p}"
    if law.kind == "adaptive":
        return (
            f"equivariant up to a roll of axis {law.axis} by one of {list(law.rolls)} that "
            f"depends on x (ties excluded), shifts by multiples of {p}"
        )
    if law.kind == "interior":
        return (
            f"exact inside, input {p} to output {law.roll} along axis {law.axis}, "
            f"halo ({law.halo[0]}, {law.halo[1]})"
        )
    if law.kind == "partial":
        return f"{law.share:.0%} of the elements move to an element, shifts by multiples of {p}"
    return "not proved"


def cell(law: Law, extent: int) -> str:
    """One law in a few characters, for the table."""
    if law.kind == "invariant":
        return f"inv {law.shift}"
    if law.kind == "equivariant":
        return f"{law.shift}/{law.roll}"
    if law.kind == "permuted":
        return f"perm {law.shift}"
    if law.kind == "adaptive":
        return f"{law.shift}/{{{','.join(map(str, law.rolls))}}}"
    if law.kind == "interior":
        return f"{law.shift}/{law.roll} in [{law.halo[0]},{extent - law.halo[1]})"
    return f"{law.shift} for {law.share:.0%}" if law.kind == "partial" else "-"


def table(rows: Sequence[Row], axes: Sequence[int]) -> str:
    """Calls that changed a law, and all windows and contractions; equal axes share a column."""
    filled = columns(rows, axes)
    lines = [list(filled), *zip(*filled.values(), strict=True)]
    return f"{_grid(lines)}\n{LEGEND}" if filled else ""


def columns(rows: Sequence[Row], axes: Sequence[int]) -> dict[str, list[str]]:
    """The cells of the table by the titles of its columns; none where nothing is to be shown."""
    shown = [row for row in rows if row.changed or row.operation in HEAVY]
    found = {"operation": [spoken(r.operation) for r in shown]}
    found["layer"] = [r.layer for r in shown]
    found["line"] = [str(r.source or "") for r in shown]
    found["output"] = ["x".join(map(str, r.shape)) for r in shown]
    laws = [[cell(*pair) for pair in zip(r.laws, r.extents, strict=True)] for r in shown]
    circular = [[cell(*pair) for pair in zip(r.circular, r.extents, strict=False)] for r in shown]
    found |= _by_axis("", laws, axes)
    if circular != laws and all(circular):
        found |= _by_axis("circular ", circular, axes)
    if any(r.fields for r in shown):
        found |= _by_axis("field ", [[_size(f) for f in r.fields] for r in shown], axes)
    return {title: cells for title, cells in found.items() if any(cells)}


def _by_axis(title: str, cells: list[list[str]], axes: Sequence[int]) -> dict[str, list[str]]:
    """A column per axis, or one for all where they agree."""
    if all(len(set(row)) <= 1 for row in cells):
        name = "axis" if len(axes) == 1 else "axes"
        return {f"{title}{name} {', '.join(map(str, axes))}": [r[0] if r else "" for r in cells]}
    return {f"{title}axis {a}": [r[n] if r else "" for r in cells] for n, a in enumerate(axes)}


def _size(field: ReceptiveField) -> str:
    return str(field.size) if field.known else "?"


def _grid(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(PADDING.join(line).rstrip() for line in padded)


def limits(found: Sequence[Limit], axes: Sequence[int]) -> str:
    """What limits the laws, in program order, equal entries of several axes merged."""
    merged: dict[tuple, list[int]] = {}
    for limit in found:
        places = merged.setdefault((str(limit), limit.effect), [])
        if axes[limit.axis] not in places:
            places.append(axes[limit.axis])
    several = len(axes) > 1
    return "\n".join(
        f"{PADDING}{text}: {effect}"
        + (f" (axis {', '.join(map(str, places))})" if several and len(places) < len(axes) else "")
        for (text, effect), places in merged.items()
    )


def fixes(found: Sequence[Fix], axes: Sequence[int], sizes: Sequence[int]) -> str:
    """Repairs, the most helpful first; sampling adaptively and blurring share a line."""
    merged: dict[tuple, list[Fix]] = {}
    for fix in found:
        merged.setdefault((fix.operations, fix.laws, fix.borders), []).append(fix)
    lines = [_fix(group, axes, sizes) for group in merged.values()]
    more = len(lines) - MOST_FIXES
    return "\n".join(lines[:MOST_FIXES] + ([f"{PADDING}and {more} more"] if more > 0 else []))


def _fix(group: Sequence[Fix], axes: Sequence[int], sizes: Sequence[int]) -> str:
    first = group[0]
    counts = collections.Counter(first.operations)
    names = [f"{name} ({n} times)" if n > 1 else name for name, n in counts.items()]
    where = ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more"
    if first.repair == "circular":
        what = f"circular borders of {where}"
    else:
        what = f"adaptive sampling (or, nearly, a blur) in {where}"
        what += ", with circular borders" if first.borders else ""
    laws = {sentence("", row, axes, sizes).removeprefix(" is ").lstrip(": ") for row in first.laws}
    return f"{PADDING}{what}: {'; '.join(sorted(laws))}"
