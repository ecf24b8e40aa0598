"""Broken networks are detected and the right line is named; sound ones are not accused."""

import equivariance_nets as nets
import jax.numpy as jnp
import numpy as np
import pytest

from jaxconv.equivariance import audit

KINDS = list(nets.MUTATIONS)
QUICK = 1  # every third seed adds adaptive sampling, whose audit compiles five times as long
SEEDS = 6


def _check_mutant(kind, seed):
    function, line, scope = nets.mutant(kind, seed)
    x = nets.image(seed)
    found = audit(function, x, lie=False)
    assert not found.obeys, "not detected"
    y, moved = (np.asarray(function(z)) for z in (x, jnp.roll(x, found.shift, (1, 2))))
    plain = np.abs(y - moved).max() / np.abs(y).max()  # the outputs must stay, so no audit is asked
    np.testing.assert_allclose(found.outputs[0].eps_inf, plain, rtol=1e-2)
    first = found.guilty[0]
    assert first.file.endswith("equivariance_nets.py"), str(found)
    assert (first.line, first.path.split("/")[0]) == (line, scope), str(found)
    assert f"equivariance_nets.py:{line} breaks" in str(found).splitlines()[0]


def _check_sound(seed):
    found = audit(nets.net(seed), nets.image(seed), lie=False)
    assert found.obeys, str(found)
    assert not found.guilty
    assert str(found).startswith("Nothing breaks")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_names_the_line_at_fault(kind):
    _check_mutant(kind, 3 * KINDS.index(kind) + QUICK)


def test_accuses_no_sound_network():
    for seed in range(3):
        _check_sound(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_names_the_line_at_fault_in_every_mutant(kind, seed):
    _check_mutant(kind, 100 + seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_accuses_none_of_sixty_sound_networks(seed):
    _check_sound(200 + seed)
