"""The one table of layers and operations, with the cases that every law is checked on.

An operation is written as a layer here: what it takes beside the images are its parameters.
"""

import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import Layer, layers, ops


class Case(NamedTuple):
    """A layer, and what is special about it.

    `shape` is that of the input, two examples. `trains`: with train=True it does something else,
    and may need a key. `mixes`: an example sees the others of its batch then. `order`: how many
    derivatives it has; the inputs are apart enough for a maximum to stay where it is.
    """

    name: str
    layer: Layer
    shape: tuple[int, ...]
    trains: bool = False
    mixes: bool = False
    order: int = 2


def op(function, **shapes):
    """An operation as a layer whose parameters are random arrays of the given shapes."""

    def init(key, x):
        rng = np.random.default_rng(0)
        dtype = np.promote_types(x.dtype, np.float32)
        draws = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        return {name: jnp.asarray(draw, dtype) for name, draw in draws.items()}, {}

    def apply(params, state, x, *, train=False, key=None):
        arrays = {name: value.astype(x.dtype) for name, value in params.items()}
        return function(x, **arrays), state

    return Layer(init, apply, "op")


def public(module):
    """Names of the functions that a package's contents page lists."""
    members = inspect.getmembers(module, inspect.isfunction)
    return {name for name, _ in members if not name.startswith("_")}


def half_max(x):
    """A maximum and its way back."""
    y, indices = ops.max_pool_with_indices(x, 2)
    return ops.unpool(2 * y, indices, x.shape[1:-1])


def back_up(x):
    """Samples of a phase and their way back."""
    y, index = ops.polyphase_down(x, 2)
    return ops.polyphase_up(2 * y, index, 2)


def margin(x):
    """What is chosen, and how safely, beside an x that nothing happened to."""
    found = ops.polyphase_select(x, 3)
    phase = (found.index + found.ties).astype(x.dtype)
    return x + phase.reshape(-1, *[1] * (x.ndim - 1))


LINE, IMAGE, VOLUME = (2, 9, 4), (2, 7, 6, 4), (2, 5, 4, 3, 2)
VOLUME_OF_CIRCLES = (2, 4, 2, 6, 2)
MIXED = ("circular", "reflect")

LAYERS = [
    Case("conv", layers.conv(3, 3, padding_mode="circular"), LINE),
    Case("conv", layers.conv(6, (3, 2), stride=(1, 2), groups=2, padding_mode=MIXED), IMAGE),
    Case("conv", layers.conv(3, 2, dilation=2, padding="causal", bias=False), VOLUME),
    Case("depthwise_conv", layers.depthwise_conv(3, multiplier=2, stride=2), LINE),
    Case("depthwise_conv", layers.depthwise_conv((3, 2), padding_mode="edge"), IMAGE),
    Case("depthwise_conv", layers.depthwise_conv(2, dilation=2), VOLUME),
    Case("separable_conv", layers.separable_conv(3, 3, stride=2), IMAGE),
    Case("conv_transpose", layers.conv_transpose(3, 3, stride=2, padding_mode="circular"), LINE),
    Case("conv_transpose", layers.conv_transpose(6, (3, 2), stride=(2, 1), groups=2), IMAGE),
    Case("local_conv", layers.local_conv(3, 3, stride=2), LINE),
    Case("local_conv", layers.local_conv(2, (3, 2), padding="valid"), IMAGE),
    Case("affine_conv", layers.affine_conv(3, 3, stride=2, padding_mode="reflect"), IMAGE),
    Case("sort_pool", layers.sort_pool(), IMAGE),
    Case("affine_residual", layers.affine_residual(layers.conv(4, 1), jnp.tanh, weight=0.3), LINE),
    Case("dense", layers.dense(5), (2, 4)),
    Case("dense", layers.dense(5, bias=False), IMAGE),
    Case("flatten", layers.flatten(), IMAGE),
    Case("max_pool", layers.max_pool(2), IMAGE),
    Case("max_pool", layers.max_pool(3, stride=1, padding="same"), LINE),
    Case("min_pool", layers.min_pool((3, 2), stride=2), IMAGE),
    Case("avg_pool", layers.avg_pool(3, stride=2, padding=1), IMAGE),
    Case("blur_pool", layers.blur_pool(2, padding_mode="reflect"), IMAGE),
    Case("blur_pool", layers.blur_pool((2, 1, 3), 4, weights="triangle"), (2, 4, 2, 6, 2)),
    Case("max_blur_pool", layers.max_blur_pool(3, 3, 5), LINE),
    Case("ideal_down", layers.ideal_down((2, 3)), (2, 4, 6, 2)),
    Case("ideal_up", layers.ideal_up(2), LINE),
    Case("filtered_polynomial", layers.filtered_polynomial(), IMAGE),
    Case("lp_pool", layers.lp_pool(2, 3.0), LINE),
    Case("adaptive_avg_pool", layers.adaptive_avg_pool((3, 2)), IMAGE),
    Case("adaptive_max_pool", layers.adaptive_max_pool(4), LINE),
    Case("global_avg_pool", layers.global_avg_pool(), IMAGE),
    Case("global_max_pool", layers.global_max_pool(), IMAGE),
    Case("batch_norm", layers.batch_norm(), IMAGE, trains=True, mixes=True),
    Case("batch_norm", layers.batch_norm(scale=False, bias=False), (2, 4), trains=True, mixes=True),
    Case("group_norm", layers.group_norm(2), IMAGE),
    Case("layer_norm", layers.layer_norm(), LINE),
    Case("instance_norm", layers.instance_norm(), IMAGE),
    Case("alias_free_norm", layers.alias_free_norm(), IMAGE),
    Case("dropout", layers.dropout(0.4), LINE, trains=True),
    Case("dropout", layers.dropout(0.4, whole_channels=True), IMAGE, trains=True),
    Case("drop_path", layers.drop_path(0.4), LINE, trains=True),
    Case("squeeze_excite", layers.squeeze_excite(2), IMAGE),
    Case("activation", layers.activation(jax.nn.silu), LINE),
    Case("pad", layers.pad(((1, -1), (2, 0)), padding_mode=MIXED), IMAGE),
    Case("upsample", layers.upsample((2, 3)), IMAGE),
    Case("upsample", layers.upsample(2, "bilinear"), LINE),
    Case("gelu", op(ops.gelu), LINE),
    Case("pixel_shuffle", layers.pixel_shuffle(2), IMAGE),
    Case("pixel_unshuffle", layers.pixel_unshuffle((2, 3)), (2, 4, 6, 2)),
    Case("polyphase_down", layers.polyphase_down((3, 2), low_pass=3), (2, 6, 4, 3)),
    Case("polyphase_down", layers.polyphase_down(2, norm="l1"), VOLUME_OF_CIRCLES),
    Case(
        "polyphase_down",
        layers.polyphase_down(2, scorer=layers.phase_scorer(2)),
        (2, 6, 4, 3),
        trains=True,
    ),
    Case("phase_scorer", layers.phase_scorer(3), (2, 9, 4)),
    Case("polyphase_around", layers.polyphase_around(layers.conv(2, 1), 3), (2, 9, 4)),
]

OPS = [
    Case("conv", op(ops.conv, kernel=(3, 2, 2, 6), bias=(6,)), (2, 7, 6, 2)),
    Case("depthwise_conv", op(ops.depthwise_conv, kernel=(3, 1, 8)), LINE),
    Case("conv_transpose", op(ops.conv_transpose, kernel=(3, 2, 3, 4), bias=(3,)), IMAGE),
    Case("local_conv", op(ops.local_conv, kernel=(9, 3, 4, 2), bias=(9, 2)), LINE),
    Case("patches", op(lambda x: ops.patches(x, (3, 2), stride=2)), IMAGE),
    Case("fold", op(lambda x: ops.fold(x, (7,), stride=2)), (2, 3, 3, 4)),
    Case("pad", op(lambda x: ops.pad(x, 2, padding_mode="circular")), LINE),
    Case("blur", op(lambda x: ops.blur(x, (3, 4), stride=(1, 2))), IMAGE),
    Case("ideal_down", op(lambda x: ops.ideal_down(x, 65)), (2, 130, 2)),
    Case("ideal_up", op(lambda x: ops.ideal_up(x, 22)), (2, 6, 2)),
    Case("max_pool", op(lambda x: ops.max_pool(x, 2, dilation=2)), IMAGE),
    Case("min_pool", op(lambda x: ops.min_pool(x, 2)), LINE),
    Case("avg_pool", op(lambda x: ops.avg_pool(x, 2, padding="same", count_padding=True)), IMAGE),
    Case("lp_pool", op(lambda x: ops.lp_pool(x, (3, 2))), IMAGE),
    Case("adaptive_avg_pool", op(lambda x: ops.adaptive_avg_pool(x, 4)), LINE),
    Case("adaptive_max_pool", op(lambda x: ops.adaptive_max_pool(x, (3, 2))), IMAGE),
    Case("max_pool_with_indices", op(lambda x: ops.max_pool_with_indices(x, 2)[0]), IMAGE),
    Case("unpool", op(half_max), IMAGE),
    Case("gelu", op(ops.gelu), LINE),
    Case("pixel_shuffle", op(lambda x: ops.pixel_shuffle(x, 2)), LINE),
    Case("pixel_unshuffle", op(lambda x: ops.pixel_unshuffle(x, 3)), LINE),
    Case("polyphase_select", op(margin), LINE),
    Case("polyphase_down", op(lambda x: ops.polyphase_down(x, 3, norm="linf")[0]), LINE),
    Case("polyphase_up", op(back_up), (2, 4, 6, 3)),
    Case("polyphase_split", op(lambda x: ops.polyphase_split(x, (3, 2))), (2, 6, 4, 3)),
    Case("resize", op(lambda x: ops.resize(x, (5, 9))), IMAGE),
]

CASES = [case._replace(name=f"layers.{case.name}") for case in LAYERS]
CASES += [case._replace(name=f"ops.{case.name}") for case in OPS]
IDS = [f"{case.name}-{len(case.shape) - 2}d-{i}" for i, case in enumerate(CASES)]
