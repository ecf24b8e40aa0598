"""Differences of an output from what it should be, as a few numbers per shift."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxconv.equivariance import _moves
from jaxconv.equivariance.actions import Frame


class Scale(NamedTuple):
    """What errors are measured against: max |y| and the norm of y less its mean."""

    largest: jax.Array
    contrast: jax.Array


class Difference(NamedTuple):
    """Errors of one output leaf at one shift, relative to its `Scale`.

    eps_inf = max |T y - f(T x)| / max |y|, over all outputs, over the border and over the
    interior; eps_2 the same in the 2-norm against y less its mean; `place` the flat index of the
    largest; `count` how many outputs were compared.
    """

    eps_inf: jax.Array
    border: jax.Array
    interior: jax.Array
    eps_2: jax.Array
    place: jax.Array
    count: jax.Array


def real(y: jax.Array) -> jax.Array:
    """Outputs as numbers to subtract: float32 at least; booleans and integers too."""
    if jnp.issubdtype(y.dtype, jnp.complexfloating) or y.dtype == jnp.float64:
        return y
    return y.astype(jnp.float32)


def most(x: jax.Array) -> jax.Array:
    """The largest entry, 0 of none; the last axis first, which runs on all cores of a CPU."""
    return x.max(axis=-1 if x.ndim else None, initial=0.0).max(initial=0.0)


def scale_of(y: jax.Array, frame: Frame) -> Scale:
    """The scale of an output: its mean is over moved axes, over the last axis when none moves."""
    work = real(y)
    work = jnp.where(jnp.isfinite(work), work, jnp.zeros_like(work))
    size = jnp.abs(work)
    largest = most(size)
    axes = frame.axes or ((y.ndim - 1,) if y.ndim and y.shape[-1] > 1 else ())
    mean = work.mean(axis=axes, keepdims=True) if axes else jnp.zeros_like(work)
    contrast = jnp.sqrt(jnp.sum(jnp.abs(work - mean) ** 2, axis=-1 if y.ndim else None).sum())
    smallest = jnp.finfo(size.dtype).eps * largest * (y.size**0.5) + jnp.finfo(size.dtype).tiny
    return Scale(jnp.maximum(largest, jnp.finfo(size.dtype).tiny), jnp.maximum(contrast, smallest))


def inside(y_shape: tuple[int, ...], frame: Frame, shift: jax.Array) -> jax.Array:
    """Outputs whose own and whose source's receptive field lies within the input."""
    clean = jnp.ones([1] * len(y_shape), bool)
    for i, axis in enumerate(frame.axes):
        low, high = frame.border[i] if frame.border else (0, 0)
        size = y_shape[axis]
        here = jnp.arange(size)
        there = jnp.mod(here - jnp.floor(shift[i]).astype(int), size)
        also = jnp.mod(here - jnp.ceil(shift[i]).astype(int), size)
        ok = jnp.ones(size, bool)
        for index in (here, there, also):
            ok = ok & (index >= low) & (index < size - high)
        clean = clean & _moves.along(ok, axis, len(y_shape))
    return clean


def gap(expected: jax.Array, actual: jax.Array) -> jax.Array:
    """|expected - actual|; infinite where either is no number."""
    difference = jnp.abs(real(expected) - real(actual))
    return jnp.where(jnp.isfinite(difference), difference, jnp.inf)


def compare(
    expected: jax.Array, actual: jax.Array, masks: tuple[jax.Array, jax.Array], scale: Scale
) -> Difference:
    """All errors of one leaf; `masks` say where the law is known and where the interior is."""
    known, clean = (jnp.broadcast_to(mask, actual.shape) for mask in masks)
    difference = jnp.where(known, gap(expected, actual), 0)
    relative = difference / scale.largest
    return Difference(
        relative.max(initial=0.0),
        jnp.where(clean, 0, relative).max(initial=0.0),
        jnp.where(clean, relative, 0).max(initial=0.0),
        jnp.sqrt(jnp.sum(difference**2)) / scale.contrast,
        jnp.argmax(difference) if actual.size else jnp.zeros((), int),
        known.sum(),
    )
