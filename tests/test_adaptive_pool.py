"""Adaptive pools: the cells of torch by loops, ties, NaNs, dtypes, derivatives, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_pool as reference
from helpers import assert_close, quick_jit, raises

from jaxconv import ops

CASES = [((n,), (m,)) for n in (1, 4, 5, 6, 9) for m in (1, 2, 3, 4, 6, 7)]
CASES += [((5, 7), (3, 2)), ((6, 4), (4, 4)), ((3, 5, 4), (2, 7, 2))]


def images(spatial, dtype=np.float64):
    """Small integers, so that cells tie and averages of few values are told apart."""
    return np.random.default_rng(0).integers(-2, 3, (2, *spatial, 3)).astype(dtype)


def with_gradient(pool, x):
    y, vjp = jax.vjp(pool, x)
    return y, vjp(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))[0]


def cotangent(shape):
    return np.cos(np.arange(np.prod(shape), dtype=np.float64)).reshape(shape)


def results(pool):
    @quick_jit
    def everything(xs):
        return [
            with_gradient(lambda x, m=m: pool(x, m), x) for x, (_, m) in zip(xs, CASES, strict=True)
        ]

    with jax.enable_x64(True):
        xs = [images(spatial) for spatial, _ in CASES]
        return zip(CASES, xs, jax.tree.map(np.asarray, everything(xs)), strict=True)


def test_the_cells_are_those_of_the_field():
    """5 pixels in 3 cells: [0, 2) [1, 4) [3, 5), and not the blocks [0, 2) [2, 4) [4, 5)."""
    x = np.arange(5.0, dtype=np.float32).reshape(1, 5, 1)
    assert ops.adaptive_avg_pool(x, 3).ravel().tolist() == [0.5, 2.0, 3.5]
    assert ops.adaptive_max_pool(x, 3).ravel().tolist() == [1, 3, 4]
    blocks = [[(0,), (1,)], [(2,), (3,)], [(4,)]]
    disjoint = reference.average(x, {(i,): block for i, block in enumerate(blocks)})
    assert disjoint.ravel().tolist() == [0.5, 2.5, 4.0]
    assert ops.adaptive_avg_pool(x, 7).shape == (1, 7, 1)


def test_averages_equal_the_loops():
    for (spatial, sizes), x, (y, gradient) in results(ops.adaptive_avg_pool):
        windows = reference.cells(spatial, sizes)
        assert_close(y, reference.average(x, windows))
        g = cotangent(y.shape)
        adjoint = np.sum(y * g) - np.sum(x * gradient)
        assert abs(adjoint) <= 1e-12 * max(np.abs(y * g).sum(), 1)
        assert abs(gradient.sum() - g.sum()) < 1e-12 * np.abs(g).sum()  # an average of ones is one


def test_maxima_equal_the_loops_and_ties_go_to_the_first():
    told_apart = 0
    for (spatial, sizes), x, (y, gradient) in results(ops.adaptive_max_pool):
        windows = reference.cells(spatial, sizes)
        expected, indices = reference.extreme(x, windows)
        assert_close(y, expected, 0)
        g = cotangent(y.shape)
        assert_close(gradient, reference.send(g, indices, x.shape))
        _, last = reference.extreme(x, windows, last=True)
        told_apart += np.abs(reference.send(g, last, x.shape) - gradient).max() > 0.1
    assert told_apart > len(CASES) / 2  # negative control


@pytest.mark.parametrize("channels", [1, 8, 17])
def test_nan_at_every_pixel_reaches_every_cell_that_holds_it(channels):
    size, sizes = 7, (1, 2, 3, 5)
    x = np.zeros((size, size, channels), np.float32)
    x[range(size), range(size)] = np.nan

    @jax.jit
    def everything(x):
        return [(ops.adaptive_max_pool(x, m), ops.adaptive_avg_pool(x, m)) for m in sizes]

    for m, ys in zip(sizes, everything(x), strict=True):
        cells = reference.cells((size,), (m,))
        expected = [[(pixel,) in cells[(i,)] for i in range(m)] for pixel in range(size)]
        for y in ys:
            nans = np.isnan(y)
            assert nans.all(axis=-1).tolist() == nans.any(axis=-1).tolist() == expected


def test_dividing_sizes_are_plain_pools():
    x = images((6, 8), np.float32)

    @quick_jit
    def everything(x):
        averages = ops.adaptive_avg_pool(x, (3, 2)), ops.avg_pool(x, (2, 4))
        maxima = ops.adaptive_max_pool(x, (3, 2)), ops.max_pool(x, (2, 4))
        return averages, maxima, ops.adaptive_avg_pool(x, (6, 8))

    averages, maxima, same = everything(x)
    assert_close(*averages, 0)
    assert_close(*maxima, 0)
    assert_close(same, x, 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_narrow_dtypes_stay(dtype):
    x = jnp.asarray(images((5,)), dtype)
    y = quick_jit(lambda x: ops.adaptive_max_pool(x, 3))(x)
    assert y.dtype == x.dtype
    expected, _ = reference.extreme(images((5,)), reference.cells((5,), (3,)))
    np.testing.assert_array_equal(np.asarray(y, np.float64), expected)
    if dtype != "int8":
        average = quick_jit(lambda x: ops.adaptive_avg_pool(x, 3))
        assert_close(average(x), average(x.astype(jnp.float32)).astype(x.dtype), 0)


def test_vmap_jvp_and_empty_batches():
    x = np.random.default_rng(0).standard_normal((3, 2, 5, 2)).astype(np.float32)

    @quick_jit
    def everything(x):
        pool = functools.partial(ops.adaptive_max_pool, output_shape=3)
        tangent = jax.jvp(pool, (x[0],), (jnp.cos(x[0]),))[1]
        y, vjp = jax.vjp(pool, x[0])
        twice = jax.grad(lambda x: jnp.sum(jax.grad(lambda x: jnp.sum(pool(x) ** 2))(x)))(x[0])
        products = jnp.sum(tangent * y), jnp.sum(jnp.cos(x[0]) * vjp(y)[0])
        return jax.vmap(pool)(x), [pool(one) for one in x], products, twice, vjp(jnp.ones_like(y))

    mapped, alone, (forward, reverse), twice, (ones,) = everything(x)
    assert_close(mapped, np.stack(alone), 0)
    assert_close(forward, reverse)
    assert_close(twice, 2 * ones)
    assert ops.adaptive_avg_pool(jnp.zeros((0, 5, 5, 3)), 2).shape == (0, 2, 2, 3)
    assert ops.adaptive_max_pool(jnp.zeros((0, 5, 3)), 2).shape == (0, 2, 3)


X = np.zeros((2, 5, 6, 3), np.float32)


@pytest.mark.parametrize("where", ["adaptive_avg_pool", "adaptive_max_pool"])
def test_errors_say_what_why_and_the_way_out(where):
    pool = getattr(ops, where)
    for value, shown in ((0, 0), ((2, 0), 0), (-1, -1)):
        with raises(
            ValueError,
            f"{where}: output_shape is too small; expected at least 1. Got output_shape={shown}. "
            "Use output_shape=1 or more.",
        ):
            pool(X, value)
    for value, kind in (
        (2.0, "float"),
        (True, "bool"),
        (None, "NoneType"),
        ((2, None), "NoneType"),
    ):
        shown = value[1] if isinstance(value, tuple) else value
        with raises(
            TypeError,
            f"{where}: output_shape is of type {kind}; expected an int. "
            f"Got output_shape={shown}. Pass a whole number.",
        ):
            pool(X, value)
    for value, first in (((2, 2, 2), 2), ((3,), 3), ((), 1)):
        with raises(
            ValueError,
            f"{where}: output_shape has {len(value)} entries for 2 spatial axes; expected one per "
            f"spatial axis or a single int. Got output_shape={value}. "
            f"Use output_shape={first} for all axes.",
        ):
            pool(X, value)
    with raises(
        ValueError,
        f"{where}: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(5, 6). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ):
        pool(X[0, :, :, 0], 1)
    with raises(
        ValueError,
        f"{where}: spatial axis 1 has no pixels; expected at least 1. "
        "Got x of shape (2, 5, 0, 3). Leave empty images out.",
    ):
        pool(X[:, :, :0], 2)


def test_errors_of_dtypes():
    with raises(
        TypeError,
        "adaptive_avg_pool: x holds integers; expected a floating dtype. "
        "Got x of dtype int32. Use x.astype('float32').",
    ):
        ops.adaptive_avg_pool(X.astype(np.int32), 2)
    with raises(
        TypeError,
        "adaptive_max_pool: values of complex64 have no order; expected a real dtype. "
        "Got x of dtype complex64. Use jax.numpy.abs(x), say.",
    ):
        ops.adaptive_max_pool(X.astype(np.complex64), 2)
