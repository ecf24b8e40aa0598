"""Residual networks: 20 to 110 layers for CIFAR, 18 to 152 for ImageNet."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxconv import _parse
from jaxconv._types import Layer, LayerLike, PaddingMode
from jaxconv.compose import serial
from jaxconv.layers import batch_norm, conv, dense, global_avg_pool, max_pool
from jaxconv.models._blocks import Down, Style, channels_last, strided_residual, styled

_STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_CIFAR_DEPTHS = (20, 32, 44, 56, 110)


def resnet(
    depth: int,
    classes: int | None = None,
    *,
    stem: str | None = None,
    padding_mode: PaddingMode = "zeros",
    down: Down | None = None,
    activation: LayerLike = jax.nn.relu,
    activate_sums: bool = True,
) -> Layer:
    """Classifies images with a stack of residual blocks and a global average.

        y = dense(mean(stages(stem(x)))),  block: x <- activation(body(x) + shortcut(x))

    Depths 20, 32, 44, 56 and 110 are the CIFAR networks: three stages of basic blocks with 16, 32
    and 64 features, and shortcuts without parameters (every second pixel, new channels zero).
    Depths 18 and 34 (basic blocks) and 50, 101 and 152 (bottlenecks, the stride in the 3x3) are
    the ImageNet networks, with projections for shortcuts. ResNet-50 has 25,557,032 parameters.

    Shapes: x (N, *spatial, C) -> logits (N, classes). Any number of spatial axes.
    Params: {"stem", "stage_1" .., "head"}. State: the statistics of the batch norms.
    Equivariance: with padding_mode="circular" and axes that the total stride divides, invariant
    to shifts by the total stride: 4 (CIFAR), 32 (ImageNet), 8 (ImageNet with the CIFAR stem).

    Args:
        depth: layers with parameters along the longest path.
        classes: logits; 10 with the CIFAR stem and 1,000 with the ImageNet stem unless given.
        stem: "cifar" (a 3x3 convolution) or "imagenet" (7x7 with stride 2, then a max pool with
            stride 2); by depth unless given.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        down: None for strided convolutions and pools; else a function stride -> layer that
            samples instead of them, once for a block's body and shortcut together.
        activation: layer or function after every norm and sum; it keeps the shape. With
            `down=ideal_down` and `filtered_polynomial()` nothing aliases (with the CIFAR stem).
        activate_sums: whether it follows the sums. A polynomial should not: its degrees multiply
            from sum to sum. Give it `serial(alias_free_norm(), filtered_polynomial())`, of which
            an unusual image cannot make more than its norm allows.

    Returns:
        A `Layer`.

    Raises:
        ValueError: for an unknown depth or stem; in `init` for channels-first images.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
        >>> params, state = jax.eval_shape(resnet(20).init, jax.random.key(0), x)
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        269722

    References:
        He, Zhang, Ren and Sun 2015, arXiv:1512.03385, table 1 and section 4.2.
    """
    if depth not in (*_STAGES, *_CIFAR_DEPTHS):
        known = ", ".join(map(str, sorted((*_STAGES, *_CIFAR_DEPTHS))))
        raise ValueError(
            f"resnet: the papers have no such depth; expected one of {known}. "
            f"Got depth={depth}. Use depth=18, say."
        )
    small = depth in _CIFAR_DEPTHS
    stem = stem or ("cifar" if small else "imagenet")
    _parse.choice("resnet", "stem", stem, ("cifar", "imagenet"))
    if classes is not None:
        _parse.integer("resnet", "classes", classes)
    style = styled("resnet", padding_mode, down)._replace(
        activation=activation, activate_sums=activate_sums
    )
    width = 16 if small else 64
    counts = ((depth - 2) // 6,) * 3 if small else _STAGES[depth]
    block = _plain if small else _basic if depth < 50 else _bottleneck
    stages = {
        f"stage_{number + 1}": _stage(block, count, width * 2**number, 1 + (number > 0), style)
        for number, count in enumerate(counts)
    }
    model = serial(
        stem=_stem(stem, width, style),
        **stages,
        pool=global_avg_pool(),
        head=dense(classes or (10 if stem == "cifar" else 1000)),
        name="resnet",
    )
    return channels_last(model)


def _stem(kind: str, features: int, style: Style) -> Layer:
    if kind == "cifar":
        return serial(
            conv=_conv(features, 3, 1, style), norm=batch_norm(), activation=style.activation
        )
    pool = max_pool(3, stride=style.stride(2), padding="half", padding_mode=style.padding_mode)
    return serial(
        conv=_conv(features, 7, 2, style),
        norm=batch_norm(),
        activation=style.activation,
        **style.sampled(2),
        pool=serial(max_pool=pool, **style.sampled(2)),
    )


def _stage(
    block: Callable[..., Layer], count: int, features: int, stride: int, style: Style
) -> Layer:
    bend = [style.activation] if style.activate_sums else []
    first = [block(features, stride, style, project=True), *bend]
    others = [block(features, 1, style, project=False), *bend] * (count - 1)
    return serial(*first, *others)


def _conv(features: int, window: int, stride: int, style: Style) -> Layer:
    return conv(
        features,
        window,
        stride=style.stride(stride),
        padding="half",
        padding_mode=style.padding_mode,
        bias=False,
    )


def _plain(features: int, stride: int, style: Style, *, project: bool) -> Layer:
    """Basic block whose shortcut has no parameters: option A of the paper."""

    def widen(x):
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, features - x.shape[-1])])

    def shortcut(stride):
        return serial(max_pool(1, stride=stride), widen) if project else widen

    return _two_convs(features, stride, style, (shortcut(stride), shortcut(1)))


def _basic(features: int, stride: int, style: Style, *, project: bool) -> Layer:
    """Two 3x3 convolutions; a projection where the stride changes the shape (option B)."""
    projected = project and stride > 1
    return _two_convs(features, stride, style, _projection(features, stride, projected))


def _two_convs(
    features: int, stride: int, style: Style, shortcut: tuple[LayerLike, LayerLike]
) -> Layer:
    before = {
        "conv_1": _conv(features, 3, stride, style),
        "norm_1": batch_norm(),
        "activation_1": style.activation,
    }
    after = {"conv_2": _conv(features, 3, 1, style), "norm_2": batch_norm()}
    return strided_residual(before, after, shortcut, style.sampled(stride))


def _bottleneck(features: int, stride: int, style: Style, *, project: bool) -> Layer:
    """1x1 down, 3x3 with the stride (as torchvision, "v1.5"), 1x1 up to four times as many."""
    before = {
        "conv_1": _conv(features, 1, 1, style),
        "norm_1": batch_norm(),
        "activation_1": style.activation,
        "conv_2": _conv(features, 3, stride, style),
        "norm_2": batch_norm(),
        "activation_2": style.activation,
    }
    after = {"conv_3": _conv(4 * features, 1, 1, style), "norm_3": batch_norm()}
    shortcut = _projection(4 * features, stride, project)
    return strided_residual(before, after, shortcut, style.sampled(stride))


def _projection(features: int, stride: int, project: bool) -> tuple[LayerLike, LayerLike]:  # noqa: FBT001
    """The shortcut with its stride, and at stride 1."""

    def shortcut(step):
        projection = conv(features, 1, stride=step, padding="valid", bias=False)
        return serial(conv=projection, norm=batch_norm()) if project else lambda x: x

    return shortcut(stride), shortcut(1)
