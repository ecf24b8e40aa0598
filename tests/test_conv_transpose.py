"""Transposed convolution: the adjoint of conv, loops by value, sizes, derivatives, errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_conv
from helpers import assert_close, quick_jit, raises

from jaxconv import geometry, ops

MODES = ("zeros", "circular", "reflect", "edge")
AMOUNTS = ("same", "half", "valid", "causal", "full", 1, ((4, 0),), ((0, 5),), ((-1, 1),))
# (spatial sizes of x, window, stride, dilation, groups, padding, mode)
LINES = [
    ((size,), (window,), (stride,), (dilation,), groups, padding, mode)
    for (size, window, stride, dilation, groups), padding, mode in itertools.product(
        [(11, 3, 1, 1, 1), (11, 2, 2, 2, 2), (12, 4, 3, 1, 1)], AMOUNTS, MODES
    )
    if mode != "circular" or size % stride == 0
]
PLANES = [
    ((8, 9), (3, 2), (2, 1), (1, 2), 2, padding, mode)
    for padding, mode in [
        ("same", "circular"),
        ("half", ("reflect", "zeros")),
        (((-1, 1), (3, 0)), "zeros"),
        (((4, 0), (-2, 1)), ("zeros", "edge")),
        ("full", "zeros"),
    ]
]
VOLUMES = [
    ((5, 4, 3), (2, 3, 1), (1, 2, 2), (2, 1, 1), 2, padding, mode)
    for padding, mode in [
        ("same", ("zeros", "circular", "edge")),
        (((-1, 2), (3, 0), (0, 0)), "zeros"),
        ("causal", "reflect"),
    ]
]
CASES = LINES + PLANES + VOLUMES
C, FEATURES = 4, 6


def options(case):
    _, _, stride, dilation, groups, padding, mode = case
    named = {"stride": stride, "dilation": dilation, "groups": groups}
    return named | {"padding": padding, "padding_mode": mode}


def draw(rng, case):
    spatial, window, groups = case[0], case[1], case[4]
    return rng.normal(size=(2, *spatial, C)), rng.normal(size=(*window, C // groups, FEATURES))


def test_is_the_adjoint_of_conv(rng):
    assert len(CASES) == 107
    pairs = [draw(rng, case) for case in CASES]
    drawn = np.random.default_rng(1)

    def forward(pairs):
        return [ops.conv(x, k, **options(case)) for (x, k), case in zip(pairs, CASES, strict=True)]

    def back(pairs, cotangents):
        for (_, k), y, case in zip(pairs, cotangents, CASES, strict=True):
            yield ops.conv_transpose(y, k, output_shape=case[0], **options(case))

    with jax.enable_x64(True):
        outputs = quick_jit(forward)(pairs)
        cotangents = [drawn.normal(size=y.shape) for y in outputs]
        images = quick_jit(lambda *arguments: list(back(*arguments)))(pairs, cotangents)
    for case, (x, _), y, g, image in zip(CASES, pairs, outputs, cotangents, images, strict=True):
        y, image = np.asarray(y), np.asarray(image)
        assert image.shape == x.shape
        scale = np.linalg.norm(y) * np.linalg.norm(g)
        assert abs((y * g).sum() - (x * image).sum()) <= 1e-12 * scale, case
        assert abs((y * g).sum() - (x * np.roll(image, 1, axis=1)).sum()) > 1e-9 * scale, case


LOOPS = [
    ((8,), (3,), (2,), (1,), 1, ((1, 1),), ("circular",)),
    ((9,), (3,), (2,), (2,), 2, ((5, 1),), ("zeros",)),
    ((9,), (2,), (1,), (1,), 1, ((-2, 1),), ("zeros",)),
    ((6, 5), (3, 2), (2, 1), (1, 2), 2, ((1, 1), (0, 3)), ("reflect", "edge")),
    ((3, 4, 5), (2, 1, 3), (1, 2, 2), (1, 1, 1), 2, ((0, 1), (0, 0), (1, 1)), ("zeros",) * 3),
]


def test_values_equal_loops(rng):
    arrays = []
    for spatial, window, stride, dilation, groups, pads, modes in LOOPS:
        axes = zip(spatial, window, stride, pads, dilation, strict=True)
        output = [reference_conv.output_size(*axis) for axis in axes]
        kernel = rng.normal(size=(*window, C // groups, FEATURES))
        arrays.append((rng.normal(size=(2, *output, FEATURES)), kernel, rng.normal(size=C)))
        assert len(modes) == len(pads) == len(dilation) == len(stride)

    def ours(arrays):
        for (y, k, b), case in zip(arrays, LOOPS, strict=True):
            yield ops.conv_transpose(y, k, b, output_shape=case[0], **options(case))

    with jax.enable_x64(True):
        images = jax.tree.map(np.asarray, quick_jit(lambda arrays: list(ours(arrays)))(arrays))
    for image, (y, k, b), case in zip(images, arrays, LOOPS, strict=True):
        spatial, _, stride, dilation, groups, pads, modes = case
        plan = {"stride": stride, "pads": pads, "modes": modes, "dilation": dilation}
        wanted = reference_conv.conv_transpose(y, k, spatial, groups=groups, **plan) + b
        assert_close(image, wanted)
        with pytest.raises(AssertionError):
            assert_close(image, wanted - b)


@pytest.mark.parametrize("padding", AMOUNTS)
def test_default_size_is_one_that_conv_maps_back(padding):
    for size, window, stride, dilation in itertools.product((5, 6), (2, 3), (1, 2, 3), (1, 2)):
        y = jax.ShapeDtypeStruct((1, size, 2), np.float32)
        k = jax.ShapeDtypeStruct((window, 3, 2), np.float32)
        settings = {"stride": stride, "dilation": dilation, "padding": padding}
        transposed = lambda y, k, settings=settings: ops.conv_transpose(y, k, **settings)
        x = jax.eval_shape(transposed, y, k)
        conv = lambda x, k, settings=settings: ops.conv(x, k, **settings)
        assert jax.eval_shape(conv, x, k).shape == (1, size, 2)
        if padding in ("same", "causal"):
            assert x.shape == (1, size * stride, 3)


def test_every_output_shape_that_conv_maps_back_is_accepted_and_no_other():
    y, k = jnp.ones((1, 4, 2)), jnp.ones((3, 1, 2))
    accepted = []
    for size in range(1, 20):
        f = lambda y, size=size: ops.conv_transpose(y, k, stride=3, padding=1, output_shape=size)
        try:
            assert jax.eval_shape(f, y).shape == (1, size, 1)
            accepted.append(size)
        except ValueError:
            pass
    consistent = [n for n in range(1, 20) if geometry.output_size(n, 3, 3, 1, (1, 1)) == 4]
    assert accepted == consistent == [10, 11, 12]


def test_derivatives_are_those_of_a_bilinear_map(rng):
    case = PLANES[0]
    f = lambda y, k: ops.conv_transpose(y, k, **options(case))
    y, ty = rng.normal(size=(2, 2, 4, 5, FEATURES))
    k, tk = rng.normal(size=(2, 3, 2, C // 2, FEATURES))
    with jax.enable_x64(True):
        g = rng.normal(size=jax.eval_shape(f, y, k).shape)

        def everything(y, k, ty, tk, g):
            gradients = lambda y, k, g: jax.vjp(f, y, k)[1](g)
            _, tangent = jax.jvp(f, (y, k), (ty, tk))
            _, again = jax.vjp(gradients, y, k, g)
            parts = f(ty, k), f(y, tk)
            return parts, tangent, gradients(y, k, g), again((ty, tk))

        results = quick_jit(everything)(y, k, ty, tk, g)
    (of_y, of_k), tangent, (dy, dk), (ddy, ddk, dg) = jax.tree.map(np.asarray, results)
    assert_close(tangent, of_y + of_k)
    assert_close(dg, of_y + of_k)
    for gradient, at, wanted in [(dy, ty, of_y), (dk, tk, of_k), (ddy, y, of_k), (ddk, k, of_y)]:
        np.testing.assert_allclose((gradient * at).sum(), (wanted * g).sum(), rtol=1e-10)
        wrong = (np.roll(gradient, 1, axis=-1) * at).sum()
        assert abs(wrong - (wanted * g).sum()) > 1e-6


def test_vmap_over_image_kernel_and_both(rng):
    y = rng.normal(size=(3, 2, 4, FEATURES)).astype(np.float32)
    k = rng.normal(size=(3, 3, C // 2, FEATURES)).astype(np.float32)
    f = lambda y, k: ops.conv_transpose(y, k, stride=2, groups=2, padding_mode="circular")
    each = [(0, None), (None, 0), (0, 0)]
    take = lambda a, axis, i: a[0 if axis is None else i]

    def everything(y, k):
        mapped = [
            jax.vmap(f, axes)(y if axes[0] == 0 else y[0], k if axes[1] == 0 else k[0])
            for axes in each
        ]
        stacked = [
            jnp.stack([f(take(y, axes[0], i), take(k, axes[1], i)) for i in range(3)])
            for axes in each
        ]
        return mapped, stacked

    mapped, stacked = quick_jit(everything)(y, k)
    assert_close(mapped, stacked)
    assert np.abs(mapped[0] - mapped[1]).max() > 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_accumulate_in_float32_and_differentiate(dtype):
    y, k = jnp.ones((1, 1, 3000), dtype), jnp.ones((1, 2, 3000), dtype)
    x = ops.conv_transpose(y, k)
    assert x.dtype == dtype
    assert x.tolist() == jnp.full((1, 1, 2), 3000, dtype).tolist()
    f = lambda y, k: ops.conv_transpose(y, k, stride=2).astype(jnp.float32).sum()
    dy, dk = jax.grad(f, (0, 1))(jnp.ones((1500, 2, 1), dtype), jnp.ones((3, 1, 1), dtype))
    assert dy.dtype == dk.dtype == dtype
    # Output 4, padding (0, 1): taps 0 and 1 hit both pixels, tap 2 only the first.
    assert dy[0].tolist() == [[3], [2]]
    wanted = [1500 * hits for hits in (2, 2, 1)]
    assert dk.ravel().tolist() == jnp.asarray(wanted, dtype).tolist()


def test_stride_without_overlap_copies_the_kernel_exactly():
    y = jnp.arange(1.0, 4).reshape(1, 3, 1)
    k = jnp.array([1.0, 10]).reshape(2, 1, 1)
    x = ops.conv_transpose(y, k, stride=2, padding="valid")
    assert x.ravel().tolist() == [1, 10, 2, 20, 3, 30]
    longer = ops.conv_transpose(y, k, stride=2, padding="valid", output_shape=7)
    assert longer.ravel().tolist() == [1, 10, 2, 20, 3, 30, 0]


def test_batch_of_nothing():
    x = ops.conv_transpose(jnp.ones((0, 4, 4, 2)), jnp.ones((3, 3, 1, 2)), stride=2)
    assert x.shape == (0, 8, 8, 1)


Y = np.zeros((1, 4, 4, 6), np.float32)
K = np.zeros((3, 3, 2, 6), np.float32)
ERRORS = {
    "integers": (
        TypeError,
        lambda: ops.conv_transpose(Y.astype(np.int32), K),
        "conv_transpose: y holds integers; expected a floating dtype. Got y of dtype int32. "
        "Use y.astype('float32').",
    ),
    "dtypes": (
        TypeError,
        lambda: ops.conv_transpose(Y, K.astype(np.float16)),
        "conv_transpose: y is float32 and kernel is float16; expected one dtype. "
        "Got kernel of dtype float16. Use kernel.astype(y.dtype).",
    ),
    "rank": (
        ValueError,
        lambda: ops.conv_transpose(Y[0, 0], K),
        "conv_transpose: y has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got y "
        "of shape (4, 6). Add a batch axis with y[None] or a channel axis with y[..., None].",
    ),
    "kernel rank": (
        ValueError,
        lambda: ops.conv_transpose(Y[0], K),
        "conv_transpose: kernel has 4 axes; expected 3, one window axis per spatial axis of y and "
        "two of channels. Got kernel of shape (3, 3, 2, 6) and y of shape (4, 4, 6). "
        "Use y[None] to add a batch axis.",
    ),
    "empty kernel": (
        ValueError,
        lambda: ops.conv_transpose(Y, K[:, :0]),
        "conv_transpose: kernel is empty; expected at least one tap, channel and feature. "
        "Got kernel of shape (3, 0, 2, 6). Use sizes of 1 or more.",
    ),
    "channels": (
        ValueError,
        lambda: ops.conv_transpose(Y[..., :5], K),
        "conv_transpose: y has 5 channels, the kernel reads 6; expected a kernel (*window, "
        "features / groups, 5). Got kernel of shape (3, 3, 2, 6) and y of shape (1, 4, 4, 5). "
        "Use the kernel of the conv that made y.",
    ),
    "channels-first": (
        ValueError,
        lambda: ops.conv_transpose(np.zeros((1, 6, 4, 4), np.float32), K),
        "conv_transpose: y has 4 channels, the kernel reads 6; expected a kernel (*window, "
        "features / groups, 4). Got kernel of shape (3, 3, 2, 6) and y of shape (1, 6, 4, 4), "
        "which looks channels-first. Use jnp.moveaxis(y, 1, -1).",
    ),
    "groups": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, groups=4),
        "conv_transpose: 6 input channels do not split into groups=4; expected a multiple of 4. "
        "Got y of shape (1, 4, 4, 6). Use groups=2.",
    ),
    "groups below one": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, groups=0),
        "conv_transpose: groups is too small; expected at least 1. Got groups=0. "
        "Use groups=1 or more.",
    ),
    "stride": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, stride=0),
        "conv_transpose: stride is too small; expected at least 1. Got stride=0. "
        "Use stride=1 or more.",
    ),
    "dilation": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, dilation=0),
        "conv_transpose: dilation is too small; expected at least 1. Got dilation=0. "
        "Use dilation=1 or more.",
    ),
    "padding": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, padding=(1, 1)),
        "conv_transpose: padding is not understood; expected one of same, half, valid, causal, "
        "full, an int, or one pair (low, high) per spatial axis. Got padding=(1, 1). "
        'Use padding="same" or padding=((1, 1), (1, 1)), say.',
    ),
    "mode": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, padding_mode="wrap"),
        'conv_transpose: padding_mode is unknown; expected one of "zeros", "circular", "reflect", '
        "\"edge\". Got padding_mode='wrap'. Use padding_mode='zeros', say.",
    ),
    "bias": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, np.zeros(6, np.float32)),
        "conv_transpose: bias does not have one entry per feature; expected shape (2,). "
        "Got bias of shape (6,). Use bias.reshape(2).",
    ),
    "bias dtype": (
        TypeError,
        lambda: ops.conv_transpose(Y, K, np.zeros(2, np.float16)),
        "conv_transpose: y is float32 and bias is float16; expected one dtype. "
        "Got bias of dtype float16. Use bias.astype(y.dtype).",
    ),
    "no room": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, padding=4),
        "conv_transpose: padding crops the output to (-2, -2) pixels; expected at least 1 on every "
        "axis. Got padding=4 for y of (4, 4) pixels. Use less padding.",
    ),
    "no pixels": (
        ValueError,
        lambda: ops.conv_transpose(Y[:, :0], K),
        "conv_transpose: y has no pixels; expected at least 1 on every spatial axis. "
        "Got y of shape (1, 0, 4, 6). Leave empty images out.",
    ),
    "output_shape": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, stride=2, padding=1, output_shape=(7, 9)),
        "conv_transpose: conv does not map (7, 9) pixels to the (4, 4) of y; expected from (7, 7) "
        "to (8, 8). Got output_shape=(7, 9). Use output_shape=(8, 8), say.",
    ),
    "output_shape rank": (
        ValueError,
        lambda: ops.conv_transpose(Y, K, output_shape=(4,)),
        "conv_transpose: output_shape has 1 entries for 2 spatial axes; expected one per spatial "
        "axis or a single int. Got output_shape=(4,). Use output_shape=4 for all axes.",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    kind, call, message = ERRORS[name]
    with raises(kind, message):
        call()
