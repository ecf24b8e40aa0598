"""Asks of each row of the CPU's table of formulations whether it still names the fastest one.

Every formulation that any row of the table names is tried on the first cases that a row serves; the
ones that do not fit the case (an exception, another shape, other values) are left out, and so are
other rows' that would unroll into a huge program.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import _machine, _programs, _report
from benchmarks._cases import Case
from benchmarks._timing import medians
from jaxconv.ops._cpu import choice
from jaxconv.ops._cpu.taps import Slide, lax_conv

PER_ROW = 2
"""Cases that stand for a row: the first of the table of cases that it serves."""

LARGEST = 700
"""Equations of a formulation: more compile for seconds and never won."""

NOISE = 1.3
"""Medians of operations under 2 ms vary by up to this factor from run to run."""

Function = Callable[..., Any]


def check(cases: Sequence[Case], repeats: int, seconds: float) -> list[_report.Row]:
    """Times every formulation on the cases that stand for each row."""
    rows = []
    for case, row in representatives(cases):
        values = _programs.arguments(_programs.operands(case))
        for which in case.passes:
            found = applicable(case, row, which, values)
            times = medians(
                {name: _blocking(run, values) for name, run in found.items()}, repeats, seconds
            )
            line = {
                "key": f"{row.name} | {case.name} | {which}",
                "row": row.name,
                "case": case.name,
                "pass": which,
                "served": _label(_served(row, which)),
                "times": times,
            }
            rows.append(line)
            print(f"{line['key']}: {_verdict(line)}", flush=True)
    return rows


def representatives(cases: Sequence[Case]) -> list[tuple[Case, Any]]:
    """The first cases that each row of the table serves."""
    counts: dict[str, int] = {}
    found = []
    for case in cases:
        if case.kind != "conv":
            continue
        row = choice.choose(_facts(case))
        counts[row.name] = counts.get(row.name, 0) + 1
        if counts[row.name] <= PER_ROW:
            found.append((case, row))
    return found


def _facts(case: Case) -> Any:
    rank = len(case.window)
    slide = Slide((case.stride,) * rank, (case.dilation,) * rank, case.padding, case.groups)
    output = slide.output(case.x[-1 - rank : -1], case.window)
    return choice.facts(case.x[-1], case.features, case.window, slide, output)


def applicable(case: Case, row: Any, which: str, values: Sequence[Any]) -> dict[str, Function]:
    """Jitted formulations of a pass that fit the case and agree with lax, the row's own first.

    Of formulations that lower to the same program the first is kept.
    """
    expected = jax.jit(_pass(lax_conv, case, which))(*values)
    found, seen, served = {}, set(), _label(_served(row, which))
    for label, function in _formulations(row, which).items():
        run = _pass(function, case, which)
        try:
            program = jax.make_jaxpr(run)(*values)
            large = _size(program) > LARGEST and label != served
            if program.out_avals[0].shape != expected.shape or large:
                continue
            text = jax.jit(lambda *args, run=run: run(*args)).lower(*values).as_text()
            actual = jax.jit(run)(*values)
        except (TypeError, ValueError, IndexError, AssertionError, ZeroDivisionError):
            continue
        difference = np.abs(np.asarray(actual) - np.asarray(expected)).max()
        if text not in seen and difference < 1e-3 * np.abs(np.asarray(expected)).max():
            seen.add(text)
            found[label] = jax.jit(run)
    if served not in found:
        raise AssertionError(f"{case.name}, {which}: {served} does not fit or is not right")
    return found


def _formulations(row: Any, which: str) -> dict[str, Function]:
    """What a row names for a pass, lax, and what the other rows name."""
    functions = [_served(row, which), lax_conv, *(_served(r, which) for r in choice.TABLE)]
    return {_label(function): function for function in functions}


def _served(row: Any, which: str) -> Function:
    """What a row names for a pass; for a gradient without a formulation its forward pass."""
    if which == "forward":
        return row.forward
    gradient = row.input_gradient if which == "input gradient" else row.kernel_gradient
    return row.forward if gradient is None else gradient


def _label(function: Function) -> str:
    if function is lax_conv:
        return "lax"
    return f"{function.__module__.split('.')[-1]}.{function.__name__.strip('_')}"


def _pass(function: Function, case: Case, which: str) -> Function:
    """The pass on a formulation; one of the forward pass serves a gradient by transposition."""
    rank = len(case.window)
    slide = Slide((case.stride,) * rank, (case.dilation,) * rank, case.padding, case.groups)
    forward = lambda x, kernel: function(x, kernel, slide)
    if function in [row.forward for row in choice.TABLE] or function is lax_conv:
        return _programs.of_pass(forward, which)
    if which == "input gradient":
        return lambda x, kernel, g: function(g, kernel, slide, case.x[1:-1])
    return lambda x, kernel, g: function(x, g, slide, case.window)


def _size(program: Any) -> int:
    return len(program.jaxpr.eqns)


def _blocking(run, values):
    return lambda: jax.block_until_ready(run(*values))


def _verdict(row: _report.Row) -> str:
    times, served = row["times"], row["served"]
    best = min(times, key=times.__getitem__)
    said = f"{served} {_report.milliseconds(times.get(served))} ms"
    if best == served:
        return f"{said}, the fastest"
    ratio = times[served] / times[best]
    faster = f"{best} takes {_report.milliseconds(times[best])} ms"
    return f"{said}; {faster}{', within noise' if ratio <= NOISE else f', {ratio:.1f} times less'}"


def table(rows: Sequence[_report.Row]) -> str:
    """Every row of the table on its cases, what else could serve, and the verdict."""
    head = ("row", "case", "pass", "serves", "all, ms", "still best?")
    lines = []
    for row in rows:
        times, served = row["times"], row["served"]
        ordered = sorted(times.items(), key=lambda item: item[1])
        everything = ", ".join(f"{name} {_report.milliseconds(s)}" for name, s in ordered)
        ratio = times[served] / ordered[0][1]
        said = "yes" if ratio == 1 else "tie" if ratio <= NOISE else f"NO, {ratio:.1f}x slower"
        lines.append((row["row"], row["case"], row["pass"], served, everything, said))
    return _machine.table(head, lines)
