"""The history of a value: its laws, what limits them, and when an operation cannot change them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxconv.equivariance.prove._arrays import Labels, uncharged
from jaxconv.equivariance.prove._laws import INVARIANT, Law, laws_of


@dataclass(slots=True)
class Trail:
    """Laws of a value, and what limits them, per shifted axis.

    Attributes:
        laws: per shifted axis. A value that only renames or reshapes the elements of another has
            the laws of the other: a halo is still a halo when an image is flattened to tokens.
        extents: size of the axis that each law speaks of.
        limits: what limits each law, in program order.
        moves: whether the value depends on where x is.
        first: for every label, in order, the first place of its name; None until asked for.
    """

    laws: tuple[Law, ...]
    extents: tuple[int, ...]
    limits: tuple[tuple[Any, ...], ...]
    moves: bool
    first: np.ndarray | None = None


def start(value: Any, sizes: tuple[int, ...]) -> Trail:
    """The trail of a value without history."""
    if not (isinstance(value, Labels) and moves(value)):
        return Trail((INVARIANT,) * len(sizes), (1,) * len(sizes), ((),) * len(sizes), moves=False)
    laws = laws_of(value, sizes, partial=False)
    extents = tuple(value.shape[law.axis or 0] if value.shape else 1 for law in laws)
    return Trail(laws, extents, ((),) * len(sizes), moves=True)


def moves(value: Labels) -> bool:
    """Whether any element of a value depends on where x is."""
    return bool((uncharged(value).code[2 + value.rank :] != 1).any())


def follow(value: Labels, sources: Sequence[Labels], trails: Sequence[Trail]) -> Trail | None:
    """The trail of the one operand that moves, if the value only renames its elements in place.

    Place by place, the value must have the coordinates of that operand, and one name wherever
    the operand has one: then whatever law the operand obeys, the value obeys.
    """
    if any(labels.charge is not None for labels in (value, *sources)):
        return None
    pairs = zip(sources, trails, strict=True)
    moving = {id(source): (source, trail) for source, trail in pairs if trail.moves}
    if len(moving) != 1:
        return None
    source, trail = next(iter(moving.values()))
    old, new = source.code, value.code
    if old[0].size != new[0].size:
        return None
    if not np.array_equal(old[2:].reshape(len(old) - 2, -1), new[2:].reshape(len(new) - 2, -1)):
        return None
    if trail.first is None:
        _, index, inverse = np.unique(old[0], return_index=True, return_inverse=True)
        trail.first = index[inverse.reshape(-1)]
    names = new[0].reshape(-1)
    if not (names == names[trail.first]).all():
        return None
    return trail
