"""What a verdict depends on: versions, devices, settings, and who may write to the cache."""

import importlib.metadata
import os
import pathlib
import platform
import stat
from collections.abc import Mapping
from typing import Any

import jaxconv

PACKAGES = ("jax", "jaxlib", "numpy")


def describe(backend: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Facts as lines of text, by name, in the order of the report.

    Args:
        backend: what `_child.facts` said; empty where no backend started.
        environment: variables of the processes of the canaries.
    """
    versions = [f"{name} {_version(name)}" for name in PACKAGES]
    devices = backend.get("devices", [])
    kinds = [f"{devices.count(kind)} x {kind}" for kind in dict.fromkeys(devices)]
    return {
        "jaxconv": jaxconv.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(versions),
        "devices": ", ".join(kinds) or "none",
        "processor cores": str(os.cpu_count()),
        "XLA_FLAGS": environment.get("XLA_FLAGS") or "not set",
        "64-bit numbers": "on" if backend.get("x64") else "off",
        "JAXCONV_PRIMITIVES": str(backend.get("primitives", "unknown")),
        "compilation cache": cache(backend.get("cache")),
    }


def cache(folder: str | None) -> str:
    """The folder of compiled programs, and whether others may put programs there.

    JAX runs what it finds in this folder, so whoever can write to it, or can replace it by
    writing to a folder above it, runs programs as this user.
    """
    if not folder:
        return "none"
    path = pathlib.Path(folder).absolute()
    opened = open_folder(path)
    if opened is None:
        return f"{path}, only yours to write"
    return f"{path}, AND OTHERS CAN WRITE TO {opened}: chmod go-w {opened}"


def open_folder(path: pathlib.Path) -> pathlib.Path | None:
    """The first of a folder and those above it that others may write to and replace things in."""
    for place in (path, *path.parents):
        try:
            mode = place.stat().st_mode
        except OSError:
            continue
        others = mode & (stat.S_IWGRP | stat.S_IWOTH)
        # In a folder with the sticky bit, such as /tmp, only the owner replaces what is there.
        if others and (place == path or not mode & stat.S_ISVTX):
            return place
    return None


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
