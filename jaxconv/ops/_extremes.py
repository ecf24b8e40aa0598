"""Max and min pooling as primitives, whose gradient is neither a scatter nor a sort of AD's own.

With a[n, i, c] the tap of window i that holds its first extreme,

    extreme:  y[n, i, c] = x[n, s·i + d·a[n, i, c], c]        tap:  a
    pick:     ẏ[n, i, c] = ẋ[n, s·i + d·a[n, i, c], c]        spread:  its transpose in ẋ

`pick` is the derivative of `extreme`, linear, with integers beside it, so the four are closed
under differentiation of any order. What JAX would derive instead: from lax.reduce_window a
select-and-scatter, 15 to 30 times slower on a CPU (3 × 3 windows of stride 1 on 8 × 56 × 56 × 64,
two cores: 59 ms to 2.5) and refused by XLA on GPUs when results must be deterministic; from a
chain of `where`, 2 to 3 times slower, with as many masks kept as taps.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv.ops import _define
from jaxconv.ops._cpu import extremes
from jaxconv.ops._cpu.taps import Slide

Sizes = tuple[int, ...]

MOST_TAPS = 32
"""Taps that are unrolled; pools with more are composed of pools along single axes."""


def extreme(x: jax.Array, slide: Slide, window: Sizes, *, largest: bool) -> jax.Array:
    """The largest or smallest value of every window of a padded x (N, *spatial, C)."""
    if not _define.ENABLED or math.prod(window) == 1:  # a window of one pixel is a strided slice
        return extremes.value(x, slide, window, largest=largest)
    return _define.bind(_extreme, x, slide=slide, window=window, largest=largest)


def gradient(
    x: jax.Array, g: jax.Array, slide: Slide, window: Sizes, *, largest: bool
) -> jax.Array:
    """The x-shaped cotangent of `extreme` for a y-shaped g."""
    if not _define.ENABLED:
        forward = lambda x: extremes.value(x, slide, window, largest=largest)
        return jax.vjp(forward, x)[1](g)[0]
    held = _define.bind(_tap, x, slide=slide, window=window, largest=largest)
    spatial = tuple(x.shape[1:-1])
    return _define.bind(_spread, g, held, slide=slide, window=window, spatial=spatial)


# --- lowerings -------------------------------------------------------------------------------


def _plain_extreme(x: jax.Array, slide: Slide, window: Sizes, *, largest: bool) -> jax.Array:
    """Lax's own, which keeps NaNs everywhere but on CPUs."""
    return lax.reduce_window(
        x,
        worst(x.dtype, largest=largest),
        lax.max if largest else lax.min,
        (1, *window, 1),
        (1, *slide.stride, 1),
        "valid",
        window_dilation=(1, *slide.dilation, 1),
    )


def worst(dtype: Any, *, largest: bool) -> Any:
    """The value that loses against every other of a dtype."""
    if jnp.issubdtype(dtype, jnp.bool_):
        return np.asarray(not largest, dtype)
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        return np.asarray(limits.min if largest else limits.max, dtype)
    limit = np.asarray(-np.inf if largest else np.inf, dtype)
    if np.isnan(limit):  # some 8-bit floats have no infinity
        limits = jnp.finfo(dtype)
        return np.asarray(limits.min if largest else limits.max, dtype)
    return limit


# --- registration ----------------------------------------------------------------------------


def like_first(specs: Any, *, slide: Slide, window: Sizes, **_: Any) -> tuple[Any, ...]:
    """Sharded as the first operand is, but for the axes that windows span or skip along.

    Axes between the spatial ones and the last are taken for axes of a window, and left out.
    """
    first, *rest, last = specs[0]
    axes = zip(rest[: len(window)], window, slide.stride, strict=True)
    return (first, *(spec if k == s == 1 else None for spec, k, s in axes), last)


def _primitive(name: str, form: Any, plain: Any = None) -> Any:
    return _define.define(name, plain=plain or form, cpu=form, sharding=like_first)


_extreme = _primitive("jaxconv_extreme", extremes.value, _plain_extreme)
_tap = _primitive("jaxconv_extreme_tap", extremes.tap)
_pick = _primitive("jaxconv_pick", extremes.pick)
_spread = _primitive("jaxconv_spread", extremes.spread)


def _tangent(
    t: jax.Array, x: jax.Array, slide: Slide, window: Sizes, *, largest: bool
) -> jax.Array:
    held = _define.bind(_tap, x, slide=slide, window=window, largest=largest)
    return _define.bind(_pick, t, held, slide=slide, window=window)


_define.tangent_through(_extreme, _tangent)
_define.without_tangent(_tap)
_define.linear_in_first(
    _pick,
    lambda ct, held, x, **params: _define.bind(
        _spread, ct, held, spatial=tuple(x.shape[1:-1]), **params
    ),
)
_define.linear_in_first(
    _spread,
    lambda ct, held, g, spatial, **params: _define.bind(_pick, ct, held, **params),
)
for _each in (_extreme, _tap, _pick, _spread):
    _define.batched_with_examples(_each)
