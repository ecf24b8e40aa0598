"""Sampling on a phase that was chosen, and back: the stride and its adjoint.

How an image chooses its phase is in `polyphase_select`.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv import _parse
from jaxconv._types import IntOrInts
from jaxconv.ops._phase_scores import column
from jaxconv.ops.blur import blur
from jaxconv.ops.polyphase_select import NORMS, checked_strides, polyphase_select


def polyphase_split(x: jax.Array, stride: IntOrInts) -> jax.Array:
    """Takes an image apart into its phases, the images that a stride can sample.

        y[n·P + p, i, c] = x[n, s·i + p, c],    P = Π s

    Shapes: x (N, *spatial, C) -> y (N·P, *spatial / stride, C), the phases of an example in a row.

    Args:
        x: images, floating, of axes that close into circles.
        stride: pixels from one sample to the next; it divides the axes.

    Returns:
        The phases, in the order of `Selection.index`.

    Raises:
        TypeError: when x holds integers.
        ValueError: for an axis that the stride does not divide.

    Example:
        >>> x = jnp.array([0.0, 3.0, 1.0, 2.0]).reshape(1, 4, 1)
        >>> polyphase_split(x, 2)[..., 0].tolist()
        [[0.0, 1.0], [3.0, 2.0]]
    """
    strides = checked_strides("polyphase_split", x, stride)
    count, *spatial, channels = x.shape
    small = [size // step for size, step in zip(spatial, strides, strict=True)]
    paired = [n for pair in zip(small, strides, strict=True) for n in pair]
    y = x.reshape(count, *paired, channels)
    axes = range(len(spatial))
    y = y.transpose(0, *(2 + 2 * a for a in axes), *(1 + 2 * a for a in axes), y.ndim - 1)
    return y.reshape(count * math.prod(strides), *small, channels)


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
    An index of floats, (N, phases), mixes the phases instead of choosing one, which has a gradient
    and is how a choice is learned:

        y[n, i, c] = Σ_p index[n, p] · x[n, s·i + p, c]

    Shapes: x (N, *spatial, C) -> y (N, *spatial / stride, C), index (N,) or as given.

    Args:
        x: finite images, floating, of axes that close into circles.
        stride: pixels from one sample to the next; it divides the axes.
        norm: "l2", "l1" or "linf", what the choice goes by.
        index: a choice made elsewhere, so that two branches sample the same pixels: integers
            (N,), or floats (N, phases).
        low_pass: taps of a circular binomial `blur` before sampling; the choice is made on x.

    Returns:
        The samples and the index, for skip paths and for `polyphase_up`.

    Raises:
        TypeError: when x holds integers.
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
        Chaman and Dokmanic 2021, arXiv:2011.14214, sections 3.1 and 4. Rojas-Gomez et al. 2022,
        arXiv:2210.08001 (mixtures).
    """
    strides = checked_strides("polyphase_down", x, stride)
    _parse.choice("polyphase_down", "norm", norm, NORMS)
    if index is None:
        index = polyphase_select(x, strides, norm=norm).index
    _check_index("polyphase_down", x, index, strides)
    if low_pass is not None:
        x = blur(x, _parse.per_axis("polyphase_down", "low_pass", low_pass, len(strides)))
    if index.ndim == 2:
        return _mixed(x, index, strides), index
    for axis, digit in enumerate(_digits(index, strides), start=1):
        step = strides[axis - 1]
        phases = [lax.slice_in_dim(x, p, None, step, axis=axis) for p in range(step)]
        x = phases[0]
        for p, phase in enumerate(phases[1:], start=1):
            x = jnp.where(column(digit == p, x), phase, x)
    return x, index


def polyphase_up(y: jax.Array, index: jax.Array, stride: IntOrInts) -> jax.Array:
    """Puts samples back on the pixels that `polyphase_down` took them from, zeros between them.

        x[n, s·i + p[n], c] = y[n, i, c],    0 elsewhere
        x[n, s·i + p, c] = index[n, p] · y[n, i, c]    for an index of floats (N, phases)

    The adjoint of `polyphase_down` with the same index. Follow it with a circular `blur` times
    s^axes, or a convolution, which fill in the zeros and commute with shifts.

    Shapes: y (N, *spatial, C), index (N,) or (N, phases) -> x (N, *spatial · stride, C).

    Args:
        y: samples, of any dtype.
        index: what `polyphase_down` returned: integers from 0 to the number of phases, or floats.
        stride: pixels from one sample to the next.

    Returns:
        x, of the dtype of y.

    Raises:
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
    _check_index("polyphase_up", y, index, strides, name="y")
    if index.ndim == 2:
        weights = index.astype(y.dtype).reshape(-1, 1, *[1] * (y.ndim - 1))
        return _merged(weights[:, 0] * jnp.repeat(y, index.shape[1], axis=0), strides)
    for axis, digit in enumerate(_digits(index, strides), start=1):
        step, zero = strides[axis - 1], jnp.zeros_like(y)
        phases = [jnp.where(column(digit == p, y), y, zero) for p in range(step)]
        stacked = jnp.stack(phases, axis=axis + 1)
        y = stacked.reshape(*y.shape[:axis], y.shape[axis] * step, *y.shape[axis + 1 :])
    return y


def _mixed(x: jax.Array, weights: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    phases = polyphase_split(x, strides)
    phases = phases.reshape(*weights.shape, -1)
    mean = jnp.sum(weights.astype(x.dtype)[..., None] * phases, axis=1)
    small = [size // step for size, step in zip(x.shape[1:-1], strides, strict=True)]
    return mean.reshape(x.shape[0], *small, x.shape[-1])


def _merged(phases: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    """The inverse of `polyphase_split`."""
    small, rank = phases.shape[1:-1], len(strides)
    x = phases.reshape(-1, *strides, *small, phases.shape[-1])
    pairs = [axis for a in range(1, rank + 1) for axis in (rank + a, a)]
    large = [size * step for size, step in zip(small, strides, strict=True)]
    return x.transpose(0, *pairs, x.ndim - 1).reshape(-1, *large, phases.shape[-1])


def _check_index(
    where: str, x: jax.Array, index: jax.Array, strides: tuple[int, ...], *, name: str = "x"
) -> None:
    count, phases = x.shape[0], math.prod(strides)
    whole = jnp.issubdtype(index.dtype, jnp.integer)
    if index.shape != ((count,) if whole else (count, phases)):
        raise ValueError(
            f"{where}: index holds {index.dtype} of shape {index.shape}; expected integers "
            f"({count},), one phase per example of {name}, or floats ({count}, {phases}). "
            f"Got {name} of shape {x.shape}. Pass the index that polyphase_down returned for the "
            f"same batch and stride."
        )


def _digits(index: jax.Array, strides: tuple[int, ...]) -> list[jax.Array]:
    """The phase on each axis, of the row-major number of the phase."""
    digits = []
    for step in reversed(strides):
        digits.append(index % step)
        index = index // step
    return digits[::-1]
