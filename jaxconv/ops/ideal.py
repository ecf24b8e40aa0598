"""Ideal resampling: the samples of the band-limited image that the pixels are samples of.

The image between the pixels is its trigonometric polynomial, of circular axes. To go down, all
frequencies that the new pixels cannot tell apart are removed first; to go up, nothing is added.
So nothing aliases, and both commute with every translation, by whole pixels and by real numbers.

The Nyquist frequency, which an even number of pixels has, is the exception: samples (-1)^i say
what it is at pixels only. Going down it is removed. Going up it is kept as it is at the pixels
(half of it on either side of zero), which commutes with shifts and not with real translations.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _parse
from jaxconv._types import IntOrInts
from jaxconv.ops._circle import LARGEST_MATRIX, times
from jaxconv.ops.conv import accumulator, check_divides


def ideal_down(x: jax.Array, stride: IntOrInts = 2) -> jax.Array:
    """Removes what a lower resolution cannot hold, then keeps every `stride`-th pixel.

        y[n, i, c] = Σ_a h(s·i - a) · x[n, a, c],    h(d) = 1/A · Σ_{|k| < A / 2s} cos(2πkd / A)

    with stride s on a circular axis of A pixels; on several axes one after the other. An FFT of
    which the frequencies below the new Nyquist's are kept, and an inverse FFT, are the same: longer
    axes than 128 pixels take them, and shorter ones a product of matrices.

    Shapes: x (N, *spatial, C) -> y (N, *spatial / stride, C).

    Args:
        x: images, floating, of axes that close into circles.
        stride: input pixels from one output pixel to the next; it divides the axes. An axis of
            stride 1 is left as it is.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers.
        ValueError: for a stride that does not divide its axis.

    Example:
        >>> wave = 2 + jnp.cos(2 * jnp.pi * jnp.arange(8.0) / 8).reshape(1, 8, 1)
        >>> ideal_down(wave).round().ravel().tolist()
        [3.0, 2.0, 1.0, 2.0]
        >>> nyquist = jnp.array([1.0, -1.0] * 4).reshape(1, 8, 1)
        >>> bool(jnp.abs(ideal_down(nyquist)).max() < 1e-6)
        True

    References:
        Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085, section 3 (ideal downsampling).
    """
    for axis, step in _axes("ideal_down", x, "stride", stride):
        check_divides("ideal_down", x, axis - 1, step, "")
        x = resampled(x, axis, x.shape[axis] // step)
    return x


def ideal_up(x: jax.Array, scale: IntOrInts = 2) -> jax.Array:
    """Reads the band-limited image between the pixels: the ideal interpolation.

        y[n, i, c] = Σ_a h(i - s·a) · x[n, a, c],    h(d) = 1/A · Σ_{|k| <= A / 2}' cos(2πkd / sA)

    with scale s on a circular axis of A pixels, the prime for half of each term of |k| = A / 2; on
    several axes one after the other. y[n, s·i, c] = x[n, i, c], and `ideal_down(y, scale)` is x
    without its Nyquist frequency. Longer axes than 128 pixels take FFTs, shorter ones a product of
    matrices.

    Shapes: x (N, *spatial, C) -> y (N, *spatial · scale, C).

    Args:
        x: images, floating, of axes that close into circles.
        scale: output pixels per input pixel, for all spatial axes or per axis.

    Returns:
        y, of the dtype of x.

    Raises:
        TypeError: when x holds integers.

    Example:
        >>> wave = jnp.array([300.0, 200.0, 100.0, 200.0]).reshape(1, 4, 1)
        >>> ideal_up(wave).round().ravel()[:4].tolist()
        [300.0, 271.0, 200.0, 129.0]

    References:
        Michaeli, Michaeli and Soudry 2023, arXiv:2303.08085, section 3 (ideal upsampling).
    """
    for axis, factor in _axes("ideal_up", x, "scale", scale):
        x = resampled(x, axis, x.shape[axis] * factor)
    return x


def _axes(where: str, x: jax.Array, name: str, factor: IntOrInts) -> list[tuple[int, int]]:
    """(axis of x, factor) of every spatial axis."""
    _parse.floating(where, "x", x)
    rank = len(_parse.image(where, x))
    return list(enumerate(_parse.per_axis(where, name, factor, rank), start=1))


def resampled(x: jax.Array, axis: int, size: int) -> jax.Array:
    """The image with `size` pixels along one axis, a multiple or a part of what it has."""
    if size == x.shape[axis]:
        return x
    if max(size, x.shape[axis]) <= LARGEST_MATRIX:
        return times(matrix(x.shape[axis], size), x, axis)
    work = x.astype(accumulator(x.dtype))
    move = functools.partial(_through_spectrum, axis=axis, size=size)
    return _of_parts(move, work).astype(x.dtype)


@functools.cache
def matrix(size: int, new: int) -> np.ndarray:
    """(new, size), in float64: rows that are rolls of one another to the last bit."""
    low, high = min(size, new), max(size, new)
    k = np.arange(low // 2 + 1)
    weights = np.where(k == 0, 1, 2) / size
    if low % 2 == 0:
        weights[-1] = 0 if new < size else 1 / size
    h = np.cos(2 * np.pi * np.outer(np.arange(high), k) / high) @ weights
    out, given = np.arange(new) * (high // new), np.arange(size) * (high // size)
    return h[(out[:, None] - given[None, :]) % high]


def _through_spectrum(x: jax.Array, axis: int, size: int) -> jax.Array:
    """The same through FFTs, of a real x."""
    before, low = x.shape[axis], min(size, x.shape[axis])
    kept = low // 2 + 1
    spectrum = jax.lax.slice_in_dim(jnp.fft.rfft(x, axis=axis), 0, kept, axis=axis)
    weights = np.full(kept, size / before)
    if low % 2 == 0:
        weights[-1] *= 0 if size < before else 0.5
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    spectrum = spectrum * jnp.asarray(weights, spectrum.dtype).reshape(shape)
    return jnp.fft.irfft(spectrum, n=size, axis=axis)


def _of_parts(f: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """A real linear map of real and imaginary parts."""
    if not jnp.issubdtype(x.dtype, jnp.complexfloating):
        return f(x)
    return jax.lax.complex(f(x.real), f(x.imag))
