"""Random programs against the prover: nothing refuted. `python -m benchmarks prove` runs more."""

import jax
import pytest

from benchmarks import prove as fuzzer
from jaxconv.equivariance.prove import _labels, _multisets


@pytest.fixture(autouse=True)
def loose():
    """The programs are written for JAX's own defaults."""
    with (
        jax.enable_x64(True),
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        yield


def test_random_networks_refute_nothing():
    tally = fuzzer.fuzz(range(20), None)
    assert tally["refuted"] == 0
    assert tally["true laws"] >= 10


def test_random_operations_refute_nothing():
    tally = fuzzer.fuzz(range(60), 1)
    assert tally["refuted"] == 0
    assert tally["missed"] <= 3
    assert tally["true laws"] >= 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 2000, 100))
def test_many_random_networks_refute_nothing(seed):
    tally = fuzzer.fuzz(range(seed, seed + 100), None)
    assert tally["refuted"] == 0
    assert tally["missed"] <= 0.1 * tally["true laws"]


def test_a_broken_prover_is_refuted(monkeypatch, capsys):
    still = lambda code, anchor: _labels.sealed(
        code[:2], 0 * _labels.shifts_of(code), _labels.periods_of(code)
    )
    monkeypatch.setattr(_multisets, "relative", still)
    tally = fuzzer.fuzz(range(12), None)
    assert tally["refuted"] >= 3
    assert "one name for two functions" in capsys.readouterr().out
