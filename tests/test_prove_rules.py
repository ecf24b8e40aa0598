"""Every rule against the concretization equations: one name, one function, on every shift."""

import jax
import numpy as np
import prove_programs
import pytest

from jaxconv.equivariance.prove import _multisets, _table
from jaxconv.equivariance.prove._oracle import broken_labels
from jaxconv.equivariance.prove._program import trace


def broken(f, shape=prove_programs.SHAPE, seed=0):
    with jax.enable_x64(True):
        x = np.random.default_rng(seed).normal(size=shape)
        program = trace("test", f, x, (1, 2), None, "generic")
        return broken_labels(program, x)


@pytest.mark.parametrize("name", prove_programs.PROGRAMS)
def test_labels_name_functions(name):
    assert broken(prove_programs.PROGRAMS[name]) == []


def test_the_oracle_catches_a_wrong_rule(monkeypatch):
    keep = lambda context, call, x: x  # the labels of x for another function of x
    monkeypatch.setitem(_table.RULES, "sin", keep)
    assert "sin: one name for two functions" in broken(lambda x: jax.numpy.sin(x) + x)


def test_the_oracle_catches_a_wrong_stabilizer(monkeypatch):
    monkeypatch.setattr(
        _multisets, "_stabilized", lambda code, periods, *rest: np.ones_like(periods)
    )
    assert broken(lambda x: x[:, ::2].sum((1, 2)))
