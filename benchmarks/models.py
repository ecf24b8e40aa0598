"""Races whole training steps: forward, backward and SGD, in every framework that is installed.

    python -m benchmarks models --only resnet20 --peers flax,haiku

Every framework builds the same architecture from its own layers (the numbers of parameters are
compared), takes the same images and labels, and makes the same update; JAX's steps are jitted with
their parameters donated and take turns in one process. PyTorch runs afterwards in its own, channels
last, on all cores or on one, whichever is faster, eager and through torch.compile. "fast(flax)" is
the Flax model with its forward pass in `jaxconv.fast`, and so are the others; "share" is how much
of the speed of our own model it reaches. "with options" is our model compiled as
`jaxconv.train.fit` compiles it, with what `jaxconv.compiler_options` picks; the ratios are its.
With --tune-malloc every process, PyTorch's too, keeps memory as `jaxconv.tune_malloc` tells it.
"""

import argparse
import importlib
import importlib.util
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax

import jaxconv as jc
from benchmarks import _machine, _options, _report
from benchmarks._architectures import NETWORKS, SMALL, Network
from benchmarks._timing import medians
from benchmarks._training import Peer, data

PEERS = {
    "jaxconv": "jaxconv",
    "with options": "jaxconv",
    "flax": "flax",
    "fast(flax)": "flax",
    "nnx": "flax",
    "equinox": "equinox",
    "haiku": "haiku",
    "keras": "keras",
    "fast(nnx)": "flax",
    "fast(equinox)": "equinox",
    "fast(haiku)": "haiku",
    "fast(keras)": "keras",
}
"""JAX candidates, each with the package that it needs."""

TORCH = {"torch": "eager", "torch.compile": "compiled"}
BARS = {
    "mobilenet_stack": (8.0, 1.2),
    "mobilenet_v2": (8.0, 1.2),
    "convnext": (3.0, 1.3),
    "resnet20": (1.5, 1.1),
}
"""The least Flax / ours and the most ours / torch."""


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    if options.cache:
        use_cache(options.cache)
    if options.tune_malloc:
        _machine.keep_memory()
    networks = select(options.only, SMALL if options.quick else NETWORKS)
    wanted = [name for name in options.peers.split(",") if name in (*PEERS, *TORCH)]
    folder = _options.folder(options)
    print(_machine.describe() + "\n")
    rows = race(networks, wanted, options)
    if not options.repeats:
        return
    old = {row["key"]: row for row in _report.kept(folder, "models")}
    for row in rows:  # keeps what other runs measured of the same network
        for part in ("seconds", "parameters", "failed"):
            row[part] = old.get(row["key"], {}).get(part, {}) | row[part]
        check_counts(row)
    _report.keep("models", rows, argv, folder)
    publish(folder)


def use_cache(folder: str) -> None:
    """Keeps compiled programs, so that a second run measures at once."""
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def select(only: str | None, networks: dict[str, Network]) -> list[Network]:
    """Networks by name."""
    names = only.split(",") if only else list(networks)
    unknown = [name for name in names if name not in networks]
    if unknown:
        sys.exit(f"benchmarks models: {unknown[0]!r} is unknown; expected one of {list(networks)}.")
    return [networks[name] for name in names]


def _parser() -> argparse.ArgumentParser:
    parser = _options.parser("models", __doc__)
    _options.add_networks(parser)
    parser.add_argument("--peers", default=",".join([*PEERS, *TORCH]), help="whom to race")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each; 0: only compile")
    _options.add_seconds(parser, 5.0)
    _options.add_quick(parser, "small networks")
    parser.add_argument("--device", default="cpu", help="PyTorch's; JAX takes its default")
    parser.add_argument("--cache", help="folder for compiled programs, for a second run")
    _options.add_folder(parser, tune_malloc=True)
    return parser


def race(
    networks: Sequence[Network], wanted: Sequence[str], options: argparse.Namespace
) -> list[_report.Row]:
    """Medians of a training step of every candidate, network by network."""
    rows = []
    for network in networks:
        runs, counts = {}, {}
        for name in wanted:
            if name in PEERS and importlib.util.find_spec(PEERS[name]):
                peer = build(name, network)
                chosen = choose(peer, network) if name == "with options" else {}
                counts[name] = peer.parameters
                if chosen or name != "with options":
                    runs[name] = runner(peer, network, chosen)
        measured = medians(runs, options.repeats, options.seconds)
        if "with options" in counts and "with options" not in runs and "jaxconv" in measured:
            measured["with options"] = measured["jaxconv"]  # none are picked: the same program
        row = {"key": network.name, "seconds": measured, "parameters": counts, "failed": {}}
        print(f"{network.name}: {_line(measured)}", flush=True)
        rows.append(row)
    ways = {name: way for name, way in TORCH.items() if name in wanted}
    if ways and importlib.util.find_spec("torch"):
        beside = torch_steps(networks, list(ways.values()), options, options.device)
        for row in rows:
            _add_torch(row, beside[row["key"]], ways)
            print(f"{row['key']}: {_line(row['seconds'])}", flush=True)
    return rows


def build(name: str, network: Network) -> Peer:
    """A network in one framework."""
    rewritten = name.startswith("fast(")
    module = "jaxconv" if name == "with options" else name.removeprefix("fast(").removesuffix(")")
    make = importlib.import_module(f"benchmarks._peers_{module}").build
    return make(network, wrap=jc.fast) if rewritten else make(network)


def choose(peer: Peer, network: Network) -> dict[str, Any]:
    """The compiler options for a training step."""
    images, labels = data(network)
    return jc.compiler_options(peer.step, peer.carry, peer.images(images), labels)


def runner(
    peer: Peer, network: Network, chosen: dict[str, Any] | None = None
) -> Callable[[], None]:
    """One training step as a function of nothing, which goes on from the last one."""
    images, labels = data(network)
    x, labels = jax.device_put((peer.images(images), labels))
    step = jax.jit(peer.step, donate_argnums=0, compiler_options=chosen or None)
    carry = jax.tree.map(jax.numpy.array, peer.carry)

    def run():
        nonlocal carry
        carry, loss = step(carry, x, labels)
        jax.block_until_ready((carry, loss))

    return run


def torch_steps(networks, ways, options, device: str = "cpu") -> dict[str, dict]:
    """PyTorch's medians, from a process that ends afterwards."""
    request = {
        "networks": [network.name for network in networks],
        "small": options.quick,
        "ways": ways,
        "repeats": options.repeats,
        "seconds": options.seconds,
        "device": device,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._peers_torch"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"benchmarks models: PyTorch's process failed.\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _add_torch(row: _report.Row, found: dict, ways: dict[str, str]) -> None:
    for name, way in ways.items():
        row["parameters"][name] = found["parameters"]
        if way in found:
            row["seconds"][name] = found[way]
        else:
            row["failed"][name] = found[f"{way} failed"]


def check_counts(row: _report.Row) -> None:
    """Stops unless every framework trains the same number of parameters."""
    if len(set(row["parameters"].values())) > 1:
        sys.exit(f"benchmarks models: {row['key']} differs between frameworks: {row['parameters']}")


def _line(measured: dict[str, float]) -> str:
    return "  ".join(f"{name} {_report.milliseconds(s)} ms" for name, s in measured.items())


def publish(folder: pathlib.Path) -> None:
    """Makes the page and the picture from everything that was kept."""
    rows = json.loads((folder / "models.json").read_text())
    order = [*NETWORKS, *SMALL]
    rows.sort(key=lambda row: order.index(row["key"]))
    picture = "models.png" if all("torch" in row["seconds"] for row in rows) else None
    if picture:
        _picture(folder / picture, rows)
    body = "Milliseconds of one training step:\n\n" + _times_table(rows)
    body += "\n\nRatios:\n\n" + _ratio_table(rows)
    failed = [
        f"- {row['key']}, {name}: {why}" for row in rows for name, why in row["failed"].items()
    ]
    body += "\n\nDid not run:\n\n" + "\n".join(failed) if failed else ""
    text = _report.page("Training steps", __doc__ or "", rows, body, picture)
    _report.write("models", text, folder)


def _times_table(rows: Sequence[_report.Row]) -> str:
    names = [n for n in (*PEERS, *TORCH) if any(n in row["seconds"] for row in rows)]
    head = ("network", "input", "parameters", *names)
    lines = []
    for row in rows:
        network = {**SMALL, **NETWORKS}[row["key"]]
        cells = [_report.milliseconds(row["seconds"].get(name)) for name in names]
        count = f"{next(iter(row['parameters'].values())):,}"
        lines.append((row["key"], "×".join(map(str, network.x)), count, *cells))
    return _machine.table(head, lines)


def _ratio_table(rows: Sequence[_report.Row]) -> str:
    head = ("network", "flax / ours", "ours / torch", "flax / torch", "share of fast(flax)", "bar")
    lines = []
    for row in rows:
        found = row["seconds"].get
        ratio = lambda a, b: found(a) / found(b) if found(a) and found(b) else None  # noqa: B023
        ours = "with options" if found("with options") else "jaxconv"
        faster, over = ratio("flax", ours), ratio(ours, "torch")
        share = ratio("jaxconv", "fast(flax)")
        percent = "" if share is None else f"{100 * share:.0f} %"
        cells = map(_report.times, (faster, over, ratio("flax", "torch")))
        lines.append((row["key"], *cells, percent, _verdict(row["key"], faster, over)))
    return _machine.table(head, lines)


def _verdict(name: str, faster: float | None, over: float | None) -> str:
    if name not in BARS or faster is None or over is None:
        return ""
    least, most = BARS[name]
    first = f"≥ {least:g} {'met' if faster >= least else 'MISSED'}"
    return f"{first}, ≤ {most:g} {'met' if over <= most else 'MISSED'}"


def _picture(path: pathlib.Path, rows: Sequence[_report.Row]) -> None:
    from jaxconv.plots._figure import BLUE, ORANGE, tidy

    marks = {
        "flax": ("o", ORANGE),
        "fast(flax)": ("D", "#7a5195"),
        "nnx": ("v", "#c9a227"),
        "equinox": ("s", "#5f9ea0"),
        "haiku": ("^", "#8c8c8c"),
        "keras": ("P", "#b56576"),
        "torch.compile": ("x", "black"),
        "jaxconv": ("o", BLUE),
        "with options": ("*", BLUE),
    }

    def fill(figure):
        axes = tidy(figure.subplots(), "one training step", x="time / PyTorch eager's")
        for name, (mark, color) in marks.items():
            points = [
                (row["seconds"][name] / row["seconds"]["torch"], place)
                for place, row in enumerate(rows)
                if name in row["seconds"]
            ]
            if points:
                axes.scatter(*zip(*points, strict=True), marker=mark, color=color, s=40, label=name)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xscale("log")
        axes.set_yticks(range(len(rows)), [row["key"] for row in rows])
        axes.invert_yaxis()
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    _report.draw(path, 9, 1.2 + 0.5 * len(rows), fill)
