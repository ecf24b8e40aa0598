"""The exact unit against SciPy in float64, with its derivative, in every dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from helpers import raises

from jaxconv import ops

POINTS = np.linspace(-12, 12, 4001)


def reference(x):
    return x * scipy.special.ndtr(x)


def slope(x):
    return scipy.special.ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


# Limits are multiples of the unit of |x|: 1.0, 1.2 and 1.0 of it seen in values, 2.1 and 3.2 in
# derivatives, whose exponential has an error of its own.
@pytest.mark.parametrize("dtype", [np.float64, np.float32, jnp.bfloat16])
def test_equals_scipy(dtype):
    with jax.enable_x64(dtype == np.float64):
        x = jnp.asarray(POINTS, dtype)
        y, change = jax.jit(lambda x: jax.jvp(ops.gelu, (x,), (jnp.ones_like(x),)))(x)
        exact = np.asarray(x, np.float64)
        unit = float(jnp.finfo(dtype).eps) * np.maximum(np.abs(exact), 1)
        assert y.dtype == change.dtype == dtype
        assert np.max(np.abs(np.asarray(y, np.float64) - reference(exact)) / unit) < 2
        assert np.max(np.abs(np.asarray(change, np.float64) - slope(exact)) / unit) < 4
        approximate = np.asarray(jax.nn.gelu(x), np.float64)  # the one with tanh is another
        if dtype != jnp.bfloat16:
            assert np.max(np.abs(approximate - reference(exact)) / unit) > 100


def test_integers_are_refused():
    with raises(
        TypeError,
        "gelu: x holds integers; expected a floating dtype. "
        "Got x of dtype int32. Use x.astype('float32').",
    ):
        ops.gelu(jnp.arange(3))
