"""Standard networks in five frameworks: the lattices of the literature, and the line at fault."""

import itertools

import pytest
import zoo_goldens
from zoo_goldens import MODES, SMALL, check, proof_of

PACKAGES = {"linen": "flax", "nnx": "flax", "equinox": "equinox", "haiku": "haiku"}
QUICK = ["resnet-18", "u-net", "vit", "swin"]


@pytest.mark.parametrize("name", QUICK)
def test_ours(name):
    for mode in ("circular", "zeros"):
        check(proof_of("ours", SMALL[name], mode), SMALL[name], mode)


def peers(names, *marks):
    pairs = itertools.product(PACKAGES, names)
    return [
        pytest.param(framework, name, marks=[pytest.mark.peer(PACKAGES[framework]), *marks])
        for framework, name in pairs
    ]


@pytest.mark.parametrize(("framework", "name"), peers(SMALL))
def test_peers(framework, name):
    for mode in ("circular", "zeros"):
        check(proof_of(framework, SMALL[name], mode), SMALL[name], mode)


@pytest.mark.parametrize(
    ("framework", "name"),
    peers(["resnet-18"]) + peers([n for n in SMALL if n != "resnet-18"], pytest.mark.slow),
)
def test_peers_in_training(framework, name):
    check(proof_of(framework, SMALL[name], "training"), SMALL[name], "training")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SMALL if n not in QUICK])
def test_ours_of_the_rest(name):
    for mode in MODES:
        check(proof_of("ours", SMALL[name], mode), SMALL[name], mode)


def test_full_size():
    """All others: `python -m benchmarks prove_models`."""
    golden = zoo_goldens.FULL["resnet-50"]
    check(proof_of("ours", golden), golden, "circular")


def test_a_wrong_golden_answer_would_be_noticed():
    golden = SMALL["resnet-18"]
    proof = proof_of("ours", golden)
    for wrong in (
        golden._replace(shift=16),
        golden._replace(stride="k.max_pool"),
        golden._replace(moves=True),
    ):
        with pytest.raises(AssertionError):
            check(proof, wrong, "circular")
