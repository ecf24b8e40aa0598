"""The numbers that judge the prover, and its constants: NumPy's values are those of JAX."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import prove_programs
import pytest
from jax import lax

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove._evaluate import evaluated
from jaxconv.equivariance.prove._numbers import NUMBERS, computed

X = np.random.default_rng(3).normal(size=prove_programs.SHAPE)
Y = np.random.default_rng(4).normal(size=prove_programs.SHAPE)
MOST = collections.defaultdict(lambda: 1)
MOST |= dict.fromkeys(("conv_general_dilated", "gather", "dot_general", "pad", "fft"), 6)
MOST |= dict.fromkeys(("reduce_window", "reduce_window_sum", "scatter-add", "sort", "scatter"), 3)
"""Different equations of one primitive that are compared."""
GEOMETRY = (1, 3, 2, 1), (1, 2, 1, 1)


def window(operation, initial):
    return lambda x: lax.reduce_window(x, initial, operation, *GEOMETRY, "SAME")


CASES = {
    **prove_programs.PROGRAMS,
    "arithmetic": lambda x: (x + Y, x - Y, x * Y, x / Y, lax.rem(x, Y), jnp.arctan2(x, Y)),
    "integers": lambda x: (
        lax.div((x * 9).astype(int), 4),
        lax.rem((x * 9).astype(int), 4),
        (x > 0) & (x < 1) | ~(x > 2) ^ (x < -1),
        lax.bitwise_not((x * 9).astype(int)),
    ),
    "functions": lambda x: (
        [
            f(x)
            for f in (jnp.exp, jnp.exp2, jnp.expm1, jnp.sin, jnp.cos, jnp.tan, jnp.tanh, jnp.sign)
        ],
        [f(jnp.abs(x) + 1) for f in (jnp.log, jnp.log1p, jnp.sqrt, lax.rsqrt, jnp.ceil)],
        [jax.nn.sigmoid(x), jnp.isfinite(x), lax.clamp(-0.5, x, 0.5), jnp.abs(x) ** 1.5, x**-2],
    ),
    "complex": lambda x: (
        lax.complex(x, Y),
        jnp.conj(lax.complex(x, Y)),
        jnp.imag(lax.complex(x, Y)),
    ),
    "reductions": lambda x: (
        [x.sum(1), x.max((0, 2)), x.min(3), x.prod(1), x.argmin(2), (x > 0).all(1), (x > 0).any(1)],
        [lax.cumprod(x, 1), lax.cummin(x, 2, reverse=True), lax.cummax(x, 1)],
    ),
    "windows": lambda x: (
        window(lax.min, jnp.inf)(x),
        window(lax.mul, 1.0)(x),
        window(lax.add, 2.0)(x),
        window(lax.max, np.iinfo(int).min)((x * 9).astype(int)),
    ),
    "grouped batches": lambda x: lax.conv_general_dilated(
        x,
        prove_programs.K33,
        (1, 2),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        batch_group_count=2,
    ),
    "empty window": lambda x: prove_programs.conv(x, prove_programs.K33, padding=((-1, -1),) * 2),
    "scatter min": lambda x: x.at[:, jnp.array([1, 1, 9])].min(x[:, :3]),
}


def equations(program):
    for equation in program.equations:
        yield equation
        for inner in equation.programs:
            yield from equations(inner)


def drawn(slot, rng):
    kind = np.dtype(slot.dtype).kind
    if slot.constant is not None:
        return np.asarray(slot.constant)
    if kind in "iu":
        return rng.integers(1, 3, slot.shape).astype(slot.dtype)
    values = rng.normal(size=slot.shape) + (1j * rng.normal(size=slot.shape) if kind == "c" else 0)
    return (values > 0) if kind == "b" else values.astype(slot.dtype)


def compared(name, seen):
    """Names of the primitives that NumPy computed as JAX does, each equation once."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for equation in equations(_jaxpr.trace(CASES[name], X)):
            simple = all(isinstance(v.dtype, np.dtype) for v in equation.inputs)
            key = equation.primitive, str(equation.params), str([v.shape for v in equation.inputs])
            if equation.primitive not in NUMBERS or not simple or key in seen:
                continue
            if sum(other[0] == equation.primitive for other in seen) >= MOST[equation.primitive]:
                continue  # every equation that JAX computes is compiled
            seen.add(key)
            values = [drawn(slot, rng) for slot in equation.inputs]
            expected = equation.bind(*values)
            expected = expected if isinstance(expected, (list, tuple)) else [expected]
            for ours, theirs in zip(computed(equation, values), expected, strict=True):
                assert ours.dtype == theirs.dtype, equation
                digits = 5 if ours.dtype in (np.float32, np.complex64) else 11
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=10.0**-digits)


def test_values_are_those_of_jax():
    seen = set()
    for name in reversed(CASES):  # the directed ones first
        compared(name, seen)
    assert {key[0] for key in seen} >= set(NUMBERS) - {"expand_dims", "copy"}


def test_a_wrong_value_is_seen(monkeypatch):
    monkeypatch.setitem(NUMBERS, "tanh", lambda params, x: np.tanh(x) + 1e-9)
    with pytest.raises(AssertionError):
        compared("argsort and take", set())


@pytest.mark.parametrize(
    ("f", "x", "near", "far"),
    [
        (lambda x: x == 0, 0.0, 1e-15, 1e-6),
        (lambda x: x > 0.5, 0.5, 0.5 + 1e-15, 0.5 + 1e-6),
        (jnp.floor, 3.0, 3.0 - 1e-15, 3.0 - 1e-6),
        (jnp.round, 2.5, 2.5 + 1e-15, 2.5 + 1e-6),
        (lambda x: x.astype(int), 7.0, 7.0 - 1e-14, 7.0 - 1e-6),
        (lambda x: lax.bitcast_convert_type(x, jnp.uint64), 2.0**-11, 2.0**-11 + 1e-18, 0.01),
    ],
    ids=["equal", "greater", "floor", "round", "truncated", "bits"],
)
def test_rounding_moves_no_comparison(f, x, near, far):
    with jax.enable_x64(True):
        program = _jaxpr.trace(f, np.float64(0))
        at = lambda v: np.asarray(evaluated(program, [np.float64(v)])[0])
        exact = np.asarray(f(jnp.float64(x)))
        assert at(x) == at(near)
        assert at(x) != at(far)
        if f(jnp.float64(x)).dtype != jnp.uint64:
            assert at(x) == exact
