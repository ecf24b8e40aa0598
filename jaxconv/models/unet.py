"""From image to image: down to coarse pixels and back up, with a bridge at every size."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxconv import _parse
from jaxconv._types import Layer, LayerLike, PaddingMode
from jaxconv.compose import parallel, serial
from jaxconv.layers import batch_norm, conv, conv_transpose, max_pool
from jaxconv.models._blocks import Down, Style, channels_last, check_hooks, styled

Around = Callable[[LayerLike, int], LayerLike]
"""Makes, of a body and a stride, a layer that samples, runs the body, and samples back."""


def unet(
    classes: int,
    features: Sequence[int] = (64, 128, 256, 512, 1024),
    *,
    padding_mode: PaddingMode = "zeros",
    down: Down | None = None,
    up: Down | None = None,
    around: Around | None = None,
) -> Layer:
    """Gives every pixel a vector of logits, from what surrounds it near and far.

        level_k(x) = convs([e, up(level_{k+1}(down(e)))]),  e = convs(x)

    Padded, so that the output has the input's size: an axis that 2^levels does not divide is
    rounded up on the way down and cropped on the way up.

    Shapes: x (N, *spatial, C) -> logits (N, *spatial, classes). Any number of spatial axes.
    Params: {"level_1": {"encode", "inside", "decode"}, "head"}, level 2 inside level 1.
    State: the statistics of the norms.
    Equivariance: with padding_mode="circular" and axes that 2^levels divides, equivariant to
    shifts by 2^levels, levels = len(features) - 1; with around=polyphase_around to every shift.

    Args:
        classes: logits per pixel.
        features: of every level, the finest first.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        down: None for max pools with stride 2; else a function stride -> layer that keeps the
            channels and samples after max pools with stride 1. Not `polyphase_down`, whose phase
            the way up would not know: that is `around`.
        up: None for transposed convolutions with window and stride 2; else a function
            stride -> layer that keeps the channels and multiplies the spatial axes.
        around: instead of both, a function (body, stride) -> layer that samples, runs the body
            and puts its pixels back where they came from: `polyphase_around`, which chooses the
            pixels once for a level's encoder and decoder. A convolution with window 2 follows.

    Returns:
        A `Layer`.

    Raises:
        ValueError: for no features, or `around` beside `down` or `up`; in `init` for
            channels-first images.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        >>> model = unet(2, (8, 16, 32))
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), x)
        >>> jax.eval_shape(model.apply, params, state, x)[0].shape
        (1, 64, 64, 2)

    References:
        Ronneberger, Fischer and Brox 2015, arXiv:1505.04597, figure 1; batch norm and padding are
        later habits.
    """
    for entry in features:
        _parse.integer("unet", "features", entry)
    if not features:
        raise ValueError(
            "unet: has no levels; expected at least one. Got features=(). "
            "Use features=(64, 128, 256), say."
        )
    if around is not None and (down is not None or up is not None):
        raise ValueError(
            "unet: around samples down and up already; expected it without them. "
            f"Got down={down!r} and up={up!r}. Leave both out."
        )
    check_hooks("unet", up=up, around=around)
    style = styled("unet", padding_mode, down)
    model = serial(
        level_1=_level(1, list(features), style, up, around),
        head=conv(classes, 1, padding="valid"),
        name="unet",
    )
    return channels_last(model)


def _level(
    number: int, features: list[int], style: Style, up: Down | None, around: Around | None
) -> Layer:
    encode = _convs(features[0], style)
    if len(features) == 1:
        return encode
    deeper: dict[str, Any] = {
        f"level_{number + 1}": _level(number + 1, features[1:], style, up, around)
    }
    step = 1 if around else style.stride(2)
    inner: dict[str, Any] = {
        "pool": max_pool(2, stride=step, padding="same", padding_mode=style.padding_mode)
    }
    if around:
        inner["around"] = around(serial(**deeper), 2)
        inner["up"] = conv(features[0], 2, padding_mode=style.padding_mode)
    else:
        inner |= {**style.sampled(2), **deeper}
        inner["up"] = conv_transpose(features[0], 2, stride=2) if up is None else up(2)
    both = parallel(bridge=lambda x: x, deeper=serial(**inner), combine=_join)
    return serial(encode=encode, inside=both, decode=_convs(features[0], style))


def _convs(features: int, style: Style) -> Layer:
    layers: dict[str, Any] = {}
    for number in (1, 2):
        layers[f"conv_{number}"] = conv(
            features, 3, padding="half", padding_mode=style.padding_mode, bias=False
        )
        layers |= {f"norm_{number}": batch_norm(), f"relu_{number}": jax.nn.relu}
    return serial(**layers)


def _join(bridge: jax.Array, deep: jax.Array) -> jax.Array:
    """Channels of both, the deep one cropped to the pixels of the bridge."""
    pixels = tuple(slice(size) for size in bridge.shape[1:-1])
    return jnp.concatenate([bridge, deep[(slice(None), *pixels)]], axis=-1)
