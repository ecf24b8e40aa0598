"""What windows hold, as primitives: their sums, or all their pixels; and both transposes.

    total:   y[n, i, c] = Σ_a x[n, s·i + d·a, c]        share:  its transpose in x
    gather:  y[n, i, a, c] = x[n, s·i + d·a, c]         fold:   its transpose in x

Each is linear and the transpose of its neighbor, so both pairs are closed under differentiation
of any order. What JAX would derive from a sum of strided slices is a pad for every slice; from the
pixel's side a share is a sum of shifted slices again (windows of 2 × 2 and stride 2 on 8 × 56 × 56
× 64, and of 3 × 3 and stride 2 on 4 × 112 × 112 × 64, two cores: 0.43 ms to 0.14, 1.6 to 0.6).
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv.ops import _define, _window
from jaxconv.ops._cpu import taps
from jaxconv.ops._cpu.taps import Slide
from jaxconv.ops._extremes import like_first

Sizes = tuple[int, ...]

MOST_TAPS = 32
"""Taps that a transpose unrolls; with more it is what JAX derives from sums along single axes."""


def total(x: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    """The sum of every window of a padded x (N, *spatial, C)."""
    if not _define.ENABLED or math.prod(window) == 1:
        return _total_by_rows(x, slide, window)
    return _define.bind(_total, x, slide=slide, window=window)


def gather(x: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    """The pixels of every window of a padded x (N, *spatial, C), as (N, *spatial', *window, C)."""
    if not _define.ENABLED or math.prod(window) == 1:
        return _gather_by_rows(x, slide, window)
    return _define.bind(_gather, x, slide=slide, window=window)


# --- lowerings -------------------------------------------------------------------------------


def _total_by_rows(x: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    """Along one axis after the other: Σ window strided slices instead of Π window."""
    for row in reversed(_rows(x, slide, window)):
        x = _window.sum_row(x, row)
    return x


def _gather_by_rows(x: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    for row in _rows(x, slide, window):
        span = row.stride * (row.output - 1) + 1
        starts = range(0, row.dilation * row.window, row.dilation)
        cut = [lax.slice_in_dim(x, at, at + span, row.stride, row.axis) for at in starts]
        x = jnp.stack(cut, axis=-2)
    return x


def _rows(x: jax.Array, slide: Slide, window: Sizes) -> list[_window.Row]:
    output = slide.output(x.shape[1 : 1 + len(window)], window)
    axes = zip(window, slide.stride, slide.dilation, output, strict=True)
    return [_window.Row(axis, 0, *sizes) for axis, sizes in enumerate(axes, start=1)]


def _plain_total(x: jax.Array, slide: Slide, window: Sizes) -> jax.Array:
    return lax.reduce_window(
        x,
        np.zeros((), x.dtype),
        lax.add,
        (1, *window, 1),
        (1, *slide.stride, 1),
        "valid",
        window_dilation=(1, *slide.dilation, 1),
    )


def _plain_share(y: jax.Array, slide: Slide, window: Sizes, spatial: Sizes) -> jax.Array:
    return _transposed(_plain_total, y, slide, window, spatial)


def _cpu_share(y: jax.Array, slide: Slide, window: Sizes, spatial: Sizes) -> jax.Array:
    """Every pixel sums what its windows hold for it, phase by phase of the stride."""
    if math.prod(window) > MOST_TAPS:
        return _transposed(_total_by_rows, y, slide, window, spatial)
    plan = taps.phases(spatial, y.shape[1:-1], window, slide)
    padded, parts = taps.pad_spatial(y, plan.padding), []
    for phase in plan:
        part = jnp.zeros((y.shape[0], *plan.counts, y.shape[-1]), y.dtype)
        for pairs in itertools.product(*phase):
            part += taps.shifted(padded, tuple(u for _, u in pairs), plan.counts)
        parts.append(part)
    return taps.interleave(parts, slide.stride, spatial)


def _fold_by_rows(y: jax.Array, slide: Slide, window: Sizes, spatial: Sizes) -> jax.Array:
    return _transposed(_gather_by_rows, y, slide, window, spatial)


def _transposed(form: Any, y: jax.Array, slide: Slide, window: Sizes, spatial: Sizes) -> jax.Array:
    like = jax.ShapeDtypeStruct((y.shape[0], *spatial, y.shape[-1]), y.dtype)
    return jax.linear_transpose(lambda x: form(x, slide, window), like)(y)[0]


# --- registration ----------------------------------------------------------------------------


def _placed_windows(specs: Any, *, window: Sizes, **params: Any) -> tuple[Any, ...]:
    *kept, last = like_first(specs, window=window, **params)
    return (*kept, *(None for _ in window), last)


_total = _define.define(
    "jaxconv_window_total", plain=_plain_total, cpu=_total_by_rows, sharding=like_first
)
_share = _define.define(
    "jaxconv_window_share", plain=_plain_share, cpu=_cpu_share, sharding=like_first
)
_gather = _define.define(
    "jaxconv_window_gather", plain=_gather_by_rows, cpu=_gather_by_rows, sharding=_placed_windows
)
_fold = _define.define(
    "jaxconv_window_fold", plain=_fold_by_rows, cpu=_fold_by_rows, sharding=like_first
)


def _to(primitive: Any) -> Any:
    """The transpose that binds a primitive; `spatial` are the sizes of the operand."""

    def transpose(ct: jax.Array, x: Any, **params: Any) -> jax.Array:
        return _define.bind(primitive, ct, spatial=tuple(x.shape[1:-1]), **params)

    return transpose


def _back(primitive: Any) -> Any:
    return lambda ct, y, spatial, **params: _define.bind(primitive, ct, **params)


for _primitive, _transpose in (
    (_total, _to(_share)),
    (_share, _back(_total)),
    (_gather, _to(_fold)),
    (_fold, _back(_gather)),
):
    _define.linear(_primitive, _transpose)
    _define.batched_with_examples(_primitive)
