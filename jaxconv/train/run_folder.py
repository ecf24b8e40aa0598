"""The folder of a run: what was asked, what was measured, what came out.

config.json         the resolved configuration, versions, machine and flags
metrics.jsonl       one JSON object a line, appended while training runs
params.safetensors  parameters and state
*.png               pictures
"""

import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np

import jaxconv
from jaxconv import _atomic
from jaxconv._extras import need
from jaxconv.train import checkpoint
from jaxconv.train.step import TrainState

PACKAGES = ("jax", "jaxlib", "numpy", "optax")
FLAGS = ("XLA_FLAGS", "JAX_PLATFORMS", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION")


def create(folder: str | os.PathLike, config: dict[str, Any]) -> pathlib.Path:
    """Makes the folder of a run and writes its config.json.

    Args:
        folder: made with its parents; one that holds a run already gets a number, "name-2".
        config: every setting that decides the result, as JSON can hold it.

    Returns:
        The folder.

    Example:
        >>> import tempfile
        >>> parent = tempfile.TemporaryDirectory()
        >>> run = create(parent.name + "/digits", {"seed": 0})
        >>> create(parent.name + "/digits", {"seed": 0}).name
        'digits-2'
        >>> append(run, {"epoch": 1, "loss": 0.5})
        >>> read_metrics(run)
        [{'epoch': 1, 'loss': 0.5}]
        >>> parent.cleanup()
    """
    first = pathlib.Path(folder)
    chosen, number = first, 1
    while (chosen / "config.json").exists():
        number += 1
        chosen = first.with_name(f"{first.name}-{number}")
    chosen.mkdir(parents=True, exist_ok=True)
    text = json.dumps(describe(config), indent=2, allow_nan=False) + "\n"
    _atomic.replace(chosen / "config.json", lambda path: _write(path, text))
    return chosen


def fingerprint(*arrays: Any) -> str:
    """One sha256 of the bytes, shapes and dtypes of arrays: which data a run has seen.

    Example:
        >>> fingerprint(np.zeros(2)) == fingerprint(np.zeros(2))
        True
        >>> fingerprint(np.zeros(2)) == fingerprint(np.zeros((2, 1)))
        False
    """
    total = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        total.update(f"{array.dtype.str} {array.shape} ".encode())
        total.update(array.data)
    return total.hexdigest()


def describe(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with all that it takes to repeat a run: versions, machine, flags."""
    device = jax.devices()[0]
    return {
        "config": plain(config),
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": _git_commit(),
        "versions": {"python": platform.python_version(), "jaxconv": jaxconv.__version__}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": {
            "platform": platform.platform(),
            "device": device.device_kind,
            "backend": device.platform,
            "devices": jax.device_count(),
            "cores": os.cpu_count(),
        },
        "flags": {name: os.environ.get(name) for name in FLAGS},
    }


def append(run: str | os.PathLike, record: dict[str, Any]) -> None:
    """Adds one line to metrics.jsonl; a line that a crash left half-written is dropped first."""
    line = json.dumps(plain(record), allow_nan=False) + "\n"
    path = pathlib.Path(run) / "metrics.jsonl"
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            if whole != end:
                file.truncate(whole)
        file.write(line.encode())


def read_metrics(run: str | os.PathLike) -> list[dict[str, Any]]:
    """All lines of metrics.jsonl that were written to their end."""
    lines = (pathlib.Path(run) / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def save_params(run: str | os.PathLike, train_state: TrainState) -> pathlib.Path:
    """Writes params.safetensors: the parameters under "params/", the state under "state/"."""
    tree = {"params": train_state.params, "state": train_state.state}
    path = pathlib.Path(run) / "params.safetensors"
    return checkpoint.save(path, jax.device_get(tree), metadata={"step": str(train_state.step)})


def load_params(run: str | os.PathLike, like: TrainState) -> TrainState:
    """Reads what `save_params` wrote into a train state of the same model."""
    tree = {"params": like.params, "state": like.state}
    tree = checkpoint.load(pathlib.Path(run) / "params.safetensors", tree)
    return like._replace(params=tree["params"], state=tree["state"])


def save_picture(run: str | os.PathLike, name: str, axes: Any) -> pathlib.Path:
    """Writes the figure of some matplotlib Axes as `name`.png.

    Args:
        run: the folder.
        name: file name without its ending.
        axes: one Axes, or an array or sequence of them, of one figure.

    Returns:
        The path.
    """
    need("save_picture", "matplotlib", "plots")
    first = np.ravel(np.asarray(axes, dtype=object))[0]
    path = pathlib.Path(run) / f"{name}.png"
    return _atomic.replace(path, lambda temporary: first.figure.savefig(temporary, format="png"))


def plain(value: Any) -> Any:
    """The same in what JSON can hold: arrays become lists, a NaN or an infinity becomes None."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return plain(np.asarray(value).tolist())
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write(path: pathlib.Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _git_commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
