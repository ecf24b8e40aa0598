"""How arrays move: whole pixels exactly, parts of a pixel by a rule that is named.

One axis at a time, the amount may be traced, so a thousand shifts are one compiled program. A move
along a line returns the moved array and where it is known: what would come from outside is not.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.ops._circle import LARGEST_MATRIX, times

KERNEL_RADIUS = {"bilinear": 1, "lanczos": 3}
"""Samples on either side that interpolation between two samples reads."""


def along(vector: jax.Array, axis: int, rank: int) -> jax.Array:
    """A vector shaped so that it broadcasts along one axis of an array of `rank` axes."""
    return vector.reshape([-1 if i == axis else 1 for i in range(rank)])


def roll(x: jax.Array, shift: jax.Array, axis: int) -> jax.Array:
    """Circular shift by whole pixels: y[i] = x[(i - shift) mod n]. Exact."""
    size = x.shape[axis]
    source = jnp.mod(jnp.arange(size) - shift.astype(int), size)
    return jnp.take(x, source, axis=axis, mode="clip")


def slide(x: jax.Array, shift: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Shift along a line: y[i] = x[i - shift], and a mask (n,) of the i where that exists."""
    size = x.shape[axis]
    source = jnp.arange(size) - shift.astype(int)
    known = (source >= 0) & (source < size)
    return jnp.take(x, jnp.clip(source, 0, size - 1), axis=axis, mode="clip"), known


def window(x: jax.Array, shift: jax.Array, axis: int, period: int) -> tuple[jax.Array, jax.Array]:
    """Shift of a window of a periodic signal: y[i] = x[j], j = i - shift mod period.

    The window may hold more than a period (after wrap padding) or less (after a convolution
    without padding), in which case the mask (n,) says where j lies inside it.
    """
    size = x.shape[axis]
    source = jnp.mod(jnp.arange(size) - shift.astype(int), period)
    return jnp.take(x, jnp.minimum(source, size - 1), axis=axis, mode="clip"), source < size


def zero_fill(x: jax.Array, shift: jax.Array, axis: int) -> jax.Array:
    """Shift by whole pixels; zeros come in where the image has none."""
    moved, known = slide(x, shift, axis)
    return jnp.where(along(known, axis, x.ndim), moved, jnp.zeros((), x.dtype))


def _working(x: jax.Array) -> jax.Array:
    """The FFT and interpolation run in float32 at least."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def _waves(size: int, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """Frequencies 2πk/n of a real FFT, and which of them is Nyquist's."""
    k = jnp.arange(size // 2 + 1)
    omega = (2 * jnp.pi / size) * k.astype(dtype)
    return omega, (2 * k == size) & (k > 0)


def spectral(x: jax.Array, shift: jax.Array, axis: int, nyquist: str = "real") -> jax.Array:
    """Circular shift by any real amount: the phase ramp exp(-i·ω·shift) on the spectrum.

    A sampled signal does not say on which side its Nyquist frequency turns. With "real" it is
    multiplied by cos(π·shift), the mean of both, which is the exact roll at whole shifts; with
    "zero" it is removed, the only rule under which two half shifts make a whole one.
    """
    work = _working(x)
    size = x.shape[axis]
    omega, is_nyquist = _waves(size, work.dtype)
    angle = omega * shift.astype(work.dtype)
    last = jnp.cos(angle) if nyquist == "real" else jnp.zeros_like(angle)
    real = jnp.where(is_nyquist, last, jnp.cos(angle))
    imaginary = jnp.where(is_nyquist, jnp.zeros_like(angle), -jnp.sin(angle))
    phase = along(jax.lax.complex(real, imaginary), axis, x.ndim)
    moved = jnp.fft.irfft(jnp.fft.rfft(work, axis=axis) * phase, n=size, axis=axis)
    return moved.astype(x.dtype)


def translated(x: jax.Array, amount: float, axis: int) -> jax.Array:
    """Circular shift by a known real amount, Nyquist "real"."""
    if x.shape[axis] > LARGEST_MATRIX:
        return spectral(x, jnp.asarray(amount), axis)
    return times(_translation_matrix(x.shape[axis], amount), x, axis)


def derivative(x: jax.Array, axis: int) -> jax.Array:
    """Derivative of a circular signal per pixel: iω on the spectrum, 0 at Nyquist."""
    size = x.shape[axis]
    if size <= LARGEST_MATRIX:
        return times(_derivative_matrix(size), x, axis)
    work = _working(x)
    omega, is_nyquist = _waves(size, work.dtype)
    ramp = jnp.where(is_nyquist, jnp.zeros_like(omega), omega)
    ramp = along(jax.lax.complex(jnp.zeros_like(ramp), ramp), axis, x.ndim)
    return jnp.fft.irfft(jnp.fft.rfft(work, axis=axis) * ramp, n=size, axis=axis).astype(x.dtype)


@functools.cache
def _translation_matrix(size: int, amount: float) -> np.ndarray:
    """The circulant matrix of `spectral` with Nyquist "real", in float64."""
    k = np.arange(size // 2 + 1)
    ramp = np.exp(-2j * np.pi * k * amount / size)
    ramp[2 * k == size] = np.cos(np.pi * amount)
    return _circulant(np.fft.irfft(ramp, size))


@functools.cache
def _derivative_matrix(size: int) -> np.ndarray:
    """The circulant matrix of `derivative`, in float64."""
    k = np.arange(size // 2 + 1)
    ramp = np.where(2 * k == size, 0, 2j * np.pi * k / size)
    return _circulant(np.fft.irfft(ramp, size))


def _circulant(column: np.ndarray) -> np.ndarray:
    index = np.arange(len(column))
    return column[(index[:, None] - index[None, :]) % len(column)]


def _kernel(distance: jax.Array, method: str) -> jax.Array:
    if method == "bilinear":
        return jnp.maximum(1 - jnp.abs(distance), 0)
    inside = jnp.abs(distance) < 3
    return jnp.where(inside, jnp.sinc(distance) * jnp.sinc(distance / 3), jnp.zeros_like(distance))


def sample(
    x: jax.Array, start: jax.Array, size: int, axis: int, method: str
) -> tuple[jax.Array, jax.Array]:
    """Samples x at start, start + 1, ... by interpolation; the weights of a sample sum to 1.

    Returns the samples and a mask (size,) of those that read nothing outside x.
    """
    work = _working(x)
    position = jnp.arange(size).astype(work.dtype) + start.astype(work.dtype)
    taps = jnp.arange(x.shape[axis]).astype(work.dtype)
    weights = _kernel(position[:, None] - taps[None, :], method)
    total = weights.sum(axis=1, keepdims=True)
    weights = weights / jnp.where(jnp.abs(total) < 1e-3, jnp.ones_like(total), total)
    moved = jnp.moveaxis(
        jnp.tensordot(weights, work, axes=(1, axis), precision=jax.lax.Precision.HIGHEST), 0, axis
    )
    whole = position == jnp.round(position)
    radius = jnp.where(whole, 0, KERNEL_RADIUS[method] - 1).astype(work.dtype)
    first, last = jnp.floor(position) - radius, jnp.ceil(position) + radius
    return moved.astype(x.dtype), (first >= 0) & (last <= x.shape[axis] - 1)


def each(function, x: jax.Array, shifts: jax.Array, axes: Sequence[int], *options) -> jax.Array:
    """One move after the other, along every axis."""
    for i, axis in enumerate(axes):
        x = function(x, shifts[i], axis, *options)
    return x


def each_masked(function, x: jax.Array, shifts: jax.Array, axes: Sequence[int], *options):
    """As `each` for moves that return masks; the masks are joined to one that broadcasts."""
    mask = jnp.ones([1] * x.ndim, bool)
    for i, axis in enumerate(axes):
        x, known = function(x, shifts[i], axis, *options)
        mask = mask & along(known, axis, x.ndim)
    return x, mask
