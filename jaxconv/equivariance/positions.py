"""Where the content of an image says that the image begins: at a pixel, or between pixels."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv import _parse
from jaxconv.ops._phase_scores import pixel_scores, pixel_views


class Position(NamedTuple):
    """Where the content of each image says that it begins.

    Attributes:
        shift: (N, spatial axes) int32, the pixel that is moved to the origin.
        ties: (N,) int32, how many other pixels see the same image: it is periodic, and the moved
            image is the same for all of them.
    """

    shift: jax.Array
    ties: jax.Array


class Translation(NamedTuple):
    """Where the lowest frequencies of each image say that it begins.

    Attributes:
        shift: (N, spatial axes) in float32 at least, in pixels, where the crest of the first
            harmonic lies.
        strength: (N, spatial axes) in float32 at least, from 0 to 1: the amplitude of the first
            harmonic, summed over the other axes and the channels, over that of all that varies
            along the axis; 1 where nothing does. The shift errs by rounding / strength.
        ties: (N,) int32, on how many axes strength is so small (below the square root of the
            rounding error) that the shift is noise.
    """

    shift: jax.Array
    strength: jax.Array
    ties: jax.Array


def canonical_position(x: jax.Array) -> Position:
    """Finds the pixel with the most energy around it, by content only.

        shift[n] = argmax_i Σ_{|d| <= 1, c} x[n, i + d, c]²

    computed in whole numbers, so that it moves with every circular shift to the last bit; equal
    sums are ordered by a hash of the whole image as seen from the pixel.

    Shapes: x (N, *spatial, C) -> shift (N, axes), ties (N,).

    Args:
        x: finite images, floating.

    Returns:
        A `Position`. It has no gradient.

    Example:
        >>> x = jnp.array([0.0, 1.0, 0.0, 5.0, 4.0, 3.0]).reshape(1, 6, 1)
        >>> canonical_position(x).shift.tolist()
        [[4]]
        >>> canonical_position(jnp.roll(x, 1, axis=1)).shift.tolist()
        [[5]]
    """
    return first_of(candidates(x))


def first_of(best: jax.Array) -> Position:
    """The first of the pixels that tie."""
    ties = jnp.sum(best, axis=tuple(range(1, best.ndim)), dtype=jnp.int32) - 1
    flat = best.reshape(len(best), math.prod(best.shape[1:]))
    place, digits = jnp.argmax(flat, axis=1).astype(jnp.int32), []
    for size in reversed(best.shape[1:]):
        digits.append(place % size)
        place = place // size
    return Position(jnp.stack(digits[::-1], axis=1), ties)


def candidates(x: jax.Array) -> jax.Array:
    """(N, *spatial): the pixels that the content cannot tell from the best one, itself included."""
    _parse.image("canonical_position", x)
    _parse.floating("canonical_position", "x", x)
    return _candidates(lax.stop_gradient(x))


@jax.jit
def _candidates(x: jax.Array) -> jax.Array:
    spatial = x.shape[1:-1]
    ones = (1,) * len(spatial)
    score = pixel_scores(x, "l2", ones)
    for axis, size in enumerate(spatial, start=1):
        if size >= 3:
            score = score + jnp.roll(score, 1, axis) + jnp.roll(score, -1, axis)
    score, view = (a.reshape(x.shape[0], math.prod(spatial)) for a in (score, pixel_views(x)))
    leading = jnp.where(score == jnp.max(score, axis=1, keepdims=True), view | 1, 0)
    best = leading == jnp.max(leading, axis=1, keepdims=True)
    return best.reshape(x.shape[:-1])


def canonical_translation(x: jax.Array) -> Translation:
    """Finds the crest of the longest wave along every axis, between the pixels.

        shift[n, a] = -A / 2π · arg X[n, a],    X[n, a] = Σ_{i, c} x[n, i, c] · exp(-2πi · i_a / A)

    for an axis a of A pixels. A translation by t pixels turns X by -2πt / A, so that the shift
    moves by t, a real number, modulo A.

    Shapes: x (N, *spatial, C) -> shift, strength (N, axes), ties (N,).

    Args:
        x: finite images, floating.

    Returns:
        A `Translation`. The shift has the gradient of the formula.

    Example:
        >>> wave = jnp.cos(2 * jnp.pi * (jnp.arange(8.0) - 2.5) / 8).reshape(1, 8, 1)
        >>> found = canonical_translation(wave)
        >>> found.shift.round(2).tolist(), found.strength.round().tolist(), found.ties.tolist()
        ([[2.5]], [[1.0]], [0])

    References:
        Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd edition, table 8.2 (a shift
        is a linear phase); Kaba et al. 2022, arXiv:2211.06489, section 2 (canonicalization).
    """
    _parse.image("canonical_translation", x)
    _parse.floating("canonical_translation", "x", x)
    return _translation(x if x.dtype == jnp.float64 else x.astype(jnp.float32))


@jax.jit
def _translation(work: jax.Array) -> Translation:
    found = [_along(work, axis) for axis in range(1, work.ndim - 1)]
    shift, strength = (jnp.stack(parts, axis=1) for parts in zip(*found, strict=True))
    least = math.sqrt(jnp.finfo(work.dtype).eps)
    ties = jnp.sum(strength < least, axis=1, dtype=jnp.int32)
    return Translation(shift, strength, ties)


def _along(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Shift and strength of one axis, (N,) each."""
    size = x.shape[axis]
    others = tuple(a for a in range(1, x.ndim) if a != axis)
    varying = x - jnp.mean(x, axis=axis, keepdims=True)
    profile = jnp.mean(varying, axis=others)
    angle = 2 * np.pi * np.arange(size) / size
    waves = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1), x.dtype)
    real, imaginary = jnp.moveaxis(jnp.matmul(profile, waves, precision="highest"), 1, 0)
    everything = tuple(range(1, x.ndim))
    deviation = jnp.sqrt(jnp.mean(jnp.square(lax.stop_gradient(varying)), axis=everything))
    largest = jnp.max(jnp.abs(lax.stop_gradient(x)), axis=everything)
    amplitude = lax.stop_gradient(math.sqrt(2) / size * jnp.hypot(real, imaginary))
    flat = deviation <= 4 * jnp.finfo(x.dtype).eps * largest
    strength = jnp.where(flat, jnp.ones_like(amplitude), amplitude / jnp.where(flat, 1, deviation))
    one, zero = jnp.ones_like(real), jnp.zeros_like(real)
    turn = jnp.arctan2(jnp.where(flat, zero, imaginary), jnp.where(flat, one, real))
    return turn * (size / (2 * math.pi)), jnp.minimum(strength, 1)
