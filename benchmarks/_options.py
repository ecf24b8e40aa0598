"""Options that benchmarks share, each with one name and one meaning."""

import argparse
import pathlib

from benchmarks import _report


def parser(name: str, text: str | None, *, wrap: bool = False) -> argparse.ArgumentParser:
    """The options of a benchmark, whose help is `text` as it stands, or wrapped."""
    formatter = argparse.HelpFormatter if wrap else argparse.RawDescriptionHelpFormatter
    prog = f"python -m benchmarks {name}"
    return argparse.ArgumentParser(prog=prog, description=text, formatter_class=formatter)


def add_cases(parser: argparse.ArgumentParser, *, repeats: int, seconds: float) -> None:
    """Which cases, how often and how long; the numbers are defaults."""
    parser.add_argument("--only", help="cases whose name contains one of these, parted by commas")
    parser.add_argument("--repeats", type=int, default=repeats, help="turns of each candidate")
    add_seconds(parser, seconds)


def add_networks(parser: argparse.ArgumentParser) -> None:
    """Which networks."""
    parser.add_argument("--only", help="networks, parted by commas")


def add_seconds(parser: argparse.ArgumentParser, seconds: float) -> None:
    """How long one candidate may take."""
    parser.add_argument("--seconds", type=float, default=seconds, help="most time of one candidate")


def add_quick(parser: argparse.ArgumentParser, what: str) -> None:
    """A trial of the benchmark itself, on `what`."""
    parser.add_argument("--quick", action="store_true", help=f"{what}: does it run?")


def add_folder(parser: argparse.ArgumentParser, *, tune_malloc: bool = False) -> None:
    """Where results go; with `tune_malloc` also whether memory is kept, whose results go apart."""
    parser.set_defaults(tune_malloc=False)
    if tune_malloc:
        parser.add_argument("--tune-malloc", action="store_true", help="keep memory between steps")
    parser.add_argument("--folder", help="where results go")


def folder(options: argparse.Namespace) -> pathlib.Path:
    """Where results go."""
    if options.folder:
        return pathlib.Path(options.folder)
    return _report.RESULTS / "tuned" if options.tune_malloc else _report.RESULTS
