"""Runs one benchmark: `python -m benchmarks NAME [options]`; without a name, lists them."""

import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).parent


def names() -> list[str]:
    """Every module here with a `main(argv)`."""
    return sorted(path.stem for path in HERE.glob("[!_]*.py"))


def run(argv: list[str]) -> None:
    """Runs the benchmark that argv names, with the rest of argv as its options."""
    if not argv or argv[0] not in names():
        given = f"{argv[0]!r} is unknown; " if argv else ""
        sys.exit(f"benchmarks: {given}expected one of {', '.join(names())}.")
    importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    run(sys.argv[1:])
