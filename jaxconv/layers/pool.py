"""Pools whose window slides over the image."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxconv import ops
from jaxconv._types import IntOrInts, Layer, Padding, PaddingMode
from jaxconv.layers import _checks
from jaxconv.layers._make import stateless


def max_pool(
    window: IntOrInts,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    name: str = "max_pool",
) -> Layer:
    """Keeps the largest value of every window.

        y[n, i, c] = max_a x[n, s·i + d·a - p, c]

    with stride s, dilation d and low padding p on each spatial axis. Padding with "zeros" never
    wins: it counts as minus infinity. A tie sends its gradient to the first of the largest; a NaN
    in a window gives NaN.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = spatial / window by default.
    Params: {}. State: {}.
    Equivariance: with padding_mode="circular", whose stride has to divide the input, exact on
    shifts by whole strides; otherwise exact away from the border only.

    Args:
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: "same", "half", "valid", "causal", "full", an int, or a pair (low, high) per
            spatial axis.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        dilation: input pixels from one tap of the window to the next.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when the output would
            be empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> max_pool(2).apply({}, {}, jnp.arange(8.0).reshape(1, 8, 1))[0].ravel().tolist()
        [1.0, 3.0, 5.0, 7.0]
    """
    return _sliding(
        name,
        "max_pool",
        ops.max_pool,
        window=window,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
    )


def min_pool(
    window: IntOrInts,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    name: str = "min_pool",
) -> Layer:
    """Keeps the smallest value of every window: `max_pool` upside down.

        y[n, i, c] = min_a x[n, s·i + d·a - p, c]

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = spatial / window by default.
    Params: {}. State: {}.
    Equivariance: that of `max_pool`.

    Args:
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: as in `max_pool`; zeros count as plus infinity.
        padding_mode: as in `max_pool`.
        dilation: input pixels from one tap of the window to the next.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when the output would
            be empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> min_pool(2).apply({}, {}, jnp.arange(8.0).reshape(1, 8, 1))[0].ravel().tolist()
        [0.0, 2.0, 4.0, 6.0]
    """
    return _sliding(
        name,
        "min_pool",
        ops.min_pool,
        window=window,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
    )


def avg_pool(
    window: IntOrInts,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    count_padding: bool = False,
    name: str = "avg_pool",
) -> Layer:
    """Takes the mean of every window.

        y[n, i, c] = (1 / count) Σ_a x[n, s·i + d·a - p, c]

    with stride s, dilation d and low padding p on each spatial axis.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = spatial / window by default.
    Params: {}. State: {}.
    Equivariance: with padding_mode="circular", whose stride has to divide the input, exact on
    shifts by whole strides; otherwise exact away from the border only.

    Args:
        window: taps per spatial axis.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: as in `max_pool`.
        padding_mode: as in `max_pool`.
        dilation: input pixels from one tap of the window to the next.
        count_padding: whether zeros of the padding count as values; count is the number of
            pixels of the image in the window unless given.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when the output would
            be empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> avg_pool(2).apply({}, {}, jnp.arange(8.0).reshape(1, 8, 1))[0].ravel().tolist()
        [0.5, 2.5, 4.5, 6.5]
    """
    return _sliding(
        name,
        "avg_pool",
        ops.avg_pool,
        window=window,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
        count_padding=count_padding,
    )


def lp_pool(
    window: IntOrInts,
    p: float = 2.0,
    *,
    stride: IntOrInts | None = None,
    padding: Padding = "valid",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
    name: str = "lp_pool",
) -> Layer:
    """Takes the p-norm of every window: between the sum (p = 1) and the maximum (p large).

        y[n, i, c] = (Σ_a |x[n, s·i + d·a - p, c]|^p)^(1/p)

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = spatial / window by default.
    Params: {}. State: {}.
    Equivariance: that of `avg_pool`.

    Args:
        window: taps per spatial axis.
        p: the power, above 0.
        stride: input pixels from one output pixel to the next; the window unless given.
        padding: as in `max_pool`.
        padding_mode: as in `max_pool`.
        dilation: input pixels from one tap of the window to the next.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when the output would
            be empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> lp_pool(2).apply({}, {}, jnp.array([3.0, 4.0]).reshape(1, 2, 1))[0].item()
        5.0
    """
    return _sliding(
        name,
        "lp_pool",
        ops.lp_pool,
        window=window,
        p=p,
        stride=stride,
        padding=padding,
        padding_mode=padding_mode,
        dilation=dilation,
    )


def _sliding(name: str, where: str, op: Callable[..., jax.Array], **arguments: Any) -> Layer:
    """A layer of an operation with a window; impossible arguments are refused right away."""
    form = ("window", "stride", "padding", "padding_mode", "dilation")
    _checks.window_arguments(where, **{word: arguments[word] for word in form})
    return stateless(name, functools.partial(op, **arguments))
