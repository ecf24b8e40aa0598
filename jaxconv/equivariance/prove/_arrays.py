"""Abstract arrays: labels for every position, and what is known about each axis.

An axis is in one of three states, so that a label array has the size of the positions and not of
the activations:

    E  explicit     a label per index                             (the shifted axes)
    R  replicated   all indices are equal, one label              (broadcasts, axes of size 1)
    B  bundled      one label names the whole vector along it     (batch, channels, heads)

B to E is a projection of the vector, E to B the ordered tuple of its labels, R to E a repeat.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance.prove._hash import U, Unmodelled, mix, name_of, salted, spread
from jaxconv.equivariance.prove._labels import ZERO, combine, is_zero, rank_of

LIMIT = 3_000_000
"""Labels in one intermediate; beyond it an equation is opaque."""


class Known:
    """A value that does not depend on x, and is known."""

    def __init__(self, value: Any):
        """Keeps the value as it is: an array, a scalar, a typed random key."""
        self.value = value
        self._array: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """The value as a NumPy array (the words of a random key)."""
        if self._array is None:
            value = self.value
            if jnp.issubdtype(getattr(value, "dtype", np.dtype(float)), jax.dtypes.extended):
                value = jax.random.key_data(value)
            self._array = np.asarray(value)
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return tuple(np.shape(self.value))

    def varies(self, axis: int) -> bool:
        """Whether the value differs along an axis."""
        a = self.array
        if a.shape[axis] <= 1:
            return False
        first = np.take(a, [0], axis)
        same = (a == first) | (np.isnan(a) & np.isnan(first) if a.dtype.kind in "fc" else False)
        return not bool(np.all(same))


@dataclass(slots=True)
class Labels:
    """Labels of an array that may depend on x.

    Attributes:
        shape: of the array.
        states: one of "E", "R", "B" per axis; axes of size 1 are always "R".
        code: (2 + 2D, *extent) with extent the size on E axes and 1 elsewhere.
        terms: (2 + 2D, *extent, m), when the value is the sum of m labelled terms.
        kind: what joins the terms: "sum", "max" or "min".
        charge: (D, *extent), when shifting x multiplies the value by a phase (`_charges`).
        sizes: N of every shifted axis, when there are charges.
        order: the keys and the axis that the value is the argsort of.
        token: stands for the values of this array, position by position.
        determined: tokens of arrays that this one is a function of, position by position.
    """

    shape: tuple[int, ...]
    states: tuple[str, ...]
    code: np.ndarray
    terms: np.ndarray | None = None
    kind: str = "sum"
    charge: np.ndarray | None = None
    sizes: tuple[int, ...] | None = None
    order: "tuple[Labels, int] | None" = None
    token: int = field(default_factory=itertools.count().__next__)
    determined: frozenset[int] = frozenset()
    trail: Any = field(default=None, repr=False)

    def __post_init__(self):
        self.shape = tuple(self.shape)
        states = zip(self.shape, self.states, strict=True)
        self.states = tuple("R" if size == 1 else state for size, state in states)
        assert self.code.shape[1:] == extent(self.shape, self.states), (
            self.shape,
            self.states,
            self.code.shape,
        )

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def rank(self) -> int:
        """Number of shifted axes of the input."""
        return rank_of(self.code)

    def rearranged(
        self,
        shape: Sequence[int],
        states: Sequence[str],
        move: Callable[[np.ndarray], np.ndarray],
    ) -> "Labels":
        """The same labels elsewhere: `move` acts on axes 1 and up, a trailing one may follow."""
        terms = None if self.terms is None else move(self.terms)
        charge = None if self.charge is None else move(self.charge)
        code = move(self.code)
        return Labels(tuple(shape), tuple(states), code, terms, self.kind, charge, self.sizes)

    def through(self, *parts: Any) -> "Labels":
        """The labels of a linear map of the bundled axes that `parts` name."""
        salt = name_of(*parts)
        terms = None if self.terms is None else renamed(self.terms, salt, keep_zero=True)
        code = renamed(self.code, salt)
        return Labels(self.shape, self.states, code, terms, self.kind, self.charge, self.sizes)

    def applied(self, salt: np.ndarray) -> "Labels":
        """The labels of any function of the value that `salt` names."""
        return Labels(self.shape, self.states, renamed(self.code, salt))


Value = Known | Labels
V = TypeVar("V", Known, Labels, Value)
ANY = np.iinfo(np.int64).min
"""Charge of an entry that is exactly zero: any phase will do."""


def uncharged(labels: Labels) -> Labels:
    """The same labels without phases: what a phase broke is no longer a symmetry."""
    if labels.charge is None or labels.sizes is None:
        return labels
    code = unphased(labels.code, labels.charge, labels.sizes)
    return replace(labels, code=code, terms=None, charge=None, sizes=None)


def unphased(code: np.ndarray, charge: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Code whose periods turn every phase by whole circles."""
    rank, code = rank_of(code), code.copy()
    for axis, size in enumerate(sizes):
        turns = size // np.gcd(size, np.where(charge[axis] == ANY, 0, charge[axis]))
        periods = np.lcm(code[2 + rank + axis].view(np.int64), turns).astype(U)
        code[2 + axis] %= periods
        code[2 + rank + axis] = periods
    return code


def plain(value: V) -> V:
    """A value without phases."""
    return uncharged(value) if isinstance(value, Labels) else value  # type: ignore[return-value]


def extent(shape: Sequence[int], states: Sequence[str]) -> tuple[int, ...]:
    """Shape of the label array: the size on E axes, 1 elsewhere."""
    return tuple(n if s == "E" else 1 for n, s in zip(shape, states, strict=True))


def within_limit(*sizes: int) -> None:
    """Refuses label arrays that would be too large."""
    if math.prod(sizes) > LIMIT:
        raise Unmodelled(f"more than {LIMIT} labels")


def renamed(code: np.ndarray, salt: np.ndarray, *, keep_zero: bool = False) -> np.ndarray:
    """Code with every name salted; exact zeros stay zeros under a linear map."""
    names = salted(code[:2], salt)
    if keep_zero:
        names = np.where(is_zero(code), spread(ZERO, code.ndim - 1), names)
    return np.concatenate([names, code[2:]])


def bundle_rank(states: Sequence[str], axis: int) -> int:
    """How many bundled axes come before this one."""
    return sum(state == "B" for state in states[:axis])


def expanded(labels: Labels, axis: int) -> Labels:
    """One label per index along an axis."""
    size = labels.shape[axis]
    state = labels.states[axis]
    if state == "E" or size == 1:
        return labels
    within_limit(math.prod(labels.code.shape[1:]), size)
    states = (*labels.states[:axis], "E", *labels.states[axis + 1 :])
    repeat = lambda a: np.repeat(a, size, axis + 1)
    if state == "R":
        return labels.rearranged(labels.shape, states, repeat)
    source = labels.through("project", bundle_rank(labels.states, axis), size)
    wide = source.rearranged(labels.shape, states, repeat)
    index = np.arange(size, dtype=U).reshape([-1 if d == axis else 1 for d in range(labels.ndim)])
    wide.code[:2] = mix(wide.code[:2] + mix(index * U(7) + U(13))[None])
    wide.terms = None
    return wide


def bundled(labels: Labels, axis: int) -> Labels:
    """One label for the whole vector along an axis."""
    size, state = labels.shape[axis], labels.states[axis]
    if state == "B" or size == 1:
        return labels
    states = (*labels.states[:axis], "B", *labels.states[axis + 1 :])
    rank = bundle_rank(labels.states, axis)
    if state == "R":
        return replace(labels.through("repeat", rank, size), states=states, terms=None)
    charge = labels.charge
    if charge is not None and (np.take(charge, [0], axis + 1) != charge).any():
        labels, charge = uncharged(labels), None
    code = combine(np.moveaxis(plain(labels).code, axis + 1, -1), name_of("bundle", rank, size))
    if charge is not None:
        code[2 + labels.rank :] = np.lcm.reduce(labels.code[2 + labels.rank :], axis + 1)
        charge = np.take(charge, [0], axis + 1)
    code = np.expand_dims(code, axis + 1)
    return Labels(labels.shape, states, code, charge=charge, sizes=labels.sizes)


def all_bundled(labels: Labels) -> Labels:
    """One label for the whole array (replicated axes stay as they are)."""
    for axis, state in enumerate(labels.states):
        if state == "E":
            labels = bundled(labels, axis)
    return labels


def condensed(labels: Labels, axes: Sequence[int]) -> Labels:
    """Bundles E axes along which nothing moves and nothing repeats: no law is lost."""
    for axis in axes:
        if labels.states[axis] != "E":
            continue
        if labels.charge is not None and (labels.charge != 0).any():
            continue
        coordinates = labels.code[2:]
        if (np.take(coordinates, [0], axis + 1) != coordinates).any():
            continue
        rows = np.moveaxis(labels.code[0], axis, 0).reshape(labels.shape[axis], -1)
        if sum(len(np.unique(row)) for row in rows) == len(np.unique(rows)):
            labels = bundled(labels, axis)
    return labels
