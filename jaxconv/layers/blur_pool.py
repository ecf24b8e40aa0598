"""Sampling after a low-pass filter: less aliasing than a stride alone."""

from collections.abc import Sequence

from jaxconv import _parse, ops
from jaxconv._types import IntOrInts, Layer, Padding, PaddingMode
from jaxconv.layers import _checks
from jaxconv.layers._make import chain, speaking_as, stateless
from jaxconv.layers.pool import max_pool
from jaxconv.ops.blur import filter_row


def blur_pool(
    stride: IntOrInts = 2,
    taps: IntOrInts = 3,
    *,
    weights: str | Sequence[float] = "binomial",
    padding: Padding | None = None,
    padding_mode: PaddingMode = "circular",
    name: str = "blur_pool",
) -> Layer:
    """Blurs with a fixed filter, then keeps every `stride`-th pixel.

        y[n, i, c] = Σ_a w[a] · x[n, s·i + a - ⌊(k - 1) / 2⌋, c],    Σ_a w[a] = 1

    with stride s and k taps; on several axes w is the product of one row per axis. It belongs
    after the activation: `serial(conv(64, 3), jax.nn.relu, blur_pool(2))` for a strided
    convolution, `max_blur_pool` for a max pool, `serial(avg_pool(2, stride=1, padding="same"),
    blur_pool(2))` for an average pool; give the convolution and the average the padding mode of
    the blur, "circular". Every model takes it: `resnet(18, padding_mode="circular",
    down=blur_pool)`.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = ceil(spatial / stride).
    Params: {}. State: {}.
    Equivariance: with padding_mode="circular" exact on shifts by whole strides, otherwise exact
    away from the border only. Other shifts change less than without the blur, and change.

    Args:
        stride: input pixels from one output pixel to the next.
        taps: of the filter, for all spatial axes or per axis; 1 only samples.
        weights: "binomial", "rectangle", "triangle", or as many numbers as taps, which are
            divided by their sum.
        padding: as in `conv`; (⌊(k - 1) / 2⌋, ⌊k / 2⌋) unless given.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` for a circular axis
            that the stride does not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> blur_pool(2).apply({}, {}, jnp.arange(4.0).reshape(1, 4, 1))[0].ravel().tolist()
        [1.0, 2.0]

    References:
        Zhang 2019, arXiv:1904.11486, section 3.2.
    """
    _check("blur_pool", stride, taps, weights, padding, padding_mode)

    def blur(x):
        return ops.blur(
            x, taps, weights=weights, stride=stride, padding=padding, padding_mode=padding_mode
        )

    return speaking_as("blur_pool", ("blur",), lambda: stateless(name, blur))


def max_blur_pool(
    window: IntOrInts = 2,
    stride: IntOrInts = 2,
    taps: IntOrInts = 3,
    *,
    weights: str | Sequence[float] = "binomial",
    padding_mode: PaddingMode = "circular",
    name: str = "max_blur_pool",
) -> Layer:
    """Keeps the largest value of the window at every pixel, blurs, then samples.

        y = blur_pool(stride, taps)(m),    m[n, i, c] = max_a x[n, i + a - p, c]

    with the padding p of "same". The maximum aliases at no stride but 1, so it comes first; the
    samples are of what the blur left.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = ceil(spatial / stride).
    Params: {}. State: {}.
    Equivariance: that of `blur_pool`.

    Args:
        window: pixels per spatial axis of the maximum.
        stride: input pixels from one output pixel to the next.
        taps: of the filter, as in `blur_pool`.
        weights: of the filter, as in `blur_pool`.
        padding_mode: of both, as in `blur_pool`.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` for a circular axis
            that the stride does not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> max_blur_pool().apply({}, {}, jnp.arange(4.0).reshape(1, 4, 1))[0].ravel().tolist()
        [1.75, 2.75]

    References:
        Zhang 2019, arXiv:1904.11486, equation 3.
    """
    _parse.ints("max_blur_pool", "window", window)
    _check("max_blur_pool", stride, taps, weights, None, padding_mode)

    def build():
        return chain(
            name,
            max_pool=max_pool(window, stride=1, padding="same", padding_mode=padding_mode),
            blur_pool=blur_pool(stride, taps, weights=weights, padding_mode=padding_mode),
        )

    return speaking_as("max_blur_pool", ("max_pool", "blur_pool"), build)


def _check(
    where: str,
    stride: IntOrInts,
    taps: IntOrInts,
    weights: str | Sequence[float],
    padding: Padding | None,
    padding_mode: PaddingMode,
) -> None:
    checked = _parse.ints(where, "taps", taps)
    _checks.window_arguments(where, checked, stride, padding or 0, padding_mode)
    for size in (checked,) if isinstance(checked, int) else checked:
        filter_row(where, size, weights)
