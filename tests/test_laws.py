"""Every law, on every layer and operation; and on something that breaks it."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest
from catalog import CASES, IDS, Case, public

from jaxconv import Layer, layers, ops


def missing(cases):
    """What the public API has and no case covers."""
    api = {f"layers.{name}" for name in public(layers)} | {f"ops.{name}" for name in public(ops)}
    return api - {case.name for case in cases}


def test_catalog_covers_the_public_api():
    assert not missing(CASES)


def test_catalog_would_notice_what_it_does_not_cover():
    assert missing([case for case in CASES if case.name != "ops.pad"]) == {"ops.pad"}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_values(case):
    run = laws.forward(case)
    for law in laws.FORWARD:
        law(run)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_derivatives(case):
    found = laws.derivatives(case)
    for law in laws.DERIVATIVES[: case.order]:
        law(found)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_export(case):
    laws.exports(case)


def broken(apply, init=lambda key, x: ({}, {}), **flags):
    """A case that breaks a law."""
    return Case("broken", Layer(init, apply, "broken"), (2, 3, 2), **flags)


def changes_shape():
    calls = []

    def apply(params, state, x, *, train=False, key=None):
        calls.append(1)
        return jnp.repeat(x, len(calls), axis=1), state

    return broken(apply)


def sees_the_trace():
    def apply(params, state, x, *, train=False, key=None):
        return x + float(isinstance(x, jax.core.Tracer)), state

    return broken(apply)


def sees_the_batch():
    def apply(params, state, x, *, train=False, key=None):
        return x - x.mean(0, keepdims=True), state

    return broken(apply)


def maps_wrongly():
    @jax.custom_batching.custom_vmap
    def double(x):
        return 2 * x

    @double.def_vmap
    def _(size, batched, x):
        return 3 * x, True

    def apply(params, state, x, *, train=False, key=None):
        return double(x), state

    return broken(apply)


def maps_parameters_wrongly():
    @jax.custom_batching.custom_vmap
    def scaled(x, scale):
        return x * scale

    @scaled.def_vmap
    def _(size, batched, x, scale):
        if not batched[1]:
            return x * scale, True
        return jnp.repeat(x[None], size, 0), True

    def apply(params, state, x, *, train=False, key=None):
        return scaled(x, params["scale"].astype(x.dtype)), state

    return broken(apply, lambda key, x: ({"scale": 2 * jnp.ones(())}, {}))


def promotes():
    def apply(params, state, x, *, train=False, key=None):
        return x.astype(jnp.float32), state

    return broken(apply)


def loses_digits():
    def apply(params, state, x, *, train=False, key=None):
        return x + 0.1 * (x.dtype != jnp.float32), state

    return broken(apply)


def draws_without_key():
    generator = np.random.default_rng(0)

    def init(key, x):
        return {"scale": jnp.float32(generator.random())}, {}

    def apply(params, state, x, *, train=False, key=None):
        return x * params["scale"].astype(x.dtype), state

    return broken(apply, init)


def reads_the_input():
    def init(key, x):
        return {"scale": jnp.asarray(x)[0, 0, 0]}, {}

    def apply(params, state, x, *, train=False, key=None):
        return x * params["scale"].astype(x.dtype), state

    return broken(apply, init)


def writes_to_params():
    def apply(params, state, x, *, train=False, key=None):
        params["scale"] *= 2
        return x, state

    return broken(apply, lambda key, x: ({"scale": jnp.ones(2)}, {}))


def returns_a_python_number():
    def apply(params, state, x, *, train=False, key=None):
        return x, {"count": 1.0}

    return broken(apply, lambda key, x: ({}, {"count": jnp.zeros(())}))


def ignores_training():
    return broken(lambda params, state, x, *, train=False, key=None: (x, state), trains=True)


FORWARD_CONTROLS = [
    (laws.shape_is_known, changes_shape),
    (laws.jit_is_eager, sees_the_trace),
    (laws.batch_is_examples, sees_the_batch),
    (laws.vmap_is_stack, maps_wrongly),
    (laws.vmap_is_stack, maps_parameters_wrongly),
    (laws.dtype_is_kept, promotes),
    (laws.dtype_is_kept, loses_digits),
    (laws.init_is_pure, draws_without_key),
    (laws.inputs_are_kept, writes_to_params),
    (laws.one_compilation, returns_a_python_number),
    (laws.training_mode_is_used, ignores_training),
]


def test_every_forward_law_has_a_control():
    assert {law for law, _ in FORWARD_CONTROLS} == set(laws.FORWARD)


@pytest.mark.parametrize(("law", "make"), FORWARD_CONTROLS)
def test_law_fails(law, make):
    run = laws.forward(make())
    with pytest.raises(AssertionError):
        law(run)


def test_init_that_reads_the_input_fails():
    with pytest.raises(TypeError, match="not a valid JAX array type|ShapeDtypeStruct"):
        laws.init_is_pure(laws.forward(reads_the_input()))


def slope(tangent):
    """x³, with a rule of differentiation of one's own."""

    @jax.custom_jvp
    def cube(x):
        return x**3

    @cube.defjvp
    def _(primals, tangents):
        return cube(*primals), tangent(*primals) * tangents[0]

    def apply(params, state, x, *, train=False, key=None):
        return cube(x), state

    return broken(apply)


def test_derivatives_of_a_cube_pass():
    found = laws.derivatives(slope(lambda x: 3 * x**2))
    laws.first_derivatives(found)
    laws.second_derivatives(found)


def test_wrong_derivatives_fail():
    with pytest.raises(AssertionError):
        laws.first_derivatives(laws.derivatives(slope(lambda x: 3.001 * x**2)))
    found = laws.derivatives(slope(lambda x: 3 * jax.lax.stop_gradient(x) ** 2))
    laws.first_derivatives(found)
    with pytest.raises(AssertionError):
        laws.second_derivatives(found)


def test_a_layer_for_one_platform_does_not_export():
    def apply(params, state, x, *, train=False, key=None):
        return jax.lax.platform_dependent(x, cpu=jnp.sin), state

    laws.exports(broken(lambda params, state, x, *, train=False, key=None: (x, state)))
    with pytest.raises(NotImplementedError):
        laws.exports(broken(apply))
