"""What a figure depends on: machine, versions, and how busy the machine was."""

import importlib.metadata
import os
import pathlib
import platform
import sys
from collections.abc import Sequence

import jax

import jaxconv as jc

PEERS = ("jax", "jaxlib", "numpy", "flax", "equinox", "dm-haiku", "keras", "torch")


def describe() -> str:
    """One line: the machine, its versions and its load."""
    return f"{identity()}, load {os.getloadavg()[0]:.1f}"


def identity() -> str:
    """One line: processor, cores, device, Python, versions of everything that is installed."""
    versions = []
    for name in PEERS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"{processor()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def keep_memory() -> None:
    """Memory stays with this process and those that it starts; before the first array."""
    if not jc.tune_malloc():
        sys.exit("benchmarks: --tune-malloc needs glibc; run without it.")
    settings = {"ARENA_MAX": "1", "MMAP_MAX_": "0", "TRIM_THRESHOLD_": "8000000000"}
    os.environ.update({f"MALLOC_{name}": value for name, value in settings.items()})


def processor() -> str:
    """Name of the processor, with its widest vectors, on which every ratio depends."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = facts.get("flags", "").split()
    widest = next((v for v in ("avx512f", "avx2", "avx") if v in flags), None)
    vectors = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    name = facts.get("model name", platform.machine())
    return f"{name} ({vectors[widest]})" if widest else name


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
