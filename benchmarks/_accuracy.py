"""Rounding errors of every operation, ours beside plain lax, against lax in float64."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _machine, _programs, _report
from benchmarks._cases import Case, select

DTYPES = ("float32", "bfloat16", "float16")
ALLOWED = 1.1
"""How much larger than lax's an error may be: sums are taken in another order."""


def smaller(case: Case) -> Case:
    """The case with less batch and pixels, enough to sum what a pass sums."""
    lead = 2 if case.kind == "vmap_conv" else 1
    batch = (2, 1)[:lead]
    spatial = tuple(
        max(3 * k, min(n, 4 * k, 17)) for n, k in zip(case.x[lead:-1], case.window, strict=True)
    )
    return case._replace(x=(*batch, *spatial, case.x[-1]))


def measure(only: str | None) -> list[_report.Row]:
    """Root mean square error over root mean square value, per case, pass and dtype."""
    rows = []
    for case in select(only):
        small = smaller(case)
        exact = _programs.operands(small, np.float64)
        for dtype in DTYPES:
            low = {name: array.astype(dtype) for name, array in exact.items()}
            reference = _programs.arguments({n: a.astype(np.float64) for n, a in low.items()})
            for which in case.passes:
                right = _run(_programs.plain(small), which, reference)
                errors = {
                    name: _error(_run(make(small), which, _programs.arguments(low)), right)
                    for name, make in (("ours", _programs.ours), ("lax", _programs.plain))
                }
                key = f"{case.name} | {which} | {dtype}"
                row = {"key": key, "case": case.name, "pass": which, "dtype": dtype, **errors}
                rows.append(row)
                if worse(row):
                    print(f"{key}: ours {errors['ours']:.2e}, lax {errors['lax']:.2e}", flush=True)
    return rows


def worse(row: _report.Row) -> bool:
    """Whether ours is less accurate than lax."""
    return not row["ours"] <= ALLOWED * row["lax"]


def _run(function, which, arguments):
    return jax.jit(_programs.of_pass(function, which))(*arguments)


def _error(actual, right) -> float:
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(right), strict=True)
    ratios = []
    for a, b in pairs:
        b = np.asarray(b, np.float64)
        difference = np.asarray(a.astype(jnp.float64)) - b
        ratios.append(np.sqrt((difference**2).mean() / (b**2).mean()))
    return float(max(ratios))


def table(rows: Sequence[_report.Row]) -> str:
    """Per operation and dtype the largest error of its passes; then whoever is worse than lax."""
    head = ("operation", *(f"{dtype}: ours, lax" for dtype in DTYPES))
    lines = []
    for name in dict.fromkeys(row["case"] for row in rows):
        here = [row for row in rows if row["case"] == name]
        lines.append((name, *(_cell([r for r in here if r["dtype"] == d]) for d in DTYPES)))
    bad = [row for row in rows if worse(row)]
    said = f"Worse than lax by more than {ALLOWED:g} times: {len(bad)} of {len(rows)}."
    listed = [f"- {r['key']}: ours {r['ours']:.2e}, lax {r['lax']:.2e}" for r in bad]
    text = (
        "Root mean square error over root mean square value, the largest of the passes, with fewer "
        "images and pixels than the cases are named for.\n\n"
    )
    return text + _machine.table(head, lines) + "\n\n" + "\n".join([said, *listed])


def _cell(rows: Sequence[_report.Row]) -> str:
    if not rows:
        return ""
    return ", ".join(f"{max(row[name] for row in rows):.1e}" for name in ("ours", "lax"))
