"""Proofs in words: one sentence, the laws, what limits them, and a table of operations."""

import math
from collections.abc import Sequence

from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._limits import Limit, Row

PADDING = "  "


def sentence(name: str, laws: Sequence[Law], axes: Sequence[int], sizes: Sequence[int]) -> str:
    """What is proved about an output, as a clause."""
    kinds = {law.kind for law in laws}
    if kinds == {"invariant"}:
        return f"{name} is invariant to {_multiples(laws, axes)} ({_count(laws, sizes)})"
    if kinds <= {"invariant", "equivariant"}:
        return f"{name} is equivariant: {_moves(laws, axes)} ({_count(laws, sizes)})"
    if kinds == {"permuted"}:
        return (
            f"{name} is equivariant up to a fixed permutation of its elements under "
            f"{_multiples(laws, axes)} ({_count(laws, sizes)})"
        )
    if kinds == {"unproved"}:
        return f"{name}: no shift law is proved"
    return f"{name}: " + ", ".join(
        f"{describe(law)} along axis {axis}" for law, axis in zip(laws, axes, strict=True)
    )


def _multiples(laws: Sequence[Law], axes: Sequence[int]) -> str:
    shifts = {law.shift for law in laws}
    if len(shifts) == 1:
        p = shifts.pop()
        return "all circular shifts" if p == 1 else f"shifts by multiples of {p}"
    return "shifts by " + " and ".join(
        f"multiples of {law.shift} along axis {axis}" for law, axis in zip(laws, axes, strict=True)
    )


def _moves(laws: Sequence[Law], axes: Sequence[int]) -> str:
    parts = []
    for law, axis in zip(laws, axes, strict=True):
        if law.kind == "invariant":
            parts.append(f"unchanged by shifts of {law.shift} along axis {axis}")
        else:
            parts.append(
                f"input {law.shift} along axis {axis} moves output axis {law.axis} by {law.roll}"
            )
    return "; ".join(parts)


def _count(laws: Sequence[Law], sizes: Sequence[int]) -> str:
    good = math.prod(size // law.shift for law, size in zip(laws, sizes, strict=True))
    return f"{good:,} of {math.prod(sizes):,} shifts"


def describe(law: Law) -> str:
    """One law in words."""
    p = law.shift
    if law.kind == "invariant":
        return f"invariant to shifts by multiples of {p}"
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


def cell(law: Law, shape: Sequence[int]) -> str:
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
        return f"{law.shift}/{law.roll} in [{law.halo[0]},{shape[law.axis or 0] - law.halo[1]})"
    return f"{law.shift} for {law.share:.0%}" if law.kind == "partial" else "-"


def table(rows: Sequence[Row], axes: Sequence[int]) -> str:
    """Operations that changed a law, and all windows and contractions."""
    header = ["operation", "layer", "line", "output", *[f"axis {axis}" for axis in axes]]
    lines = [header]
    for row in rows:
        if row.changed or row.primitive.startswith(("conv", "reduce_window", "dot")):
            cells = [cell(law, row.shape) for law in row.laws]
            shape = "x".join(map(str, row.shape))
            lines.append([row.primitive, row.layer, str(row.source or ""), shape, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(PADDING.join(line).rstrip() for line in padded)


def limits(found: Sequence[Limit], axes: Sequence[int]) -> str:
    """What limits the laws, in program order, equal entries of several axes merged."""
    merged: dict[tuple, list[int]] = {}
    for limit in found:
        key = (limit.level, str(limit), limit.effect)
        places = merged.setdefault(key, [])
        if axes[limit.axis] not in places:
            places.append(axes[limit.axis])
    return "\n".join(
        f"{PADDING}[{level}] {text}: {effect} (axis {', '.join(map(str, places))})"
        for (level, text, effect), places in merged.items()
    )
