"""Proves standard networks at full size, in five frameworks: laws, seconds, memory.

    python -m benchmarks prove_models [--only NAME] [--frameworks ours linen]

Every case runs in a process of its own on one core, without weights. Seconds are the processor's,
for `prove` with its trace and for printing the table, once the framework has made the shapes of the
weights; memory is the process's peak, the framework and JAX included.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from benchmarks import _machine

ROOT = pathlib.Path(__file__).parent.parent
CASES = {
    "resnet-18": (224, "residual_network", {"blocks": (2, 2, 2, 2), "width": 64}),
    "resnet-50": (
        224,
        "residual_network",
        {"blocks": (3, 4, 6, 3), "width": 64, "bottleneck": True},
    ),
    "mobilenet-v2": (
        224,
        "mobile_network",
        {
            "blocks": (
                (1, 16, 1, 1),
                (6, 24, 2, 2),
                (6, 32, 3, 2),
                (6, 64, 4, 2),
                (6, 96, 3, 1),
                (6, 160, 3, 2),
                (6, 320, 1, 1),
            )
        },
    ),
    "efficientnet-b0-like": (
        224,
        "efficient_network",
        {
            "blocks": (
                (1, 16, 1, 1, 3),
                (6, 24, 2, 2, 3),
                (6, 40, 2, 2, 5),
                (6, 80, 3, 2, 3),
                (6, 112, 3, 1, 5),
                (6, 192, 4, 2, 5),
                (6, 320, 1, 1, 3),
            )
        },
    ),
    "convnext-t": (
        224,
        "convnext",
        {"depths": (3, 3, 9, 3), "widths": (96, 192, 384, 768)},
    ),
    "u-net": (224, "u_net", {"levels": 4, "width": 64}),
    "vit-b-16": (224, "vision_transformer", {"depth": 12, "width": 768, "heads": 12}),
    "vit-b-16, no positions": (
        224,
        "vision_transformer",
        {"depth": 12, "width": 768, "heads": 12, "position": False},
    ),
    "swin-t": (224, "swin", {"depths": (2, 2, 6, 2), "width": 96, "heads": 3, "window": 7}),
    "attention-pool": (224, "attention_pool", {"width": 64}),
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks prove_models", description=__doc__)
    frameworks = ["ours", "linen", "nnx", "equinox", "haiku"]
    parser.add_argument("--only", choices=list(CASES))
    parser.add_argument("--frameworks", nargs="+", default=frameworks, choices=frameworks)
    parser.add_argument("--child", nargs=3, metavar=("FRAMEWORK", "NAME", "MODE"))
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(measure(*options.child)))
        return
    print(_machine.describe())
    head = ("network", "framework", "mode", "law", "first obstruction", "unmodelled", "s", "MB")
    rows = []
    for name in [options.only] if options.only else CASES:
        for framework in options.frameworks:
            for mode in ("circular", "zeros", "training"):
                child = ["-m", "benchmarks", "prove_models", "--child", framework, name, mode]
                done = subprocess.run(
                    [sys.executable, *child], capture_output=True, text=True, check=False
                )
                if done.returncode:
                    rows.append((name, framework, mode, f"failed: {done.stderr[-200:]}"))
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                rows.append((name, framework, mode, *found.values()))
                print(*rows[-1], sep=" | ", flush=True)
    print(_machine.table(head, rows))


def measure(framework: str, name: str, mode: str) -> dict:
    """One proof in this process, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sys.path.insert(0, str(ROOT / "tests"))
    import functools

    import jax
    import jax.numpy as jnp
    import zoo
    import zoo_kits

    from jaxconv.equivariance import prove

    size, body, options = CASES[name]
    network = functools.partial(getattr(zoo, body), **options)
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    circular = {"circular": mode != "zeros", "train": mode == "training"}
    f, params = zoo_kits.FRAMEWORKS[framework](network, x, **circular)
    start = time.process_time()
    proof = prove(f, x, params=params)
    text = str(proof)
    seconds = time.process_time() - start
    law, *rest = text.splitlines()[0].split("; the first obstruction is ")
    return {
        "law": law,
        "obstruction": rest[0].split(". With")[0] if rest else "",
        "unmodelled": len(proof.unmodelled),
        "seconds": round(seconds, 2),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
