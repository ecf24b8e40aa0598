"""A proof as tables of plain text, for a page."""

from typing import Any

from jaxconv.equivariance.prove import _text
from jaxconv.equivariance.prove._proof import Proof


def sheet(proof: Proof) -> dict[str, Any]:
    """The theorem, and tables with a title, a head, rows, and a note below."""
    axes = proof.program.axes
    strides = [limit for output in proof.outputs for limit in output.strides]
    borders = [limit for output in proof.outputs for limit in output.borders]
    gaps = [(gap.primitive, str(gap.source or ""), gap.reason) for gap in proof.unmodelled]
    columns = _text.columns(proof.rows, axes)
    cost = ["what", "effect"]
    tables = [
        _table("Laws", ["output", "axis", "law", "with circular borders", "field"], _laws(proof)),
        _table("What strides and positions cost", cost, _pairs(_text.limits(strides, axes))),
        _table("What borders cost", cost, _pairs(_text.limits(borders, axes))),
        _table("Not modelled", ["operation", "line", "why"], gaps),
        _table("What single repairs would buy", ["repair", "law"], _pairs(proof.repairs())),
        _table("Operations", list(columns), zip(*columns.values(), strict=True), _text.LEGEND),
    ]
    return {"theorem": proof.theorem.splitlines(), "tables": [t for t in tables if t["rows"]]}


def _table(title: str, head: list[str], rows: Any, note: str = "") -> dict[str, Any]:
    return {"title": title, "head": head, "rows": [list(row) for row in rows], "note": note}


def _pairs(text: str) -> list[tuple[str, str]]:
    """What stands before and after the colon of every line."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        what, _, effect = line.partition(": ")
        found.append((what, effect))
    return found


def _laws(proof: Proof) -> list[tuple[str, ...]]:
    rows = []
    for output in proof.outputs:
        for number, (axis, law) in enumerate(zip(proof.program.axes, output.laws, strict=True)):
            circular = output.circular[number] if output.circular else law
            field = output.fields[number] if output.fields else None
            sees = f"{field.size}, stride {field.stride}" if field and field.known else ""
            other = "" if circular == law else _text.describe(circular)
            rows.append((output.name, str(axis), _text.describe(law), other, sees))
    return rows
