"""Networks for phones: depthwise convolutions between narrow layers."""

from typing import Any

import jax

from jaxconv import _parse
from jaxconv._types import Layer, PaddingMode
from jaxconv.compose import residual, serial
from jaxconv.layers import batch_norm, conv, dense, depthwise_conv, dropout, global_avg_pool
from jaxconv.models._blocks import Down, Style, channels_last, styled

_STAGES = (  # table 2 of the paper: expansion, features, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    classes: int = 1000,
    *,
    width: float = 1.0,
    stem: str = "imagenet",
    drop_probability: float = 0.2,
    padding_mode: PaddingMode = "zeros",
    down: Down | None = None,
) -> Layer:
    """Classifies images with inverted residuals: widen, filter each channel, narrow.

        y = dense(dropout(mean(conv(blocks(conv(x)))))),
        block: x <- [x +] norm(conv_1x1(relu6(norm(depthwise_3x3(relu6(norm(conv_1x1(x))))))))

    3,504,872 parameters at width 1 and 1,000 classes.

    Shapes: x (N, *spatial, C) -> logits (N, classes). Any number of spatial axes.
    Params: {"stem", "stage_1" .. "stage_7", "last", "head"}. State: the statistics of the norms.
    Equivariance: with padding_mode="circular" and axes that the total stride divides, invariant
    to shifts by the total stride: 32, or 8 with the CIFAR stem.

    Args:
        classes: logits.
        width: multiplies all features; the results are rounded to multiples of 8.
        stem: "imagenet" (first convolution with stride 2) or "cifar" (neither it nor stage 2
            strides, for images of 32 pixels).
        drop_probability: of the dropout before the last layer; `apply` needs a key in training
            unless it is 0.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        down: None for strided convolutions; else a function stride -> layer that samples after
            the activation instead.

    Returns:
        A `Layer`.

    Raises:
        ValueError: for an unknown stem; in `init` for channels-first images.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
        >>> params, state = jax.eval_shape(mobilenet_v2().init, jax.random.key(0), x)
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        3504872

    References:
        Sandler, Howard, Zhu, Zhmoginov and Chen 2018, arXiv:1801.04381, tables 1 and 2.
    """
    _parse.choice("mobilenet_v2", "stem", stem, ("imagenet", "cifar"))
    style = styled("mobilenet_v2", padding_mode, down)
    small = stem == "cifar"
    before = _rounded(32 * width)
    stages = {}
    for number, (expansion, features, count, stride) in enumerate(_STAGES, start=1):
        features = _rounded(features * width)
        stride = 1 if small and number == 2 else stride
        first = _block(before, features, expansion, stride, style)
        others = [_block(features, features, expansion, 1, style)] * (count - 1)
        stages[f"stage_{number}"] = serial(first, *others)
        before = features
    model = serial(
        stem=serial(
            **_filtered(_conv(_rounded(32 * width), 3, 1 if small else 2, style)),
            **style.sampled(1 if small else 2),
        ),
        **stages,
        last=serial(**_filtered(_conv(_rounded(1280 * max(width, 1.0)), 1, 1, style))),
        pool=global_avg_pool(),
        dropout=dropout(drop_probability),
        head=dense(classes),
        name="mobilenet_v2",
    )
    return channels_last(model)


def _block(inputs: int, features: int, expansion: int, stride: int, style: Style) -> Layer:
    depthwise = depthwise_conv(
        3,
        stride=style.stride(stride),
        padding="half",
        padding_mode=style.padding_mode,
        bias=False,
    )
    widen = serial(**_filtered(_conv(expansion * inputs, 1, 1, style)))
    layers: dict[str, Any] = {"widen": widen} if expansion > 1 else {}
    layers |= {
        "filter": serial(**_filtered(depthwise), **style.sampled(stride)),
        "narrow": _conv(features, 1, 1, style),
        "norm": batch_norm(),
    }
    if stride > 1 or inputs != features:
        return serial(**layers, name="block")
    return residual(serial(**layers), name="block")


def _filtered(layer: Layer) -> dict[str, Any]:
    return {"conv": layer, "norm": batch_norm(), "relu6": jax.nn.relu6}


def _conv(features: int, window: int, stride: int, style: Style) -> Layer:
    return conv(
        features,
        window,
        stride=style.stride(stride),
        padding="half",
        padding_mode=style.padding_mode,
        bias=False,
    )


def _rounded(features: float, divisor: int = 8) -> int:
    """To the nearest multiple of 8, never below 90 % of the wish."""
    near = max(divisor, int(features + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * features else near
