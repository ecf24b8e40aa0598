"""Convolution: loops by value, derivatives by bilinearity, narrow dtypes, edges, errors whole."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_conv
from helpers import assert_close, quick_jit, raises

from jaxconv import ops

# (spatial, window, stride, dilation, groups, padding as the user writes it, as pairs, modes)
CASES = [
    ((9,), (3,), (1,), (1,), 1, "same", ((1, 1),), ("zeros",)),
    ((9,), (4,), (3,), (1,), 1, "same", ((0, 1),), ("circular",)),
    ((9,), (4,), (3,), (2,), 1, "half", ((3, 3),), ("reflect",)),
    ((9,), (3,), (2,), (2,), 1, "causal", ((4, 0),), ("zeros",)),
    ((9,), (3,), (2,), (2,), 1, "causal", ((4, 0),), ("edge",)),
    ((9,), (3,), (1,), (2,), 2, "full", ((4, 4),), ("zeros",)),
    ((2,), (5,), (1,), (1,), 1, "same", ((2, 2),), ("circular",)),
    ((2,), (5,), (1,), (1,), 1, "same", ((2, 2),), ("reflect",)),
    ((1,), (3,), (1,), (2,), 1, "same", ((2, 2),), ("zeros",)),
    ((9,), (1,), (2,), (1,), 1, "same", ((0, 0),), ("zeros",)),
    ((9,), (2,), (5,), (1,), 1, "valid", ((0, 0),), ("zeros",)),
    ((5,), (2,), (1,), (1,), 1, ((3, 0),), ((3, 0),), ("zeros",)),
    ((5,), (2,), (1,), (1,), 1, ((-1, 1),), ((-1, 1),), ("zeros",)),
    ((5,), (2,), (1,), (1,), 1, ((-2, 1),), ((-2, 1),), ("zeros",)),
    ((5,), (2,), (1,), (1,), 1, -1, ((-1, -1),), ("zeros",)),
    ((6,), (2,), (2,), (1,), 1, ((7, -4),), ((7, -4),), ("circular",)),
    ((8, 5), (3, 2), (2, 1), (1, 2), 2, "same", ((0, 1), (1, 1)), ("circular", "zeros")),
    ((7, 5), (3, 2), (1, 3), (1, 1), 1, 2, ((2, 2), (2, 2)), ("edge", "reflect")),
    ((7, 5), (1, 3), (2, 2), (1, 1), 1, "half", ((0, 0), (1, 1)), ("zeros", "zeros")),
    ((4, 6), (2, 2), (1, 1), (1, 1), 2, ((0, 0), (-1, 1)), ((0, 0), (-1, 1)), ("zeros", "zeros")),
    ((3, 4, 5), (2, 1, 3), (1, 2, 2), (1, 1, 1), 2, "same", ((0, 1), (0, 0), (1, 1)), None),
]
C, FEATURES = 4, 6


def options(case):
    _, _, stride, dilation, groups, padding, _, modes = case
    modes = modes or "zeros"
    named = {"stride": stride, "dilation": dilation, "groups": groups, "padding": padding}
    return named | {"padding_mode": modes}


def loops(x, kernel, case):
    _, _, stride, dilation, groups, _, pads, modes = case
    modes = modes or ("zeros",) * len(stride)
    return reference_conv.conv(
        x, kernel, stride=stride, pads=pads, modes=modes, dilation=dilation, groups=groups
    )


def draw(rng, case):
    """Image, kernel and one tangent of each."""
    spatial, window, groups = case[0], case[1], case[4]
    shapes = [(2, *spatial, C), (*window, C // groups, FEATURES)] * 2
    return [rng.normal(size=shape) for shape in shapes]


def derivatives(case):
    """The output, both gradients, and the gradients of those: all that a bilinear map has."""
    f = lambda x, k: ops.conv(x, k, **options(case))

    def everything(x, k, tx, tk, g):
        y, pullback = jax.vjp(f, x, k)
        _, tangent = jax.jvp(f, (x, k), (tx, tk))
        gradients = lambda x, k, g: jax.vjp(f, x, k)[1](g)
        _, again = jax.vjp(gradients, x, k, g)
        return y, tangent, pullback(g), again((tx, tk))

    return everything


def test_values_and_derivatives_to_second_order_equal_loops(rng):
    arrays = [draw(rng, case) for case in CASES]
    outputs = [loops(x, k, case) for case, (x, k, _, _) in zip(CASES, arrays, strict=True)]
    cotangents = [rng.normal(size=y.shape) for y in outputs]
    inputs = [(*leaves, g) for leaves, g in zip(arrays, cotangents, strict=True)]
    everything = lambda all_inputs: [
        derivatives(case)(*each) for case, each in zip(CASES, all_inputs, strict=True)
    ]
    with jax.enable_x64(True):
        results = jax.tree.map(np.asarray, quick_jit(everything)(inputs))
    blind = []
    for case, (x, k, tx, tk, g), y, result in zip(CASES, inputs, outputs, results, strict=True):
        value, tangent, (dx, dk), (ddx, ddk, dg) = result
        both = loops(tx, k, case) + loops(x, tk, case)
        assert_close(value, y)
        assert_close(tangent, both)
        assert_close(dg, both)
        # <dx, v> = <g, conv(v, k)> for every v determines dx; one random v notices any error.
        for gradient, at, wanted in [
            (dx, tx, loops(tx, k, case)),
            (dk, tk, loops(x, tk, case)),
            (ddx, x, loops(x, tk, case)),
            (ddk, k, loops(tx, k, case)),
        ]:
            limit, pairing = 1e-12 * np.abs(g).sum(), (wanted * g).sum()
            assert abs((gradient * at).sum() - pairing) <= limit, case
            assert abs((np.roll(gradient, 1, axis=-1) * at).sum() - pairing) > limit, case
        moved = loops(x, np.roll(k, 1, axis=len(case[1]) - 1), case)
        if np.abs(moved - value).max() < 1e-3 and case[1] != (1,):
            blind.append(case)
    assert not blind, blind


def dense_low(x, low, high):
    """Padding by hand on the last spatial axis, to call the convolution without any."""
    x = np.pad(x, ((0, 0), (0, 0), (max(low, 0), max(high, 0)), (0, 0)))
    return x[:, :, max(-low, 0) : x.shape[2] - max(-high, 0)]


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-2, 1), (-1, 2), (1, -1), (-1, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_negative_and_excess_low_padding_read_no_foreign_memory(low, high, dtype, rng):
    # XLA on CPU, jaxlib 0.10.2: errors to 1e36 when such pads reach its convolution, forward for
    # low < 0 < high and in the gradient of x for low > k - 1.
    x = rng.integers(-4, 5, (1, 6, 14, 8)).astype(np.float64)
    k = rng.integers(-2, 3, (2, 2, 8, 16)).astype(np.float64)
    f = lambda x, k: ops.conv(x, k, padding=((0, 0), (low, high)))
    valid = {"stride": (1, 1), "pads": ((0, 0), (0, 0)), "modes": ("zeros",) * 2}
    y = reference_conv.conv(dense_low(x, low, high), k, **valid, dilation=(1, 1))
    g = rng.integers(-1, 2, y.shape).astype(np.float64)
    pads = {"stride": (1, 1), "pads": ((0, 0), (low, high)), "modes": ("zeros",) * 2}
    dx = reference_conv.conv_transpose(g, k, (6, 14), **pads, dilation=(1, 1))
    compiled = jax.jit(lambda x, k, g: (f(x, k), jax.vjp(f, x, k)[1](g)[0]))
    value, gradient = compiled(*[jnp.asarray(a, dtype) for a in (x, k, g)])
    np.testing.assert_array_equal(value, jnp.asarray(y, dtype))  # integers: no rounding but this
    np.testing.assert_array_equal(gradient, jnp.asarray(dx, dtype))
    wrong = dense_low(x, low + 1, high - 1)
    wrong = reference_conv.conv(wrong, k, **valid, dilation=(1, 1))
    assert not np.array_equal(value, jnp.asarray(wrong, dtype))


@pytest.mark.parametrize("low", [-1, 0, 1, 2, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_no_derivative_has_a_negative_padding(low, stride):
    f = lambda x, k: ops.conv(x, k, padding=((low, 1),), stride=stride)
    x, k = jnp.ones((1, 9, 16)), jnp.ones((3, 16, 2))
    gradients = lambda x, k, g: jax.vjp(f, x, k)[1](g)
    second = lambda x, k, g: jax.vjp(gradients, x, k, g)[1]((x, k))
    g = jnp.ones(jax.eval_shape(f, x, k).shape)
    program = jax.jit(second).lower(x, k, g).as_text()
    pads = re.findall(r"pad = \[\[(-?\d+), (-?\d+)\]\]", program)
    assert len(pads) >= 4, program
    assert min(int(amount) for pair in pads for amount in pair) >= 0, pads


def test_integer_lattice_is_exact(rng):
    for case in (CASES[16], CASES[17], CASES[20]):
        x, k, _, _ = [np.round(4 * leaf) for leaf in draw(rng, case)]
        y = ops.conv(x.astype(np.float32), k.astype(np.float32), **options(case))
        np.testing.assert_array_equal(y, loops(x, k, case).astype(np.float32))
        assert not np.array_equal(y, loops(x, k + np.float64(1e-3), case).astype(np.float32))


@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_keeps_channels_apart(multiplier, rng):
    x, k = rng.normal(size=(2, 6, 8, 4)), rng.normal(size=(3, 2, 1, 4 * multiplier))
    b = rng.normal(size=4 * multiplier)
    with jax.enable_x64(True):
        y = np.asarray(ops.depthwise_conv(x, k, b, stride=2, padding=1, padding_mode="circular"))
    taken = {"stride": (2, 2), "pads": ((1, 1),) * 2, "modes": ("circular",) * 2}
    for c in range(4):
        for m in range(multiplier):
            at = c * multiplier + m
            one = reference_conv.conv(
                x[..., c : c + 1], k[..., at : at + 1], **taken, dilation=(1, 1)
            )
            assert_close(y[..., at], one[..., 0] + b[at])
    assert np.abs(y[..., 0] - y[..., 1]).max() > 1e-3


def test_vmap_over_image_kernel_and_both(rng):
    x = rng.normal(size=(3, 2, 6, 5, 4)).astype(np.float32)
    k = rng.normal(size=(3, 2, 3, 2, 6)).astype(np.float32)
    f = lambda x, k: ops.conv(x, k, stride=(2, 1), padding_mode="circular", groups=2)
    over_x, over_k, over_both, one = quick_jit(
        lambda x, k: (
            jax.vmap(f, (0, None))(x, k[0]),
            jax.vmap(f, (None, 0))(x[0], k),
            jax.vmap(f)(x, k),
            f(x[2], k[1]),
        )
    )(x, k)
    looped = lambda xs, ks: np.stack(
        [
            reference_conv.conv(
                a,
                b,
                stride=(2, 1),
                pads=((0, 0), (1, 1)),
                modes=("circular",) * 2,
                dilation=(1, 1),
                groups=2,
            )
            for a, b in zip(xs, ks, strict=True)
        ]
    ).astype(np.float32)
    assert_close(over_x, looped(x, [k[0]] * 3))
    assert_close(over_k, looped([x[0]] * 3, k))
    assert_close(over_both, looped(x, k))
    assert np.abs(one - over_both[2]).max() > 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_accumulate_in_float32(dtype):
    x, k = jnp.ones((1, 1, 1, 3000), dtype), jnp.ones((1, 1, 3000, 2), dtype)
    f = lambda x, k: ops.conv(x, k)
    y = f(x, k)
    assert y.dtype == dtype
    assert y.tolist() == jnp.full((1, 1, 1, 2), 3000, dtype).tolist()
    running = np.add.accumulate(np.ones(3000, dtype), dtype=dtype)[-1]
    assert running < 2999, "the check cannot notice a narrow accumulator"
    batch = jnp.ones((3000, 1, 1, 1), dtype)
    dk = jax.grad(lambda k: f(batch, k).astype(jnp.float32).sum())(jnp.ones((1, 1, 1, 1), dtype))
    assert dk.dtype == dtype
    assert dk.tolist() == jnp.full((1, 1, 1, 1), 3000, dtype).tolist()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", [CASES[16], CASES[9]], ids=["grouped", "strided"])
def test_narrow_dtypes_differentiate(dtype, case, rng):
    arrays = [jnp.asarray(leaf, dtype) for leaf in draw(rng, case)]
    g = jnp.asarray(rng.normal(size=loops(*draw(rng, case)[:2], case).shape), dtype)
    everything = quick_jit(derivatives(case))
    narrow = everything(*arrays, g)
    wide = everything(*[leaf.astype(jnp.float32) for leaf in (*arrays, g)])
    wanted = jax.tree.map(lambda leaf: leaf.astype(dtype), wide)
    assert_close(narrow, wanted)
    with pytest.raises(AssertionError):
        assert_close(narrow, jax.tree.map(lambda leaf: (1.1 * leaf).astype(dtype), wide))


def test_batch_of_nothing_and_one_channel():
    x, k = jnp.ones((0, 5, 6, 1)), jnp.ones((3, 3, 1, 2))
    f = lambda x, k: ops.conv(x, k, stride=2)
    assert f(x, k).shape == (0, 3, 3, 2)
    dx, dk = jax.grad(lambda x, k: f(x, k).sum(), (0, 1))(x, k)
    assert dx.shape == x.shape
    assert_close(dk, jnp.zeros_like(k))
    assert ops.depthwise_conv(jnp.ones((2, 5, 1)), jnp.ones((3, 1, 1))).shape == (2, 5, 1)


def test_nan_stays_inside_its_windows():
    x = jnp.zeros((1, 9, 1)).at[0, 4, 0].set(jnp.nan)
    y = ops.conv(x, jnp.ones((3, 1, 1)))
    assert jnp.isnan(y[0, :, 0]).tolist() == [False] * 3 + [True] * 3 + [False] * 3


X = np.zeros((1, 8, 8, 6), np.float32)
K = np.zeros((3, 3, 6, 4), np.float32)
ERRORS = {
    "integers": (
        TypeError,
        lambda: ops.conv(X.astype(np.int32), K),
        "conv: x holds integers; expected a floating dtype. Got x of dtype int32. "
        "Use x.astype('float32').",
    ),
    "dtypes": (
        TypeError,
        lambda: ops.conv(X, K.astype(np.float16)),
        "conv: x is float32 and kernel is float16; expected one dtype. "
        "Got kernel of dtype float16. Use kernel.astype(x.dtype).",
    ),
    "x rank": (
        ValueError,
        lambda: ops.conv(X[0, 0], K),
        "conv: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(8, 6). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ),
    "no batch": (
        ValueError,
        lambda: ops.conv(X[0], K),
        "conv: kernel has 4 axes; expected 3, one window axis per spatial axis of x and two of "
        "channels. Got kernel of shape (3, 3, 6, 4) and x of shape (8, 8, 6). "
        "Use x[None] to add a batch axis.",
    ),
    "kernel rank": (
        ValueError,
        lambda: ops.conv(X, K[0]),
        "conv: kernel has 3 axes; expected 4, one window axis per spatial axis of x and two of "
        "channels. Got kernel of shape (3, 6, 4) and x of shape (1, 8, 8, 6). "
        "Use a window of 2 axes.",
    ),
    "empty kernel": (
        ValueError,
        lambda: ops.conv(X, K[:0]),
        "conv: kernel is empty; expected at least one tap, channel and feature. "
        "Got kernel of shape (0, 3, 6, 4). Use sizes of 1 or more.",
    ),
    "stride": (
        ValueError,
        lambda: ops.conv(X, K, stride=0),
        "conv: stride is too small; expected at least 1. Got stride=0. Use stride=1 or more.",
    ),
    "stride type": (
        TypeError,
        lambda: ops.conv(X, K, stride=1.5),
        "conv: stride is of type float; expected an int. Got stride=1.5. Pass a whole number.",
    ),
    "strides": (
        ValueError,
        lambda: ops.conv(X, K, stride=(1, 1, 1)),
        "conv: stride has 3 entries for 2 spatial axes; expected one per spatial axis or a single "
        "int. Got stride=(1, 1, 1). Use stride=1 for all axes.",
    ),
    "dilation": (
        ValueError,
        lambda: ops.conv(X, K, dilation=(1, -1)),
        "conv: dilation is too small; expected at least 1. Got dilation=-1. "
        "Use dilation=1 or more.",
    ),
    "groups": (
        ValueError,
        lambda: ops.conv(X, K, groups=0),
        "conv: groups is too small; expected at least 1. Got groups=0. Use groups=1 or more.",
    ),
    "channels": (
        ValueError,
        lambda: ops.conv(X, K, groups=4),
        "conv: 6 input channels do not split into groups=4; expected a multiple of 4. "
        "Got x of shape (1, 8, 8, 6). Use groups=2.",
    ),
    "reads": (
        ValueError,
        lambda: ops.conv(X, K[:, :, :3]),
        "conv: x has 6 channels, the kernel reads 3; expected a kernel (*window, 6, features). "
        "Got x of shape (1, 8, 8, 6), kernel of shape (3, 3, 3, 4) and groups=1. Use groups=2.",
    ),
    "reads more": (
        ValueError,
        lambda: ops.conv(X[..., :5], K),
        "conv: x has 5 channels, the kernel reads 6; expected a kernel (*window, 5, features). "
        "Got x of shape (1, 8, 8, 5), kernel of shape (3, 3, 6, 4) and groups=1. Use 6 channels.",
    ),
    "channels-first": (
        ValueError,
        lambda: ops.conv(np.zeros((1, 6, 8, 8), np.float32), K),
        "conv: x has 8 channels, the kernel reads 6; expected x of shape (N, *spatial, C) with "
        "C=6. Got x of shape (1, 6, 8, 8), which looks channels-first. Use jnp.moveaxis(x, 1, -1).",
    ),
    "features": (
        ValueError,
        lambda: ops.conv(X, K[:, :, :2], groups=3),
        "conv: 4 features do not split into groups=3; expected a multiple of 3. "
        "Got kernel of shape (3, 3, 2, 4). Use 6 features.",
    ),
    "bias": (
        ValueError,
        lambda: ops.conv(X, K, np.zeros((1, 1, 1, 4), np.float32)),
        "conv: bias does not have one entry per feature; expected shape (4,). "
        "Got bias of shape (1, 1, 1, 4). Use bias.reshape(4).",
    ),
    "bias dtype": (
        TypeError,
        lambda: ops.conv(X, K, np.zeros(4, np.float16)),
        "conv: x is float32 and bias is float16; expected one dtype. "
        "Got bias of dtype float16. Use bias.astype(x.dtype).",
    ),
    "empty output": (
        ValueError,
        lambda: ops.conv(X[:, :, :4], K, padding="valid", dilation=2),
        "conv: the output is empty, a window of 5 pixels does not fit into 4 on spatial axis 1; "
        "expected at least 5 with padding. Got x of shape (1, 8, 4, 6) and padding='valid'. "
        'Use padding="same" or a smaller window.',
    ),
    "padding": (
        ValueError,
        lambda: ops.conv(X, K, padding=(1, 1)),
        "conv: padding is not understood; expected one of same, half, valid, causal, full, an int, "
        "or one pair (low, high) per spatial axis. Got padding=(1, 1). "
        'Use padding="same" or padding=((1, 1), (1, 1)), say.',
    ),
    "padding word": (
        ValueError,
        lambda: ops.conv(X, K, padding="SAME"),
        'conv: padding is unknown; expected one of "same", "half", "valid", "causal", "full". '
        "Got padding='SAME'. Use padding='same', say.",
    ),
    "mode": (
        ValueError,
        lambda: ops.conv(X, K, padding_mode="constant"),
        'conv: padding_mode is unknown; expected one of "zeros", "circular", "reflect", "edge". '
        "Got padding_mode='constant'. Use padding_mode='zeros', say.",
    ),
    "depthwise integers": (
        TypeError,
        lambda: ops.depthwise_conv(X.astype(np.int8), K),
        "depthwise_conv: x holds integers; expected a floating dtype. Got x of dtype int8. "
        "Use x.astype('float32').",
    ),
    "depthwise dtypes": (
        TypeError,
        lambda: ops.depthwise_conv(X, K.astype(np.float16)),
        "depthwise_conv: x is float32 and kernel is float16; expected one dtype. "
        "Got kernel of dtype float16. Use kernel.astype(x.dtype).",
    ),
    "depthwise x rank": (
        ValueError,
        lambda: ops.depthwise_conv(X[0, 0], K),
        "depthwise_conv: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. "
        "Got x of shape (8, 6). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ),
    "depthwise kernel rank": (
        ValueError,
        lambda: ops.depthwise_conv(X, K[0]),
        "depthwise_conv: kernel has 3 axes; expected 4, one window axis per spatial axis of x and "
        "two of channels. Got kernel of shape (3, 6, 4) and x of shape (1, 8, 8, 6). "
        "Use a window of 2 axes.",
    ),
    "depthwise mixes": (
        ValueError,
        lambda: ops.depthwise_conv(X, K),
        "depthwise_conv: kernel reads 6 channels; expected 1, in the shape (*window, 1, C * "
        "multiplier). Got kernel of shape (3, 3, 6, 4). Use conv to mix channels.",
    ),
    "depthwise features": (
        ValueError,
        lambda: ops.depthwise_conv(X, K[:, :, :1, :3]),
        "depthwise_conv: 3 features do not belong to 6 channels; expected a multiple of 6. "
        "Got x of shape (1, 8, 8, 6) and kernel of shape (3, 3, 1, 3). Use 6 features.",
    ),
    "depthwise channels-first": (
        ValueError,
        lambda: ops.depthwise_conv(np.zeros((1, 4, 8, 8), np.float32), K[:, :, :1]),
        "depthwise_conv: 4 features do not belong to 8 channels; expected a multiple of 8. "
        "Got x of shape (1, 4, 8, 8) and kernel of shape (3, 3, 1, 4). "
        "Use jnp.moveaxis(x, 1, -1) if x is channels-first.",
    ),
    "depthwise stride": (
        ValueError,
        lambda: ops.depthwise_conv(X[..., :4], K[:, :, :1], stride=-1),
        "depthwise_conv: stride is too small; expected at least 1. Got stride=-1. "
        "Use stride=1 or more.",
    ),
    "depthwise dilation": (
        ValueError,
        lambda: ops.depthwise_conv(X[..., :4], K[:, :, :1], dilation=0),
        "depthwise_conv: dilation is too small; expected at least 1. Got dilation=0. "
        "Use dilation=1 or more.",
    ),
    "depthwise bias": (
        ValueError,
        lambda: ops.depthwise_conv(X[..., :4], K[:, :, :1], np.zeros(3, np.float32)),
        "depthwise_conv: bias does not have one entry per feature; expected shape (4,). "
        "Got bias of shape (3,). Use bias.reshape(4).",
    ),
    "depthwise empty": (
        ValueError,
        lambda: ops.depthwise_conv(X[:, :2, :, :4], K[:, :, :1], padding="valid"),
        "depthwise_conv: the output is empty, a window of 3 pixels does not fit into 2 on spatial "
        "axis 0; expected at least 3 with padding. Got x of shape (1, 2, 8, 4) and "
        "padding='valid'. Use padding=\"same\" or a smaller window.",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    kind, call, message = ERRORS[name]
    with raises(kind, message):
        call()


def test_the_fix_of_the_channels_first_error_works():
    x = np.zeros((1, 6, 8, 8), np.float32)
    assert ops.conv(jnp.moveaxis(x, 1, -1), K).shape == (1, 8, 8, 4)


@pytest.mark.parametrize("name", ["conv", "max_pool", "avg_pool"])
@pytest.mark.parametrize("padding", ["half", "valid"])
def test_a_stride_that_does_not_divide_a_circle_is_refused(name, padding):
    """Where nothing wraps around too: pixels would be left out, which no shift survives."""
    x = jnp.zeros((1, 9, 8, 2))
    run = lambda x, mode: (
        ops.conv(x, jnp.zeros((1, 3, 2, 2)), stride=2, padding=padding, padding_mode=mode)
        if name == "conv"
        else getattr(ops, name)(x, (1, 3), stride=2, padding=padding, padding_mode=mode)
    )
    with raises(
        ValueError,
        f"{name}: a stride of 2 does not divide the 9 pixels of the circular spatial axis 0; "
        "expected a multiple of 2. Got x of shape (1, 9, 8, 2). Resize or pad that axis to 10 "
        'pixels, or use padding_mode="reflect".',
    ):
        run(x, "circular")
    columns = 4 if padding == "half" else 3
    assert run(x, ("reflect", "circular")).shape == (1, 5, columns, 2)
    assert run(x[:, 1:], "circular").shape == (1, 4, columns, 2)
