"""An audit as text: the answer first, then a row per operation."""

import math
from typing import TYPE_CHECKING

from jaxconv.equivariance._verdicts import Operation, Output

if TYPE_CHECKING:
    from jaxconv.equivariance.audit import Audit

COLUMNS = ("operation", "line", "output", "should move", "eps_2", "border", "Lie", "field")


def answer(found: "Audit") -> str:
    """The result in a sentence."""
    shift = tuple(int(t) for t in found.shift)
    if found.obeys:
        what = "moves or stays" if any(o.moving for o in found.outputs) else "stays"
        worst = max((o.eps_inf for o in found.outputs), default=0.0)
        return (
            f"Nothing breaks: at shift {shift} every output {what} as it should "
            f"(eps_inf {worst:.1e})."
        )
    bad = max((o for o in found.outputs if not o.obeys), key=lambda o: o.eps_2)
    law = "equivariance" if bad.moving else "invariance"
    name = f" of {bad.path}" if bad.path else ""
    guilty = found.guilty
    if not guilty:
        return f"At shift {shift} the {law}{name} is {_off(bad)}; no operation stands out."
    more = len(guilty) - 1 + len(found.also)
    others = f", and {more} more would" if more else ""
    where = "at the border" if guilty[0].border > 0.99 else "over the whole map"
    return (
        f"{guilty[0].place} breaks {law}{name} first, {where}{others}: at shift {shift} the "
        f"output is {_off(bad, ' of its contrast')}."
    )


def _off(output: Output, of: str = "") -> str:
    """How wrong an output is, in words; NaN obeys no law, not even where both runs have it."""
    if math.isfinite(output.eps_2):
        return f"off by {output.eps_2:.1%}{of}"
    return "NaN or infinite"


def columns(found: "Audit") -> tuple[str, ...]:
    """The titles of the table: of what operations add to the error too, where that was asked."""
    return (*COLUMNS, "adds") if found.counted else COLUMNS


def cells(operation: Operation) -> tuple[str, ...]:
    """One row of the table."""
    return (
        (">> " if operation.guilty else " > " if operation.also else "   ") + operation.path,
        operation.source,
        "x".join(map(str, operation.shape)),
        operation.law,
        number(operation.eps_2),
        share(operation),
        number(operation.lie, signed=True),
        "x".join(map(str, operation.field)),
    )


def number(value: float, *, signed: bool = False) -> str:
    """A number in two figures; nothing where there is none."""
    if math.isnan(value):
        return ""
    return f"{value:+.1e}" if signed else f"{value:.1e}"


def share(operation: Operation) -> str:
    """The border's share of an error that is worth splitting."""
    return f"{operation.border:.0%}" if operation.eps_2 > 1e-6 else ""


def text(found: "Audit") -> str:
    """The answer, the outputs and the table."""
    head, rows = columns(found), [cells(o) for o in found.operations]
    if found.counted:
        rows = [
            (*row, number(o.added, signed=True))
            for row, o in zip(rows, found.operations, strict=True)
        ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join([answer(found), *notes(found), "", *lines])


def notes(found: "Audit") -> list[str]:
    """What else is known: what may be hidden, and what contributions add up to, or why not."""
    lines = []
    hidden = any(not o.eps_inf <= found.tolerance for o in found.operations)
    if found.obeys and hidden and any(o.whole for o in found.outputs):
        lines.append("Whole numbers hide small changes: audit the scores that they are made of.")
    if not math.isnan(found.lie):
        total = f"{found.lie:+.1e} of the outputs' scale, along their error"
        lines.append(f"Lie contributions add up to {total}.")
    elif found.note:
        lines.append(found.note)
    return lines
