"""Receptive fields: published rows, gradients, and never less than what is seen."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import raises
from jax import lax

import jaxconv as jc
from jaxconv.equivariance._receptive_field import ReceptiveField, receptive_field
from jaxconv.models import unet


def _conv(window, stride=1, padding="half"):
    return jc.conv(1, window, stride=stride, padding=padding, bias=False)


def _published():
    """Google's table of receptive fields (Araujo, Norris and Sim 2019), up to the last pool."""
    pool2, pool3 = jc.max_pool(2), jc.max_pool(3, stride=2)
    vgg = [layer for n in (2, 2, 3, 3, 3) for layer in [*[_conv(3)] * n, pool2]]
    alexnet = [_conv(11, 4, "valid"), pool3, _conv(5), pool3, _conv(3), _conv(3), _conv(3), pool3]
    return {
        "alexnet_v2": (alexnet, 195, 32, 64),
        "vgg_16": (vgg, 212, 32, 90),
        "inception_v3": (_inception(), 1311, 32, 618),
        "mobilenet_v1": (_mobilenet(), 315, 32, 126),
        "resnet_v1_50": (_resnet(3, 4, 6, 3), 483, 32, 239),
        "resnet_v1_101": (_resnet(3, 4, 23, 3), 1027, 32, 511),
        "resnet_v1_152": (_resnet(3, 8, 36, 3), 1507, 32, 751),
    }


def _resnet(*units):
    """The stride is in the last unit of a stage, but in no unit of the last stage."""
    layers = [_conv(7, 2), jc.max_pool(3, stride=2, padding="same")]
    for count, stride in zip(units, (2, 2, 2, 1), strict=True):
        layers += [jc.residual(_conv(3))] * (count - 1)
        layers += [jc.residual(_conv(3, stride), jc.max_pool(1, stride=stride))]
    return layers


def _mobilenet():
    strides = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    return [_conv(3, stride, "same") for stride in strides]


def _inception():
    """The branch of every block that sees most; `valid` in the stem and where an image shrinks."""
    pool, shrink = jc.max_pool(3, stride=2), _conv(3, 2, "valid")
    stem = [shrink, _conv(3, 1, "valid"), _conv(3), pool, _conv(1), _conv(3, 1, "valid"), pool]
    mixed_5 = [_conv(3), _conv(3)] * 3
    mixed_6 = [_conv(3), shrink] + [_conv((7, 1)), _conv((1, 7))] * 8
    mixed_7 = [_conv((1, 7)), _conv((7, 1)), shrink] + [_conv(3), _conv((3, 1)), _conv((1, 3))] * 2
    return stem + mixed_5 + mixed_6 + mixed_7


def _function(model, x):
    """The model as a function of x alone, with parameters of ones: nothing cancels."""
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    params, state = jax.tree.map(lambda a: jnp.ones(a.shape, a.dtype), (params, state))
    return lambda x: model.apply(params, state, x)[0]


def _image(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize("name", list(_published()))
def test_published_rows(name):
    layers, size, stride, padding = _published()[name]
    x = _image(1, 224, 256, 1)
    fields = receptive_field(_function(jc.serial(*layers), x), x)
    assert fields == (
        ReceptiveField(size, stride, padding, 1),
        ReceptiveField(size, stride, padding, 2),
    )


CASES = {
    "conv": lambda x: jc.ops.conv(x, _ones(3)),
    "stride": lambda x: jc.ops.conv(jc.ops.conv(x, _ones(3), stride=2), _ones(3), stride=2),
    "dilation": lambda x: jc.ops.conv(x, _ones(3), dilation=3, padding="half"),
    "even": lambda x: jc.ops.conv(x, _ones(4), padding=((2, 1),)),
    "causal": lambda x: jc.ops.conv(x, _ones(5), padding="causal"),
    "negative": lambda x: jc.ops.conv(x, _ones(3), padding=((-2, -3),)),
    "transposed": lambda x: jc.ops.conv_transpose(x, _ones(3), stride=2),
    "up and down": lambda x: jc.ops.conv(jc.ops.conv_transpose(x, _ones(2), stride=2), _ones(3)),
    "max pool": lambda x: jc.ops.max_pool(x, 3, stride=2, padding="half"),
    "avg pool": lambda x: jc.ops.avg_pool(x, 3, stride=2, padding="half"),
    "reduce window": lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 3, 1), (1, 2, 1), ((0, 0), (2, 2), (0, 0)), (1, 2, 1), (1, 2, 1)
    ),
    "residual": lambda x: x + jc.ops.conv(x, _ones(5)),
    "reverse": lambda x: jc.ops.conv(x, _ones(4))[:, ::-1],
    "stack": lambda x: jnp.stack([x, jc.ops.conv(x, _ones(3))], 1).sum(1),
    "tile": lambda x: jnp.tile(x, (1, 1, 3)),
    "slice": lambda x: jc.ops.conv(x, _ones(3))[:, 3:11:2],
    "strides": lambda x: x[:, ::2] + x[:, 1::2],
    "transpose": lambda x: jnp.transpose(jc.ops.conv(x, _ones(3)), (2, 1, 0)),
    "rows": lambda x: (jc.ops.conv(x, _ones(3)).reshape(16, 1) + 1).reshape(1, 16, 1),
    "phases": lambda x: x.reshape(1, 8, 2, 1).sum(2),
    "shuffle": lambda x: jnp.stack([x, 2 * x], 2).reshape(1, 32, 1),
    "dynamic filter": lambda x: x * jax.nn.sigmoid(x.mean(1, keepdims=True)),
    "flatten and dense": lambda x: x.reshape(1, 16) @ jnp.ones((16, 5)),
    "one pixel": lambda x: jc.ops.conv(x, _ones(3))[:, 4],
    "scan": lambda x: lax.scan(lambda c, _: (jc.ops.conv(c, _ones(3)), None), x, length=3)[0],
    "scan over pixels": lambda x: lax.scan(lambda c, row: (c, row * 2), 0.0, jnp.moveaxis(x, 1, 0))[
        1
    ],
    "cond": lambda x: lax.cond(True, lambda x: jc.ops.conv(x, _ones(5)), lambda x: x, x),
    "while": lambda x: lax.while_loop(lambda c: c.sum() < 0, lambda c: c * 2, x),
    "remat": lambda x: jax.checkpoint(lambda x: jc.ops.conv(x, _ones(3)))(x),
    "vmap": lambda x: jax.vmap(lambda r: jc.ops.conv(r[None], _ones(3))[0])(x),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "sort": lambda x: jnp.sort(x, 1),
    "take": lambda x: jnp.take(x, np.array([0, 2, 4, 6]), axis=1),
    "resize": lambda x: jax.image.resize(x, (1, 32, 1), "bilinear"),
    "shrink": lambda x: jax.image.resize(x, (1, 8, 1), "linear"),
    "nearest": lambda x: jax.image.resize(x, (1, 32, 1), "nearest"),
    "pad inside": lambda x: lax.pad(x, 0.0, ((0, 0, 0), (2, 1, 1), (0, 0, 0))),
    "constant": lambda x: jnp.ones((1, 16, 1)),
}
LOOSE = {"while", "cond", "scan over pixels"}
"""Cases whose bound covers a branch that is not taken, or all rows of a loop over pixels."""


def _ones(window):
    return jnp.ones((window, 1, 1))


@pytest.fixture(scope="module")
def seen():
    """Which pixels each output of each case depends on: derivatives at 40 points, compiled once."""
    points = np.random.default_rng(0).normal(size=(40, 1, 16, 1)).astype(np.float32)

    @jax.jit
    def derivatives(points):
        return {
            name: jax.vmap(jax.jacfwd(lambda x, f=f: f(x).reshape(-1)))(points)
            for name, f in CASES.items()
        }

    found = derivatives(points)
    return {name: (np.asarray(d) != 0).any(0).reshape(-1, 16) for name, d in found.items()}


def _windows(f, x):
    """The first and last pixel of the window of each output, by receptive_field."""
    (field,) = receptive_field(f, x)
    shape = jax.eval_shape(f, x).shape
    index = np.zeros(shape, int) if field.axis is None else np.indices(shape)[field.axis]
    first = [Fraction(field.stride) * int(i) - field.padding for i in index.reshape(-1)]
    return field, [(low, low + field.size - 1) for low in first]


@pytest.mark.parametrize("name", list(CASES))
def test_bounds_what_derivatives_see(name, seen):
    field, windows = _windows(CASES[name], _image(1, 16, 1))
    assert field.known
    widest = 0
    for (low, high), row in zip(windows, seen[name], strict=True):
        pixels = np.flatnonzero(row)
        assert all(low <= pixel < high + 1 for pixel in pixels), (low, high, pixels)
        widest = max(widest, np.ptp(pixels) + 1 if pixels.size else 0)
    if name not in LOOSE:
        assert widest == field.size


def test_a_bound_too_small_would_be_noticed(seen):
    """The negative control: one pixel less than the field is refuted by a derivative."""
    field, windows = _windows(CASES["stride"], _image(1, 16, 1))
    outside = [
        pixel
        for (low, high), row in zip(windows, seen["stride"], strict=True)
        for pixel in np.flatnonzero(row)
        if not low <= pixel < high
    ]
    assert field.size == 7
    assert outside


def test_anisotropic_fields_are_what_gradients_see():
    def f(x):
        x = jc.ops.conv(x, jnp.ones((3, 4, 1, 1)), stride=(2, 1), dilation=(1, 2), padding="half")
        return jc.ops.avg_pool(x, (2, 3), stride=(1, 3), padding=((1, 0), (1, 1)))

    fields = receptive_field(f, _image(1, 16, 27, 1))
    assert fields == (ReceptiveField(5, 2, 3, 1), ReceptiveField(9, 3, 4, 2))
    seen = np.asarray(jax.jacrev(f)(jnp.ones((1, 16, 27, 1))))[0, ..., 0, 0, :, :, 0] != 0
    inner = 0
    for axis, field in enumerate(fields):
        for i, row in enumerate(seen.any((1 - axis, 3 - axis))):
            low, pixels = field.stride * i - field.padding, np.flatnonzero(row)
            assert low <= pixels.min()
            assert pixels.max() < low + field.size
            if low >= 0 and low + field.size <= len(row):
                inner += 1
                assert np.ptp(pixels) + 1 == field.size
    assert inner > 8


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "edge"])
def test_padding_modes_have_the_field_of_zero_padding(mode):
    def f(x):
        x = jc.ops.conv(x, _ones(5), stride=2, padding="half", padding_mode=mode)
        return jc.ops.max_pool(x, 3, stride=2, padding="half", padding_mode=mode)

    assert receptive_field(f, _image(1, 32, 1)) == (ReceptiveField(9, 4, 4, 1),)


def test_concatenation_of_other_places_is_not_padding():
    """Halves exchanged are a roll; a half before itself is not, and gets the whole axis."""
    roll = receptive_field(lambda x: jnp.roll(x, 3, 1), _image(1, 16, 1))
    assert roll == (ReceptiveField(1, 1, 3, 1),)
    moved = receptive_field(
        lambda x: jnp.concatenate([x[:, 20:24], x, x[:, 30:34]], 1), _image(1, 64, 1)
    )
    assert moved == (ReceptiveField(64, 0, 0, None),)


def test_unknown_operations_say_so():
    largest = receptive_field(lambda x: jax.lax.top_k(x[..., 0], 3)[0], _image(1, 16, 1))
    assert largest == (ReceptiveField(16, 0, 0, None, known=False),)
    behind = receptive_field(
        lambda x: x + jax.lax.top_k(x[..., 0], 16)[0][..., None], _image(1, 16, 1)
    )
    assert behind == (ReceptiveField(16, 0, 0, None, known=False),)


def test_spectra_see_all_along_their_axis_and_nothing_more_along_others():
    spectrum = receptive_field(lambda x: jnp.fft.fft(x, axis=1).real, _image(1, 16, 1))
    assert spectrum == (ReceptiveField(16, 0, 0, None),)
    channels = receptive_field(lambda x: jnp.fft.rfft(x, axis=2).real, _image(1, 16, 4))
    assert channels == (ReceptiveField(1, 1, 0, 1),)


def test_repeat_grows_with_every_turn():
    x = _image(1, 64, 2)
    for count in (1, 7):
        model = jc.repeat(count, jc.conv(2, 3))
        (field,) = receptive_field(_function(model, x), x)
        assert field == ReceptiveField(2 * count + 1, 1, count, 1)


def test_unet_sees_alike_on_both_axes():
    x = _image(1, 32, 40, 1)
    rows, columns = receptive_field(_function(unet(1, (2, 2, 2)), x), x)
    assert (rows.size, rows.stride, rows.padding) == (columns.size, columns.stride, columns.padding)
    assert (rows.axis, columns.axis) == (1, 2)
    assert rows.size < 60


def test_axes_outputs_and_errors():
    x = _image(2, 8, 9, 3)
    fields = receptive_field(lambda x: {"a": x, "b": (x[0], x.sum())}, x, axes=(0, -1))
    assert fields["a"] == (ReceptiveField(1, 1, 0, 0), ReceptiveField(1, 1, 0, 3))
    assert fields["b"][0] == (ReceptiveField(1, 0, 0, None), ReceptiveField(1, 1, 0, 2))
    assert fields["b"][1] == (ReceptiveField(2, 0, 0, None), ReceptiveField(3, 0, 0, None))
    message = (
        "receptive_field: x has no axis 4; expected axes of 4 or fewer. Got axes=(4,). "
        "Use axes=(1, 2)."
    )
    with raises(ValueError, message):
        receptive_field(lambda x: x, x, axes=(4,))
