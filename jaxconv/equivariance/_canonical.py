"""How the wrappers of canonicalize.py move images and outputs, each example by its own amount."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxconv.equivariance import _moves
from jaxconv.equivariance.positions import Translation, first_of


def rolled(x: jax.Array, shift: jax.Array) -> jax.Array:
    """Example n rolled by shift[n, a] on axis a + 1: one choice per binary digit, no gather."""
    for axis in range(1, shift.shape[1] + 1):
        amount, reach = shift[:, axis - 1] % x.shape[axis], 1
        while reach < x.shape[axis]:
            flag = (amount // reach % 2 == 1).reshape(-1, *[1] * (x.ndim - 1))
            x = jnp.where(flag, jnp.roll(x, reach, axis), x)
            reach *= 2
    return x


def translated(x: jax.Array, shift: jax.Array) -> jax.Array:
    """Example n moved by shift[n, a] pixels on axis a + 1, without its Nyquist frequency.

    The only rule under which moves by real numbers add up (`_moves.spectral`).
    """
    axes = range(shift.shape[1])
    return jax.vmap(lambda x, amounts: _moves.each(_moves.spectral, x, amounts, axes, "zero"))(
        x, shift
    )


def placed(y: jax.Array, best: jax.Array, scale: np.ndarray) -> jax.Array:
    """Output y of the moved image, back where x has it: the mean over all places that tie."""
    found, axes = first_of(best), range(1, best.ndim)

    def one_place(y):
        return rolled(y, found.shift * scale)

    def mean_of_places(y):
        mask, work = best, y.astype(_moves_dtype(y))
        for axis, factor in zip(axes, scale.ravel().tolist(), strict=True):
            mask = _with_zeros_between(mask, axis, factor)
        mask = mask.astype(work.dtype).reshape(*mask.shape, *[1] * (y.ndim - mask.ndim))
        total = jnp.sum(mask, axis=tuple(axes), keepdims=True)
        many = _spectrum(work, axes) * _spectrum(mask / total, axes)
        for axis in axes:
            many = jnp.fft.ifft(many, axis=axis)
        tied = (found.ties > 0).reshape(-1, *[1] * (y.ndim - 1))
        return jnp.where(tied, many.real.astype(y.dtype), one_place(y))

    return jax.lax.cond(jnp.any(found.ties > 0), mean_of_places, one_place, y)


def _moves_dtype(y: jax.Array) -> np.dtype:
    return np.promote_types(y.dtype, np.float32)


def _spectrum(x: jax.Array, axes: range) -> jax.Array:
    for axis in axes:
        x = jnp.fft.fft(x, axis=axis)
    return x


def _with_zeros_between(mask: jax.Array, axis: int, factor: int) -> jax.Array:
    """Entry i at factor · i, false elsewhere."""
    wide = jnp.expand_dims(mask, axis + 1)
    wide = jnp.pad(wide, [(0, (factor - 1) * (a == axis + 1)) for a in range(wide.ndim)])
    shape = (*mask.shape[:axis], mask.shape[axis] * factor, *mask.shape[axis + 1 :])
    return wide.reshape(shape)


def scales(where: str, x: jax.Array, y: jax.Array) -> np.ndarray:
    """Output pixels per input pixel on every spatial axis, (1, axes)."""
    spatial = x.shape[1:-1]
    found = y.shape[1 : 1 + len(spatial)]
    if len(found) < len(spatial) or any(b % a for a, b in zip(spatial, found, strict=True)):
        raise ValueError(
            f"{where}: f turns x of shape {tuple(x.shape)} into {tuple(y.shape)}; expected axes "
            f"of the same sizes {spatial}, or multiples. Got f={y.dtype} {tuple(y.shape)}. "
            f"Use make_shift_invariant, or resize the output of f."
        )
    return np.asarray([[b // a for a, b in zip(spatial, found, strict=True)]], np.int32)


def check_phase(where: str, x: jax.Array, found: Translation) -> None:
    """Refuses images that have no phase, where they can be seen."""
    if isinstance(found.ties, Tracer) or not found.ties.any():
        return
    example = int(jnp.argmax(found.ties > 0))
    axis = int(jnp.argmin(found.strength[example]))
    least = math.sqrt(jnp.finfo(_moves_dtype(x)).eps)
    raise ValueError(
        f"{where}: the first harmonic of example {example} along spatial axis {axis} is "
        f"{float(found.strength[example, axis]):.1e} of what varies there, so its phase is noise; "
        f"expected at least {least:.1e}. Got x of shape {tuple(x.shape)}. "
        f'Use method="content", which is exact for such images under whole shifts.'
    )


def marked(y: jax.Array, ties: jax.Array) -> jax.Array:
    """NaN in all outputs of an example that has no phase."""
    return jnp.where((ties > 0).reshape(-1, *[1] * (y.ndim - 1)), jnp.nan, y)
