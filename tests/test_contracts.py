"""Every layer keeps the law that its docstring promises: proved for all, measured for some."""

import inspect

import jax
import jax.numpy as jnp
import pytest
from catalog import public
from contracts import CONTRACTS, WINDOWED
from helpers import raises

from jaxconv import layers
from jaxconv.equivariance import prove
from jaxconv.ops import _define

MEASURED = [c for c in CONTRACTS if len(c.sizes) == 1 or (len(c.sizes) == 2 and c.train)]


def proof_of(contract):
    features = 216 if contract.name == "pixel_shuffle" else 4
    x = jax.ShapeDtypeStruct((contract.batch, *contract.sizes, features), jnp.float32)
    weights = jax.eval_shape(contract.layer.init, jax.random.key(0), x)
    key = jax.random.key(1)
    f = lambda p, x: contract.layer.apply(*p, x, train=contract.train, key=key)[0]
    return prove(f, x, tuple(range(1, 1 + len(contract.sizes))), params=weights)


def kept(law, promise, shape):
    """Whether a proved law is exactly what was promised."""
    if promise.kind == "none":
        return not law.exact
    if promise.kind == "permuted":
        return law.kind in ("permuted", "equivariant") and law.shift == 1
    if promise.kind == "interior":
        nothing = law.kind in ("unproved", "partial") and min(shape[1:-1]) < 4
        moves = law.shift * promise.roll == promise.shift * law.roll
        return nothing or (law.kind == "interior" and moves and sum(law.halo) < max(shape[1:-1]))
    found = (law.kind, law.shift, law.roll if promise.kind == "equivariant" else 1)
    return found == (promise.kind, promise.shift, promise.roll)


EXTREMES = ("max_pool", "min_pool", "adaptive_max_pool")


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.id)
def test_the_promise_is_what_is_proved(contract):
    if not _define.ENABLED and contract.name in EXTREMES:
        pytest.skip("JAXCONV_PRIMITIVES=off: a maximum by `where` is proved in the interior only")
    proof = proof_of(contract)
    assert proof.unmodelled == ()
    (output,) = proof.outputs
    for law, size in zip(output.laws, contract.sizes, strict=True):
        assert kept(law, contract.promise(size), output.shape), (law, contract.promise(size))


@pytest.mark.parametrize("contract", MEASURED, ids=lambda c: c.id)
def test_the_promise_is_what_is_measured(contract):
    checks = proof_of(contract).verify(jax.random.key(0))
    outcomes = {check.outcome for check in checks}
    assert "contradicted" not in outcomes
    promise = contract.promise(contract.sizes[0])
    if promise.kind == "none" or promise.shift > 1:
        assert "refuted" in outcomes
    if promise.kind != "none":
        assert "confirmed" in outcomes


def test_a_broken_promise_would_be_noticed():
    contract = next(c for c in CONTRACTS if c.id == "conv-1d-circular-2")
    (law,) = proof_of(contract).outputs[0].laws
    assert kept(law, contract.promise(24), (2, 12, 2))
    assert not kept(law, contract.promise(24)._replace(shift=1), (2, 12, 2))
    assert not kept(law, contract.promise(24)._replace(kind="interior"), (2, 12, 2))


PART = {"separable_conv": "depthwise", "max_blur_pool": "blur_pool"}
WITHOUT_PADDING = ("ideal_down", "polyphase_down", "polyphase_around")
STRIDED = {
    **{name: make(stride=2, padding_mode="circular") for name, make in WINDOWED.items()},
    "local_conv": layers.local_conv(2, 3, stride=2, padding_mode="circular"),
    "affine_conv": layers.affine_conv(2, 3, stride=2),
    "blur_pool": layers.blur_pool(2),
    "max_blur_pool": layers.max_blur_pool(stride=2),
    "ideal_down": layers.ideal_down(2),
    "polyphase_down": layers.polyphase_down(2),
    "polyphase_around": layers.polyphase_around(jax.nn.relu, 2),
}


@pytest.mark.parametrize("name", STRIDED)
def test_a_stride_that_does_not_divide_a_circle_is_refused_with_the_divisor(name):
    layer, right, wrong = STRIDED[name], jnp.ones((1, 10, 8, 2)), jnp.ones((1, 9, 8, 2))
    trees = layer.init(jax.random.key(0), right)
    other = ', or use padding_mode="reflect"' if name not in WITHOUT_PADDING else ""
    message = (
        f"{name}: a stride of 2 does not divide the 9 pixels of the circular spatial axis 0; "
        f"expected a multiple of 2. Got x of shape (1, 9, 8, 2). "
        f"Resize or pad that axis to 10 pixels{other}."
    )
    if name in PART:
        message += f"\nin {name}, layer '{PART[name]}', x of shape (1, 9, 8, 2)"
    for function in (layer.init, jax.jit(layer.init)):
        with raises(ValueError, message):
            function(jax.random.key(0), wrong)
    for function in (layer.apply, jax.jit(layer.apply)):
        with raises(ValueError, message):
            function(*trees, wrong)
        function(*trees, right)


def test_no_layer_with_a_stride_is_left_out():
    """Transposed convolutions multiply the size by theirs."""
    taking = {
        name
        for name in public(layers)
        if "stride" in inspect.signature(getattr(layers, name)).parameters
    }
    assert taking == {*STRIDED, "conv_transpose"}


def test_every_layer_with_a_promise_has_a_contract():
    promising = {
        name
        for name in public(layers)
        if "Equivariance:" in (inspect.getdoc(getattr(layers, name)) or "")
    }
    assert promising == {contract.name for contract in CONTRACTS}
    assert len(promising) > 20
