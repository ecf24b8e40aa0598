"""Changes of resolution: channels into pixels and back, and resizing."""

import math

import jax

from jaxconv import _parse
from jaxconv._types import IntOrInts
from jaxconv.ops.conv import accumulator

METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


def pixel_shuffle(x: jax.Array, scale: IntOrInts) -> jax.Array:
    """Turns channels into space: each pixel becomes a block of scale^axes pixels.

        y[n, r·i + a, c] = x[n, i, c·R + flat(a)],    0 <= a < r on each spatial axis

    with scale r, R = Π r pixels in a block and flat(a) the row-major position of a in it.

    Shapes: x (N, *spatial, C · R) -> y (N, *spatial · scale, C).

    Args:
        x: images, of any dtype.
        scale: output pixels per input pixel, for all spatial axes or per axis.

    Returns:
        y, of the dtype of x.

    Raises:
        ValueError: when the channels of x are not a multiple of R.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_shuffle(jnp.arange(6).reshape(1, 2, 3), 3).ravel().tolist()
        [0, 1, 2, 3, 4, 5]
        >>> pixel_shuffle(jnp.zeros((1, 4, 4, 12)), 2).shape
        (1, 8, 8, 3)

    References:
        Shi et al. 2016, arXiv:1609.05158, equation 4; the order of channels is that of
        torch.nn.functional.pixel_shuffle, c·r² + a₀·r + a₁ on two axes.
    """
    spatial = _parse.image("pixel_shuffle", x)
    rank, factors = len(spatial), _parse.per_axis("pixel_shuffle", "scale", scale, len(spatial))
    block, channels = math.prod(factors), x.shape[-1]
    if channels % block:
        raise ValueError(
            f"pixel_shuffle: {channels} channels do not split into blocks of {block} pixels; "
            f"expected a multiple of {block}. Got x of shape {x.shape} and scale={scale}. "
            f"Use {-(-channels // block) * block} channels."
        )
    split = x.reshape(x.shape[0], *spatial, channels // block, *factors)
    pairs = [axis for i in range(rank) for axis in (1 + i, rank + 2 + i)]
    sizes = [n * r for n, r in zip(spatial, factors, strict=True)]
    return split.transpose(0, *pairs, rank + 1).reshape(x.shape[0], *sizes, channels // block)


def pixel_unshuffle(x: jax.Array, scale: IntOrInts) -> jax.Array:
    """Turns space into channels: each block of scale^axes pixels becomes one pixel.

        y[n, i, c·R + flat(a)] = x[n, r·i + a, c],    0 <= a < r on each spatial axis

    with the symbols of `pixel_shuffle`, which it undoes; no value is lost, unlike in a pool.

    Shapes: x (N, *spatial, C) -> y (N, *spatial / scale, C · R).

    Args:
        x: images, of any dtype.
        scale: input pixels per output pixel, for all spatial axes or per axis.

    Returns:
        y, of the dtype of x.

    Raises:
        ValueError: when a spatial axis of x is not a multiple of its scale.

    Example:
        >>> import jax.numpy as jnp
        >>> pixel_unshuffle(jnp.arange(6).reshape(1, 6, 1), 3).tolist()
        [[[0, 1, 2], [3, 4, 5]]]

    References:
        torch.nn.functional.pixel_unshuffle.
    """
    spatial = _parse.image("pixel_unshuffle", x)
    rank, factors = len(spatial), _parse.per_axis("pixel_unshuffle", "scale", scale, len(spatial))
    for axis, (size, factor) in enumerate(zip(spatial, factors, strict=True)):
        if size % factor:
            raise ValueError(
                f"pixel_unshuffle: {size} pixels on spatial axis {axis} do not split into blocks "
                f"of {factor}; expected a multiple of {factor}. Got x of shape {x.shape} and "
                f"scale={scale}. Pad that axis by {-size % factor} pixels."
            )
    sizes = [n // r for n, r in zip(spatial, factors, strict=True)]
    pairs = [number for pair in zip(sizes, factors, strict=True) for number in pair]
    split = x.reshape(x.shape[0], *pairs, x.shape[-1])
    pixel, tap = range(1, 2 * rank, 2), range(2, 2 * rank + 1, 2)
    moved = split.transpose(0, *pixel, 2 * rank + 1, *tap)
    return moved.reshape(x.shape[0], *sizes, x.shape[-1] * math.prod(factors))


def resize(
    x: jax.Array, spatial: IntOrInts, *, method: str = "bilinear", antialias: bool = True
) -> jax.Array:
    """Samples images at another resolution, through `jax.image.resize`.

        y[n, i, c] = Σ_a w(u - a) · x[n, a, c] / Σ_a w(u - a),    u = (i + ½)·size / spatial - ½

    on each spatial axis, with w the kernel of the method, widened by size / spatial when that is
    above 1 and `antialias` is true. "nearest" picks a = ⌊u + ½⌋. It is a matrix product per
    axis, so that a NaN spreads along the axes. bfloat16 and float16 accumulate in float32.

    Shapes: x (N, *sizes, C) -> y (N, *spatial, C).

    Args:
        x: images; floating, or of any dtype for "nearest".
        spatial: pixels out, for all spatial axes or per axis.
        method: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5", whatever the number
            of spatial axes.
        antialias: whether to remove what the lower resolution cannot hold.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers and the method is not "nearest".
        ValueError: when an argument is impossible or x has no pixels.

    Example:
        >>> import jax.numpy as jnp
        >>> resize(jnp.array([0.0, 1.0]).reshape(1, 2, 1), 4).ravel().tolist()
        [0.0, 0.25, 0.75, 1.0]

    References:
        jax.image.resize; torch.nn.functional.interpolate with align_corners=False (its
        "nearest-exact", not its "nearest").
    """
    sizes = _parse.image("resize", x)
    shape = (x.shape[0], *_parse.per_axis("resize", "spatial", spatial, len(sizes)), x.shape[-1])
    _parse.choice("resize", "method", method, METHODS)
    if 0 in sizes:
        raise ValueError(
            f"resize: spatial axis {sizes.index(0)} has no pixels; expected at least 1. "
            f"Got x of shape {x.shape}. Leave empty images out."
        )
    if method == "nearest":
        return jax.image.resize(x, shape, method)
    _parse.floating("resize", "x", x)
    wide = x.astype(accumulator(x.dtype))
    return jax.image.resize(wide, shape, method, antialias=antialias).astype(x.dtype)
