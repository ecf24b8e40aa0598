"""Sampling on the phase that the image itself chooses: a stride that commutes with every shift.

A stride s keeps the pixels s·i + 0 and drops the other phases s·i + p. A circular shift permutes
the phases (and rolls them), so if the choice of p follows the content, the output of a shifted
image is the output of the image, rolled. The choice follows the content exactly if it is computed
in a way that no roll of a phase can change, to the last bit. So it uses whole numbers, whose sum
has no order:

1. score: the norm of each phase, its terms rounded to fractions of the largest;
2. view: a hash of what each pixel of the phase sees when it looks around the whole circle, in
   log₂(pixels) rounds of doubling reach, summed over the pixels. Equal views mean that two
   phases are rolls of each other (or, once in 2³¹, a collision).

The largest (score, view) wins. What ties in both are rolls of the same picture: taking the one or
the other gives outputs that are rolls of each other. How many do is returned, and the margin.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv import _parse
from jaxconv._types import IntOrInts
from jaxconv.ops.blur import blur, check_divides

NORMS = ("l2", "l1", "linf")


class Selection(NamedTuple):
    """Which phase each example chose, and how safely.

    Attributes:
        index: (N,) int32, the phase p, row-major over the axes: p = Σ p_a · Π s_b, b after a.
        margin: (N,) float32, (best score - second) / best, 0 for a tie of scores. Below about
            1e-6 a rounding error of the layers before may change the choice.
        ties: (N,) int32, how many other phases are rolls of the chosen one. An output that is
            sampled only is the same up to a roll; `polyphase_up` has no place of its own to put
            it then, as no function has.
    """

    index: jax.Array
    margin: jax.Array
    ties: jax.Array


def polyphase_select(x: jax.Array, stride: IntOrInts, *, norm: str = "l2") -> Selection:
    """Chooses the phase with the largest norm, by content only.

        p[n] = argmax_p ‖x[n, s·i + p, c]‖ over all i and c

    Shapes: x (N, *spatial, C) -> index, margin, ties (N,).

    Args:
        x: finite images, floating, of axes that close into circles.
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf".

    Returns:
        A `Selection`. It has no gradient.

    Raises:
        TypeError: when x holds integers.
        ValueError: for an unknown norm, or an axis that the stride does not divide.

    Example:
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> found = polyphase_select(x, 2)
        >>> found.index.tolist(), found.ties.tolist()
        ([1], [0])

    References:
        Chaman and Dokmanic 2021, arXiv:2011.14214, section 3.1; the order-free scores and the
        views are ours.
    """
    strides = _strides("polyphase_select", x, stride)
    _parse.choice("polyphase_select", "norm", norm, NORMS)
    x = lax.stop_gradient(x)
    score = _phases(pixel_scores(x, norm, strides), strides, jnp.max if norm == "linf" else jnp.sum)
    view = _phases(pixel_views(x, strides), strides, jnp.sum)
    best = jnp.max(score, axis=1, keepdims=True)
    leading = jnp.where(score == best, view | 1, 0)
    index = jnp.argmax(leading, axis=1).astype(jnp.int32)
    chosen = jnp.arange(score.shape[1], dtype=jnp.int32)[None] == index[:, None]
    second = jnp.max(jnp.where(chosen, 0, score), axis=1)
    gap = (best[:, 0] - second).astype(jnp.float32)
    margin = gap / jnp.maximum(best[:, 0], 1).astype(jnp.float32)
    equal = leading == jnp.max(leading, axis=1, keepdims=True)
    return Selection(index, margin, jnp.sum(equal, axis=1, dtype=jnp.int32) - 1)


def polyphase_down(
    x: jax.Array,
    stride: IntOrInts,
    *,
    norm: str = "l2",
    index: jax.Array | None = None,
    low_pass: IntOrInts | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Samples every `stride`-th pixel, starting where the image says.

        y[n, i, c] = x[n, s·i + p[n], c],    p[n] = argmax_p ‖x[n, s·i + p, c]‖

    A circular shift of x by any amount rolls y. The gradient goes to the pixels that were kept.

    Shapes: x (N, *spatial, C) -> y (N, *spatial / stride, C), index (N,).

    Args:
        x: finite images, floating, of axes that close into circles.
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf", what the choice goes by.
        index: a choice made elsewhere, so that two branches sample the same pixels.
        low_pass: taps of a circular binomial `blur` before sampling; the choice is made on x.

    Returns:
        The samples and the index, for skip paths and for `polyphase_up`.

    Raises:
        TypeError: when x holds integers, or index does not.
        ValueError: for an unknown norm, an index of another shape, or an axis that the stride
            does not divide.

    Example:
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> y, index = polyphase_down(x, 2)
        >>> y.ravel().tolist(), index.tolist()
        ([3.0, 2.0], [1])
        >>> polyphase_down(jnp.roll(x, 1, axis=1), 2)[0].ravel().tolist()
        [2.0, 3.0]

    References:
        Chaman and Dokmanic 2021, arXiv:2011.14214, sections 3.1 and 4.
    """
    strides = _strides("polyphase_down", x, stride)
    _parse.choice("polyphase_down", "norm", norm, NORMS)
    if index is None:
        index = polyphase_select(x, strides, norm=norm).index
    _check_index("polyphase_down", x, index)
    if low_pass is not None:
        x = blur(x, low_pass)
    for axis, digit in enumerate(_digits(index, strides), start=1):
        step = strides[axis - 1]
        phases = [lax.slice_in_dim(x, p, None, step, axis=axis) for p in range(step)]
        x = phases[0]
        for p, phase in enumerate(phases[1:], start=1):
            x = jnp.where(_column(digit == p, x), phase, x)
    return x, index


def polyphase_up(y: jax.Array, index: jax.Array, stride: IntOrInts) -> jax.Array:
    """Puts samples back on the pixels that `polyphase_down` took them from, zeros between them.

        x[n, s·i + p[n], c] = y[n, i, c],    0 elsewhere

    The adjoint of `polyphase_down` with the same index. Follow it with a circular `blur` times
    s^axes, or a convolution, which fill in the zeros and commute with shifts.

    Shapes: y (N, *spatial, C), index (N,) -> x (N, *spatial · stride, C).

    Args:
        y: samples, of any dtype.
        index: what `polyphase_down` returned, int, from 0 to the number of phases.
        stride: pixels from one sample to the next.

    Returns:
        x, of the dtype of y.

    Raises:
        TypeError: when index does not hold integers.
        ValueError: for an index of another shape, or an impossible stride.

    Example:
        >>> y, index = jnp.array([3.0, 2.0]).reshape(1, 2, 1), jnp.array([1])
        >>> polyphase_up(y, index, 2).ravel().tolist()
        [0.0, 3.0, 0.0, 2.0]

    References:
        Chaman and Dokmanic 2021, arXiv:2110.14644, section 3 (the adaptive upsampling).
    """
    spatial = _parse.image("polyphase_up", y)
    strides = _parse.per_axis("polyphase_up", "stride", stride, len(spatial))
    _check_index("polyphase_up", y, index, name="y")
    for axis, digit in enumerate(_digits(index, strides), start=1):
        step, zero = strides[axis - 1], jnp.zeros_like(y)
        phases = [jnp.where(_column(digit == p, y), y, zero) for p in range(step)]
        stacked = jnp.stack(phases, axis=axis + 1)
        y = stacked.reshape(*y.shape[:axis], y.shape[axis] * step, *y.shape[axis + 1 :])
    return y


def _strides(where: str, x: jax.Array, stride: IntOrInts) -> tuple[int, ...]:
    _parse.floating(where, "x", x)
    strides = _parse.per_axis(where, "stride", stride, len(_parse.image(where, x)))
    for axis, step in enumerate(strides):
        check_divides(where, x, axis, step, "")
    return strides


def _check_index(where: str, x: jax.Array, index: jax.Array, *, name: str = "x") -> None:
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(
            f"{where}: index does not hold integers; expected the index that polyphase_down "
            f"returns. Got index of dtype {index.dtype}. Use index.astype('int32')."
        )
    if index.shape != x.shape[:1]:
        raise ValueError(
            f"{where}: index has shape {index.shape}; expected {x.shape[:1]}, one phase per "
            f"example of {name}. Got {name} of shape {x.shape}. Pass the index that "
            f"polyphase_down returned for the same batch."
        )


def _digits(index: jax.Array, strides: tuple[int, ...]) -> list[jax.Array]:
    """The phase on each axis, of the row-major number of the phase."""
    digits = []
    for step in reversed(strides):
        digits.append(index % step)
        index = index // step
    return digits[::-1]


def _column(flags: jax.Array, x: jax.Array) -> jax.Array:
    return flags.reshape(-1, *[1] * (x.ndim - 1))


def _phases(pixels: jax.Array, strides: tuple[int, ...], reduce) -> jax.Array:
    """Whole numbers (N, *spatial), reduced over every phase: (N, phases)."""
    count = pixels.shape[0]
    sizes = list(pixels.shape[1:])
    for axis, step in enumerate(strides):
        before, after = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
        rows = pixels.reshape(count * before, sizes[axis] // step, step, after)
        pixels = reduce(rows, axis=1).astype(pixels.dtype)
        sizes[axis] = step
    return pixels.reshape(count, math.prod(sizes))


def pixel_scores(x: jax.Array, norm: str, strides: tuple[int, ...]) -> jax.Array:
    """Per pixel, the terms of the norm over channels as whole numbers (N, *spatial) int32.

    The bits of a term leave room for the sum over a phase: 31 - log₂(terms) of them.
    """
    count, channels = x.shape[0], x.shape[-1]
    size = jnp.abs(x.astype(np.promote_types(x.dtype, np.float32)))
    largest = jnp.max(size.reshape(count, -1), axis=1, initial=0)
    size = size / _column(jnp.where(largest > 0, largest, 1), x)
    terms = 1 if norm == "linf" else math.prod(x.shape[1:]) // math.prod(strides)
    bits = min(23, 30 - math.ceil(math.log2(max(terms, 1))))
    whole = jnp.round((size * size if norm == "l2" else size) * 2.0**bits).astype(jnp.int32)
    flat = whole.reshape(-1, channels)
    over = jnp.max(flat, axis=1) if norm == "linf" else jnp.sum(flat, axis=1, dtype=jnp.int32)
    return over.reshape(x.shape[:-1])


def pixel_views(x: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    """Per pixel, a hash of its phase as seen from that pixel (N, *spatial) uint32."""
    bits = lax.bitcast_convert_type(_canonical(x), jnp.uint32).reshape(math.prod(x.shape[:-1]), -1)
    salt = _mix(jnp.arange(1, bits.shape[1] + 1, dtype=jnp.uint32))
    view = jnp.sum(_mix(bits ^ salt[None]), axis=1, dtype=jnp.uint32).reshape(x.shape[:-1])
    for axis, step in enumerate(strides, start=1):
        reach = 1
        while reach < x.shape[axis] // step:
            view = _mix(view + 3 * jnp.roll(view, -reach * step, axis))
            reach *= 2
    return view


def _canonical(x: jax.Array) -> jax.Array:
    """The same numbers in float32 or float64, with one zero."""
    x = x.astype(np.promote_types(x.dtype, np.float32))
    return jnp.where(x == 0, 0, x)


def _mix(h: jax.Array) -> jax.Array:
    """A bijection of 32 bits that spreads every bit over all (MurmurHash3's last step)."""
    h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)
