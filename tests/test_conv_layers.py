"""Convolutions and dense layers: their parameters, transforms of kernels, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, raises

from jaxconv import layers, ops


def normal(rng, *shape):
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def shapes(layer, *shape):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
    assert state == {}
    return jax.tree.map(lambda leaf: leaf.shape, params)


def test_shapes_of_parameters():
    layout = [
        (layers.conv(8, 3), (1, 9, 4), {"kernel": (3, 4, 8), "bias": (8,)}),
        (layers.conv(8, (3, 2), groups=2), (1, 9, 8, 4), {"kernel": (3, 2, 2, 8), "bias": (8,)}),
        (layers.conv(8, 3, bias=False), (1, 9, 8, 7, 4), {"kernel": (3, 3, 3, 4, 8)}),
        (
            layers.depthwise_conv(3, multiplier=2),
            (1, 9, 8, 4),
            {"kernel": (3, 3, 1, 8), "bias": (8,)},
        ),
        (
            layers.conv_transpose(6, (3, 2), groups=2),
            (1, 9, 8, 4),
            {"kernel": (3, 2, 3, 4), "bias": (6,)},
        ),
        (
            layers.local_conv(5, 3, stride=2),
            (1, 9, 7, 4),
            {"kernel": (5, 4, 3, 3, 4, 5), "bias": (5, 4, 5)},
        ),
        (layers.dense(5), (1, 4), {"kernel": (4, 5), "bias": (5,)}),
        (layers.dense(5, bias=False), (1, 9, 8, 4), {"kernel": (4, 5)}),
        (
            layers.separable_conv(5, 3, multiplier=2),
            (1, 9, 8, 4),
            {
                "depthwise": {"kernel": (3, 3, 1, 8)},
                "pointwise": {"kernel": (1, 1, 8, 5), "bias": (5,)},
            },
        ),
        (
            layers.squeeze_excite(2),
            (1, 9, 8, 4),
            {
                "squeeze": {"kernel": (4, 2), "bias": (2,)},
                "excite": {"kernel": (2, 4), "bias": (4,)},
            },
        ),
    ]
    for layer, shape, expected in layout:
        assert shapes(layer, *shape) == expected, layer.name


def test_three_billion_parameters_are_counted_and_not_allocated():
    x = jax.ShapeDtypeStruct((1, 3_000_000), jnp.float32)
    params, _ = jax.eval_shape(layers.dense(1000).init, jax.random.key(0), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 3_000_001_000


def test_conv_layers_are_their_operations(key, rng):
    x = normal(rng, 2, 8, 6, 4)
    sliding = {"stride": (2, 1), "dilation": (1, 2), "padding": ((1, 0), (2, 1))}
    sliding["padding_mode"] = ("circular", "edge")
    pairs = [
        (layers.conv(6, (3, 2), groups=2, **sliding), ops.conv, {"groups": 2}),
        (layers.depthwise_conv((3, 2), multiplier=2, **sliding), ops.depthwise_conv, {}),
        (layers.conv_transpose(6, (3, 2), groups=2, **sliding), ops.conv_transpose, {"groups": 2}),
        (layers.local_conv(6, (3, 2), **sliding), ops.local_conv, {}),
    ]
    for layer, operation, more in pairs:
        params, state = layer.init(key, x)
        bias = normal(rng, *params["bias"].shape)
        y, new_state = jax.jit(layer.apply)(params | {"bias": bias}, state, x)
        expected = jax.jit(lambda x, k, b, f=operation, m=more: f(x, k, b, **sliding, **m))
        assert_close(y, expected(x, params["kernel"], bias), 0)
        assert new_state == {}


def test_separable_conv_is_depthwise_then_pointwise(key, rng):
    x = normal(rng, 2, 6, 5, 3)
    params, _ = layers.separable_conv(4, 3, multiplier=2, stride=2).init(key, x)
    y, _ = layers.separable_conv(4, 3, multiplier=2, stride=2).apply(params, {}, x)
    full = jnp.einsum(
        "ijocm,com->ijco",
        params["depthwise"]["kernel"].reshape(3, 3, 1, 3, 2),
        params["pointwise"]["kernel"].reshape(3, 2, 4).transpose(0, 2, 1),
    )
    assert_close(y, ops.conv(x, full, stride=2))


def test_conv_transpose_has_the_kernel_of_the_conv_that_it_undoes(key, rng):
    narrow, wide = normal(rng, 2, 4, 3, 6), normal(rng, 2, 8, 6, 4)
    layer = layers.conv_transpose(4, 3, stride=2, groups=2, bias=False)
    params, _ = layer.init(key, narrow)
    there, back = layers.conv(6, 3, stride=2, groups=2, bias=False), layer
    left = jnp.vdot(there.apply(params, {}, wide)[0], narrow)
    right = jnp.vdot(wide, back.apply(params, {}, narrow)[0])
    assert_close(left, right)
    params, _ = there.init(key, wide)  # and the other way round: the layouts are the same
    assert shapes(layer, *narrow.shape) == shapes(there, *wide.shape)


def test_output_shape_chooses_among_the_inputs_of_a_stride(key):
    x = jnp.ones((1, 4, 3, 2))
    for output_shape in ((7, 6), (8, 5)):
        layer = layers.conv_transpose(3, 3, stride=2, output_shape=output_shape)
        params, state = layer.init(key, x)
        assert jax.eval_shape(layer.apply, params, state, x)[0].shape == (1, *output_shape, 3)


def test_dense_is_a_matrix_product(key, rng):
    x = normal(rng, 2, 3, 5, 4)
    params, state = layers.dense(6).init(key, x)
    params["bias"] = normal(rng, 6)
    y, _ = layers.dense(6).apply(params, state, x)
    kernel, bias = (np.asarray(params[name], np.float64) for name in ("kernel", "bias"))
    expected = np.einsum("nijc,co->nijo", np.asarray(x, np.float64), kernel) + bias
    assert_close(y, expected.astype(np.float32))
    conv = layers.conv(6, 1).apply({"kernel": params["kernel"][None, None], "bias": bias}, {}, x)
    assert_close(conv[0], y)


def test_dense_accumulates_in_float32(key):
    x = jnp.ones((1, 4096), jnp.bfloat16)
    layer = layers.dense(1, kernel_init=jax.nn.initializers.ones)
    params, state = layer.init(key, x)
    assert params["kernel"].dtype == jnp.float32
    # a bfloat16 sum of ones stops at 256
    assert layer.apply(params, state, x)[0].item() == 4096


def test_flatten_keeps_row_major_order(rng):
    x = normal(rng, 2, 3, 4, 5)
    assert_close(layers.flatten().apply({}, {}, x)[0], np.asarray(x).reshape(2, 60), 0)


def test_kernel_transform_standardizes_weights(key, rng):
    def standardize(kernel):
        axes = tuple(range(kernel.ndim - 1))
        mean = kernel.mean(axes, keepdims=True)
        return (kernel - mean) / kernel.std(axes, keepdims=True)

    x = normal(rng, 2, 6, 5, 3)
    layer = layers.conv(4, 3, kernel_transform=standardize, padding_mode="circular")
    params, state = layer.init(key, x)
    y, _ = layer.apply(params, state, x)
    shifted = params | {"kernel": 3 * params["kernel"] + 0.5}  # standardizing takes both away
    assert_close(layer.apply(shifted, state, x)[0], y)
    constant = layer.apply(params, state, jnp.ones_like(x))[0]
    assert_close(constant + 1, jnp.ones_like(constant))


def test_kernel_transform_masks(key, rng):
    """A mask makes a convolution causal in the order of rows: PixelCNN's, van den Oord 2016."""
    mask = jnp.asarray([[1, 1, 1], [1, 0, 0], [0, 0, 0]], jnp.float32)[..., None, None]
    layer = layers.conv(2, 3, kernel_transform=lambda kernel: kernel * mask.astype(kernel.dtype))
    x = normal(rng, 1, 5, 4, 2)
    params, state = layer.init(key, x)

    def seen(row, column):
        gradient = jax.grad(lambda x: layer.apply(params, state, x)[0][0, row, column].sum())(x)
        return np.abs(gradient[0]).sum(-1) > 0

    before = np.zeros((5, 4), bool)
    before[1, 0:3], before[2, 0] = True, True
    np.testing.assert_array_equal(seen(2, 1), before)
    gradient = jax.grad(lambda p: layer.apply(p, state, x)[0].sum())(params)["kernel"]
    assert not np.asarray(gradient)[1, 1:].any()  # a masked tap learns nothing
    assert np.asarray(gradient)[0].any()


def test_kernel_transform_ties(key, rng):
    """A kernel tied to its mirror image commutes with the reflection; an untied one does not."""
    x = normal(rng, 1, 6, 5, 2)

    def mirrored(layer):
        params, state = layer.init(key, x)
        y = layer.apply(params, state, x[:, :, ::-1])[0]
        return np.abs(y - layer.apply(params, state, x)[0][:, :, ::-1]).max()

    tie = {"kernel_transform": lambda kernel: (kernel + kernel[:, ::-1]) / 2}
    assert mirrored(layers.conv(3, 3, **tie)) < 1e-6 < 0.1 < mirrored(layers.conv(3, 3))
    assert mirrored(layers.depthwise_conv(3, **tie)) < 1e-6 < mirrored(layers.depthwise_conv(3))


def test_kernel_transform_sees_float32(key):
    seen = []
    layer = layers.conv(2, 1, kernel_transform=lambda kernel: seen.append(kernel.dtype) or kernel)
    x = jnp.ones((1, 3, 2), jnp.bfloat16)
    layer.apply(*layer.init(key, x), x)
    assert set(seen) == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.conv(4, 3, groups=3),
            "conv: 4 features do not split into groups=3; expected a multiple of 3. "
            "Got features=4. Use features=6 or groups=1.",
        ),
        (
            lambda: layers.conv(0, 3),
            "conv: features is too small; expected at least 1. Got features=0. "
            "Use features=1 or more.",
        ),
        (
            lambda: layers.conv(4, (3, 0)),
            "conv: window is too small; expected at least 1. Got window=0. Use window=1 or more.",
        ),
        (
            lambda: layers.depthwise_conv(3, multiplier=0),
            "depthwise_conv: multiplier is too small; expected at least 1. Got multiplier=0. "
            "Use multiplier=1 or more.",
        ),
        (
            lambda: layers.conv_transpose(4, 3, stride=0),
            "conv_transpose: stride is too small; expected at least 1. Got stride=0. "
            "Use stride=1 or more.",
        ),
        (
            lambda: layers.local_conv(4, 3, padding_mode="wrap"),
            "local_conv: padding_mode is unknown; expected one of "
            '"zeros", "circular", "reflect", "edge". Got padding_mode=\'wrap\'. '
            "Use padding_mode='zeros', say.",
        ),
        (
            lambda: layers.conv(4, 3, padding="SAME"),
            'conv: padding is unknown; expected one of "same", "half", "valid", "causal", '
            "\"full\". Got padding='SAME'. Use padding='same', say.",
        ),
        (
            lambda: layers.squeeze_excite(0),
            "squeeze_excite: squeeze_features is too small; expected at least 1. "
            "Got squeeze_features=0. Use squeeze_features=1 or more.",
        ),
    ],
)
def test_impossible_arguments_are_refused_at_construction(make, message):
    with raises(ValueError, message):
        make()


IMAGE = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (
            layers.conv(4, 3, groups=2),
            IMAGE,
            "conv: 3 input channels do not split into groups=2; expected a multiple of 2. "
            "Got x of shape (1, 32, 32, 3). Use groups=1 or groups=3.",
        ),
        (
            layers.conv_transpose(4, 3, groups=4),
            IMAGE,
            "conv_transpose: 3 input channels do not split into groups=4; expected a multiple of "
            "4. Got x of shape (1, 32, 32, 3). Use groups=3.",
        ),
        (
            layers.conv(4, 3, padding="valid"),
            jax.ShapeDtypeStruct((1, 8, 2, 3), jnp.float32),
            "conv: the output is empty, a window of 3 pixels does not fit into 2 on spatial axis "
            "1; expected at least 3 with padding. Got x of shape (1, 8, 2, 3) and "
            "padding='valid'. Use padding=\"same\" or a smaller window.",
        ),
        (
            layers.conv(4, (3, 3, 3)),
            IMAGE,
            "conv: window has 3 entries for 2 spatial axes; expected one per spatial axis or a "
            "single int. Got window=(3, 3, 3). Use window=3 for all axes.",
        ),
        (
            layers.conv(4, 3),
            jax.ShapeDtypeStruct((32, 3), jnp.float32),
            "conv: x has 2 axes; expected (N, *spatial, C) with at least 1 spatial. "
            "Got x of shape (32, 3). Add a batch axis with x[None] or a channel axis with "
            "x[..., None].",
        ),
        (
            layers.conv(4, 3, kernel_init=lambda key, shape, dtype: jnp.zeros((3, 3), dtype)),
            IMAGE,
            "conv: kernel_init returns shape (3, 3); expected an array of the shape that it is "
            "asked for, (3, 3, 3, 4). Got kernel_init=<lambda>. "
            "Use jax.nn.initializers.normal(0.02), say.",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_init(key, layer, x, message):
    with raises(ValueError, message):
        layer.init(key, x)


def test_integers_are_refused(key):
    for layer, x in (
        (layers.conv(4, 3), jnp.ones((1, 8, 8, 3), jnp.uint8)),
        (layers.dense(4), jnp.ones((1, 8), jnp.int32)),
    ):
        with raises(
            TypeError,
            f"{layer.name}: x holds integers; expected a floating dtype. "
            f"Got x of dtype {x.dtype}. Use x.astype('float32').",
        ):
            layer.init(key, x)


def test_channels_first_is_named_where_it_contradicts_the_parameters(key):
    params, state = layers.dense(4).init(key, jnp.ones((1, 6, 5, 3)))
    with raises(
        ValueError,
        "dense: x has 5 channels and the parameters are for 3; expected x of shape "
        "(N, *spatial, 3). Got x of shape (1, 3, 6, 5). "
        "It looks channels-first: use jnp.moveaxis(x, 1, -1).",
    ):
        layers.dense(4).apply(params, state, jnp.ones((1, 3, 6, 5)))
    with raises(
        ValueError,
        "dense: x has 5 channels and the parameters are for 3; expected x of shape "
        "(N, *spatial, 3). Got x of shape (1, 6, 4, 5). "
        "Pass x with 3 channels, or the params of an init with 5.",
    ):
        layers.dense(4).apply(params, state, jnp.ones((1, 6, 4, 5)))
    params, state = layers.conv(4, 3).init(key, jnp.ones((1, 6, 5, 3)))
    with pytest.raises(ValueError, match="channels-first"):
        layers.conv(4, 3).apply(params, state, jnp.ones((1, 3, 6, 5)))


def test_kernel_transform_must_keep_the_shape(key):
    def ones(kernel):
        return kernel[0]

    x = jnp.ones((1, 6, 5, 3))
    params, state = layers.conv(4, 3).init(key, x)
    with raises(
        ValueError,
        "conv: kernel_transform returns shape (3, 3, 4); expected that of its argument, "
        f"(3, 3, 3, 4). Got kernel_transform={ones!r}. Return an array of the kernel's shape.",
    ):
        layers.conv(4, 3, kernel_transform=ones).apply(params, state, x)


def test_hooks_must_be_functions(key):
    with raises(
        TypeError,
        "conv: kernel_transform cannot be called; expected a function. Got kernel_transform=3. "
        "Leave it out, or pass one of jax.nn, say.",
    ):
        layers.conv(4, 3, kernel_transform=3)
    with raises(
        ValueError,
        "dense: kernel_init returns a function; expected an array of the shape that it is asked "
        "for, (3, 4). Got kernel_init=variance_scaling. "
        "Use jax.nn.initializers.normal(0.02), say.",
    ):
        layers.dense(4, kernel_init=jax.nn.initializers.variance_scaling).init(
            key, jnp.ones((1, 3))
        )


def test_errors_of_a_separable_conv_name_it_and_not_its_halves(key):
    with raises(
        ValueError,
        "separable_conv: features is too small; expected at least 1. Got features=0. "
        "Use features=1 or more.",
    ):
        layers.separable_conv(0, 3)
    with raises(
        ValueError,
        "separable_conv: window is too small; expected at least 1. Got window=0. "
        "Use window=1 or more.",
    ):
        layers.separable_conv(4, 0)
    layer = layers.separable_conv(4, 3)
    params, state = layer.init(key, jnp.zeros((1, 8, 8, 3)))
    with raises(
        ValueError,
        "separable_conv: 3 features do not belong to 5 channels; expected a multiple of 5. Got x "
        "of shape (1, 8, 8, 5) and kernel of shape (3, 3, 1, 3). Use 5 features.\n"
        "in separable_conv, layer 'depthwise', x of shape (1, 8, 8, 5)",
    ):
        layer.apply(params, state, jnp.zeros((1, 8, 8, 5)))
