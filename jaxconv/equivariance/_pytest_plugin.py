"""Fixtures for tests of equivariance, and `--equivariance-report=DIR`: a picture per failure.

Installed with the package, pytest finds it by itself. The fixtures are the assertions, so a test
needs no import: `def test_net(assert_shift_invariant): assert_shift_invariant(net, x)`.
"""

import pathlib
import re

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    group = parser.getgroup("jaxconv")
    group.addoption(
        "--equivariance-report",
        metavar="DIR",
        default=None,
        help="write a picture and the message of every failed check of equivariance to DIR",
    )


@pytest.fixture
def assert_shift_equivariant():
    """`jaxconv.equivariance.assert_shift_equivariant`."""
    from jaxconv import equivariance

    return equivariance.assert_shift_equivariant


@pytest.fixture
def assert_shift_invariant():
    """`jaxconv.equivariance.assert_shift_invariant`."""
    from jaxconv import equivariance

    return equivariance.assert_shift_invariant


@pytest.fixture
def assert_equivariant():
    """`jaxconv.equivariance.assert_equivariant`."""
    from jaxconv import equivariance

    return equivariance.assert_equivariant


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Listens to failed checks while a test runs, when a report was asked for."""
    folder = item.config.getoption("--equivariance-report")
    if folder is None:
        return (yield)
    from jaxconv.equivariance import asserts

    listener = _listener(pathlib.Path(folder), item.nodeid)
    asserts.REPORTERS.append(listener)
    try:
        return (yield)
    finally:
        asserts.REPORTERS.remove(listener)


def _listener(folder: pathlib.Path, name: str):
    """Writes NAME-N.png and NAME-N.txt for the Nth failed check of a test."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._")[-120:]
    written = []

    def report(error, message: str) -> None:
        from jaxconv.equivariance.audit_plots import plot_failure

        folder.mkdir(parents=True, exist_ok=True)
        written.append(message)
        stem = f"{safe}-{len(written)}"
        (folder / f"{stem}.txt").write_text(f"{name}\n{message}\n\n{error}\n", encoding="utf-8")
        plot_failure(error, message).savefig(folder / f"{stem}.png")

    return report
