"""How far a value is from where it should be, in one compiled function per kind of value."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _laws
from jaxconv.equivariance._laws import Law, Turn


class Gap(NamedTuple):
    """How far a value is from where it should be.

    eps_inf and eps_2 as in `LeafError`; border: share of the squared error at entries that see
    beyond the input's edges; compared: whether anything could be.
    """

    eps_inf: Any
    eps_2: Any
    border: Any
    compared: Any

    def obeys(self, limit: float) -> bool:
        """Whether the value is where it should be, wherever that can be said."""
        return not bool(self.compared) or bool(self.eps_inf <= limit)


NONE = Gap(0.0, 0.0, 0.0, np.True_)
"""The gap of an input, which is moved by definition."""


def measured(
    y: Any, z: Any, turned: tuple[Turn, ...], border: Any, moved: tuple[Any, Any]
) -> tuple[Gap, Any]:
    """The gap of one value, and its error map over the axes that move where it has one.

    Compared are `moved`, y where it should be and a mask of where that is known, and z. Over the
    other axes first: such reductions run on all cores, and the rest is small.
    """
    expected, known = moved
    axes = _laws.axes_of(turned)
    others = tuple(a for a in range(y.ndim) if a not in axes)
    largest, contrast = _errors.scale_of(y, _errors.Frame(axes, ()))
    difference = jnp.where(known, _errors.gap(expected, z), 0)
    highest = difference.max(axis=others, keepdims=True, initial=0.0)
    squares = jnp.sum(difference**2, axis=others, keepdims=True)
    clean = _laws.inside(turned, border, y.shape)
    total, outside = squares.sum(), jnp.where(clean, 0, squares).sum()
    gap = Gap(
        highest.max(initial=0.0) / largest,
        jnp.sqrt(total) / contrast,
        jnp.where(total > 0, outside / jnp.where(total > 0, total, 1), 0),
        known.any(),
    )
    order = [turn.axis for turn in turned]
    plain = order and order == sorted(set(order)) and all(turn.inner == 1 for turn in turned)
    return gap, highest.reshape([y.shape[a] for a in axes]) / largest if plain else None


@functools.partial(jax.jit, static_argnums=2)
def _compare(y: Any, z: Any, turned: tuple[Turn, ...], border: Any) -> Gap:
    return measured(y, z, turned, border, _laws.moved(y, turned))[0]


def compare(y: Any, z: Any, law: Law, shift: Sequence[float]) -> Gap:
    """Compares a value of the shifted run (z) with the shifted value of the other (y)."""
    return _compare(y, z, _laws.circles(law, shift), np.array(_laws.borders(law), np.int32))
