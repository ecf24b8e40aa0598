"""Times tracing and compiling whole training steps, ours against Flax's.

    python -m benchmarks compile --only convnext

Every compilation starts with empty caches; the frameworks take turns. The bar is 1.2 times Flax.
"""

import json
import pathlib
import statistics
import time
from collections.abc import Sequence

import jax

from benchmarks import _machine, _options, _report, models
from benchmarks._architectures import NETWORKS, SMALL, Network
from benchmarks._training import data

BAR = 1.2
CANDIDATES = ("jaxconv", "flax", "fast(flax)")


def main(argv: list[str]) -> None:
    parser = _options.parser("compile", __doc__)
    _options.add_networks(parser)
    parser.add_argument("--repeats", type=int, default=3, help="compilations of each")
    _options.add_quick(parser, "small networks")
    _options.add_folder(parser)
    options = parser.parse_args(argv)
    folder = _options.folder(options)
    print(_machine.describe() + "\n")
    rows = []
    for network in models.select(options.only, SMALL if options.quick else NETWORKS):
        rows.append({"key": network.name, **race(network, options.repeats)})
        print(f"{network.name}: {_line(rows[-1])}", flush=True)
    _report.keep("compile", rows, argv, folder)
    publish(folder)


def race(network: Network, repeats: int) -> _report.Row:
    """Median seconds of tracing and of compiling, of every candidate."""
    peers = {name: models.build(name, network) for name in CANDIDATES}
    images, labels = data(network)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CANDIDATES}
    for _ in range(repeats):
        for name, peer in peers.items():
            jax.clear_caches()
            start = time.perf_counter()
            lowered = jax.jit(peer.step, donate_argnums=0).lower(
                peer.carry, peer.images(images), labels
            )
            traced = time.perf_counter()
            lowered.compile()
            times[name].append((traced - start, time.perf_counter() - traced))
    middle = lambda name, which: statistics.median(pair[which] for pair in times[name])
    return {
        "trace": {name: middle(name, 0) for name in CANDIDATES},
        "compile": {name: middle(name, 1) for name in CANDIDATES},
    }


def _total(row: _report.Row, name: str) -> float:
    return row["trace"][name] + row["compile"][name]


def _line(row: _report.Row) -> str:
    return "  ".join(
        f"{name} {row['trace'][name]:.2f} + {row['compile'][name]:.2f} s" for name in CANDIDATES
    )


def publish(folder: pathlib.Path) -> None:
    """Makes the page and the picture from everything that was kept."""
    rows = json.loads((folder / "compile.json").read_text())
    order = [*NETWORKS, *SMALL]
    rows.sort(key=lambda row: order.index(row["key"]))
    _picture(folder / "compile.png", rows)
    text = _report.page("Compile time", __doc__ or "", rows, _table(rows), "compile.png")
    _report.write("compile", text, folder)


def _table(rows: Sequence[_report.Row]) -> str:
    head = ("network", *(f"{name}, s" for name in CANDIDATES), "ours / flax", "fast / flax", "bar")
    lines = []
    for row in rows:
        cells = [f"{row['trace'][n]:.2f} + {row['compile'][n]:.2f}" for n in CANDIDATES]
        ours, flax, fast = (_total(row, name) for name in CANDIDATES)
        verdict = f"≤ {BAR:g} {'met' if ours <= BAR * flax else 'MISSED'}"
        lines.append(
            (row["key"], *cells, _report.times(ours / flax), _report.times(fast / flax), verdict)
        )
    return "Seconds of tracing + of compiling.\n\n" + _machine.table(head, lines)


def _picture(path: pathlib.Path, rows: Sequence[_report.Row]) -> None:
    from jaxconv.plots._figure import BLUE, ORANGE, tidy

    def fill(figure):
        axes = tidy(figure.subplots(), "trace (pale) and compile a training step", x="seconds")
        colors = dict(zip(CANDIDATES, (BLUE, ORANGE, "#7a5195"), strict=True))
        for number, (name, color) in enumerate(colors.items()):
            places = [place + 0.26 * (number - 1) for place in range(len(rows))]
            traced = [row["trace"][name] for row in rows]
            compiled = [row["compile"][name] for row in rows]
            axes.barh(places, traced, 0.22, color=color, alpha=0.4)
            axes.barh(places, compiled, 0.22, left=traced, color=color, label=name)
        axes.set_yticks(range(len(rows)), [row["key"] for row in rows])
        axes.invert_yaxis()
        axes.legend(fontsize=8)

    _report.draw(path, 8, 1.2 + 0.55 * len(rows), fill)
