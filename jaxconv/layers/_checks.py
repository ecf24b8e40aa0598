"""What several layers check: arguments at construction, the input in `init` and `apply`."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxconv import _parse
from jaxconv._types import HasShape, IntOrInts, Padding, PaddingMode
from jaxconv.ops.conv import Windows, plan_windows


def window_arguments(
    where: str,
    window: IntOrInts,
    stride: IntOrInts | None,
    padding: Padding,
    padding_mode: PaddingMode,
    dilation: IntOrInts = 1,
) -> None:
    """Refuses impossible arguments at construction, before the number of spatial axes is known."""
    _parse.ints(where, "window", window)
    if stride is not None:
        _parse.ints(where, "stride", stride)
    _parse.ints(where, "dilation", dilation)
    _parse.check_padding(where, padding)
    _parse.check_modes(where, padding_mode)


def features_and_groups(where: str, features: int, groups: int) -> None:
    """Features must split into groups."""
    _parse.integer(where, "features", features)
    _parse.integer(where, "groups", groups)
    if features % groups:
        raise ValueError(
            f"{where}: {features} features do not split into groups={groups}; expected a multiple "
            f"of {groups}. Got features={features}. Use features={_next(features, groups)} or "
            f"groups={math.gcd(features, groups)}."
        )


def _next(value: int, divisor: int) -> int:
    return -(-value // divisor) * divisor


def channels_split(where: str, x: HasShape, groups: int) -> int:
    """Channels per group of x."""
    channels = x.shape[-1]
    if channels % groups or not channels:
        fitting = " or ".join(f"groups={g}" for g in _nearest_divisors(channels, groups))
        raise ValueError(
            f"{where}: {channels} input channels do not split into groups={groups}; expected a "
            f"multiple of {groups}. Got x of shape {tuple(x.shape)}. Use {fitting}."
        )
    return channels // groups


def _nearest_divisors(number: int, near: int) -> list[int]:
    divisors = [d for d in range(1, number + 1) if number % d == 0] or [1]
    below = [d for d in divisors if d <= near][-1]
    above = [d for d in divisors if d > near][:1]
    return [below, *above]


def windows(
    where: str,
    x: HasShape,
    window: IntOrInts,
    stride: IntOrInts,
    padding: Padding,
    padding_mode: PaddingMode,
    dilation: IntOrInts,
) -> Windows:
    """Where the windows stand on a floating x; refuses an output without pixels."""
    _parse.floating(where, "x", x)
    taps = _parse.per_axis(where, "window", window, len(_parse.image(where, x)))
    return plan_windows(where, x, taps, stride, padding, padding_mode, dilation)


def channels(where: str, x: HasShape, expected: int) -> None:
    """Refuses an x that has not the channels that the parameters were made for."""
    *others, found = x.shape
    if found == expected:
        return
    fix = f"Pass x with {expected} channels, or the params of an init with {found}."
    if expected in others[1:2]:
        fix = "It looks channels-first: use jnp.moveaxis(x, 1, -1)."
    raise ValueError(
        f"{where}: x has {found} channels and the parameters are for {expected}; expected "
        f"x of shape (N, *spatial, {expected}). Got x of shape {tuple(x.shape)}. {fix}"
    )


def floating_image(where: str, x: HasShape, *, minimum_rank: int = 0) -> tuple[int, ...]:
    """Spatial sizes of a floating x (N, *spatial, C)."""
    _parse.floating(where, "x", x)
    return _parse.image(where, x, minimum_rank=minimum_rank)


def functions(where: str, **named: Callable[..., Any] | None) -> None:
    """Refuses what is given and cannot be called."""
    for name, value in named.items():
        if value is not None and not callable(value):
            raise TypeError(
                f"{where}: {name} cannot be called; expected a function. "
                f"Got {name}={value!r}. Leave it out, or pass one of jax.nn, say."
            )


def cast(
    where: str,
    params: dict[str, Any],
    x: HasShape,
    transform: Callable[[jax.Array], jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Kernel and bias in the dtype of x, the kernel after the user's `kernel_transform`."""
    kernel, bias = params["kernel"], params.get("bias")
    if transform is not None:
        before, kernel = kernel, transform(kernel)
        if kernel.shape != before.shape:
            raise ValueError(
                f"{where}: kernel_transform returns shape {kernel.shape}; expected that of its "
                f"argument, {before.shape}. Got kernel_transform={transform!r}. "
                f"Return an array of the kernel's shape."
            )
    return kernel.astype(x.dtype), None if bias is None else bias.astype(x.dtype)


def flat(x: jax.Array) -> jax.Array:
    """Images as (N, pixels, C), for reductions over few axes.

    jaxlib 0.10.2 crashes on some reductions over an inner axis of seven on CPU, and every vmap
    adds an axis: a reduction over one axis of three stays far from that.
    """
    return x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])


def broadcastable(vector: jax.Array, x: HasShape) -> jax.Array:
    """A vector over channels with as many axes as x: ranks are never promoted silently."""
    return vector.reshape((1,) * (len(x.shape) - 1) + vector.shape)


def fits(function: Callable[..., Any], x: HasShape, *others: HasShape) -> Any:
    """Lets an operation raise its own error in `init`; nothing is computed."""
    return jax.eval_shape(function, jax.ShapeDtypeStruct(x.shape, x.dtype), *others)


def wide(x: HasShape) -> Any:
    """The dtype that sums over x are taken in: float32 for narrower ones."""
    return np.promote_types(x.dtype, np.float32)
