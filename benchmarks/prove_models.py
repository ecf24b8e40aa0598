"""Proves standard networks at full size, in five frameworks, and measures how the cost grows.

    python -m benchmarks prove_models [--only NAME ..] [--frameworks ours linen ..] [--growth]

Every case is compared with its golden answer (`tests/zoo_goldens.py`): the lattice, the line at
fault, nothing unmodelled; the exit status counts those that differ. A framework and a network run
in a process of their own on one core, without weights. Seconds are the processor's, for `prove`
with its trace and for printing the table with its repairs, once the framework has made the shapes
of the weights; memory is the process's peak so far, the framework and JAX included.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

from benchmarks import _machine, _options, _report

ROOT = pathlib.Path(__file__).parent.parent
FRAMEWORKS = ("ours", "linen", "nnx", "equinox", "haiku")
SIZES = (32, 64, 128, 224, 448)
REPEATS = 5
WINDOWS = (3, 7)
NETWORKS = ("six convolutions 3 x 3", "six convolutions 7 x 7", "resnet-50")


def main(argv: list[str]) -> None:
    parser = _options.parser("prove_models", __doc__, wrap=True)
    goldens = _goldens()
    parser.add_argument("--only", nargs="+", choices=list(goldens.FULL), default=goldens.FULL)
    parser.add_argument("--frameworks", nargs="*", default=FRAMEWORKS, choices=FRAMEWORKS)
    parser.add_argument("--growth", action="store_true", help="sizes x taps, on our layers")
    parser.add_argument("--folder", type=pathlib.Path, default=_report.RESULTS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(measure(*options.child)))
        return
    wanted = [(framework, name) for name in options.only for framework in options.frameworks]
    if options.growth:
        wanted = [("growth", name) for name in NETWORKS]
    wrong = 0
    for framework, name in wanted:
        child = ["-m", "benchmarks", "prove_models", "--child", framework, name]
        done = subprocess.run([sys.executable, *child], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{framework} {name} failed:\n{done.stderr[-2000:]}", flush=True)
            wrong += 1
            continue
        rows = json.loads(done.stdout.splitlines()[-1])
        for row in rows:
            print(*row.values(), sep=" | ", flush=True)
        wrong += sum(bool(row.get("wrong")) for row in rows)
        kept = _report.keep("prove_models", rows, argv, options.folder)
        _report.write("prove_models", page(kept), options.folder)
    sys.exit(min(wrong, 100))


def _goldens():
    if str(ROOT / "tests") not in sys.path:
        sys.path.insert(0, str(ROOT / "tests"))
    import zoo_goldens

    return zoo_goldens


def measure(framework: str, name: str) -> list[dict]:
    """One row for every mode, or every size, in this process, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if framework == "growth":
        import jaxconv as jc

        jc.tune_malloc()
        return [grown(name, borders, n) for borders in ("circular", "zeros") for n in SIZES]
    return [answered(framework, name, mode) for mode in _goldens().MODES]


def answered(framework: str, name: str, mode: str) -> dict:
    """One proof of one network, beside its golden answer."""
    from jaxconv.equivariance import prove

    goldens = _goldens()
    golden = goldens.FULL[name]
    f, params, x = goldens.network(framework, golden, mode)
    with goldens.kits_are_libraries():
        start = time.process_time()
        proof = prove(f, x, params=params)
        text = str(proof)
        seconds = time.process_time() - start
    try:
        wrong = goldens.check(proof, golden, mode) or ""
    except AssertionError as error:
        wrong = str(error) or "differs"
    law, *rest = text.splitlines()[0].split("; the first obstruction is the ")
    return {
        "key": f"{name}, {framework}, {mode}",
        "network": name,
        "framework": framework,
        "mode": mode,
        "law": law.removeprefix("Output is ").removeprefix("Output: "),
        "obstruction": rest[0].split(". With")[0].rstrip(".") if rest else "",
        "unmodelled": len(proof.unmodelled),
        "seconds": round(seconds, 2),
        "megabytes": _megabytes(),
        "wrong": wrong,
    }


def grown(name: str, borders: str, size: int) -> dict:
    """The cost of a proof at one size."""
    import jax
    import jax.numpy as jnp

    import jaxconv as jc
    from jaxconv.equivariance import prove

    window = int(name.split()[-1]) if "convolutions" in name else 0
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    if window:
        convs = [jc.conv(3, window, padding_mode=borders) for _ in range(6)]
        model = jc.serial(*convs, jc.global_avg_pool())
    else:
        model = jc.models.resnet(50, padding_mode=borders)
    weights = jax.eval_shape(model.init, jax.random.key(0), x)
    f = lambda w, x: model.apply(*w, x)[0]
    prove(f, jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32), params=weights)  # imports
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        str(prove(f, x, params=weights))
        times.append(time.process_time() - start)
    seconds = statistics.median(times)
    key = f"growth, {name}, {borders}, {size}"
    return {
        "key": key,
        "grown": name,
        "borders": borders,
        "size": size,
        "seconds": round(seconds, 3),
        "megabytes": _megabytes(),
    }


def _megabytes() -> int:
    """Peak memory of this process; getrusage would count the one that started it, too."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def page(rows: list[dict]) -> str:
    """The page of results, from every row that was ever kept."""
    proofs = sorted((row for row in rows if "network" in row), key=lambda row: _order(row))
    head = ("network", "framework", "mode", "law", "first obstruction", "unmodelled", "s", "MB")
    body = [
        [row[key] for key in ("network", "framework", "mode", "law", "obstruction")]
        + [row["unmodelled"], f"{row['seconds']:.2f}", row["megabytes"]]
        + ([] if not row["wrong"] else [f"WRONG: {row['wrong']}"])
        for row in proofs
    ]
    right = sum(not row["wrong"] for row in proofs)
    lines = [
        f"{right} of {len(proofs)} cases give the golden answer, on the right line.",
        "",
        _machine.table(head, body),
        "",
        SWIN,
    ]
    lines += ["", "## Growth", "", GROWTH, "", *_growth(rows)]
    return _report.page("Proofs of full-size networks", TEXT, rows, "\n".join(lines))


def _order(row: dict) -> tuple:
    names = list(_goldens().FULL)
    modes = list(_goldens().MODES)
    place = names.index(row["network"]), FRAMEWORKS.index(row["framework"])
    return *place, modes.index(row["mode"])


def _growth(rows: list[dict]) -> list[str]:
    found = {(r["grown"], r["borders"], r["size"]): r["seconds"] for r in rows if "grown" in r}
    head = ["network, borders", *[f"{n} x {n}" for n in SIZES]]
    head += [f"{n}/{m}: x{(n / m) ** 2:.2f}" for m, n in zip(SIZES, SIZES[1:], strict=False)]
    body = []
    for name, borders in dict.fromkeys(key[:2] for key in found):
        seconds = [found.get((name, borders, n)) for n in SIZES]
        pairs = zip(seconds, seconds[1:], strict=False)
        ratios = [f"x{b / a:.2f}" if a and b else "" for a, b in pairs]
        times = [f"{s:.2f}" if s else "" for s in seconds]
        body.append([f"{name}, {borders}", *times, *ratios])
    return [_machine.table(head, body)] if body else []


TEXT = """224 x 224 pixels, batch 2, without weights: processor seconds of `prove` and of printing
the table with its repairs, on one core, and the peak memory of the process so far, with JAX and
the framework in it (the three modes of a network share a process). The golden answers are those of
`tests/zoo_goldens.py`; a line is right if the call at fault stands in it. "circular" and "zeros"
are in eval mode, "training" is with circular borders. Haiku and Equinox have no circular transposed
convolution; a 2 x 2 one with stride 2 needs none."""
SWIN = """Swin-T is right not to be proved at 224 pixels: a shift by one window of the third stage,
112 pixels, is three and a half patches after the last merge. In a small version (56 pixels, window
7, two stages, random weights, float64) the shift by 28 changes the logits by 7 %, and the shift by
56 by nothing; with the first stage alone the shift by 28 changes them by 2e-16, as proved."""
GROWTH = """Processor seconds of `prove` and its printed table with repairs, ours, batch 2, medians
of five runs after `jaxconv.tune_malloc()`; the last columns are the ratios of neighboring times, in
the head the ratio of the positions. Without it the kernel maps and clears memory beyond 32 MiB anew
at each use, which is 0.6 of 4.4 seconds at 448 pixels (7 x 7, circular) and next to nothing at 224:
there the ratio is 4.5."""
