"""The process of the canaries: `python -m jaxconv.doctor._child CANARY/SIDE ...`.

It writes one JSON line with facts about the backend, then one before and one after each program,
so that whoever reads knows in which program it died.
"""

import json
import sys
from typing import Any

import jax

from jaxconv.doctor import _programs
from jaxconv.ops import _define


def facts() -> dict[str, Any]:
    """What only a process with a backend can say."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "devices": [str(device.device_kind) for device in devices],
        "x64": bool(jax.config.values["jax_enable_x64"]),
        "primitives": "on" if _define.ENABLED else "off",
        "cache": jax.config.values["jax_compilation_cache_dir"],
    }


def main(programs: list[str]) -> None:
    """Runs the programs, in this order."""
    _write({"facts": facts()})
    for name in programs:
        _write({"begin": name})
        try:
            with jax.default_matmul_precision("highest"):
                error = _programs.run(name)
            right = error is not None and error <= _programs.LIMIT
            _write({"end": name, "error": error, "right": right})
        except Exception as failure:
            _write({"end": name, "raised": f"{type(failure).__name__}: {failure}"[:400]})


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
