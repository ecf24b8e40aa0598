"""The networks that are raced, as data: every framework builds them from its own layers.

So the architectures are the same by construction; that the numbers of parameters are equal is
checked when they are raced. Padding is half the window on both sides unless given.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Shape = tuple[int, ...]


class Conv(NamedTuple):
    """A convolution; `groups` of -1 stands for depthwise."""

    features: int
    window: int = 3
    stride: int = 1
    pad: int = -1
    groups: int = 1
    bias: bool = False

    @property
    def padding(self) -> int:
        """Pixels on every side."""
        return self.window // 2 if self.pad < 0 else self.pad

    def split(self, channels: int) -> int:
        """Groups, of an input of so many channels."""
        return channels if self.groups < 0 else self.groups


class Up(NamedTuple):
    """A transposed convolution with window and stride 2, with bias."""

    features: int


class BatchNorm(NamedTuple):
    """Batch normalization in training mode, running statistics kept."""


class LayerNorm(NamedTuple):
    """Normalization of the channels of each pixel."""


class Do(NamedTuple):
    """A function without parameters: relu, relu6, gelu (exact), mean (over pixels), flatten."""

    function: str


class MaxPool(NamedTuple):
    """A max pool."""

    window: int
    stride: int
    pad: int = 0


class Dense(NamedTuple):
    """A matrix on the last axis, with bias."""

    features: int


class Scale(NamedTuple):
    """One learned number per channel."""


class Skip(NamedTuple):
    """Every stride-th pixel, and zeros for channels that are missing: He et al.'s option A."""

    stride: int
    features: int


class Residual(NamedTuple):
    """body(x) + shortcut(x)."""

    body: tuple[Any, ...]
    shortcut: tuple[Any, ...] = ()


class Bridge(NamedTuple):
    """x beside inner(x), on the channel axis."""

    inner: tuple[Any, ...]


class Network(NamedTuple):
    """Layers, and what they are trained on."""

    name: str
    layers: tuple[Any, ...]
    x: Shape
    labels: Shape
    classes: int


def after(layer: Any, shape: Shape) -> Shape:
    """The shape (H, W, C) or (C,) of one example after a layer."""
    *space, channels = shape
    match layer:
        case Conv(features, window, stride):
            sizes = [(n + 2 * layer.padding - window) // stride + 1 for n in space]
            return (*sizes, features)
        case Up(features):
            return (*(2 * n for n in space), features)
        case MaxPool(window, stride, pad):
            return (*((n + 2 * pad - window) // stride + 1 for n in space), channels)
        case Do("mean"):
            return (channels,)
        case Do("flatten"):
            return (math.prod(shape),)
        case Dense(features):
            return (*space, features)
        case Skip(stride, features):
            return (*(-(-n // stride) for n in space), features)
        case Residual(body):
            return shape_after(body, shape)
        case Bridge(inner):
            inside = shape_after(inner, shape)
            return (*space, channels + inside[-1])
    return shape


def shape_after(layers: Iterable[Any], shape: Shape) -> Shape:
    """The shape of one example after layers."""
    for layer in layers:
        shape = after(layer, shape)
    return shape


def with_shapes(layers: Iterable[Any], shape: Shape):
    """Every layer with the shape of its input."""
    for layer in layers:
        yield layer, shape
        shape = after(layer, shape)


RELU, RELU6, GELU, MEAN, FLATTEN = map(Do, ("relu", "relu6", "gelu", "mean", "flatten"))


def _normed(conv: Conv, *then: Do) -> tuple[Any, ...]:
    return (conv, BatchNorm(), *then)


def _resnet(counts: Sequence[int], width: int, stem: tuple[Any, ...], option: str) -> Any:
    layers, before = list(stem), width
    for stage, count in enumerate(counts):
        features = width * 2**stage
        for number in range(count):
            stride = 2 if stage and not number else 1
            body = (*_normed(Conv(features, 3, stride), RELU), *_normed(Conv(features)))
            project = stride > 1 or before != features
            shortcut = (Skip(stride, features),) if option == "A" else _normed(
                Conv(features, 1, stride, 0)
            )  # fmt: skip
            layers += [Residual(body, shortcut if project else ()), RELU]
            before = features
    return layers


def _inverted(before: int, features: int, expansion: int, stride: int) -> Any:
    wide = expansion * before
    body = _normed(Conv(wide, 1), RELU6) if expansion > 1 else ()
    body += _normed(Conv(wide, 3, stride, groups=-1), RELU6)
    body += _normed(Conv(features, 1))
    return [Residual(body)] if stride == 1 and before == features else body


_STAGES = (  # MobileNetV2, table 2: expansion, features, blocks, stride
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def _mobilenet_v2(classes: int) -> Any:
    layers, before = list(_normed(Conv(32, 3, 2), RELU6)), 32
    for expansion, features, count, stride in _STAGES:
        for number in range(count):
            layers += _inverted(before, features, expansion, 1 if number else stride)
            before = features
    return [*layers, *_normed(Conv(1280, 1), RELU6), MEAN, Dense(classes)]


def _convnext_block(features: int, widen: int = 4) -> Residual:
    depthwise = Conv(features, 7, groups=-1, bias=True)
    mix = (LayerNorm(), Dense(widen * features), GELU, Dense(features), Scale())
    return Residual((depthwise, *mix))


def _resnext_block(features: int, groups: int) -> Residual:
    body = (*_normed(Conv(features, 1), RELU), *_normed(Conv(features, 3, groups=groups), RELU))
    return Residual((*body, *_normed(Conv(features, 1))))


def _unet(features: Sequence[int]) -> tuple[Any, ...]:
    twice = _normed(Conv(features[0]), RELU) * 2
    if len(features) == 1:
        return twice
    inner = (MaxPool(2, 2), *_unet(features[1:]), Up(features[0]))
    return (*twice, Bridge(inner), *twice)


def _network(name: str, x: Shape, layers: Iterable[Any], classes: int) -> Network:
    layers = tuple(layers)
    labels = (x[0], *shape_after(layers, x[1:])[:-1])
    return Network(name, layers, x, labels, classes)


def _classifier(*layers: Any, classes: int = 10) -> list[Any]:
    return [*layers, MEAN, Dense(classes)]


_STEM = (*_normed(Conv(64, 7, 2), RELU), MaxPool(3, 2, 1))
_CIFAR = _normed(Conv(16), RELU)
_LENET = (
    *(Conv(6, 5, bias=True), RELU, MaxPool(2, 2)),
    *(Conv(16, 5, pad=0, bias=True), RELU, MaxPool(2, 2)),
    *(FLATTEN, Dense(120), RELU, Dense(84), RELU, Dense(10)),
)
_CONVNEXT = (
    *(_convnext_block(96), _convnext_block(96)),
    *(LayerNorm(), Conv(192, 2, 2, 0, bias=True)),
    *(_convnext_block(192), _convnext_block(192)),
)

NETWORKS = {
    net.name: net
    for net in (
        _network("lenet", (128, 28, 28, 1), _LENET, 10),
        _network("resnet20", (64, 32, 32, 3), _classifier(*_resnet((3,) * 3, 16, _CIFAR, "A")), 10),
        _network(
            "resnet18",
            (8, 64, 64, 3),
            _classifier(*_resnet((2,) * 4, 64, _STEM, "B"), classes=1000),
            1000,
        ),
        _network("mobilenet_stack", (8, 56, 56, 24), _classifier(*_inverted(24, 24, 6, 1) * 6), 10),
        _network("mobilenet_v2", (16, 96, 96, 3), _mobilenet_v2(1000), 1000),
        _network("convnext", (4, 56, 56, 96), _classifier(*_CONVNEXT), 10),
        _network("unet", (8, 64, 64, 3), (*_unet((16, 32, 64)), Conv(2, 1, bias=True)), 2),
    )
}

_SMALL_RESNET = _resnet((1, 1), 4, _normed(Conv(4), RELU), "B")
_SMALL_MOBILENET = (
    *_normed(Conv(4, 3, 2), RELU6),
    *(*_inverted(4, 4, 2, 1), *_inverted(4, 6, 2, 2)),
)
SMALL = {
    net.name: net
    for net in (
        _network("resnet", (2, 8, 8, 3), _classifier(*_SMALL_RESNET), 10),
        _network("mobilenet", (2, 8, 8, 3), _classifier(*_SMALL_MOBILENET), 10),
        _network(
            "convnext",
            (2, 9, 8, 3),
            _classifier(Conv(4, 2, 2, 0, bias=True), LayerNorm(), _convnext_block(4, 2)),
            10,
        ),
        _network("resnext", (2, 7, 6, 8), _classifier(_resnext_block(8, 4)), 10),
        _network("unet", (2, 8, 8, 3), (*_unet((4, 6)), Conv(2, 1, bias=True)), 2),
    )
}  # fmt: skip
"""One block of each kind, for tests: they compile in a second."""
