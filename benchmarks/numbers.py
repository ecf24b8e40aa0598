"""Looks for wrong numbers: random configurations against float64 loops, and rounding errors.

    python -m benchmarks numbers --cases 5000 --seed 0

Every case draws an operation (convolution: dense, grouped or depthwise; transposed; local; max and
average pool; and somebody else's lax convolution through `jaxconv.fast`, of any layout, its input
dilated or not), 1 to 3 spatial axes, sizes, window, stride, dilation, groups, padding (asymmetric,
negative, larger than the window), padding modes, float32 or float64, and whether it is vmapped over
images, kernels or both. The value and the gradients in images and kernel are compared with NumPy's.
Cases are compiled many to a program without LLVM's optimizer, unless --full. With --accuracy, the
rounding errors of every operation in float32, bfloat16 and float16, beside those of plain lax.
"""

import argparse
import collections
import pathlib
import time
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks import _accuracy, _machine, _options, _report
from benchmarks._draw import Drawn, draw, expected, program

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
"""Of the largest value of an array: both are about 100 roundings."""


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    folder = _options.folder(options)
    print(_machine.describe() + "\n")
    if options.cases:
        rows = hunt(options.cases, options.seed, options.together, full=options.full)
        _report.keep("numbers", rows, argv, folder)
    if options.accuracy:
        rows = _accuracy.measure(options.only)
        _report.keep("numbers", rows, argv, folder, "_accuracy")
    publish(folder)


def _parser() -> argparse.ArgumentParser:
    parser = _options.parser("numbers", __doc__)
    parser.add_argument("--cases", type=int, default=500, help="random configurations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--together", type=int, default=25, help="cases of one program")
    parser.add_argument(
        "--full", action="store_true", help="compile as users do, four times slower"
    )
    parser.add_argument("--accuracy", action="store_true", help="measure rounding errors too")
    parser.add_argument("--only", help="operations whose rounding errors are measured")
    _options.add_folder(parser)
    return parser


def hunt(count: int, seed: int, together: int, *, full: bool) -> list[_report.Row]:
    """One row per kind of operation: cases, wrong ones, the largest error."""
    tally: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    worst: dict[str, float] = collections.defaultdict(float)
    start, number, wrong = time.perf_counter(), 0, []
    while sum(t["cases"] for t in tally.values()) < count:
        drawn = [draw(seed, number + i) for i in range(together)]
        number += together
        for case, errors in zip(drawn, errors_of(drawn, full=full), strict=True):
            counts = tally[case.kind]
            counts["cases"] += 1
            counts["arrays"] += len(errors)
            counts["vmapped"] += case.mapped != (False, False)
            counts[case.dtype] += 1
            limit = TOLERANCE[case.dtype]
            worst[case.kind] = max(worst[case.kind], *(e / limit for e in errors))
            if not all(error <= limit for error in errors):  # NaN is wrong too
                counts["wrong"] += 1
                wrong.append(f"{case}: errors {', '.join(f'{e:.1e}' for e in errors)}")
                print(f"WRONG {wrong[-1]}", flush=True)
    seconds = time.perf_counter() - start
    total = sum(t["cases"] for t in tally.values())
    print(f"{total} cases, {len(wrong)} wrong, {seconds:.0f} s")
    way = "compiled as users do" if full else "compiled without LLVM's optimizer"
    return [
        {"key": f"{kind}, {way}", "seed": seed, **counts, "worst": worst[kind]}
        for kind, counts in sorted(tally.items())
    ]


def errors_of(drawn: Sequence[Drawn], *, full: bool) -> list[list[float]]:
    """Errors of value and gradients of every case, computed in one program."""
    options = {} if full else {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,
    }  # fmt: skip
    everything = lambda operands: [
        program(case)(*arrays) for case, arrays in zip(drawn, operands, strict=True)
    ]
    operands = [case.operands for case in drawn]
    results = jax.jit(everything, compiler_options=options)(operands)
    return [
        [_error(a, b) for a, b in zip(actual, expected(case), strict=True)]
        for case, actual in zip(drawn, results, strict=True)
    ]


def _error(actual: jax.Array, right: np.ndarray) -> float:
    assert actual.shape == right.shape, f"shape {actual.shape}, expected {right.shape}"
    scale = np.abs(right).max(initial=0.0) or 1.0
    return float(np.abs(np.asarray(actual, np.float64) - right).max(initial=0.0) / scale)


def publish(folder: pathlib.Path) -> None:
    """Makes the page from everything that was kept."""
    rows, fine = (_report.kept(folder, name) for name in ("numbers", "numbers_accuracy"))
    body = _hunt_table(rows) if rows else ""
    if fine:
        body += "\n\n## Rounding errors\n\n" + _accuracy.table(fine)
    text = _report.page("Wrong numbers", __doc__ or "", rows + fine, body)
    _report.write("numbers", text, folder)


def _hunt_table(rows: Sequence[_report.Row]) -> str:
    head = (
        "operation",
        "cases",
        "wrong",
        "float32",
        "float64",
        "vmapped",
        "arrays",
        "worst / limit",
    )
    names = ("cases", "wrong", "float32", "float64", "vmapped", "arrays")
    lines = [
        (row["key"], *(row.get(name, 0) for name in names), f"{row['worst']:.2f}") for row in rows
    ]
    total = [sum(row.get(name, 0) for row in rows) for name in names]
    return _machine.table(head, [*lines, ("all", *total, "")])
