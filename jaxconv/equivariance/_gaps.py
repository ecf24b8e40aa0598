"""How far a value is from where it should be, in one compiled function per kind of value."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _laws
from jaxconv.equivariance._laws import Law, Turn
from jaxconv.equivariance._recipe import Recipe


class Gap(NamedTuple):
    """How far a value is from where it should be.

    eps_inf and eps_2 as in `LeafError`; border: share of the squared error at entries that see
    beyond the input's edges; compared: whether anything could be.
    """

    eps_inf: Any
    eps_2: Any
    border: Any
    compared: Any


NONE = Gap(0.0, 0.0, 0.0, np.True_)
"""The gap of an input, which is moved by definition."""


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _compare(
    y: Any,
    z: Any,
    clean: list[Any],
    turned: tuple[Turn, ...],
    axes: tuple[int, ...],
    recipe: Recipe | None,
    sources: list[Any],
) -> tuple[Gap, Any, Any]:
    """The gap of one value, the error map over its moved axes, and the moved value.

    The moved value of an affine row comes from its moved `sources` through its `recipe`. Over the
    other axes first: such reductions run on all cores, and the rest is small.
    """
    expected, known = _laws.moved(y, turned)
    if recipe is not None:
        expected = recipe(sources)[0]
    others = tuple(a for a in range(y.ndim) if a not in axes)
    largest, contrast = _errors.scale_of(y, _errors.Frame(axes, ()))
    difference = jnp.where(known, _errors.gap(expected, z), 0)
    highest = difference.max(axis=others, keepdims=True, initial=0.0)
    squares = jnp.sum(difference**2, axis=others, keepdims=True)
    inside = jnp.ones([1] * y.ndim, bool)
    for mask in clean:
        inside = inside & mask
    total, outside = squares.sum(), jnp.where(inside, 0, squares).sum()
    gap = Gap(
        highest.max(initial=0.0) / largest,
        jnp.sqrt(total) / contrast,
        jnp.where(total > 0, outside / jnp.where(total > 0, total, 1), 0),
        known.any(),
    )
    return gap, highest.reshape([y.shape[a] for a in axes]) / largest, expected


def compare(
    y: Any,
    z: Any,
    law: Law,
    shift: Sequence[float],
    recipe: Recipe | None = None,
    sources: Sequence[Any] = (),
) -> tuple[Gap, Any, Any]:
    """Compares a value of the shifted run (z) with the shifted value of the other (y)."""
    masks, turned = _settled(law, tuple(shift), y.shape)
    gap, error_map, expected = _compare(
        y, z, masks, turned, _laws.axes_of(law), recipe, list(sources)
    )
    moves = [move for move in law.moves if move]
    axes = [move.axis for move in moves]
    plain = axes and axes == sorted(set(axes)) and all(move.inner == 1 for move in moves)
    return gap, error_map if plain else None, expected


@functools.lru_cache(maxsize=256)
def _settled(
    law: Law, shift: tuple[float, ...], shape: tuple[int, ...]
) -> tuple[list[np.ndarray], tuple[Turn, ...]]:
    """Masks and turns; layers of one shape and pitch share them."""
    return _laws.clean(law, shift, shape), _laws.turns(law, shift)
