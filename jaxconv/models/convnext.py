"""A convolutional network with the manners of a vision transformer."""

import functools
from typing import Any

import jax.numpy as jnp

from jaxconv import _parse
from jaxconv._types import Layer, PaddingMode
from jaxconv.compose import residual, serial
from jaxconv.layers import (
    conv,
    dense,
    depthwise_conv,
    drop_path,
    global_avg_pool,
    layer_norm,
)
from jaxconv.layers._init import parameter_dtype, scaled_normal
from jaxconv.models._blocks import Down, Style, channels_last, styled
from jaxconv.ops import gelu

_SIZES = {  # blocks and features per stage; "atto" is timm's, the others the paper's
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
}
_normal = scaled_normal(0.02**2, fan_in=1)
_norm = functools.partial(layer_norm, epsilon=1e-6)


def convnext(
    size: str = "tiny",
    classes: int = 1000,
    *,
    patch: int = 4,
    drop_probability: float = 0.0,
    padding_mode: PaddingMode = "zeros",
    down: Down | None = None,
) -> Layer:
    """Classifies images with wide depthwise filters between pixelwise dense layers.

        y = dense(norm(mean(stages(norm(patchify(x)))))),
        block: x <- x + drop_path(scale · dense(gelu(dense(norm(depthwise_7x7(x))))))

    "tiny" has 28,589,128 parameters.

    Shapes: x (N, *spatial, C) -> logits (N, classes). Any number of spatial axes.
    Params: {"stem", "stage_1" .. "stage_4", "norm", "head"}. State: {}.
    Equivariance: with padding_mode="circular" and axes that the total stride 8 · patch divides,
    invariant to shifts by the total stride.

    Args:
        size: "atto", "tiny", "small", "base" or "large".
        classes: logits.
        patch: window and stride of the first convolution; 1 or 2 for images of 32 pixels.
        drop_probability: of the last block's drop path, growing linearly from 0 at the first;
            `apply` needs a key in training unless it is 0. The paper uses 0.1 for "tiny".
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        down: None for strided convolutions; else a function stride -> layer that samples after
            the same convolutions with stride 1.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: for an unknown size; in `init` for channels-first images.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
        >>> params, state = jax.eval_shape(convnext("tiny").init, jax.random.key(0), x)
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        28589128

    References:
        Liu, Mao, Wu, Feichtenhofer, Darrell and Xie 2022, arXiv:2201.03545, table 9, section 3.
    """
    _parse.choice("convnext", "size", size, list(_SIZES))
    _parse.integer("convnext", "patch", patch)
    _parse.probability("convnext", "drop_probability", drop_probability)
    style = styled("convnext", padding_mode, down)
    counts, widths = _SIZES[size]
    total, done = sum(counts), 0
    stages = {}
    for number, (count, features) in enumerate(zip(counts, widths, strict=True)):
        blocks = []
        for _ in range(count):
            blocks.append(_block(features, drop_probability * done / max(total - 1, 1), style))
            done += 1
        smaller = {"norm": _norm(), **_shrink(features, 2, style)} if number else {}
        stages[f"stage_{number + 1}"] = serial(**smaller, blocks=serial(*blocks))
    model = serial(
        stem=serial(**_shrink(widths[0], patch, style), norm=_norm()),
        **stages,
        pool=global_avg_pool(),
        norm=_norm(),
        head=dense(classes, kernel_init=_normal),
        name="convnext",
    )
    return channels_last(model)


def layer_scale(initial: float = 1e-6, *, name: str = "layer_scale") -> Layer:
    """Multiplies every channel by a learned number that starts small.

        y[n, i, c] = scale[c] · x[n, i, c]

    Shapes: x (N, *spatial, C) -> y (N, *spatial, C). Params: scale (C,). State: {}.

    Args:
        initial: the value of `scale` at the start.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer_scale(0.5).init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))[0]["scale"].shape
        (2,)

    References:
        Touvron, Cord, Sablayrolles, Synnaeve and Jégou 2021, arXiv:2103.17239, equation 2.
    """

    def init(key, x):
        return {"scale": jnp.full(x.shape[-1:], initial, parameter_dtype(x))}, {}

    def apply(params, state, x, *, train=False, key=None):
        scale = params["scale"].astype(x.dtype)
        return x * scale.reshape((1,) * (x.ndim - 1) + scale.shape), state

    return Layer(init, apply, name)


def _block(features: int, drop_probability: float, style: Style) -> Layer:
    depthwise = depthwise_conv(
        7, padding="half", padding_mode=style.padding_mode, kernel_init=_normal
    )
    body = serial(
        depthwise_conv=depthwise,
        norm=_norm(),
        widen=dense(4 * features, kernel_init=_normal),
        gelu=gelu,
        narrow=dense(features, kernel_init=_normal),
        layer_scale=layer_scale(),
        drop_path=drop_path(drop_probability),
    )
    return residual(body, name="block")


def _shrink(features: int, stride: int, style: Style) -> dict[str, Any]:
    """A convolution whose windows do not overlap, or the same at every pixel and `down`."""
    layer = conv(
        features,
        stride,
        stride=style.stride(stride),
        padding="valid" if style.down is None else "same",
        padding_mode=style.padding_mode,
        kernel_init=_normal,
    )
    return {"conv": layer, **style.sampled(stride)}
