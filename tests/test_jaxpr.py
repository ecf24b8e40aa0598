"""Programs read from jaxprs: calls inlined, scopes composed, lines of the user's own code."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxconv as jc
from jaxconv.equivariance._jaxpr import bodies, trace

X = jnp.ones((2, 6))


def _primitives(program):
    return [equation.primitive for equation in program.equations]


def _lines(program, primitive):
    return [e.source.line for e in program.equations if e.primitive == primitive]


def _scopes(program):
    return ["/".join(equation.scope) for equation in program.equations]


@jax.custom_vjp
def _twice(x):
    return 2 * x


_twice.defvjp(lambda x: (_twice(x), None), lambda _, g: (2 * g,))


@pytest.mark.parametrize(
    "wrap",
    [jax.jit, jax.checkpoint, lambda f: jax.jit(jax.jit(f)), lambda f: f],
    ids=["jit", "checkpoint", "jit of jit", "plain"],
)
def test_calls_are_inlined_and_scopes_compose(wrap):
    def inner(x):
        with jax.named_scope("inner"):
            return jnp.sin(x)

    def f(x):
        with jax.named_scope("outer"):
            return wrap(inner)(x) + 1

    program = trace(f, X)
    assert _primitives(program) == ["sin", "add"]
    assert _scopes(program) == ["outer/inner", "outer"]


def test_custom_derivatives_are_inlined():
    program = trace(lambda x: jax.nn.relu(_twice(x)), X)
    assert _primitives(program) == ["mul", "max"]


def test_transformations_leave_the_scope_of_the_layer():
    def f(x):
        with jax.named_scope("layer"):
            return jnp.sin(x).sum()

    gradient = trace(jax.vmap(jax.grad(f)), X)
    assert set(_scopes(gradient)) == {"layer"}


def test_values_of_two_calls_of_one_function_differ():
    helper = jax.jit(lambda x: jnp.cos(x) * 2)
    program = trace(lambda x: helper(x) - helper(x + 1), X)
    outputs = [value for equation in program.equations for value in equation.outputs]
    assert len(outputs) == len(set(outputs)) == 6
    made = set(program.inputs)
    for equation in program.equations:
        assert all(value in made or value.constant is not None for value in equation.inputs)
        made.update(equation.outputs)
    assert set(program.outputs) <= made


def test_library_functions_point_to_the_line_that_calls_them():
    """jnp.pad is traced once and cached with its first caller; both calls have their own line."""
    first = inspect.currentframe().f_lineno + 3

    def f(x):
        x = jnp.pad(x, ((0, 0), (1, 1)), mode="wrap")[:, 1:7]
        x = jnp.sin(x)
        return jnp.pad(x, ((0, 0), (1, 1)), mode="wrap")

    program = trace(f, X)
    assert _lines(program, "concatenate") == [first, first + 2]
    assert _lines(program, "sin") == [first + 1]
    (source,) = {e.source.file for e in program.equations}
    assert source == __file__


def test_layers_point_to_the_line_that_applies_them():
    model = jc.serial(jc.conv(2, 3), jax.nn.relu)
    x = jnp.ones((1, 6, 3))
    params, state = model.init(jax.random.key(0), x)
    line = inspect.currentframe().f_lineno + 1
    program = trace(lambda x: model.apply(params, state, x)[0], x)
    assert {str(equation.source) for equation in program.equations} == {f"test_jaxpr.py:{line}"}


def test_user_code_inside_a_library_loop_has_its_own_line():
    line = inspect.currentframe().f_lineno + 3

    def body(row):
        return jnp.exp(row)

    (loop,) = [e for e in trace(lambda x: lax.map(body, x), X).equations if e.primitive == "scan"]
    (inside,) = bodies(loop)
    assert _lines(inside, "exp") == [line]


def test_loops_and_branches_hold_their_programs():
    def f(x):
        with jax.named_scope("loop"):
            x, _ = lax.scan(lambda c, _: (jax.named_scope("turn")(jnp.sin)(c), None), x, length=3)
        x = lax.while_loop(lambda x: x.sum() < 0, jnp.cos, x)
        return lax.cond(x.sum() > 0, jnp.exp, jnp.log, x)

    loops = {e.primitive: bodies(e) for e in trace(f, X).equations if bodies(e)}
    assert [_primitives(body) for body in loops["scan"]] == [["sin"]]
    assert _scopes(loops["scan"][0]) == ["loop/turn"]
    assert [_primitives(body) for body in loops["while"]] == [["reduce_sum", "lt"], ["cos"]]
    assert [_primitives(body) for body in loops["cond"]] == [["log"], ["exp"]]


def test_our_primitives_are_read_as_the_lax_that_they_equal():
    kernel = jnp.ones((3, 1, 4))
    conv = functools.partial(jc.ops.depthwise_conv, kernel=kernel)
    assert "conv_general_dilated" in _primitives(trace(conv, jnp.ones((1, 8, 4))))


def test_constants_and_literals_carry_their_arrays():
    weights = np.arange(6.0, dtype=np.float32)
    program = trace(lambda x: x * jnp.asarray(weights)[None] + 2, X)
    constants = [v.constant for e in program.equations for v in e.inputs if v.constant is not None]
    assert any(np.size(c) == 6 and (np.ravel(c) == weights).all() for c in constants)
    assert 2 in [float(c) for c in constants if np.size(c) == 1]


def test_equations_can_be_computed():
    program = trace(lambda x: jnp.sort(x * 3, axis=1), X)
    values = dict(zip(program.inputs, [X], strict=True))
    for e in program.equations:
        made = e.bind(*(values.get(v, v.constant) for v in e.inputs))
        values.update(zip(e.outputs, made if isinstance(made, list) else [made], strict=True))
    assert (values[program.outputs[0]] == 3).all()
