"""Max pooling with indices, and unpooling: loops, padding, ties, gradients, bad indices, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_pool as reference
from helpers import assert_close, quick_jit, raises
from test_pool import CASES, images

from jaxconv import ops

NAMES = ("window", "stride", "padding", "dilation", "padding_mode")


def test_values_and_indices_equal_the_loops_for_every_padding():
    xs = [images(case[0], ties=ties) for case in CASES for ties in (False, True)]
    cases = [case for case in CASES for _ in range(2)]

    @quick_jit
    def everything(xs):
        return [
            ops.max_pool_with_indices(x, **dict(zip(NAMES, case[1:], strict=True)))
            for x, case in zip(xs, cases, strict=True)
        ]

    told_apart = 0
    for x, case, (y, indices) in zip(xs, cases, everything(xs), strict=True):
        windows = reference.taps(*case)
        expected, places = reference.extreme(x, windows)
        assert_close(y, expected, 0)
        assert_close(indices, places, 0)
        _, last = reference.extreme(x, windows, last=True)
        told_apart += not np.array_equal(last, indices)
    assert told_apart >= len(CASES)  # the rule of the last one fails every case with ties


def test_padding_has_no_index_even_among_infinities():
    x = np.full((1, 3, 2, 8), -np.inf, np.float32)
    pool = functools.partial(ops.max_pool_with_indices, stride=1, padding=1)
    _, indices = quick_jit(lambda x: pool(x, 3))(x)
    assert indices[0, :, :, 0].tolist() == [[0, 0], [0, 0], [2, 2]]
    lowest = np.full((1, 3, 1), -128, np.int8)
    _, indices = quick_jit(lambda x: pool(x, 2))(lowest)
    assert indices.ravel().tolist() == [0, 0, 1, 2]


def test_nans_are_named_and_large_windows_are_right():
    x = images((70,), ties=True)
    x[0, 33, 1], x[0, 40, 1], x[1, 0, 2] = np.nan, np.nan, np.inf
    for stride, output in ((1, 36), (50, 1)):
        pool = functools.partial(ops.max_pool_with_indices, window=35, stride=stride)
        y, indices = quick_jit(pool)(x)
        windows = reference.taps((70,), (35,), (stride,), ((0, 0),), (1,), ("zeros",))
        expected, places = reference.extreme(x, windows)
        assert y.shape[1] == output
        assert_close(y, expected, 0)
        assert_close(indices, places, 0)


def test_the_pool_is_max_pool_and_so_is_its_gradient():
    x = images((5, 6), ties=True)

    @quick_jit
    def everything(x):
        run = functools.partial(ops.max_pool_with_indices, window=3, stride=2, padding=1)
        pool = functools.partial(ops.max_pool, window=3, stride=2, padding=1)
        squares = lambda f: jax.grad(lambda x: jnp.sum(f(x) ** 2))(x)
        mapped = jax.vmap(run)(x[:, None])
        return run(x), pool(x), squares(lambda x: run(x)[0]), squares(pool), mapped

    (y, indices), other, gradient, expected, mapped = everything(x)
    assert_close(y, other, 0)
    assert_close(gradient, expected, 0)
    assert np.abs(gradient).max() > 0
    assert_close(mapped, (y[:, None], indices[:, None]), 0)


@pytest.mark.parametrize("spatial", [(6,), (4, 6), (2, 4, 4)])
def test_unpooling_puts_every_maximum_back(spatial):
    x = images(spatial, ties=False)

    @quick_jit
    def everything(x, g):
        y, indices = ops.max_pool_with_indices(x, 2)
        back, vjp = jax.vjp(lambda y: ops.unpool(y, indices, spatial), y)
        forward = jax.jvp(lambda y: ops.unpool(y, indices, spatial), (y,), (jnp.cos(y),))[1]
        again, _ = ops.max_pool_with_indices(jnp.abs(back), 2)
        return y, indices, back, vjp(g)[0], forward, again

    g = np.sin(np.arange(x.size, dtype=np.float32)).reshape(x.shape)
    y, indices, back, gradient, forward, again = everything(x, g)
    assert_close(back, reference.send(np.asarray(y), np.asarray(indices), x.shape), 0)
    assert_close(forward, reference.send(np.cos(y), np.asarray(indices), x.shape))
    picked = np.take_along_axis(g.reshape(2, -1, 3), np.asarray(indices).reshape(2, -1, 3), 1)
    assert_close(gradient, picked.reshape(y.shape), 0)
    assert_close(again, jnp.abs(y), 0)
    assert np.count_nonzero(back) == np.count_nonzero(y)


def test_unpooling_drops_indices_outside_and_keeps_dtypes():
    y = jnp.arange(1, 6, dtype=jnp.int8).reshape(1, 5, 1)
    for dtype in (jnp.int32, jnp.int8):
        indices = jnp.asarray([3, -1, 6, 100, 0], dtype).reshape(1, 5, 1)
        x = quick_jit(lambda i: ops.unpool(y, i, 6))(indices)
        assert x.dtype == y.dtype
        assert x.ravel().tolist() == [5, 0, 0, 1, 0, 0]
    wide = ops.unpool(y, jnp.asarray([1, 2, 3, 4, 255], jnp.uint8).reshape(1, 5, 1), 300)
    assert np.flatnonzero(wide).tolist() == [1, 2, 3, 4, 255]
    empty = jnp.zeros((0, 2, 2, 3))
    assert ops.unpool(empty, empty.astype(jnp.int32), (4, 5)).shape == (0, 4, 5, 3)


def test_one_of_several_values_with_one_index_is_kept_with_its_gradient():
    """Windows that overlap name a pixel twice; both hold its value."""
    x = jnp.array([0.0, 1.0, 5.0, 2.0, 0.0]).reshape(1, 5, 1)

    @quick_jit
    def everything(x):
        y, indices = ops.max_pool_with_indices(x, 3, stride=1)
        back, vjp = jax.vjp(lambda y: ops.unpool(y, indices, 5), y)
        return indices, back, vjp(jnp.ones_like(back))[0]

    indices, back, gradient = everything(x)
    assert indices.ravel().tolist() == [2, 2, 2]
    assert back.ravel().tolist() == [0, 0, 5, 0, 0]
    assert sorted(gradient.ravel().tolist()) == [0, 0, 1]


X = np.zeros((2, 5, 6, 3), np.float32)


def test_errors_of_pooling_say_what_why_and_the_way_out():
    where, pool = "max_pool_with_indices", ops.max_pool_with_indices
    with raises(
        ValueError,
        f"{where}: window is too small; expected at least 1. Got window=0. Use window=1 or more.",
    ):
        pool(X, 0)
    with raises(
        TypeError,
        f"{where}: stride is of type float; expected an int. Got stride=1.5. Pass a whole number.",
    ):
        pool(X, 2, stride=1.5)
    with raises(
        ValueError,
        f"{where}: dilation has 3 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got dilation=(1, 1, 1). Use dilation=1 for all axes.",
    ):
        pool(X, 2, dilation=(1, 1, 1))
    with raises(
        ValueError,
        f"{where}: window 0 of spatial axis 0 lies wholly in padding; expected every window to "
        "hold a pixel of x. Got x of shape (2, 5, 6, 3) and padding of (4, 4) on that axis. "
        'Use padding_mode="edge" or less padding on axis 0.',
    ):
        pool(X, 3, padding=4)
    with raises(
        TypeError,
        f"{where}: values of complex64 have no order; expected a real dtype. "
        "Got x of dtype complex64. Use jax.numpy.abs(x), say.",
    ):
        pool(X.astype(np.complex64), 2)
    with raises(
        ValueError,
        f"{where}: the output is empty, a window of 7 pixels does not fit into 5 on spatial axis "
        "0; expected at least 7 with padding. Got x of shape (2, 5, 6, 3) and padding='valid'. "
        'Use padding="same" or a smaller window.',
    ):
        pool(X, 7)


def test_errors_of_unpooling_say_what_why_and_the_way_out():
    indices = np.zeros(X.shape, np.int32)
    with raises(
        TypeError,
        "unpool: indices are of float32; expected integers. Got indices of dtype float32. "
        "Use those that max_pool_with_indices returned.",
    ):
        ops.unpool(X, X, 10)
    with raises(
        ValueError,
        "unpool: indices do not name a pixel for every value; expected the shape of y, "
        "(2, 5, 6, 3). Got indices of shape (2, 5, 5, 3). "
        "Use those that max_pool_with_indices returned.",
    ):
        ops.unpool(X, indices[:, :, :5], 10)
    with raises(
        ValueError,
        "unpool: output_shape has 4 entries for 2 spatial axes; expected one per spatial axis or "
        "a single int. Got output_shape=(2, 10, 12, 3). Use output_shape=2 for all axes.",
    ):
        ops.unpool(X, indices, (2, 10, 12, 3))
    with raises(
        ValueError,
        "unpool: output_shape is too small; expected at least 1. Got output_shape=0. "
        "Use output_shape=1 or more.",
    ):
        ops.unpool(X, indices, 0)
    with raises(
        TypeError,
        "unpool: output_shape is of type float; expected an int. Got output_shape=10.0. "
        "Pass a whole number.",
    ):
        ops.unpool(X, indices, 10.0)
    with raises(
        ValueError,
        "unpool: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(5, 6). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ):
        ops.unpool(X[0, :, :, 0], indices, 10)
