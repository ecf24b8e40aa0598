"""Races single operations, forward and both gradients: ours, plain lax, PyTorch eager.

    python -m benchmarks ops --only "depthwise 3x3,max pool"

JAX candidates take turns in one process; PyTorch runs afterwards in its own (channels last, on all
cores or on one, whichever is faster): its threads spin after every operation and steal a core. "XLA
/ ours" is how many times faster this library's operation is than the one that every JAX library
lowers to, "ours / torch" how many times slower than PyTorch's. The second table asks of every row
of the table that chooses formulations on a CPU whether what it names is still the fastest of all
that are there. With --tune-malloc every process, PyTorch's too, keeps memory as
`jaxconv.tune_malloc` tells it.
"""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks import _formulations, _machine, _options, _programs, _report
from benchmarks._cases import CASES, PASSES, TINY, Case, select
from benchmarks._timing import medians

TOLERANCE = 1e-3
"""Of the largest value: for float32 sums of up to 50,000 products; more is a wrong result."""


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    cases = select(options.only, TINY if options.quick else CASES)
    if not cases:
        sys.exit(f"benchmarks ops: no case matches {options.only!r}.")
    folder = _options.folder(options)
    if options.tune_malloc:
        _machine.keep_memory()
    print(_machine.describe() + "\n")
    if "race" in options.parts or "torch" in options.parts:
        if "race" in options.parts:
            rows = race(cases, options.repeats, options.seconds)
        else:  # PyTorch's column of rows that are there
            names = {case.name for case in cases}
            rows = [row for row in _report.kept(folder, "ops") if row["case"] in names]
        if "torch" in options.parts:
            beside = torch_seconds(cases, options.repeats, options.seconds)
            rows = [row | {"torch": beside[row["case"]][row["pass"]]} for row in rows]
        _report.keep("ops", rows, argv, folder)
    if "table" in options.parts:
        rows = _formulations.check(cases, options.repeats, options.seconds)
        _report.keep("ops", rows, argv, folder, "_table")
    publish(folder)


def _parser() -> argparse.ArgumentParser:
    parser = _options.parser("ops", __doc__)
    _options.add_cases(parser, repeats=15, seconds=1.0)
    _options.add_quick(parser, "tiny cases")
    parser.add_argument("--parts", default="race,torch,table", help="what to measure")
    _options.add_folder(parser, tune_malloc=True)
    return parser


def race(cases: Sequence[Case], repeats: int, seconds: float) -> list[_report.Row]:
    """Ours against plain lax, every pass of every case."""
    rows = []
    for case in cases:
        values = _programs.arguments(_programs.operands(case))
        for which in case.passes:
            runs = {
                name: jax.jit(_programs.of_pass(program(case), which))
                for name, program in (("ours", _programs.ours), ("lax", _programs.plain))
            }
            error = disagreement(runs["ours"](*values), runs["lax"](*values))
            measured = medians(
                {name: _blocking(run, values) for name, run in runs.items()}, repeats, seconds
            )
            key = f"{case.name} | {which}"
            row = {"key": key, "case": case.name, "pass": which, **measured, "error": error}
            rows.append(row)
            times = "  ".join(f"{n} {_report.milliseconds(s)} ms" for n, s in measured.items())
            wrong = "" if error < TOLERANCE else f"  WRONG by {error:.1e}"
            print(f"{key}: {times}{wrong}", flush=True)
    return rows


def _blocking(run, values):
    return lambda: jax.block_until_ready(run(*values))


def disagreement(actual, expected) -> float:
    """Largest difference over the largest value."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
    return worst


def torch_seconds(
    cases: Sequence[Case], repeats: int, seconds: float, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """Medians of PyTorch eager by case and pass, from a process that ends afterwards."""
    request = {
        "cases": [case.as_dict() for case in cases],
        "repeats": repeats,
        "seconds": seconds,
        "device": device,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._torch_ops"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"benchmarks ops: PyTorch's process failed.\n{done.stderr}")
    return json.loads(done.stdout)


def publish(folder: pathlib.Path) -> None:
    """Makes the page and the picture from everything that was kept."""
    rows = _report.kept(folder, "ops")
    table_rows = _report.kept(folder, "ops_table")
    names = {case.name: number for number, case in enumerate((*CASES, *TINY))}
    rows.sort(key=lambda row: (names.get(row["case"], 99), PASSES.index(row["pass"])))
    body = _race_table(rows) if rows else ""
    if table_rows:
        body += "\n\n## Is the table of formulations still right?\n\n"
        body += _formulations.table(table_rows)
    picture = None
    if any("torch" in row for row in rows):
        picture = "ops.png"
        _picture(folder / picture, rows)
    text = _report.page("Operations", __doc__ or "", rows + table_rows, body, picture)
    _report.write("ops", text, folder)


def _race_table(rows: Sequence[_report.Row]) -> str:
    bars = {case.name: case.bars for case in CASES}
    head = ("case", "pass", "ours, ms", "XLA, ms", "torch, ms", "XLA / ours", "ours / torch", "bar")
    lines = []
    for row in rows:
        ours, lax, torch = row["ours"], row["lax"], row.get("torch")
        over = None if torch is None else ours / torch
        bar = bars.get(row["case"], {}).get(row["pass"])
        verdict = "" if bar is None else _verdict(bar, lax / ours, over)
        if row["error"] >= TOLERANCE:
            verdict += f" WRONG by {row['error']:.1e}"
        line = [row["case"], row["pass"], *map(_report.milliseconds, (ours, lax, torch))]
        lines.append([*line, _report.times(lax / ours), _report.times(over), verdict])
        if row["pass"] == "kernel gradient" and "both gradients" in bars.get(row["case"], {}):
            lines.append(_both(rows, row["case"], bars[row["case"]]["both gradients"]))
    return _machine.table(head, lines)


def _both(rows: Sequence[_report.Row], case: str, bar) -> list[str]:
    """The line of both gradients together."""
    parts = [row for row in rows if row["case"] == case and row["pass"] in PASSES[1:]]
    ours, lax = (sum(row[name] for row in parts) for name in ("ours", "lax"))
    torch = sum(row["torch"] for row in parts) if all("torch" in row for row in parts) else None
    over = None if torch is None else ours / torch
    line = [case, "both gradients", *map(_report.milliseconds, (ours, lax, torch))]
    return [*line, _report.times(lax / ours), _report.times(over), _verdict(bar, lax / ours, over)]


def _verdict(bar, faster: float, over: float | None) -> str:
    least, most = bar
    parts = []
    if least is not None:
        parts.append(f"≥ {least:g} {'met' if faster >= least else 'MISSED'}")
    if most is not None and over is not None:
        parts.append(f"≤ {most:g} {'met' if over <= most else 'MISSED'}")
    return ", ".join(parts)


def _picture(path: pathlib.Path, rows: Sequence[_report.Row]) -> None:
    from jaxconv.plots._figure import BLUE, FAINT, ORANGE, tidy

    names = list(dict.fromkeys(row["case"] for row in rows if "torch" in row))

    def fill(figure):
        panels = figure.subplots(1, 3, sharey=True, sharex=True)
        for axes, which in zip(panels, PASSES, strict=True):
            here = [r for r in rows if r["pass"] == which and "torch" in r]
            places = [names.index(r["case"]) for r in here]
            ours = [r["ours"] / r["torch"] for r in here]
            lax = [r["lax"] / r["torch"] for r in here]
            tidy(axes, which, x="time / PyTorch eager's")
            axes.hlines(places, ours, lax, color=FAINT, linewidth=1.2)
            axes.scatter(lax, places, color=ORANGE, s=22, label="XLA's own", zorder=3)
            axes.scatter(ours, places, color=BLUE, s=22, label="jaxconv", zorder=3)
            axes.axvline(1, color="black", linewidth=1)
            axes.set_xscale("log")
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
        panels[0].legend(fontsize=8, loc="lower right", framealpha=1)

    _report.draw(path, 12, 1.2 + 0.24 * len(names), fill)
