"""`fast` on the pools of other people's programs: values, gradients and NaNs, on any axes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit
from jax import lax

import jaxconv as jc

OPERATIONS = {"max": (lax.max, -np.inf), "min": (lax.min, np.inf), "sum": (lax.add, 0.0)}

# window, strides, padding, each with an entry for every axis of x
CASES = [
    ((1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4),
    ((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0))),
    ((1, 1, 3, 2), (1, 1, 2, 1), ((0, 0), (0, 0), (1, 1), (0, 1))),  # channels first
    ((2, 3, 1, 1), (1, 1, 1, 1), ((0, 0), (2, 0), (0, 0), (0, 0))),  # over the batch too
    ((1, 9, 10, 1), (1, 1, 1, 1), ((0, 0),) * 4),  # all of the image
]


def pool(kind, case):
    """lax's pool of a case."""
    (operation, start), (window, strides, padding) = OPERATIONS[kind], case
    return lambda x: lax.reduce_window(x, start, operation, window, strides, padding)


def value_and_gradient(f):
    """Of a loss that weighs every output differently."""

    def loss(x):
        y = f(x)
        weights = jnp.arange(1.0, y.size + 1, dtype=y.dtype).reshape(y.shape)
        return (y * y * weights).sum()

    return jax.value_and_grad(loss)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_values_and_gradients_are_those_of_lax(kind, rng):
    with jax.enable_x64(True):
        x = jnp.asarray(rng.permutation(np.arange(900.0)).reshape(2, 9, 10, 5))
        functions = [pool(kind, case) for case in CASES]

        @quick_jit
        def everything(x):
            expected = [value_and_gradient(f)(x) for f in functions]
            outside = [value_and_gradient(jc.fast(f))(x) for f in functions]
            inside = [jc.fast(value_and_gradient(f))(x) for f in functions]
            return expected, outside, inside

        expected, outside, inside = everything(x)
        assert_close(outside, expected)
        assert_close(inside, expected)
        moved = [(value, jnp.roll(gradient, 1, 2)) for value, gradient in outside[:3]]
        with pytest.raises(AssertionError, match="relative error"):
            assert_close(moved, expected[:3])


def test_nothing_of_a_pool_is_left_to_lax(rng):
    x = jnp.asarray(rng.normal(size=(2, 9, 10, 5)), jnp.float32)
    for kind in OPERATIONS:
        found = jc.fast.explain(value_and_gradient(pool(kind, CASES[0])), x)
        names = {change.operation for change in found}
        backward = {"max": "select_and_scatter_add", "min": "select_and_scatter_add"}
        assert names == {f"reduce_window_{kind}", backward.get(kind, f"reduce_window_{kind}")}
        text = str(jax.make_jaxpr(jc.fast(value_and_gradient(pool(kind, CASES[0]))))(x))
        assert not LEFT.search(text)
    assert LEFT.search(str(jax.make_jaxpr(value_and_gradient(pool("max", CASES[0])))(x)))


LEFT = re.compile(r"(reduce_window_\w+|select_and_scatter_add)\[")
"""Equations; the name of a function that took one's place may be the same."""


def test_a_dilated_pool_that_lax_cannot_differentiate_has_a_gradient(rng):
    x = jnp.asarray(rng.permutation(np.arange(24.0)).reshape(1, 24, 1), jnp.float32)

    def dilated(x):
        strides = (1, 2, 1)
        return lax.reduce_window(
            x, -jnp.inf, lax.max, (1, 3, 1), strides, "valid", window_dilation=(1, 2, 1)
        )

    with pytest.raises(NotImplementedError, match="window dilation"):
        jax.grad(lambda x: dilated(x).sum())(x)
    gradient = jax.grad(lambda x: jc.fast(dilated)(x).sum())(x)
    row, expected = np.asarray(x)[0, :, 0], np.zeros(24, np.float32)
    for start in range(0, 24 - 4, 2):
        expected[start + 2 * np.argmax(row[start : start + 5 : 2])] += 1
    np.testing.assert_array_equal(gradient[0, :, 0], expected)


def test_nans_stay_in_their_windows():
    x = np.zeros((1, 8, 8, 16), np.float32)
    x[0, 3, 5, 2] = np.nan
    y = jax.jit(jc.fast(pool("max", ((1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4))))(x)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 1, 2, 2]]
