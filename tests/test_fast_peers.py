"""`fast` on models of other libraries: the same outputs and gradients, from other operations."""

import importlib

import jax
import jax.numpy as jnp
import pytest
from helpers import assert_close, needs_primitives, quick_jit

import jaxconv as jc
from benchmarks._architectures import SMALL
from benchmarks._training import data

PEERS = {
    name: pytest.param(name, marks=pytest.mark.peer(package), id=name)
    for name, package in (
        ("flax", "flax"),
        ("nnx", "flax"),
        ("haiku", "haiku"),
        ("equinox", "equinox"),
        ("keras", "keras"),
    )
}
FORMS = {
    "resnet": {"stem, few features", "pointwise"},
    "mobilenet": {"stem, few features", "pointwise", "depthwise"},
    "convnext": {"stem, few features", "depthwise"},
    "resnext": {"pointwise", "grouped"},
    "unet": {"pointwise", "extreme of shifted slices"},
}
"""What `explain` must mention among the forms of each network."""


TOLERANCE = {"keras": 5e-5}
"""Keras computes in its float type, float32 unless configured: 1.5e-5 measured. Others: float64."""


@pytest.fixture(autouse=True)
def _their_promotion():
    """Other libraries rely on promotion of ranks and dtypes."""
    ranks, dtypes = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    with ranks, dtypes, jax.enable_x64(True):
        yield


def built(peer, network):
    """The forward pass of a network in a framework, its parameters and state, and images."""
    model = importlib.import_module(f"benchmarks._peers_{peer}").build(SMALL[network])
    x, _ = data(SMALL[network])
    dtype = jnp.float32 if peer == "keras" else jnp.float64
    cast = lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
    return model, jax.tree.map(cast, (*model.carry, jnp.asarray(model.images(x))))


def step(logits):
    """Value, outputs, new state and the gradients in parameters and images."""

    def loss(params, rest, x):
        y, rest = logits(params, rest, x)
        return jnp.square(y).mean(), (y, rest)

    return jax.value_and_grad(loss, (0, 2), has_aux=True)


def flat(result):
    """Outputs with the new state as one vector, the gradients as another.

    Leaf by leaf a gradient that is zero but for rounding, such as that of a bias before a batch
    norm, would be compared with itself.
    """
    (value, aux), gradients = result
    assert value.dtype == gradients[1].dtype
    return tuple(
        jnp.concatenate([jnp.ravel(leaf).astype(value.dtype) for leaf in jax.tree.leaves(tree)])
        for tree in ((value, aux), gradients)
    )


@pytest.mark.parametrize("network", FORMS)
@pytest.mark.parametrize("peer", PEERS.values())
def test_outputs_and_gradients_are_equal(peer, network):
    model, arguments = built(peer, network)

    @quick_jit
    def both(*arguments):
        return flat(step(jc.fast(model.logits))(*arguments)), flat(step(model.logits)(*arguments))

    fast, plain = both(*arguments)
    assert_close(fast, plain, TOLERANCE.get(peer))
    forms = {change.form for change in jc.fast.explain(model.logits, *arguments)}
    assert forms >= FORMS[network], forms


@needs_primitives  # without, the formulations of `fast` are lax's
@pytest.mark.parametrize("peer", PEERS.values())
def test_around_the_gradient_and_around_a_batch(peer):
    model, (params, rest, x) = built(peer, "resnext")
    batch = jnp.stack([x, 2 * x + 1])

    def mapped(logits):
        return jax.vmap(lambda x: logits(params, rest, x)[0])(batch)

    @quick_jit
    def everything():
        around = flat(jc.fast(step(model.logits))(params, rest, x))
        fast, plain = mapped(jc.fast(model.logits)), mapped(model.logits)
        return (around, fast), (flat(step(model.logits)(params, rest, x)), plain)

    assert_close(*everything(), TOLERANCE.get(peer))
    text = quick_jit(jc.fast(step(model.logits))).lower(params, rest, x).as_text()
    grouped = "feature_group_count = 4", "batch_group_count = 4"
    assert not any(word in text for word in grouped)
    plain = quick_jit(step(model.logits)).lower(params, rest, x).as_text()
    assert any(word in plain for word in grouped)


@pytest.mark.peer("flax")
def test_the_comparison_notices_other_parameters():
    model, (params, rest, x) = built("flax", "mobilenet")
    other = {**params, "Conv_1": {"kernel": params["Conv_1"]["kernel"] * 1.001}}
    run = quick_jit(lambda *arguments: flat(step(jc.fast(model.logits))(*arguments)))
    with pytest.raises(AssertionError, match="relative error"):
        assert_close(run(other, rest, x), run(params, rest, x))


@pytest.mark.parametrize("peer", ["jaxconv", *PEERS.values()])
def test_every_framework_builds_the_same_architecture(peer):
    counts = {"resnet": 1454, "mobilenet": 558, "convnext": 398, "resnext": 410, "unet": 1390}
    for network, count in counts.items():
        assert built(peer, network)[0].parameters == count
