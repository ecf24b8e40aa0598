"""Windows that slide along one axis at a time, as shifted strided slices and nothing else.

A pool over a box is a pool along the last axis, then along the one before it, and so on: Σ k
slices instead of Π k. The gradient of a slice is a pad, so that no gradient here is a scatter or
a select-and-scatter, which are slow on CPUs (24 ms against 0.8 for max pooling 8×56×56×64 by
2×2) and not deterministic on GPUs. lax.reduce_window and reductions to a maximum are avoided as
well: with jaxlib 0.10.2 they drop NaNs on CPUs and split the gradient of a tie.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv import _parse
from jaxconv._types import IntOrInts, Padding, PaddingMode
from jaxconv.ops.conv import Windows, plan_windows

Parts = tuple[jax.Array, ...]
"""Arrays that are cut alike: values and what goes with them."""

UNROLLED = 32
"""Up to so many taps are combined one by one, more by doubling. A heuristic: doubling takes
2·log₂(k) steps instead of k, but on every pixel, whatever the stride."""


class Row(NamedTuple):
    """Windows along one axis: output i sees start + stride·i + dilation·a, 0 <= a < window."""

    axis: int
    start: int
    window: int
    stride: int
    dilation: int
    output: int


def plan_pool(
    where: str,
    x: jax.Array,
    window: IntOrInts,
    stride: IntOrInts | None,
    padding: Padding,
    padding_mode: PaddingMode,
    dilation: IntOrInts,
) -> Windows:
    """Canonical arguments of a pool, whose stride is its window unless given."""
    rank = len(_parse.image(where, x))
    size = _parse.per_axis(where, "window", window, rank)
    step = size if stride is None else stride
    return plan_windows(where, x, size, step, padding, padding_mode, dilation)


def rows(plan: Windows) -> list[Row]:
    """The windows of each spatial axis of a padded image, the last axis first."""
    axes = zip(plan.window, plan.stride, plan.dilation, plan.output, strict=True)
    return [Row(axis, 0, *sizes) for axis, sizes in enumerate(axes, start=1)][::-1]


def counts(where: str, x: jax.Array, plan: Windows) -> list[np.ndarray]:
    """How many values each window of each axis holds; a window of padding only is refused."""
    found = []
    for row, (low, _), mode in zip(rows(plan)[::-1], plan.padding, plan.modes, strict=True):
        first = row.stride * np.arange(row.output)[:, None] - low
        taps = first + row.dilation * np.arange(row.window)[None, :]
        held = ((taps >= 0) & (taps < x.shape[row.axis])) | (mode != "zeros")
        count = held.sum(axis=1)
        if not count.all():
            _refuse_padding_only(where, x, plan, row.axis - 1, int(np.argmin(count)))
        found.append(count)
    return found


def _refuse_padding_only(where: str, x: jax.Array, plan: Windows, axis: int, index: int) -> None:
    fix = f'padding_mode="edge" or less padding on axis {axis}'
    if x.shape[axis + 1] == 0:
        fix = f"x with at least 1 pixel on axis {axis}"
    raise ValueError(
        f"{where}: window {index} of spatial axis {axis} lies wholly in padding; expected every "
        f"window to hold a pixel of x. Got x of shape {x.shape} and padding of "
        f"{plan.padding[axis]} on that axis. Use {fix}."
    )


def reduce_row(parts: Parts, row: Row, combine: Callable[[Parts, Parts], Parts]) -> Parts:
    """Combines the taps of every window of a row, from left to right; `combine` is associative."""
    if row.output == 1:
        last = row.dilation * (row.window - 1)
        taps = _cut(parts, row.axis, row.start, last, row.dilation)
        return _by_pairs(taps, row, combine)
    if row.window > UNROLLED:
        return _by_doubling(parts, row, combine)
    span = row.stride * (row.output - 1)
    starts = [row.start + row.dilation * tap for tap in range(row.window)]
    return functools.reduce(
        combine, [_cut(parts, row.axis, start, span, row.stride) for start in starts]
    )


def sum_row(x: jax.Array, row: Row) -> jax.Array:
    """Sums every window of a row."""
    if row.output == 1:
        last = row.dilation * (row.window - 1)
        (taps,) = _cut((x,), row.axis, row.start, last, row.dilation)
        return jnp.sum(taps, axis=row.axis, keepdims=True)
    (total,) = reduce_row((x,), row, lambda left, right: (left[0] + right[0],))
    return total


def _by_pairs(parts: Parts, row: Row, combine: Callable[[Parts, Parts], Parts]) -> Parts:
    """One window that is all of its axis: neighbors are combined until one value is left."""
    size, odd = row.window, []
    while size > 1:
        if size % 2:
            odd.append(_cut(parts, row.axis, size - 1, 0, 1))
        span = size - 2 - size % 2
        left = _cut(parts, row.axis, 0, span, 2)
        parts = combine(left, _cut(parts, row.axis, 1, span, 2))
        size //= 2
    return functools.reduce(combine, reversed(odd), parts)


def _by_doubling(parts: Parts, row: Row, combine: Callable[[Parts, Parts], Parts]) -> Parts:
    """Windows of 1, 2, 4 … taps at every pixel; those of the binary digits of k make up k."""
    span = row.stride * (row.output - 1)
    reach = span + row.dilation * (row.window - 1)
    parts = _cut(parts, row.axis, row.start, reach, 1)
    pieces, taps, done = [], 1, 0
    while taps <= row.window:
        if row.window & taps:
            pieces.append(_cut(parts, row.axis, row.dilation * done, span, row.stride))
            done += taps
        if 2 * taps <= row.window:
            shift = row.dilation * taps
            reach -= shift
            left = _cut(parts, row.axis, 0, reach, 1)
            parts = combine(left, _cut(parts, row.axis, shift, reach, 1))
        taps *= 2
    return functools.reduce(combine, pieces)


def _cut(parts: Parts, axis: int, start: int, span: int, step: int) -> Parts:
    """Every step-th entry from start to start + span, both included."""
    stop = start + span + 1
    return tuple(lax.slice_in_dim(part, start, stop, step, axis) for part in parts)
