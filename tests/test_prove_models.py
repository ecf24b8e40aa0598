"""Standard networks in five frameworks: the lattices of the literature, and the line at fault."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
import zoo
import zoo_kits

from jaxconv.equivariance import prove

PACKAGES = {"linen": "flax", "nnx": "flax", "equinox": "equinox", "haiku": "haiku"}


class Golden(NamedTuple):
    """A network, and what is true of it.

    Attributes:
        body: the network.
        size: pixels of the input along each axis.
        shift: the lattice with circular borders, for invariance or, with `moves`, equivariance;
            0 for none.
        stride: function that holds the first obstruction with circular borders.
        border: function that holds the first obstruction with zero padding, "" where the network
            pads nothing and obeys the same law.
        moves: whether the output is a map of the size of the input.
    """

    body: Any
    size: int
    shift: int
    stride: str
    border: str
    moves: bool = False


bottlenecks = functools.partial(zoo.residual_network, bottleneck=True)
vit = zoo.vision_transformer

SMALL = {
    "resnet-18": Golden(zoo.residual_network, 64, 32, "conv", "conv"),
    "resnet-50": Golden(bottlenecks, 64, 32, "conv", "conv"),
    "mobilenet-v2": Golden(zoo.mobile_network, 64, 32, "conv", "conv"),
    "efficientnet": Golden(zoo.efficient_network, 64, 32, "conv", "conv"),
    "convnext": Golden(zoo.convnext, 64, 32, "conv", "conv"),
    "u-net": Golden(functools.partial(zoo.u_net, levels=2), 16, 4, "max_pool", "conv", moves=True),
    "vit": Golden(vit, 64, 0, "vision_transformer", "vision_transformer"),
    "vit-no-positions": Golden(functools.partial(vit, position=False), 64, 16, "conv", ""),
    "swin": Golden(zoo.swin, 64, 32, "conv", ""),
    "swin-masked": Golden(
        functools.partial(zoo.swin, masked=True), 64, 0, "attention", "attention"
    ),
    "attention-pool": Golden(zoo.attention_pool, 32, 4, "conv", "conv"),
}


def proof_of(framework, golden, *, circular=True, train=False):
    x = jax.ShapeDtypeStruct((2, golden.size, golden.size, 3), jnp.float32)
    # the peers promote types and ranks
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        f, params = zoo_kits.FRAMEWORKS[framework](golden.body, x, circular=circular, train=train)
        return prove(f, x, params=params)


def check(proof, golden, *, circular):
    """The golden law and the function at fault; nothing unmodelled."""
    assert proof.unmodelled == ()
    (output,) = proof.outputs
    kind = "equivariant" if golden.moves else "invariant"
    expected = {(kind, golden.shift)} if golden.shift else {("unproved", 0)}
    assert {(law.kind, law.shift) for law in output.circular} == expected
    obstruction = proof.obstruction(output)
    blamed = obstruction.source.function.split(".")[-1]
    if circular or not golden.border:
        assert output.laws == output.circular
        assert blamed == golden.stride
    else:
        assert {law.kind for law in output.laws} == {"unproved"}
        assert blamed == golden.border
        assert ("padding" in obstruction.cause) == bool(golden.shift)


@pytest.mark.parametrize("name", ["resnet-18", "u-net", "vit", "swin"])
def test_ours(name):
    for circular in (True, False):
        check(proof_of("ours", SMALL[name], circular=circular), SMALL[name], circular=circular)


def peers(names, *marks):
    pairs = itertools.product(PACKAGES, names)
    return [
        pytest.param(framework, name, marks=[pytest.mark.peer(PACKAGES[framework]), *marks])
        for framework, name in pairs
    ]


@pytest.mark.parametrize(("framework", "name"), peers(SMALL))
def test_peers(framework, name):
    for circular in (True, False):
        proof = proof_of(framework, SMALL[name], circular=circular)
        check(proof, SMALL[name], circular=circular)


@pytest.mark.parametrize(
    ("framework", "name"),
    peers(["resnet-18"]) + peers([n for n in SMALL if n != "resnet-18"], pytest.mark.slow),
)
def test_peers_in_training(framework, name):
    check(proof_of(framework, SMALL[name], train=True), SMALL[name], circular=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n in SMALL if n not in ("resnet-18", "u-net", "vit", "swin")]
)
def test_ours_of_the_rest(name):
    for circular, train in ((True, False), (False, False), (True, True)):
        proof = proof_of("ours", SMALL[name], circular=circular, train=train)
        check(proof, SMALL[name], circular=circular)


def test_a_wrong_golden_answer_would_be_noticed():
    golden = SMALL["resnet-18"]
    proof = proof_of("ours", golden)
    for wrong in (
        golden._replace(shift=16),
        golden._replace(stride="max_pool"),
        golden._replace(moves=True),
    ):
        with pytest.raises(AssertionError):
            check(proof, wrong, circular=True)
