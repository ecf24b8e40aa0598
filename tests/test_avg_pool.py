"""Average and p-norm pooling: values by loops, adjoints, counts, narrow dtypes, zeros, errors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_pool as reference
from helpers import assert_close, quick_jit, raises
from test_pool import CASES

from jaxconv import ops

NAMES = ("window", "stride", "padding", "dilation", "padding_mode")
ORDERS = (1, 2, 3, 2.5, math.inf)


def images(spatial, dtype=np.float64):
    return np.random.default_rng(0).standard_normal((2, *spatial, 3)).astype(dtype)


def arguments(case):
    return dict(zip(NAMES, case[1:], strict=True))


def test_averages_equal_the_loops_with_and_without_counted_padding():
    with jax.enable_x64(True):
        xs = [images(case[0]) for case in CASES]

        @quick_jit
        def everything(xs):
            return [
                [ops.avg_pool(x, **arguments(case), count_padding=count) for count in (False, True)]
                for x, case in zip(xs, CASES, strict=True)
            ]

        results = everything(xs)
    padded_zeros = 0
    for x, case, (plain, counted) in zip(xs, CASES, results, strict=True):
        windows = reference.taps(*case)
        assert_close(plain, reference.average(x, windows))
        assert_close(counted, reference.average(x, windows, count_padding=True))
        padded_zeros += np.abs(np.asarray(plain) - np.asarray(counted)).max() > 1e-3
    assert padded_zeros == 4  # the cases with zeros of padding: there the two differ


def test_the_gradient_is_the_adjoint():
    """<avg(x), g> = <x, vjp(g)>: linear, so that one pair of random arrays is a proof."""
    with jax.enable_x64(True):
        for case in CASES[:4]:

            @quick_jit
            def products(x, case=case):
                y, vjp = jax.vjp(functools.partial(ops.avg_pool, **arguments(case)), x)
                g = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
                back = vjp(g)[0]
                moved = jnp.sum(x * jnp.roll(back, 1, axis=1))
                return jnp.sum(y * g), jnp.sum(x * back), moved, jnp.sum(jnp.abs(y * g))

            left, right, moved, scale = products(images(case[0]))
            assert abs(left - right) < 1e-12 * scale
            assert abs(left - moved) > 1e-3  # negative control: the gradient one pixel off


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_floats_accumulate_in_float32(dtype):
    """A running sum of ones in bfloat16 stops at 256; 4 times 60,000 overflows in float16."""
    value = 60000.0 if dtype == "float16" else 1.0
    x = jnp.full((1, 600, 1), value, dtype)

    @quick_jit
    def everything(x):
        pools = [ops.avg_pool(x, 600), ops.avg_pool(x, 300), ops.avg_pool(x, 20)]
        return [*pools, ops.adaptive_avg_pool(x, 1)], ops.lp_pool(x / x, 600, 1)

    pools, norm = everything(x)
    for y in pools:
        assert y.dtype == x.dtype
        assert np.all(np.asarray(y, np.float32) == np.float32(x[0, 0, 0]))
    assert float(norm[0, 0, 0]) == pytest.approx(600, rel=5e-3)
    with np.errstate(over="ignore"):
        naive = functools.reduce(np.add, np.asarray(x).ravel())
    assert float(naive) != pytest.approx(600 * value, rel=0.1)


def test_constants_stay_and_the_mean_is_kept():
    x = images((6, 8), np.float32)

    @quick_jit
    def everything(x):
        ones = functools.partial(ops.avg_pool, jnp.ones_like(x), 3, stride=1, padding=1)
        whole = ops.avg_pool(x, (6, 8)), ops.adaptive_avg_pool(x, 1)
        return ones(), ones(count_padding=True), ops.avg_pool(x, 2), whole

    plain, counted, halves, whole = everything(x)
    np.testing.assert_array_equal(plain, 1)
    assert np.asarray(counted).min() == pytest.approx(4 / 9)
    assert_close(np.asarray(halves).mean((1, 2)), x.mean((1, 2)))
    assert_close(*whole, 0)


def test_nan_and_infinity_stay_in_their_windows():
    x = np.ones((1, 8, 4), np.float32)
    x[0, 2, 1], x[0, 5, 2] = np.nan, np.inf
    for y in (ops.avg_pool(x, 2), ops.lp_pool(x, 2), ops.lp_pool(x, 2, 2.5), ops.lp_pool(x, 2, 1)):
        y = np.asarray(y)
        assert np.argwhere(np.isnan(y)).tolist() == [[0, 1, 1]]
        assert np.argwhere(np.isinf(y)).tolist() == [[0, 2, 2]]


@pytest.mark.parametrize("p", ORDERS)
def test_norms_equal_the_loops(p):
    with jax.enable_x64(True):
        xs = [images(case[0]) for case in CASES]

        @quick_jit
        def everything(xs):
            return [
                ops.lp_pool(x, p=p, **arguments(case)) for x, case in zip(xs, CASES, strict=True)
            ]

        results = everything(xs)
    for x, case, y in zip(xs, CASES, results, strict=True):
        windows = reference.taps(*case)
        assert_close(y, reference.norm(x, windows, p))
        other = reference.norm(x, windows, 4)
        assert np.abs(other - np.asarray(y)).max() > 1e-3


@pytest.mark.parametrize("p", ORDERS)
def test_norms_have_finite_gradients_at_zero(p):
    x = jnp.array([0.0, 0.0, 3.0, -4.0, 0.0, 1.0]).reshape(1, 6, 1)
    slope = jax.grad(lambda x: ops.lp_pool(x, 2, p).sum())
    gradient, second = quick_jit(lambda x: jax.jvp(slope, (x,), (jnp.ones_like(x),)))(x)
    gradient = gradient.ravel()
    assert np.all(np.isfinite(gradient))
    assert gradient[:2].tolist() == [0, 0]
    assert np.all(np.isfinite(second))
    expected = {1: [1, -1], 2: [0.6, -0.8], math.inf: [0, -1]}
    if p in expected:
        np.testing.assert_allclose(gradient[2:4], expected[p], rtol=1e-6)
    naive = jax.grad(lambda x: jnp.sum(jnp.sum(jnp.abs(x) ** 2) ** 0.5))(x[:, :2])
    assert np.all(np.isnan(naive))  # negative control: the formula alone


def test_derivatives_in_both_modes_to_second_order():
    """Differences of gradients are the second derivatives; an average has none."""
    with jax.enable_x64(True):
        x, direction, step = images((3, 4)) + 3, np.cos(images((3, 4))), 1e-5
        norm = functools.partial(ops.lp_pool, window=2, p=3, stride=1)
        average = functools.partial(ops.avg_pool, window=2, stride=1, padding=1)

        @quick_jit
        def everything(x, v):
            gradient = jax.grad(lambda x: jnp.sum(norm(x) ** 2))
            change = (gradient(x + step * v) - gradient(x - step * v)) / (2 * step)
            forward = jax.jvp(lambda x: jnp.sum(norm(x) ** 2), (x,), (v,))[1]
            linear = jax.jvp(average, (x,), (v,))[1]
            second = jax.jvp(gradient, (x,), (v,))[1]
            return second, change, forward, jnp.sum(gradient(x) * v), linear, average(v)

        second, change, forward, reverse, linear, expected = everything(x, direction)
    assert np.abs(second).max() > 0.1
    assert_close(second, change, 1e-8)
    assert_close(forward, reverse)
    assert_close(linear, expected)


def test_vmap_is_a_stack_and_empty_batches_are_empty():
    x = np.random.default_rng(0).standard_normal((3, 2, 5, 6, 2)).astype(np.float32)
    run = functools.partial(ops.avg_pool, window=3, stride=2, padding=1)
    mapped, alone = quick_jit(lambda x: (jax.vmap(run)(x), [run(one) for one in x]))(x)
    assert_close(mapped, np.stack(alone))
    assert ops.avg_pool(jnp.zeros((0, 4, 4, 3)), 2).shape == (0, 2, 2, 3)
    assert ops.lp_pool(jnp.zeros((0, 4, 3)), 4).shape == (0, 1, 3)


def test_a_norm_may_pad_where_an_average_may_not():
    x = np.ones((1, 3, 1), np.float32)
    y = ops.lp_pool(x, 2, padding=((2, 1),))
    assert_close(y.ravel(), jnp.sqrt(jnp.array([0.0, 2.0, 1.0])))
    assert ops.lp_pool(x, 2, math.inf, padding=((2, 1),)).ravel().tolist() == [0, 1, 1]
    assert ops.avg_pool(x, 2, padding=((2, 1),), count_padding=True).ravel().tolist() == [0, 1, 0.5]


X = np.zeros((2, 5, 6, 3), np.float32)


@pytest.mark.parametrize("where", ["avg_pool", "lp_pool"])
def test_errors_say_what_why_and_the_way_out(where):
    pool = getattr(ops, where)
    integers = (
        "{where}: x holds integers; expected a floating dtype. "
        "Got x of dtype int32. Use x.astype('float32')."
    )
    with raises(TypeError, integers.format(where=where)):
        pool(X.astype(np.int32), 2)
    with raises(
        ValueError,
        f"{where}: window is too small; expected at least 1. Got window=-3. Use window=1 or more.",
    ):
        pool(X, (2, -3))
    with raises(
        TypeError,
        f"{where}: window is of type bool; expected an int. Got window=True. Pass a whole number.",
    ):
        pool(X, True)
    with raises(
        ValueError,
        f"{where}: stride has 1 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got stride=(2,). Use stride=2 for all axes.",
    ):
        pool(X, 2, stride=(2,))
    with raises(
        TypeError,
        f"{where}: dilation is of type str; expected an int. Got dilation='2'. "
        "Pass a whole number.",
    ):
        pool(X, 2, dilation="2")
    with raises(
        ValueError,
        f"{where}: padding has 3 entries for 2 spatial axes; expected one pair (low, high) per "
        "spatial axis. Got padding=[(0, 1), (0, 1), (0, 1)]. Use padding=((1, 1), (1, 1)), say.",
    ):
        pool(X, 2, padding=[(0, 1)] * 3)
    with raises(
        ValueError,
        f'{where}: padding_mode is unknown; expected one of "zeros", "circular", "reflect", '
        "\"edge\". Got padding_mode='symmetric'. Use padding_mode='zeros', say.",
    ):
        pool(X, 2, padding_mode=("zeros", "symmetric"))
    with raises(
        ValueError,
        f"{where}: x has 1 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(5,). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ):
        pool(X[0, :, 0, 0], 2)
    with raises(
        ValueError,
        f"{where}: the output is empty, a window of 9 pixels does not fit into 7 on spatial axis "
        "0; expected at least 9 with padding. Got x of shape (2, 5, 6, 3) and padding=1. "
        'Use padding="same" or a smaller window.',
    ):
        pool(X, 3, dilation=4, padding=1)
    with raises(
        ValueError,
        f"{where}: the output is empty, a window of 1 pixels does not fit into -1 on spatial axis "
        "0; expected at least 1 with padding. Got x of shape (2, 5, 6, 3) and padding=-3. "
        'Use padding="same" or a smaller window.',
    ):
        pool(X, 1, padding=-3)


def test_errors_of_their_own():
    with raises(
        ValueError,
        "avg_pool: window 3 of spatial axis 0 lies wholly in padding; expected every window to "
        "hold a pixel of x. Got x of shape (2, 5, 6, 3) and padding of (0, 3) on that axis. "
        'Use padding_mode="edge" or less padding on axis 0.',
    ):
        ops.avg_pool(X, 2, padding=((0, 3), (0, 0)))
    with raises(
        ValueError,
        "lp_pool: p is no order of a norm; expected p >= 1. Got p=0.5. Use p=2, say.",
    ):
        ops.lp_pool(X, 2, 0.5)
    with raises(
        ValueError,
        "lp_pool: p is no order of a norm; expected p >= 1. Got p=nan. Use p=2, say.",
    ):
        ops.lp_pool(X, 2, math.nan)
    with raises(TypeError, "lp_pool: p is of type str; expected a number. Got p='2'. Use p=2."):
        ops.lp_pool(X, 2, "2")
    with raises(
        TypeError,
        "lp_pool: values of complex64 have no order; expected a real dtype. "
        "Got x of dtype complex64. Use jax.numpy.abs(x), say.",
    ):
        ops.lp_pool(X.astype(np.complex64), 2)
    assert ops.avg_pool(X.astype(np.complex64), 2).dtype == np.complex64
