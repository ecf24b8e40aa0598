"""What a choice among phases goes by: whole numbers, whose sums have no order.

A float sum depends on the order of its terms, and a roll changes the order. Sums of whole numbers
do not, so that what is computed here is the same to the last bit however a phase is rolled.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def over_phases(pixels: jax.Array, strides: tuple[int, ...], reduce) -> jax.Array:
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

    Terms are fractions of the largest, in `score_bits` bits, so that a phase's sum fits 31.
    """
    count, channels = x.shape[0], x.shape[-1]
    size = jnp.abs(x.astype(np.promote_types(x.dtype, np.float32)))
    largest = jnp.max(size.reshape(count, math.prod(x.shape[1:])), axis=1, initial=0)
    size = size / column(jnp.where(largest > 0, largest, 1), x)
    terms = phase_terms(x, norm, strides)
    bits = score_bits(terms)
    whole = jnp.round((size * size if norm == "l2" else size) * 2.0**bits).astype(jnp.int32)
    flat = whole.reshape(math.prod(x.shape[:-1]), channels)
    over = jnp.max(flat, axis=1) if norm == "linf" else jnp.sum(flat, axis=1, dtype=jnp.int32)
    return over.reshape(x.shape[:-1])


def phase_terms(x: jax.Array, norm: str, strides: tuple[int, ...]) -> int:
    """How many whole numbers a score adds up."""
    return 1 if norm == "linf" else math.prod(x.shape[1:]) // math.prod(strides)


def score_bits(terms: int) -> int:
    """Bits of a term that leave room for the sum in 31."""
    return min(23, 30 - math.ceil(math.log2(max(terms, 1))))


def pixel_views(x: jax.Array) -> jax.Array:
    """Per pixel, a hash of the image as seen from that pixel (N, *spatial) uint32."""
    bits = lax.bitcast_convert_type(_canonical(x), jnp.uint32)
    bits = bits.reshape(math.prod(x.shape[:-1]), math.prod(bits.shape[x.ndim - 1 :]))
    salt = _mix(jnp.arange(1, bits.shape[1] + 1, dtype=jnp.uint32))
    view = jnp.sum(_mix(bits ^ salt[None]), axis=1, dtype=jnp.uint32).reshape(x.shape[:-1])
    for axis in range(1, x.ndim - 1):
        reach = 1
        while reach < x.shape[axis]:
            view = _mix(view + 3 * jnp.roll(view, -reach, axis))
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


def column(flags: jax.Array, x: jax.Array) -> jax.Array:
    """One entry per example, with as many axes as x."""
    return flags.reshape(-1, *[1] * (x.ndim - 1))
