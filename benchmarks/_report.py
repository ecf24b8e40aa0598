"""Results as they are kept: rows in a JSON file, and a page and a picture made from all of them.

A long benchmark may be run in parts; a row replaces the one of the same key, and carries its date.
"""

import datetime
import json
import os
import pathlib
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import _machine

RESULTS = pathlib.Path(__file__).parent / "results"
Row = dict[str, Any]


def keep(
    name: str, rows: Sequence[Row], argv: Sequence[str], folder: pathlib.Path, part: str = ""
) -> list[Row]:
    """Merges rows, by their "key", into the file of a benchmark or a part; returns all in order."""
    command = shlex.join(["python", "-m", "benchmarks", name, *argv])
    name += part
    stamp = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": _machine.identity(),
        "load": round(os.getloadavg()[0], 1),
        "command": command,
    }
    path = folder / f"{name}.json"
    old = json.loads(path.read_text()) if path.exists() else []
    merged = {row["key"]: row for row in old} | {row["key"]: row | stamp for row in rows}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(map(json.dumps, merged.values())) + "\n]\n")
    return list(merged.values())


def kept(folder: pathlib.Path, name: str) -> list[Row]:
    """The rows that are there."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def page(title: str, text: str, rows: Sequence[Row], body: str, picture: str | None = None) -> str:
    """A page: what was measured, on which machine, when, by which command, and the tables."""
    lines = [f"# {title}", "", text, ""]
    for machine in dict.fromkeys(row["machine"] for row in rows):
        here = [row for row in rows if row["machine"] == machine]
        dates = sorted(row["date"] for row in here)
        span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        loads = sorted(row["load"] for row in here)
        said = f"Load average {loads[0]:g} to {loads[-1]:g} (what was measured included)."
        lines += [f"{machine}. {said} Measured {span} UTC by", "", "```"]
        lines += [*dict.fromkeys(row["command"] for row in here), "```", ""]
    if picture:
        lines += [f"![{title}]({picture})", ""]
    return "\n".join([*lines, body, ""])


def write(name: str, text: str, folder: pathlib.Path) -> None:
    """Writes the page and says where."""
    path = folder / f"{name}.md"
    path.write_text(text)
    print(f"wrote {path}")


def draw(path: pathlib.Path, width: float, height: float, fill: Callable[[Any], None]) -> None:
    """Draws a figure, if matplotlib is there; the page does without else."""
    from jaxconv.plots._figure import new_figure

    figure = new_figure("benchmarks", width, height)
    fill(figure)
    figure.savefig(path)
    print(f"wrote {path}")


def times(ratio: float | None) -> str:
    """A ratio as a reader wants it: 0.83, 4.1, 52."""
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds with three digits."""
    if seconds is None:
        return ""
    value = seconds * 1e3
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
