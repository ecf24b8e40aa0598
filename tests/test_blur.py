"""Blurs: the binomial reference by loops, all shapes of weights, adjoints, order, whole errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from helpers import assert_close, quick_jit, raises

from jaxconv import layers, models, ops

BINOMIAL = {
    1: [1],
    2: [1, 1],
    3: [1, 2, 1],
    4: [1, 3, 3, 1],
    5: [1, 4, 6, 4, 1],
    6: [1, 5, 10, 10, 5, 1],
    7: [1, 6, 15, 20, 15, 6, 1],
}
SCIPY_MODE = {"zeros": "constant", "circular": "wrap", "reflect": "mirror", "edge": "nearest"}


def images(*spatial, dtype=np.float64):
    return np.random.default_rng(0).standard_normal((2, *spatial, 3)).astype(dtype)


def filtered(x, rows, strides, mode):
    """SciPy's correlation along each axis, then every s-th pixel."""
    for axis, (row, stride) in enumerate(zip(rows, strides, strict=True), start=1):
        row = np.asarray(row, np.float64) / np.sum(row)
        origin = -1 if len(row) % 2 == 0 else 0  # SciPy puts the odd tap before, we after
        x = scipy.ndimage.correlate1d(x, row, axis, mode=SCIPY_MODE[mode], origin=origin)
        x = np.take(x, range(0, x.shape[axis], stride), axis)
    return x


def cases():
    for taps, stride, size in itertools.product(range(1, 8), range(1, 5), (12, 13)):
        modes = SCIPY_MODE if size % stride == 0 else set(SCIPY_MODE) - {"circular"}
        for mode in sorted(modes):
            yield taps, stride, size, mode


def test_every_binomial_equals_the_reference():
    """Taps 1 to 7, strides 1 to 4, even and odd axes, every mode: in float64; some in float32."""
    every = list(cases())
    for dtype, limit, done in ((np.float64, 1e-14, every), (np.float32, 1e-6, every[::5])):
        with jax.enable_x64(dtype == np.float64):
            x = {size: images(size, dtype=dtype) for size in (12, 13)}

            @quick_jit
            def everything(x, done=done):
                return [
                    ops.blur(x[size], taps, stride=stride, padding_mode=mode)
                    for taps, stride, size, mode in done
                ]

            for (taps, stride, size, mode), y in zip(done, everything(x), strict=True):
                expected = filtered(images(size), [BINOMIAL[taps]], [stride], mode)
                assert_close(y, expected.astype(dtype), limit)
    assert len(every) == 203


def test_several_axes_take_the_product_of_their_rows():
    x = images(6, 8, 9)
    with jax.enable_x64(True):
        y = ops.blur(x, (2, 3, 5), stride=(3, 2, 1), padding_mode=("circular", "edge", "reflect"))
        for axis, (taps, stride, mode) in enumerate(
            ((2, 3, "circular"), (3, 2, "edge"), (5, 1, "reflect"))
        ):
            rows, strides = [[1]] * 3, [1] * 3
            rows[axis], strides[axis] = BINOMIAL[taps], stride
            x = filtered(x, rows, strides, mode)
        assert_close(y, x)


@pytest.mark.parametrize("weights", ["binomial", "rectangle", "triangle", "custom"])
def test_weights_sum_to_one_and_have_their_shape(weights):
    rows = {
        "binomial": BINOMIAL,
        "rectangle": {k: [1] * k for k in range(1, 8)},
        "triangle": {1: [1], 2: [1, 1], 3: [1, 2, 1], 4: [1, 2, 2, 1], 5: [1, 2, 3, 2, 1]},
        "custom": {3: [3, -1, 2], 2: [0.5, 0.1]},
    }[weights]
    pulse = jnp.zeros((1, 16, 1)).at[0, 8].set(1)
    for taps, row in rows.items():
        y = ops.blur(pulse, taps, weights=row if weights == "custom" else weights)[0, :, 0]
        assert abs(float(y.sum()) - 1) <= 1e-6
        low = (taps - 1) // 2  # a correlation writes the row backwards around the pulse
        found = np.asarray(y)[8 + low - taps + 1 : 8 + low + 1][::-1]
        np.testing.assert_allclose(found, np.array(row) / sum(row), atol=1e-7)


def test_the_gradient_is_the_adjoint():
    x = jnp.asarray(images(6, 8, dtype=np.float32))
    y, vjp = jax.vjp(lambda x: ops.blur(x, (4, 3), stride=2), x)
    g = jnp.cos(jnp.arange(float(y.size))).reshape(y.shape)
    back = vjp(g)[0]
    assert abs(jnp.vdot(y, g) - jnp.vdot(x, back)) <= 1e-5 * jnp.linalg.norm(y.ravel())
    moved = jnp.vdot(x, jnp.roll(back, 1, 1))
    assert abs(jnp.vdot(y, g) - moved) > 1e-2


def test_a_maximum_is_taken_before_the_blur_and_not_after():
    x = jnp.asarray(images(8, 8, dtype=np.float32))
    largest = layers.max_pool(2, stride=1, padding="same", padding_mode="circular")
    y = layers.max_blur_pool().apply({}, {}, x)[0]
    assert_close(y, ops.blur(largest.apply({}, {}, x)[0], stride=2))
    assert jnp.abs(y - largest.apply({}, {}, ops.blur(x, stride=2))[0]).max() > 0.1


def test_a_blur_is_the_down_of_a_model():
    model = models.resnet(20, padding_mode="circular", down=layers.blur_pool)
    x = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    text = str(jax.make_jaxpr(model.apply)(params, state, x))
    assert "window_strides=(2, 2)" not in text
    plain = models.resnet(20, padding_mode="circular")
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(plain.init, jax.random.key(0), x)[0]
    )


def test_errors():
    x = jnp.zeros((1, 9, 8, 3))
    with raises(
        ValueError,
        "blur: a stride of 2 does not divide the 9 pixels of the circular spatial axis 0; "
        "expected a multiple of 2. Got x of shape (1, 9, 8, 3). Resize or pad that axis to 10 "
        'pixels, or use padding_mode="reflect".',
    ):
        ops.blur(x, stride=2)
    assert ops.blur(x, stride=2, padding_mode="reflect").shape == (1, 5, 4, 3)
    with raises(
        ValueError,
        "blur: 2 weights for 3 taps; expected one weight per tap. Got weights=[1, 2]. Use taps=2.",
    ):
        ops.blur(x, weights=[1, 2])
    with raises(
        ValueError,
        "blur_pool: the weights sum to 0; expected a finite sum other than 0, by which they are "
        "divided. Got weights=[1, -1]. Use depthwise_conv for filters that are no averages.",
    ):
        layers.blur_pool(2, 2, weights=[1, -1])
    with raises(
        ValueError,
        'max_blur_pool: weights is unknown; expected one of "binomial", "rectangle", "triangle". '
        "Got weights='gauss'. Use weights='binomial', say.",
    ):
        layers.max_blur_pool(weights="gauss")
    with raises(
        ValueError,
        "blur_pool: taps has 3 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got taps=(3, 3, 3). Use taps=3 for all axes.",
    ):
        layers.blur_pool(2, (3, 3, 3)).init(jax.random.key(0), x)
    with raises(
        ValueError,
        "max_blur_pool: window has 3 entries for 2 spatial axes; expected one per spatial axis or "
        "a single int. Got window=(2, 2, 2). Use window=2 for all axes.\n"
        "in max_blur_pool, layer 'max_pool', x of shape (1, 9, 8, 3)",
    ):
        layers.max_blur_pool((2, 2, 2)).apply({}, {}, x)
    with raises(
        TypeError,
        "blur: x holds integers; expected a floating dtype. Got x of dtype int32. "
        "Use x.astype('float32').",
    ):
        ops.blur(x.astype(jnp.int32))
