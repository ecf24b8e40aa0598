"""What is true of the architectures of `zoo`: the lattices of the literature, and lines at fault.

A line is known by a call that stands in it, in `zoo`: kits count as libraries here.
"""

import contextlib
import functools
import linecache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import zoo
import zoo_kits

from jaxconv.equivariance import _jaxpr, prove

MODES = {
    "circular": {"circular": True, "train": False},
    "zeros": {"circular": False, "train": False},
    "training": {"circular": True, "train": True},
}


class Golden(NamedTuple):
    """A network, and what is true of it.

    Attributes:
        body: the network.
        size: pixels of the input along each axis.
        shift: the lattice with circular borders, for invariance or, with `moves`, equivariance;
            0 for none.
        stride: a call in the line of the first obstruction with circular borders.
        border: a call in the line of the first obstruction with zero padding, "" where the network
            pads nothing and obeys the same law.
        moves: whether the output is a map of the size of the input.
    """

    body: Any
    size: int
    shift: int
    stride: str
    border: str
    moves: bool = False


def _of(body, **options):
    return functools.partial(body, **options)


RESNET, UNET = zoo.residual_network, zoo.u_net
VIT, SWIN = zoo.vision_transformer, zoo.swin
STEM, SMALL_STEM = "k.conv(x, width, 7, 2)", "k.conv(x, 8, 3, 2)"
PATCHES, DEPTHWISE = "k.conv(x, widths[0], 4, 4)", "k.conv(x, width, 7, groups=width)"
POSITION, PATCH = "x + k.weight((x.shape[-2], width))", "k.conv(x, width, patch, patch)"
POOL, TWICE = "k.max_pool(x, 2, 2)", "k.conv(x, features, 3)"
BIASED, MERGED = "scores + mask", "k.dense(k.layer_norm(x), 2 * features)"
FIRST = "k.conv(x, width, 3, 2)"

SMALL = {
    "resnet-18": Golden(RESNET, 64, 32, STEM, STEM),
    "resnet-50": Golden(_of(RESNET, bottleneck=True), 64, 32, STEM, STEM),
    "mobilenet-v2": Golden(zoo.mobile_network, 64, 32, SMALL_STEM, SMALL_STEM),
    "efficientnet": Golden(zoo.efficient_network, 64, 32, SMALL_STEM, SMALL_STEM),
    "convnext": Golden(zoo.convnext, 64, 32, PATCHES, DEPTHWISE),
    "u-net": Golden(_of(UNET, levels=2), 16, 4, POOL, TWICE, moves=True),
    "vit": Golden(VIT, 64, 0, POSITION, POSITION),
    "vit-no-positions": Golden(_of(VIT, position=False), 64, 16, PATCH, ""),
    "swin": Golden(SWIN, 64, 32, "k.conv(x, width, 4, 4)", ""),
    "swin-masked": Golden(_of(SWIN, masked=True), 64, 0, BIASED, BIASED),
    "attention-pool": Golden(zoo.attention_pool, 32, 4, FIRST, FIRST),
}

_MOBILE = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)),
    (6, 320, 1, 1),
)
_EFFICIENT = (
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5)),
    *((6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
_T = {"depths": (3, 3, 9, 3), "widths": (96, 192, 384, 768)}
_B = {"depth": 12, "width": 768, "heads": 12}
FULL = {
    name: SMALL[base]._replace(body=body, size=224, **changes)
    for name, base, body, changes in (
        ("resnet-18", "resnet-18", _of(RESNET, blocks=(2, 2, 2, 2), width=64), {}),
        (
            "resnet-50",
            "resnet-50",
            _of(RESNET, blocks=(3, 4, 6, 3), width=64, bottleneck=True),
            {},
        ),
        ("mobilenet-v2", "mobilenet-v2", _of(zoo.mobile_network, blocks=_MOBILE), {}),
        ("efficientnet-b0", "efficientnet", _of(zoo.efficient_network, blocks=_EFFICIENT), {}),
        ("convnext-t", "convnext", _of(zoo.convnext, **_T), {}),
        ("u-net, 4 levels", "u-net", _of(UNET, levels=4, width=64), {"shift": 16}),
        ("vit-b-16", "vit", _of(VIT, **_B), {}),
        ("vit-b-16, no positions", "vit-no-positions", _of(VIT, position=False, **_B), {}),
        (
            "swin-t",
            "swin",
            _of(SWIN, depths=(2, 2, 6, 2), width=96, heads=3, window=7),
            # a shift by one window of stage 3, 112 pixels, is 3.5 patches after the last merge
            {"shift": 0, "stride": MERGED, "border": MERGED},
        ),
        ("attention-pool", "attention-pool", _of(zoo.attention_pool, width=64), {}),
    )
}


@contextlib.contextmanager
def kits_are_libraries():
    """Blames the lines of `zoo` for what its kits do."""
    before = _jaxpr._LIBRARY
    _jaxpr._LIBRARY = (*before, zoo_kits.__file__)
    try:
        yield
    finally:
        _jaxpr._LIBRARY = before


def network(framework, golden, mode="circular"):
    """A function of (weights, x), shapes of its weights, and of x."""
    x = jax.ShapeDtypeStruct((2, golden.size, golden.size, 3), jnp.float32)
    return *zoo_kits.FRAMEWORKS[framework](golden.body, x, **MODES[mode]), x


def proof_of(framework, golden, mode="circular"):
    # the peers promote types and ranks
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        kits_are_libraries(),
    ):
        f, params, x = network(framework, golden, mode)
        return prove(f, x, params=params)


def check(proof, golden, mode):
    """The golden law and the line at fault; nothing unmodelled."""
    assert proof.unmodelled == (), proof.unmodelled
    (output,) = proof.outputs
    kind = "equivariant" if golden.moves else "invariant"
    expected = {(kind, golden.shift)} if golden.shift else {("unproved", 0)}
    assert {(law.kind, law.shift) for law in output.circular} == expected, output.circular
    if golden.moves:
        assert [(law.axis, law.roll) for law in output.circular] == [
            (axis, golden.shift) for axis in (1, 2)
        ]
    obstruction = proof.obstruction(output)
    bordered = mode == "zeros" and golden.border
    if bordered:
        assert {law.kind for law in output.laws} == {"unproved"}, output.laws
        assert ("padding" in obstruction.cause) == bool(golden.shift), obstruction
    else:
        assert output.laws == output.circular
    source, call = obstruction.source, golden.border if bordered else golden.stride
    line = linecache.getline(source.file, source.line)
    assert source.file == zoo.__file__, source
    assert call in line, f"{obstruction}: {line.strip()}"
