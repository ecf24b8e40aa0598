"""Runs everything on an accelerator and says how near to its roof every operation comes.

    python -m benchmarks gpu

Operations in float32 and bfloat16, forward and both gradients, ours beside plain lax and, where
PyTorch sees the device, PyTorch eager; then whole training steps. "Roof" is the least time that
memory (every operand read once, the result written once) and arithmetic allow over the time that
was measured. Without an accelerator it says so and ends with exit status 2.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks import _machine, _options, _programs, _report, _roofline, models, ops
from benchmarks._cases import CASES, PASSES, TINY, Case, select
from benchmarks._timing import medians

DTYPES = ("float32", "bfloat16")
LARGER = 16
"""How many times the batch of the CPU's cases: enough to fill an accelerator."""


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    device = jax.devices()[0]
    if device.platform == "cpu" and not options.on_cpu:
        print(
            "benchmarks gpu: no accelerator, JAX sees only the CPU "
            f"({_machine.processor()}); expected a GPU or TPU. "
            "Install jax[cuda12] or jax[tpu] on a machine that has one."
        )
        sys.exit(2)
    folder = _options.folder(options)
    print(_machine.describe() + "\n")
    peaks = _roofline.known(device.device_kind) or _roofline.measured(options.size, options.copy)
    reached = _roofline.measured(options.size, options.copy)
    cases = [larger(case, options.batch) for case in select(options.only, _cases(options))]
    rows = race(cases, peaks, options)
    _report.keep("gpu", rows, argv, folder)
    publish(folder, peaks, reached)
    if options.models:
        networks = "--quick" if options.quick else "--repeats=20"
        models.main([networks, "--folder", str(folder / "gpu_models"), "--device", "cuda"])


def _cases(options: argparse.Namespace) -> Sequence[Case]:
    return TINY if options.quick else CASES


def _parser() -> argparse.ArgumentParser:
    parser = _options.parser("gpu", __doc__)
    _options.add_cases(parser, repeats=20, seconds=0.5)
    parser.add_argument("--batch", type=int, default=LARGER, help="times the batch of the cases")
    parser.add_argument("--models", action=argparse.BooleanOptionalAction, default=True)
    _options.add_quick(parser, "tiny cases")
    parser.add_argument("--on-cpu", action="store_true", help="run on the CPU all the same")
    parser.add_argument("--size", type=int, default=8192, help="of the matrix products")
    parser.add_argument("--copy", type=int, default=2048, help="MiB of the copy")
    _options.add_folder(parser)
    return parser


def larger(case: Case, times: int) -> Case:
    """The case with a batch that fills an accelerator."""
    n, *rest = case.x
    name = case.name.removesuffix(f" b{n}")
    return case._replace(name=f"{name} b{n * times}", x=(n * times, *rest), bars={})


def race(
    cases: Sequence[Case], peaks: _roofline.Peaks, options: argparse.Namespace
) -> list[_report.Row]:
    """Ours and lax, every pass and dtype; PyTorch's float32 where it has the device."""
    rows = []
    for case in cases:
        for dtype in DTYPES:
            values = _programs.arguments(_programs.operands(case, dtype))
            for which in case.passes:
                rows.append(_row(case, which, dtype, values, peaks, options))
                print(_line(rows[-1]), flush=True)
    if jax.devices()[0].platform == "gpu" and _torch_sees_it():
        beside = ops.torch_seconds(cases, options.repeats, options.seconds, "cuda")
        for row in rows:
            if row["dtype"] == "float32":
                row["torch"] = beside[row["case"]][row["pass"]]
    return rows


def _row(case, which, dtype, values, peaks, options) -> _report.Row:
    row = {"key": f"{case.name} | {which} | {dtype}"}
    row |= {"case": case.name, "pass": which, "dtype": dtype}
    runs = {}
    for name, make in (("ours", _programs.ours), ("lax", _programs.plain)):
        run = jax.jit(_programs.of_pass(make(case), which))
        try:
            jax.block_until_ready(run(*values))
        except Exception as error:  # an operation that a device cannot do is a result
            row[f"{name} failed"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            continue
        runs[name] = lambda run=run: jax.block_until_ready(run(*values))
    row |= medians(runs, options.repeats, options.seconds)
    traffic = case.bytes(which, np.dtype(dtype).itemsize if dtype == "float32" else 2)
    for name in runs:
        row[f"{name} roof"] = _roofline.fraction(row[name], case.flops, traffic, peaks, dtype)
    return row


def _torch_sees_it() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def _line(row: _report.Row) -> str:
    cells = [
        f"{name} {_report.milliseconds(row[name])} ms ({100 * row[f'{name} roof']:.0f} % of roof)"
        for name in ("ours", "lax")
        if name in row
    ]
    return f"{row['key']}: {'  '.join(cells)}"


def publish(folder: pathlib.Path, peaks: _roofline.Peaks, reached: _roofline.Peaks) -> None:
    """Makes the page and the picture from everything that was kept."""
    rows = _report.kept(folder, "gpu")
    lines = [_limits(peaks), _limits(reached)]
    head = ("device", "TB/s", *(f"{dtype}, TFLOP/s" for dtype in DTYPES))
    body = _machine.table(head, lines) + "\n\n" + _table(rows)
    _picture(folder / "gpu.png", rows)
    text = _report.page("On an accelerator", __doc__ or "", rows, body, "gpu.png")
    _report.write("gpu", text, folder)


def _limits(peaks: _roofline.Peaks) -> tuple[str, ...]:
    speeds = (f"{peaks.flops[dtype] / 1e12:.3g}" for dtype in DTYPES)
    return (peaks.source, f"{peaks.bandwidth / 1e12:.3g}", *speeds)


def _table(rows: Sequence[_report.Row]) -> str:
    head = (
        *("case", "pass", "dtype", "ours, ms", "lax, ms", "torch, ms", "lax / ours"),
        *("ours / torch", "ours, % of roof", "lax, % of roof"),
    )
    lines = []
    for row in rows:
        ours, lax, torch = (row.get(name) for name in ("ours", "lax", "torch"))
        ratio = lambda a, b: _report.times(a / b) if a and b else ""
        roofs = [f"{100 * row[f'{n} roof']:.0f}" if n in row else "failed" for n in ("ours", "lax")]
        cells = map(_report.milliseconds, (ours, lax, torch))
        where = (row["case"], row["pass"], row["dtype"])
        lines.append((*where, *cells, ratio(lax, ours), ratio(ours, torch), *roofs))
    return _machine.table(head, lines)


def _picture(path: pathlib.Path, rows: Sequence[_report.Row]) -> None:
    from jaxconv.plots._figure import BLUE, ORANGE, tidy

    names = list(dict.fromkeys(row["case"] for row in rows))

    def fill(figure):
        panels = figure.subplots(len(DTYPES), 3, sharey=True, sharex=True, squeeze=False)
        for line, dtype in zip(panels, DTYPES, strict=True):
            for axes, which in zip(line, PASSES, strict=True):
                tidy(axes, f"{which}, {dtype}", x="% of the roof")
                for name, color in (("lax", ORANGE), ("ours", BLUE)):
                    here = [
                        r for r in rows if (r["pass"], r["dtype"]) == (which, dtype) and name in r
                    ]
                    places = [names.index(r["case"]) for r in here]
                    shares = [100 * r[f"{name} roof"] for r in here]
                    axes.scatter(shares, places, color=color, s=18, label=name, zorder=3)
                axes.axvline(100, color="black", linewidth=1)
        panels[0][0].set_yticks(range(len(names)), names)
        panels[0][0].invert_yaxis()
        panels[0][0].legend(fontsize=8)

    _report.draw(path, 13, 2.4 + 0.4 * len(names), fill)
