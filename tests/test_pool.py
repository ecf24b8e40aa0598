"""Max and min pooling: values and gradients by loops, ties, NaNs, dtypes, derivatives, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_pool as reference
from helpers import assert_close, quick_jit, raises
from jax import lax

from jaxconv import geometry, ops

# spatial, window, stride, padding, dilation, modes: all different, whatever torch has not
CASES = [
    ((8,), (3,), (2,), ((2, 1),), (1,), ("circular",)),
    ((5,), (4,), (1,), ((7, 6),), (1,), ("reflect",)),
    ((8,), (2,), (3,), ((-1, 2),), (2,), ("zeros",)),
    ((5, 6), (2, 3), (1, 2), ((1, 0), (2, 2)), (2, 1), ("zeros", "circular")),
    ((4, 7), (3, 2), (2, 1), ((0, 2), (1, -2)), (1, 3), ("edge", "zeros")),
    ((3, 5), (2, 2), (2, 2), ((0, 1), (1, 0)), (1, 1), ("reflect", "edge")),
    ((3, 4, 2), (2, 1, 2), (1, 3, 1), ((1, 0), (0, 0), (1, 1)), (1, 1, 1), ("zeros",) * 3),
]


def images(spatial, *, ties, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    shape = (2, *spatial, 3)
    if ties:
        return rng.integers(-1, 2, shape).astype(dtype)
    return (rng.permutation(np.prod(shape)).reshape(shape) / 8 - 5).astype(dtype)


def cotangent(shape):
    return np.cos(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)


def with_gradient(pool, x, **arguments):
    y, vjp = jax.vjp(functools.partial(pool, **arguments), x)
    return y, vjp(jnp.asarray(cotangent(y.shape)))[0]


@pytest.mark.parametrize(("name", "sign"), [("max_pool", 1), ("min_pool", -1)])
def test_values_and_gradients_equal_the_loops_and_ties_go_to_the_first(name, sign):
    pool = getattr(ops, name)
    xs = [images(case[0], ties=ties) for case in CASES for ties in (False, True)]
    cases = [case for case in CASES for _ in range(2)]

    @quick_jit
    def everything(xs):
        names = ("window", "stride", "padding", "dilation", "padding_mode")
        return [
            with_gradient(pool, x, **dict(zip(names, case[1:], strict=True)))
            for x, case in zip(xs, cases, strict=True)
        ]

    told_apart = 0
    for x, case, (y, gradient) in zip(xs, cases, everything(xs), strict=True):
        windows = reference.taps(*case)
        expected, indices = reference.extreme(x, windows, sign)
        assert_close(y, expected, 0)
        g = cotangent(y.shape)
        assert_close(gradient, reference.send(g, indices, x.shape))
        _, last = reference.extreme(x, windows, sign, last=True)
        wrong = reference.send(g, last, x.shape)
        told_apart += np.abs(wrong - np.asarray(gradient)).max() > 0.1
    assert told_apart >= len(CASES)  # the rule of the last one fails every case with ties


@pytest.mark.parametrize("channels", [1, 3, 8, 17, 64])
def test_nan_at_every_pixel_is_kept(channels):
    """jaxlib 0.10.2 drops them on a CPU with 8 channels or more: windows of 2, and reductions."""
    size = 6
    x = np.array(images((size, size), ties=False)[:1, :, :, :1])
    x = np.tile(x, (size * size, 1, 1, channels))
    for pixel in range(size * size):
        x[pixel, pixel // size, pixel % size] = np.nan
    windows = [(2, 2), (3, 2), (3, 1), (6, 1)]

    @jax.jit
    def everything(x):
        return [(ops.max_pool(x, k, stride=s), ops.min_pool(x, k, stride=s)) for k, s in windows]

    for (k, s), results in zip(windows, everything(x), strict=True):
        count = geometry.output_size(size, k, s)
        start = s * np.arange(count)
        inside = (start[None] <= np.arange(size)[:, None]) & (
            np.arange(size)[:, None] < start[None] + k
        )
        expected = np.einsum("ai,bj->abij", inside, inside).reshape(-1, count, count, 1)
        expected = np.broadcast_to(expected.astype(bool), results[0].shape)
        assert 0 < expected.mean() < 1 or k == size
        for y in results:
            np.testing.assert_array_equal(np.isnan(y), expected)


def test_the_rule_without_isnan_loses_nans():
    """Negative control: what `take` would be without its second half."""
    x = np.array([1.0, np.nan, 2.0, 3.0], np.float32).reshape(1, 4, 1)
    plain = jnp.where(x[:, 1::2] > x[:, ::2], x[:, 1::2], x[:, ::2])
    assert not np.isnan(plain).any()
    assert np.isnan(ops.max_pool(x, 2)).ravel().tolist() == [True, False]


@pytest.mark.parametrize("dilation", [1, 2])
def test_large_windows_take_few_steps_and_equal_the_loops(dilation):
    """By pairs where one window fills the axis, by doubling where several overlap."""
    spatial, window = (90 * dilation,), 41
    x = images(spatial, ties=True)
    x[0, 20, 0], x[1, 3, 1] = np.nan, np.inf
    for stride, output in ((1, 50), (3, 17), (1000, 1)):
        pad = ((0, dilation * (window - 1) + stride * (output - 1) + 1 - spatial[0]),)
        arguments = {"window": window, "stride": stride, "padding": pad, "dilation": dilation}
        run = functools.partial(with_gradient, ops.max_pool, **arguments)
        y, gradient = quick_jit(run)(x)
        windows = reference.taps(spatial, (window,), (stride,), pad, (dilation,), ("zeros",))
        expected, indices = reference.extreme(x, windows)
        assert y.shape[1] == output
        assert_close(y, expected, 0)
        assert_close(gradient, reference.send(cotangent(y.shape), indices, x.shape))
        steps = str(jax.make_jaxpr(run)(x)).count("= gt ")
        assert 0 < steps < 12


@pytest.mark.parametrize("window", [11, 43])
def test_of_every_two_equal_maxima_the_first_has_the_gradient(window):
    """One window is reduced by pairs, with odd ones out; two of 43 taps by doubling."""
    first, second = np.triu_indices(window, 1)
    x = np.zeros((first.size, window + 1, 1), np.float32)
    x[range(first.size), first] = x[range(first.size), second] = 1

    @quick_jit
    def everything(x):
        alone = jax.grad(lambda x: jnp.sum(ops.max_pool(x, window)))(x)
        both = jax.vjp(lambda x: ops.max_pool(x, window, stride=1), x)[1]
        return alone, both(jnp.asarray([1.0, 0.0]).reshape(1, 2, 1) * jnp.ones_like(x[:, :2]))[0]

    for gradient in everything(x):
        assert np.asarray(gradient).sum(axis=(1, 2)).tolist() == [1] * first.size
        np.testing.assert_array_equal(np.argmax(gradient[..., 0], axis=1), first)


def test_padding_never_wins():
    x = np.full((1, 3, 1), -np.inf, np.float32)
    pad = {"window": 3, "stride": 1, "padding": 1}
    assert np.all(ops.max_pool(x, **pad) == -np.inf)
    assert np.all(ops.min_pool(-x, **pad) == np.inf)
    negative = -np.ones((1, 3, 1), np.float32)
    assert np.all(ops.max_pool(negative, **pad) == -1)
    circular = ops.max_pool(negative, 2, stride=1, padding=1, padding_mode="circular")
    assert np.all(np.asarray(circular) == -1)
    assert np.any(ops.max_pool(jnp.pad(negative, ((0, 0), (1, 1), (0, 0))), 3, stride=1) == 0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bool", "float16", "bfloat16"])
def test_narrow_dtypes_pool_exactly_and_keep_their_dtype(dtype):
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 2 if dtype == "bool" else 100, (2, 7, 3)).astype(np.float64)
    wide -= 50 if dtype not in ("bool", "uint8") else 0
    x = jnp.asarray(wide, dtype)
    windows = reference.taps((7,), (3,), (2,), ((1, 1),), (1,), ("zeros",))
    for pool, sign in ((ops.max_pool, 1), (ops.min_pool, -1)):
        y = quick_jit(functools.partial(pool, window=3, stride=2, padding=1))(x)
        assert y.dtype == x.dtype
        expected, _ = reference.extreme(wide, windows, sign)
        np.testing.assert_array_equal(np.asarray(y, np.float64), expected)


def test_floats_without_infinity_are_padded_by_their_limits():
    x = jnp.asarray([[[-448.0], [448.0]]], jnp.float8_e4m3fn)
    y = quick_jit(lambda x: ops.max_pool(x, 2, stride=1, padding=1))(x)
    assert y.astype(jnp.float32).ravel().tolist() == [-448.0, 448.0, 448.0]


def test_min_pool_is_max_pool_upside_down():
    x = images((7, 6), ties=False)
    run = functools.partial(with_gradient, window=3, stride=2, padding="same")
    pools = (ops.min_pool, lambda x, **a: -ops.max_pool(-x, **a), ops.max_pool)
    small, upside, large = quick_jit(lambda x: [run(pool, x=x) for pool in pools])(x)
    assert_close(small, upside, 0)
    assert np.abs(np.asarray(small[0]) - np.asarray(large[0])).max() > 1


def test_stride_defaults_to_the_window_and_names_give_their_sizes():
    x = images((9, 8), ties=False)
    assert_close(ops.max_pool(x, (3, 2)), ops.max_pool(x, (3, 2), stride=(3, 2)), 0)
    sizes = {"valid": (3, 3), "same": (5, 4), "half": (5, 5), "causal": (5, 4), "full": (6, 6)}
    for name, size in sizes.items():
        out = jax.eval_shape(lambda x, p=name: ops.max_pool(x, 4, stride=2, padding=p), x)
        expected = geometry.named_padding(name, 9, 4, 2), geometry.named_padding(name, 8, 4, 2)
        by_hand = [
            geometry.output_size(n, 4, 2, 1, p) for n, p in zip((9, 8), expected, strict=True)
        ]
        assert out.shape == (2, *by_hand, 3)
        assert out.shape[1:3] == size


def test_empty_batches_and_no_channels_give_empty_outputs():
    assert ops.max_pool(jnp.zeros((0, 4, 4, 3)), 2).shape == (0, 2, 2, 3)
    assert ops.min_pool(jnp.zeros((2, 4, 0)), 2).shape == (2, 2, 0)
    assert jax.grad(lambda x: ops.max_pool(x, 2).sum())(jnp.zeros((0, 4, 3))).shape == (0, 4, 3)


def test_derivatives_in_both_modes_to_second_order():
    """Differences of gradients are the second derivatives, away from ties."""
    with jax.enable_x64(True):
        x = images((4, 5), ties=False, dtype=np.float64)
        v, step = np.cos(x), 1e-5
        pool = functools.partial(ops.max_pool, window=(2, 3), stride=(1, 2), padding=1)

        @quick_jit
        def everything(x, v):
            gradient = jax.grad(lambda x: jnp.sum(pool(x) ** 3))
            change = (gradient(x + step * v) - gradient(x - step * v)) / (2 * step)
            forward = jax.jvp(lambda x: jnp.sum(pool(x) ** 3), (x,), (v,))[1]
            second = jax.jvp(gradient, (x,), (v,))[1]
            return second, change, forward, jnp.sum(gradient(x) * v)

        second, change, forward, reverse = everything(x, v)
    assert np.abs(second).max() > 0.1
    assert_close(second, change, 1e-8)
    assert_close(forward, reverse)


def test_vmap_is_a_stack_and_jit_is_eager():
    x = np.stack([images((5, 6), ties=True, seed=seed) for seed in range(3)])
    run = functools.partial(with_gradient, ops.max_pool, window=3, stride=2, padding=1)
    mapped = quick_jit(jax.vmap(run))(x)
    for index in range(3):
        alone = run(x[index])
        assert_close(jax.tree.map(lambda m, i=index: m[i], mapped), alone, 0)
    assert np.abs(np.asarray(mapped[0][0]) - np.asarray(mapped[0][1])).max() > 0


def test_no_gradient_scatters_or_selects():
    """Scatters are slow on CPUs and not deterministic on GPUs; reduce_window's gradient is one."""
    x = jnp.asarray(images((6, 6), ties=False))

    def program(pool):
        gradient = jax.jit(jax.grad(lambda x: jnp.sum(pool(x) ** 2)))
        return gradient.lower(x).as_text()

    words = ("scatter", "reduce_window", "gather")
    pools = [
        functools.partial(ops.max_pool, window=3, stride=2, padding=1),
        functools.partial(ops.max_pool, window=6),
        functools.partial(ops.min_pool, window=2, padding=1, padding_mode="reflect"),
        functools.partial(ops.avg_pool, window=3, stride=2, padding=1),
        functools.partial(ops.lp_pool, window=2),
        functools.partial(ops.adaptive_max_pool, output_shape=4),
        functools.partial(ops.adaptive_avg_pool, output_shape=4),
        lambda x: ops.max_pool_with_indices(x, 3, stride=1)[0],
    ]
    for pool in pools:
        assert not [word for word in words if word in program(pool)], pool

    def lax_pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    assert "scatter" in program(lax_pool)


X = np.zeros((2, 5, 6, 3), np.float32)


@pytest.mark.parametrize("where", ["max_pool", "min_pool"])
def test_errors_say_what_why_and_the_way_out(where):
    pool = getattr(ops, where)
    with raises(
        ValueError,
        f"{where}: window is too small; expected at least 1. Got window=0. Use window=1 or more.",
    ):
        pool(X, 0)
    with raises(
        TypeError,
        f"{where}: window is of type float; expected an int. Got window=2.5. Pass a whole number.",
    ):
        pool(X, 2.5)
    with raises(
        ValueError,
        f"{where}: window has 3 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got window=(2, 2, 2). Use window=2 for all axes.",
    ):
        pool(X, (2, 2, 2))
    with raises(
        ValueError,
        f"{where}: stride is too small; expected at least 1. Got stride=0. Use stride=1 or more.",
    ):
        pool(X, 2, stride=0)
    with raises(
        ValueError,
        f"{where}: dilation is too small; expected at least 1. Got dilation=-1. "
        "Use dilation=1 or more.",
    ):
        pool(X, 2, dilation=(1, -1))
    with raises(
        ValueError,
        f'{where}: padding is unknown; expected one of "same", "half", "valid", "causal", "full". '
        "Got padding='SAME'. Use padding='same', say.",
    ):
        pool(X, 2, padding="SAME")
    with raises(
        ValueError,
        f"{where}: padding is not understood; expected one of same, half, valid, causal, full, an "
        "int, or one pair (low, high) per spatial axis. Got padding=(1, 1). "
        'Use padding="same" or padding=((1, 1), (1, 1)), say.',
    ):
        pool(X, 2, padding=(1, 1))
    with raises(
        ValueError,
        f"{where}: padding has 1 entries for 2 spatial axes; expected one pair (low, high) per "
        "spatial axis. Got padding=((1, 1),). Use padding=((1, 1), (1, 1)), say.",
    ):
        pool(X, 2, padding=((1, 1),))
    with raises(
        ValueError,
        f'{where}: padding_mode is unknown; expected one of "zeros", "circular", "reflect", '
        "\"edge\". Got padding_mode='wrap'. Use padding_mode='zeros', say.",
    ):
        pool(X, 2, padding_mode="wrap")
    with raises(
        ValueError,
        f"{where}: padding_mode has 3 entries for 2 spatial axes; expected one per spatial axis or "
        "a single word. Got padding_mode=('zeros', 'zeros', 'zeros'). "
        'Use padding_mode="zeros" for all axes.',
    ):
        pool(X, 2, padding_mode=("zeros",) * 3)


@pytest.mark.parametrize("where", ["max_pool", "min_pool"])
def test_errors_of_images_that_do_not_fit(where):
    pool = getattr(ops, where)
    with raises(
        ValueError,
        f"{where}: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(5, 6). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ):
        pool(X[0, :, :, 0], 2)
    with raises(
        ValueError,
        f"{where}: the output is empty, a window of 7 pixels does not fit into 6 on spatial axis "
        "1; expected at least 7 with padding. Got x of shape (2, 5, 6, 3) and padding='valid'. "
        'Use padding="same" or a smaller window.',
    ):
        pool(X, (3, 7))
    with raises(
        ValueError,
        f"{where}: window 0 of spatial axis 1 lies wholly in padding; expected every window to "
        "hold a pixel of x. Got x of shape (2, 5, 6, 3) and padding of (2, 0) on that axis. "
        'Use padding_mode="edge" or less padding on axis 1.',
    ):
        pool(X, 2, padding=((0, 0), (2, 0)))
    with raises(
        ValueError,
        f"{where}: window 0 of spatial axis 0 lies wholly in padding; expected every window to "
        "hold a pixel of x. Got x of shape (2, 0, 6, 3) and padding of (1, 1) on that axis. "
        "Use x with at least 1 pixel on axis 0.",
    ):
        pool(X[:, :0], 2, padding=1)
    with raises(
        TypeError,
        f"{where}: values of complex64 have no order; expected a real dtype. "
        "Got x of dtype complex64. Use jax.numpy.abs(x), say.",
    ):
        pool(X.astype(np.complex64), 2)
    assert pool(X, 2, padding=((0, 0), (2, 0)), padding_mode="edge").shape == (2, 2, 4, 3)
