"""Where the limit lies: every operation with a bar, beside what this processor can do at most.

    python -m benchmarks limits --tune-malloc

"least" is the larger of two times that nothing written for this processor goes below: the
operation's multiplications and additions at the speed of XLA's fastest matrix product here, and
its operands and results, each moved once, at the speed of a copy of as many bytes. "native" are
kernels in C++ for these shapes, called through jax.ffi, and "oneDNN" the copy of that library
inside jaxlib, called through targets that are documented nowhere: prototypes, not part of this
library, whose times are read from a file (--prototypes).
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from benchmarks import _machine, _options, _programs, _report
from benchmarks._cases import CASES, Case, select
from benchmarks._timing import medians
from benchmarks.ops import torch_seconds

PROTOTYPES = ("native", "oneDNN")
PRODUCT = 1024
"""Size of the square matrix product whose speed is taken for the processor's."""


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    cases = [case for case in select(options.only) if case.bars or options.only]
    if not cases:
        sys.exit(f"benchmarks limits: no case matches {options.only!r}.")
    folder = _options.folder(options)
    if options.tune_malloc:
        _machine.keep_memory()
    print(_machine.describe() + "\n")
    peak = product_speed(options.repeats, options.seconds)
    print(f"matrix product: {peak / 1e9:.0f} GFLOP/s")
    beside = torch_seconds(cases, options.repeats, options.seconds)
    given = json.loads(pathlib.Path(options.prototypes).read_text()) if options.prototypes else {}
    rows = []
    for case in cases:
        for row in measure(case, peak, options):
            row["torch"] = beside[case.name][row["pass"]]
            for name, times in given.items():
                row |= {name: times[row["key"]] / 1e3} if row["key"] in times else {}
            print(_line(row), flush=True)
            rows.append(row)
    _report.keep("limits", rows, argv, folder)
    publish(folder)


def _parser() -> argparse.ArgumentParser:
    parser = _options.parser("limits", __doc__)
    _options.add_cases(parser, repeats=9, seconds=0.3)
    parser.add_argument(
        "--prototypes", help="a JSON file: for native and oneDNN, milliseconds by 'case | pass'"
    )
    _options.add_folder(parser, tune_malloc=True)
    return parser


def product_speed(repeats: int, seconds: float) -> float:
    """Operations per second of a square matrix product."""
    a = jnp.ones((PRODUCT, PRODUCT))
    run = _blocking(jax.jit(jnp.matmul), (a, a))
    return 2 * PRODUCT**3 / medians({"product": run}, repeats, seconds)["product"]


def measure(case: Case, peak: float, options: argparse.Namespace) -> list[_report.Row]:
    """Ours, and a copy of as many bytes, every pass of a case in turn."""
    values = _programs.arguments(_programs.operands(case))
    rows = []
    for which in case.passes:
        traffic = case.bytes(which)
        half = jnp.ones(traffic // 8)  # read once, written once
        runs = {
            "ours": _blocking(_compiled(case, which, values), values),
            "copy": _blocking(jax.jit(lambda x: x + 1), (half,)),
        }
        found = medians(runs, options.repeats, options.seconds)
        least = max(case.flops / peak, found["copy"])
        key = f"{case.name} | {which}"
        rows.append({"key": key, "case": case.name, "pass": which, "least": least, **found})
    return rows


def _compiled(case: Case, which: str, values: Sequence[jax.Array]) -> Callable[..., object]:
    run = _programs.of_pass(_programs.ours(case), which)
    return jax.jit(lambda *args: run(*args)).lower(*values).compile()


def _blocking(run, values):
    return lambda: jax.block_until_ready(run(*values))


def _line(row: _report.Row) -> str:
    names = ("least", *PROTOTYPES, "torch", "ours")
    return f"{row['key']}: " + "  ".join(
        f"{name} {_report.milliseconds(row[name])}" for name in names if name in row
    )


def publish(folder: pathlib.Path) -> None:
    """Makes the page from everything that was kept; what was written below its end stays."""
    rows = _report.kept(folder, "limits")
    head = ("case", "pass", "least, ms", *PROTOTYPES, "torch", "ours", "ours / torch")
    lines = []
    names = [case.name for case in CASES]
    for row in sorted(rows, key=lambda row: names.index(row["case"])):
        times = [row["least"], *map(row.get, PROTOTYPES), row["torch"], row["ours"]]
        ratio = _report.times(row["ours"] / row["torch"])
        lines.append([row["case"], row["pass"], *map(_report.milliseconds, times), ratio])
    page = _report.page("Limits", __doc__ or "", rows, _machine.table(head, lines))
    path = folder / "limits.md"
    _, mark, kept = path.read_text().partition(END) if path.exists() else ("", "", "")
    _report.write("limits", f"{page}\n{mark}{kept}" if mark else page, folder)


END = "<!-- by hand below -->"
