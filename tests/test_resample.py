"""Pixel shuffling and resizing: loops, torch, jax.image, round trips, dtypes, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, quick_jit, raises

from jaxconv import ops


def shuffle_by_loops(x, scale):
    """y[n, r·i + a, c] = x[n, i, c·R + flat(a)], written down."""
    spatial, block = x.shape[1:-1], int(np.prod(scale))
    sizes = [n * r for n, r in zip(spatial, scale, strict=True)]
    y = np.zeros((x.shape[0], *sizes, x.shape[-1] // block), x.dtype)
    for pixel in np.ndindex(*sizes):
        source = tuple(p // r for p, r in zip(pixel, scale, strict=True))
        offset = tuple(p % r for p, r in zip(pixel, scale, strict=True))
        channels = np.arange(y.shape[-1]) * block + np.ravel_multi_index(offset, scale)
        y[(slice(None), *pixel)] = x[(slice(None), *source)][:, channels]
    return y


@pytest.mark.parametrize(
    ("shape", "scale"),
    [((2, 3, 8), (4,)), ((2, 3, 5, 12), (2, 3)), ((1, 2, 3, 1, 24), (2, 1, 3))],
)
def test_shuffling_equals_the_loops_and_is_undone(shape, scale):
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    shuffle = quick_jit(lambda x: ops.pixel_shuffle(x, scale))
    y = shuffle(x)
    assert_close(y, shuffle_by_loops(x, scale), 0)
    assert_close(quick_jit(lambda y: ops.pixel_unshuffle(y, scale))(y), x, 0)
    wrong = np.moveaxis(x.reshape(*shape[:-1], -1, shape[-1] // np.prod(scale)), -1, -2)
    assert not np.array_equal(shuffle(wrong.reshape(shape)), y)


@pytest.mark.peer("torch")
def test_shuffling_equals_torch():
    import torch

    x = np.random.default_rng(0).standard_normal((2, 3, 4, 18)).astype(np.float32)
    image = torch.tensor(np.moveaxis(x, -1, 1).copy())
    theirs = torch.nn.functional.pixel_shuffle(image, 3)
    assert_close(ops.pixel_shuffle(x, 3), np.moveaxis(theirs.numpy(), 1, -1), 0)
    back = torch.nn.functional.pixel_unshuffle(theirs, 3)
    ours = ops.pixel_unshuffle(np.moveaxis(theirs.numpy(), 1, -1), 3)
    assert_close(ours, np.moveaxis(back.numpy(), 1, -1), 0)


def test_shuffling_keeps_dtypes_and_derives_to_itself():
    x = jnp.arange(24, dtype=jnp.bfloat16).reshape(1, 3, 8)
    y, vjp = jax.vjp(lambda x: ops.pixel_shuffle(x, 2), x)
    assert y.dtype == x.dtype
    assert_close(vjp(y)[0], x, 0)
    mapped = jax.vmap(lambda x: ops.pixel_unshuffle(x, 2))(y[None])
    assert_close(mapped[0], x, 0)
    assert ops.pixel_shuffle(jnp.zeros((0, 2, 2, 4)), 2).shape == (0, 4, 4, 1)
    assert ops.pixel_unshuffle(jnp.zeros((0, 4, 4, 1)), 2).shape == (0, 2, 2, 4)


SIZES = ((5, 11), (3, 4), (6, 7), (12, 14))
METHODS = {"nearest": "nearest-exact", "bilinear": "bilinear"}


@pytest.mark.peer("torch")
@pytest.mark.parametrize("method", list(METHODS))
def test_resizing_equals_torch(method):
    import torch

    x = np.random.default_rng(0).standard_normal((2, 6, 7, 3)).astype(np.float32)
    image = torch.tensor(np.moveaxis(x, -1, 1).copy())

    @quick_jit
    def everything(x):
        return [ops.resize(x, size, method=method, antialias=False) for size in SIZES]

    for size, y in zip(SIZES, everything(x), strict=True):
        theirs = torch.nn.functional.interpolate(image, size, mode=METHODS[method])
        assert_close(y, np.moveaxis(theirs.numpy(), 1, -1).copy())
    aligned = torch.nn.functional.interpolate(image, (5, 11), mode="bilinear", align_corners=True)
    assert np.abs(np.moveaxis(aligned.numpy(), 1, -1) - ops.resize(x, (5, 11))).max() > 1e-2


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_resizing_is_that_of_jax_image(method):
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 3)).astype(np.float32)

    @quick_jit
    def everything(x):
        rough = ops.resize(x, (3, 6), method=method, antialias=False)
        theirs = [
            jax.image.resize(x, (2, 3, 6, 3), method, antialias=antialias)
            for antialias in (True, False)
        ]
        return [ops.resize(x, (3, 6), method=method), rough], theirs

    (smooth, rough), theirs = everything(x)
    assert_close([smooth, rough], theirs)
    assert np.array_equal(smooth, rough) == (method == "nearest")


def test_resizing_any_number_of_axes_and_a_pixel_in_the_middle():
    line = jnp.array([0.0, 1.0]).reshape(1, 2, 1)
    assert ops.resize(line, 4).ravel().tolist() == [0.0, 0.25, 0.75, 1.0]
    volume = jnp.ones((1, 2, 3, 4, 2))
    assert_close(ops.resize(volume, (3, 3, 2)), jnp.ones((1, 3, 3, 2, 2)))
    assert ops.resize(volume, 5, method="nearest").shape == (1, 5, 5, 5, 2)
    assert ops.resize(jnp.zeros((0, 4, 3)), 2).shape == (0, 2, 3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_floats_resize_in_float32(dtype):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 9, 2)), dtype)
    resize = quick_jit(lambda x: ops.resize(x, 5))
    y = resize(x)
    assert_close(y, resize(x.astype(jnp.float32)).astype(dtype), 0)
    assert np.abs(jax.image.resize(x, (1, 5, 2), "bilinear") - y).max() > 0


def test_nearest_resizing_takes_any_dtype():
    x = jnp.arange(6, dtype=jnp.uint8).reshape(1, 3, 2)
    y = ops.resize(x, 6, method="nearest")
    assert y.dtype == jnp.uint8
    assert y[0, :, 0].tolist() == [0, 0, 2, 2, 4, 4]


def test_resizing_derives():
    x = np.random.default_rng(0).standard_normal((1, 5, 2)).astype(np.float32)

    @quick_jit
    def products(x):
        pairs = []
        for method in ("nearest", "bilinear", "bicubic"):
            run = lambda x, method=method: ops.resize(x, 8, method=method)
            y, vjp = jax.vjp(run, x)
            g = jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
            tangent = jax.jvp(run, (x,), (x,))[1]
            pairs.append((jnp.sum(y * g), jnp.sum(x * vjp(g)[0]), jnp.sum(tangent * g)))
        return pairs

    for forward, reverse, tangent in products(x):
        np.testing.assert_allclose(reverse, forward, rtol=1e-5)
        np.testing.assert_allclose(tangent, forward, rtol=1e-5)


X = np.zeros((2, 5, 6, 3), np.float32)


@pytest.mark.parametrize("where", ["pixel_shuffle", "pixel_unshuffle", "resize"])
def test_errors_say_what_why_and_the_way_out(where):
    op, name = getattr(ops, where), "spatial" if where == "resize" else "scale"
    with raises(
        ValueError,
        f"{where}: {name} is too small; expected at least 1. Got {name}=0. Use {name}=1 or more.",
    ):
        op(X, 0)
    with raises(
        ValueError,
        f"{where}: {name} is too small; expected at least 1. Got {name}=-2. Use {name}=1 or more.",
    ):
        op(X, (2, -2))
    with raises(
        TypeError,
        f"{where}: {name} is of type float; expected an int. Got {name}=2.0. Pass a whole number.",
    ):
        op(X, 2.0)
    with raises(
        TypeError,
        f"{where}: {name} is of type bool; expected an int. Got {name}=True. Pass a whole number.",
    ):
        op(X, True)
    with raises(
        ValueError,
        f"{where}: {name} has 3 entries for 2 spatial axes; expected one per spatial axis or a "
        f"single int. Got {name}=(1, 2, 3). Use {name}=1 for all axes.",
    ):
        op(X, (1, 2, 3))
    with raises(
        ValueError,
        f"{where}: {name} has 1 entries for 2 spatial axes; expected one per spatial axis or a "
        f"single int. Got {name}=(3,). Use {name}=3 for all axes.",
    ):
        op(X, (3,))
    with raises(
        ValueError,
        f"{where}: {name} has 0 entries for 2 spatial axes; expected one per spatial axis or a "
        f"single int. Got {name}=(). Use {name}=1 for all axes.",
    ):
        op(X, ())
    with raises(
        ValueError,
        f"{where}: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. Got x of shape "
        "(5, 6). Add a batch axis with x[None] or a channel axis with x[..., None].",
    ):
        op(X[0, :, :, 0], 2)


def test_errors_of_their_own():
    with raises(
        ValueError,
        "pixel_shuffle: 3 channels do not split into blocks of 4 pixels; expected a multiple of "
        "4. Got x of shape (2, 5, 6, 3) and scale=2. Use 4 channels.",
    ):
        ops.pixel_shuffle(X, 2)
    with raises(
        ValueError,
        "pixel_shuffle: 3 channels do not split into blocks of 6 pixels; expected a multiple of "
        "6. Got x of shape (2, 5, 6, 3) and scale=(2, 3). Use 6 channels.",
    ):
        ops.pixel_shuffle(X, (2, 3))
    with raises(
        ValueError,
        "pixel_unshuffle: 5 pixels on spatial axis 0 do not split into blocks of 2; expected a "
        "multiple of 2. Got x of shape (2, 5, 6, 3) and scale=2. Pad that axis by 1 pixels.",
    ):
        ops.pixel_unshuffle(X, 2)
    with raises(
        ValueError,
        "pixel_unshuffle: 6 pixels on spatial axis 1 do not split into blocks of 4; expected a "
        "multiple of 4. Got x of shape (2, 5, 6, 3) and scale=(5, 4). Pad that axis by 2 pixels.",
    ):
        ops.pixel_unshuffle(X, (5, 4))
    with raises(
        ValueError,
        'resize: method is unknown; expected one of "nearest", "bilinear", "bicubic", "lanczos3", '
        "\"lanczos5\". Got method='area'. Use method='nearest', say.",
    ):
        ops.resize(X, 4, method="area")
    with raises(
        ValueError,
        "resize: spatial axis 0 has no pixels; expected at least 1. "
        "Got x of shape (2, 0, 6, 3). Leave empty images out.",
    ):
        ops.resize(X[:, :0], 4)
    with raises(
        TypeError,
        "resize: x holds integers; expected a floating dtype. "
        "Got x of dtype int32. Use x.astype('float32').",
    ):
        ops.resize(X.astype(np.int32), 4)
