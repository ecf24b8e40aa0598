"""What every layer and operation obeys. Each law raises, saying what differs.

A case is run once, in three programs (all forward results, all derivatives, the export), so that
a law costs no compilation of its own. `test_laws.py` also holds each law against a layer that
breaks it.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from helpers import assert_close, quick_jit

HALVES = (jnp.bfloat16, jnp.float16)
STEP = 1e-5  # of the differences, in float64: their error is about STEP² and 1e-16 / STEP


class Run(NamedTuple):
    """What came out of the forward program of a case."""

    case: Any
    params: Any
    state: Any
    x: jax.Array
    out: dict[str, Any]
    again: dict[str, Any]
    traces: int


def images(shape, dtype=np.float32, seed=0):
    """Values that differ by at least 2 / size from each other and by half of that from 0."""
    values = np.linspace(-1, 1, int(np.prod(shape)) * 2 + 1)[1::2]
    return jnp.asarray(np.random.default_rng(seed).permutation(values).reshape(shape), dtype)


def forward(case):
    """Runs a case in all the ways that must agree: one compilation, called twice."""
    x, key, traces = images(case.shape), jax.random.key(1), []
    params, state = case.layer.init(jax.random.key(0), x)

    def program(params, state, x, key):
        traces.append(1)

        def run(x, params=params, **mode):
            return case.layer.apply(params, state, x, **mode)[0]

        out = {"y": run(x), "parts": [run(x[:1]), run(x[1:])], "mapped": jax.vmap(run)(x[:, None])}
        for dtype in HALVES:
            half = x.astype(dtype)
            out[dtype.__name__] = run(half), run(half.astype(jnp.float32))
        if params:
            double = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
            out["doubled"] = run(x, jax.tree.map(lambda leaf: 2 * leaf, params))
            out["ensemble"] = jax.vmap(lambda p: run(x, p))(double)
        mode = {"train": True, "key": key} if case.trains else {}
        out["trained"], out["state"] = case.layer.apply(params, state, x, **mode)
        return out

    compiled = jax.jit(program)
    out = compiled(params, state, x, key)
    again = compiled(params, out["state"], images(case.shape, seed=1), key)
    return Run(case, params, state, x, out, again, len(traces))


def shape_is_known(run):
    """`eval_shape` tells shape and dtype of the output."""
    known = jax.eval_shape(run.case.layer.apply, run.params, run.state, run.x)[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(known, run.out["y"])


def jit_is_eager(run):
    """Compiled and not, the values are the same."""
    assert_close(run.case.layer.apply(run.params, run.state, run.x)[0], run.out["y"])


def batch_is_examples(run):
    """A batch of two is two batches of one."""
    assert_close(run.out["y"], jnp.concatenate(run.out["parts"]))


def vmap_is_stack(run):
    """Mapped over inputs and over parameters, a layer does what it does to each."""
    assert_close(run.out["mapped"], jnp.stack(run.out["parts"]))
    if run.params:
        assert_close(run.out["ensemble"], jnp.stack([run.out["y"], run.out["doubled"]]))


def dtype_is_kept(run):
    """The output has the dtype of the input, and about the values of the float32 one."""
    assert run.out["y"].dtype == jnp.float32
    for leaf in jax.tree.leaves((run.params, run.state, run.out["state"])):
        assert leaf.dtype == jnp.float32, f"a parameter is {leaf.dtype}"
    for dtype in HALVES:
        half, full = run.out[dtype.__name__]
        assert half.dtype == dtype, f"{dtype.__name__} became {half.dtype}"
        assert_close(half.astype(jnp.float32), full, 4 * float(jnp.finfo(dtype).eps))


def init_is_pure(run):
    """The same key gives the same parameters; `eval_shape` tells their shapes."""
    x = jax.ShapeDtypeStruct(run.x.shape, run.x.dtype)  # all that init may look at
    known = jax.eval_shape(run.case.layer.init, jax.random.key(0), x)
    chex.assert_trees_all_equal_shapes_and_dtypes(known, (run.params, run.state))
    chex.assert_trees_all_equal(run.case.layer.init(jax.random.key(0), x), (run.params, run.state))


def inputs_are_kept(run):
    """`apply` changes neither the dicts nor the arrays that it is given."""
    params, state = (jax.tree.map(np.array, tree) for tree in (run.params, run.state))
    x = np.array(run.x)
    before = jax.tree.map(np.copy, (params, state, x))
    mode = {"train": True, "key": jax.random.key(1)} if run.case.trains else {}
    jax.eval_shape(lambda: run.case.layer.apply(params, state, x, **mode))
    chex.assert_trees_all_equal((params, state, x), before)


def one_compilation(run):
    """Other values, and the state that came back, need no new compilation."""
    assert run.traces == 1, f"{run.traces} traces for one shape"
    chex.assert_trees_all_equal_shapes_and_dtypes(run.again, run.out)


def training_mode_is_used(run):
    """What is marked as training does something else then, and nothing else does."""
    same = np.array_equal(run.out["trained"], run.out["y"])
    assert same != run.case.trains, "train=True makes no difference" if same else "it does"


FORWARD = (
    shape_is_known,
    jit_is_eager,
    batch_is_examples,
    vmap_is_stack,
    dtype_is_kept,
    init_is_pure,
    inputs_are_kept,
    one_compilation,
    training_mode_is_used,
)


def scalar(case, state, cotangent):
    """The case as a function of (params, x) with one number out, whose derivatives are checked."""
    mode = {"train": True, "key": jax.random.key(1)} if case.trains else {}

    def function(inputs):
        y = case.layer.apply(inputs[0], state, inputs[1], **mode)[0]
        return jnp.vdot(y, cotangent)

    return function


def dot(a, b):
    """Inner product of two trees."""
    return sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)), jnp.zeros(()))


def derivatives(case):
    """Derivatives up to the second order, by every mode and by differences, in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        x = images(case.shape, np.float64)
        params, state = case.layer.init(jax.random.key(0), x)
        shape = jax.eval_shape(case.layer.apply, params, state, x)[0].shape
        function = scalar(case, state, jnp.asarray(rng.standard_normal(shape)))
        inputs = jax.tree.map(lambda leaf: leaf + 0.1, params), x
        v = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), inputs)

        @quick_jit  # the rules are checked, not the machine code
        def program(inputs, v):
            gradient = jax.grad(function)
            return {
                "value": function(inputs),
                "forward": jax.jvp(function, (inputs,), (v,))[1],
                "reverse": gradient(inputs),
                "forward of reverse": jax.jvp(gradient, (inputs,), (v,))[1],
                "reverse of reverse": jax.grad(lambda a: dot(gradient(a), v))(inputs),
                "reverse of forward": jax.grad(lambda a: jax.jvp(function, (a,), (v,))[1])(inputs),
            }

        at = {
            step: program(jax.tree.map(lambda a, b, s=step: a + s * b, inputs, v), v)
            for step in (0.0, STEP, -STEP)
        }
        slopes = jax.tree.map(lambda up, down: (up - down) / (2 * STEP), at[STEP], at[-STEP])
        return jax.device_get((at[0.0], slopes, v))


def first_derivatives(found):
    """Forward and reverse mode agree with each other and with a difference of values."""
    out, slopes, v = found
    assert_close(np.dot(row(out["reverse"]), row(v)), out["forward"], 1e-10)
    assert_close(out["forward"], slopes["value"], 1e-6)


def second_derivatives(found):
    """Every pair of modes agrees with the others and with a difference of gradients."""
    out, slopes, _ = found
    numbers = {name: row(out[name]) for name in SECOND}
    scale = max(np.abs(row(slopes["reverse"])).max(), np.abs(row(out["reverse"])).max())
    for name, found in numbers.items():
        for expected, limit in ((row(slopes["reverse"]), 1e-6), (numbers[SECOND[0]], 1e-10)):
            error = np.abs(found - expected).max() / scale
            assert error <= limit, f"{name}: relative error {error:.1e} > {limit:.0e}"


SECOND = ("forward of reverse", "reverse of reverse", "reverse of forward")


def row(tree):
    """All numbers of a tree."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


DERIVATIVES = (first_derivatives, second_derivatives)


def exports(case):
    """Values and gradients lower for every platform."""
    x = jax.ShapeDtypeStruct(case.shape, jnp.float32)
    params, state = jax.eval_shape(case.layer.init, jax.random.key(0), x)

    def program(params, state, x):
        def function(inputs):
            return scalar(case, state, jnp.ones(shape, jnp.float32))(inputs)

        return jax.value_and_grad(function)((params, x))

    shape = jax.eval_shape(case.layer.apply, params, state, x)[0].shape
    exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(params, state, x)
    assert exported.platforms == PLATFORMS
    assert [leaf.shape for leaf in exported.in_avals[-1:]] == [case.shape]


PLATFORMS = ("cpu", "cuda", "tpu")
