"""Convolution without shared weights: every output pixel has filters of its own."""

import math

import jax
from jax import lax

from jaxconv import _parse
from jaxconv._types import IntOrInts, Padding, PaddingMode
from jaxconv.ops.conv import accumulator, plan_windows
from jaxconv.ops.patches import gather_windows


def local_conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    stride: IntOrInts = 1,
    padding: Padding = "same",
    padding_mode: PaddingMode = "zeros",
    dilation: IntOrInts = 1,
) -> jax.Array:
    """Applies to each window filters that belong to its place.

        y[n, i, o] = bias[i, o] + Σ_{a, c} kernel[i, a, c, o] · X[n, s·i + d·a - p, c]

    with stride s, dilation d and low padding p on each spatial axis, X the continuation of x by
    `padding_mode`. With one kernel copied to all places it is `conv`.

    Shapes: x (N, *spatial, C), kernel (*spatial', *window, C, features),
    bias (*spatial', features) -> y (N, *spatial', features).

    Args:
        x: images, floating.
        kernel: filters, of the dtype of x.
        bias: added to each output pixel.
        stride: input pixels from one output pixel to the next.
        padding: as in `conv`.
        padding_mode: as in `conv`.
        dilation: input pixels from one tap of the window to the next.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers or the dtypes differ.
        ValueError: when shapes do not fit, an argument is impossible, or the output is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> local_conv(jnp.ones((2, 8, 3)), jnp.ones((4, 3, 3, 5)), stride=2).shape
        (2, 4, 5)

    References:
        LeCun 1989, "Generalization and network design strategies", section 5 (local connections).
    """
    rank = len(_parse.image("local_conv", x))
    _parse.floating("local_conv", "x", x)
    _parse.same_dtype("local_conv", x, "kernel", kernel)
    _check_kernel(x, kernel, rank)
    window = kernel.shape[rank : 2 * rank]
    plan = plan_windows("local_conv", x, window, stride, padding, padding_mode, dilation)
    if kernel.shape[:rank] != plan.output:
        raise ValueError(
            f"local_conv: kernel has filters for {kernel.shape[:rank]} places, the output has "
            f"{plan.output}; expected one filter bank per output pixel. "
            f"Got kernel of shape {kernel.shape} and x of shape {x.shape}. "
            f"Use a kernel of shape {plan.output + kernel.shape[rank:]}."
        )
    places, taps = math.prod(plan.output), math.prod(window) * x.shape[-1]
    y = lax.dot_general(
        gather_windows("local_conv", x, plan).reshape(x.shape[0], places, taps),
        kernel.reshape(places, taps, kernel.shape[-1]),
        (((2,), (1,)), ((1,), (0,))),
        preferred_element_type=accumulator(x.dtype),
    )
    y = y.astype(x.dtype).swapaxes(0, 1).reshape(x.shape[0], *plan.output, kernel.shape[-1])
    return y if bias is None else y + _checked_bias(y, bias)[None]


def _check_kernel(x: jax.Array, kernel: jax.Array, rank: int) -> None:
    if kernel.ndim != 2 * rank + 2:
        raise ValueError(
            f"local_conv: kernel has {kernel.ndim} axes; expected {2 * rank + 2}, (*spatial', "
            f"*window, C, features) for the {rank} spatial axes of x. Got kernel of shape "
            f"{kernel.shape} and x of shape {x.shape}. Use conv for a kernel that all places share."
        )
    if 0 in kernel.shape:
        raise ValueError(
            f"local_conv: kernel is empty; expected at least one place, tap, channel and feature. "
            f"Got kernel of shape {kernel.shape}. Use sizes of 1 or more."
        )
    reads, channels = kernel.shape[-2], x.shape[-1]
    if reads != channels:
        looks = ", which looks channels-first" if x.shape[1] == reads else ""
        fix = "jnp.moveaxis(x, 1, -1)" if looks else f"a kernel that reads {channels} channels"
        raise ValueError(
            f"local_conv: x has {channels} channels, the kernel reads {reads}; expected x of shape "
            f"(N, *spatial, C) with C={reads}. Got x of shape {x.shape}{looks}. Use {fix}."
        )


def _checked_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    if bias.shape != y.shape[1:]:
        raise ValueError(
            f"local_conv: bias does not have one entry per output pixel and feature; expected "
            f"shape {y.shape[1:]}. Got bias of shape {bias.shape}. "
            f"Use jnp.broadcast_to(bias, {y.shape[1:]}) for a bias that all places share."
        )
    _parse.same_dtype("local_conv", y, "bias", bias)
    return bias
