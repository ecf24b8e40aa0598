"""How near to a device's limits an operation runs: bytes per second, and operations per second."""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._timing import medians


class Peaks(NamedTuple):
    """What a device can do at most.

    Attributes:
        bandwidth: bytes per second between memory and cores.
        flops: multiplications and additions per second in a matrix product, by dtype.
        source: where the numbers come from.
    """

    bandwidth: float
    flops: dict[str, float]
    source: str


KNOWN = {  # vendors' data sheets, dense, TB/s and TFLOP/s; float32 is TF32 where there is one
    r"H200": (4.8, {"float32": 495.0, "bfloat16": 989.0, "float16": 989.0}),
    r"H100 80GB HBM3|H100 SXM": (3.35, {"float32": 495.0, "bfloat16": 989.0, "float16": 989.0}),
    r"H100": (2.0, {"float32": 378.0, "bfloat16": 756.0, "float16": 756.0}),
    r"A100.*80GB": (2.039, {"float32": 156.0, "bfloat16": 312.0, "float16": 312.0}),
    r"A100": (1.555, {"float32": 156.0, "bfloat16": 312.0, "float16": 312.0}),
    r"L4$": (0.3, {"float32": 60.0, "bfloat16": 121.0, "float16": 121.0}),
    r"T4": (0.32, {"float32": 8.1, "bfloat16": 8.1, "float16": 65.0}),
    r"RTX 4090": (1.008, {"float32": 82.6, "bfloat16": 165.0, "float16": 165.0}),
    r"TPU v5 ?lite|TPU v5e": (0.819, {"float32": 49.0, "bfloat16": 197.0, "float16": 197.0}),
    r"TPU v4": (1.228, {"float32": 69.0, "bfloat16": 275.0, "float16": 275.0}),
}


def known(kind: str) -> Peaks | None:
    """The peaks of a device by its name, if they are known."""
    for pattern, (bandwidth, flops) in KNOWN.items():
        if re.search(pattern, kind):
            tera = {dtype: value * 1e12 for dtype, value in flops.items()}
            return Peaks(bandwidth * 1e12, tera, f"data sheet of {kind}")
    return None


def measured(size: int = 4096, megabytes: int = 1024, repeats: int = 10) -> Peaks:
    """What the device reaches: a copy that reads and writes, and square matrix products."""
    count = megabytes * 2**20 // 4
    x = jnp.zeros(count, jnp.float32)
    runs: dict[str, Callable[[], object]] = {"copy": _blocking(jax.jit(lambda x: x + 1), x)}
    for dtype in ("float32", "bfloat16", "float16"):
        a = jnp.asarray(np.random.default_rng(0).standard_normal((size, size)), dtype)
        runs[dtype] = _blocking(jax.jit(jnp.matmul), a, a)
    times = medians(runs, repeats)
    flops = {dtype: 2 * size**3 / seconds for dtype, seconds in times.items() if dtype != "copy"}
    text = f"measured: x + 1 on {megabytes} MiB, matrix products of {size}"
    return Peaks(2 * 4 * count / times["copy"], flops, text)


def _blocking(run, *args):
    return lambda: jax.block_until_ready(run(*args))


def least_seconds(flops: float, traffic: float, peaks: Peaks, dtype: str) -> float:
    """The least time: computing and moving overlap, and the slower one counts."""
    return max(flops / peaks.flops[dtype], traffic / peaks.bandwidth)


def fraction(seconds: float, flops: float, traffic: float, peaks: Peaks, dtype: str) -> float:
    """Least time over measured time: 1 is the roof."""
    return least_seconds(flops, traffic, peaks, dtype) / seconds
