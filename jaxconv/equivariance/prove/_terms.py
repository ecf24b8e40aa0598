"""Sums in normal form: the multiset of their terms, so that a + b - a is b."""

import itertools
from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import Known, Labels, Value, within_limit
from jaxconv.equivariance.prove._hash import U, mix, name_of
from jaxconv.equivariance.prove._labels import ZERO, absolute, common_period, is_zero, periods_of
from jaxconv.equivariance.prove._multisets import multiset
from jaxconv.equivariance.prove._operands import zero_entries

MOST_TERMS = 64
"""Sums of more terms are not kept in normal form."""
FEW_IN_ALL = 20_000
"""Unless they have fewer terms in all places together."""
MOST_IN_ALL = 500_000
"""Sums of more terms in all places together are not kept either: 24 MB."""
MOST_CANCELLED = 8
"""Sums of more terms are not searched for a and -a."""


def as_terms(value: Value, labels: Labels, sign: int = 1, kind: str = "sum") -> np.ndarray:
    """The terms (…, m) of a sum; `labels` is the value lifted to the states of the sum."""
    if (
        isinstance(value, Labels)
        and value.terms is not None
        and value.kind == kind
        and value.states == labels.states
        and value.code.shape == labels.code.shape
    ):
        terms = value.terms
    else:
        terms = labels.applied(name_of("term", labels.states)).code[..., None]
        if isinstance(value, Known) and kind == "sum":
            broadcast = Known(np.broadcast_to(value.array, labels.shape))
            zero = zero_entries(broadcast, labels.states)[..., None]
            names = np.where(zero, ZERO.reshape((2,) + (1,) * zero.ndim), terms[:2])
            terms = np.concatenate([names, terms[2:]])
    if sign < 0:
        terms = negated(terms)
    return terms


def negated(terms: np.ndarray) -> np.ndarray:
    """Terms of -v: an involution on names, so that -(-v) is v."""
    names = terms[:2] ^ mix(np.broadcast_to(name_of("minus")[:, None], (2, 1))).reshape(
        (2,) + (1,) * (terms.ndim - 1)
    )
    zero = (terms[0] == ZERO[0]) & (terms[1] == ZERO[1])
    names = np.where(zero, terms[:2], names)
    return np.concatenate([names, terms[2:]])


def summed(
    parts: Sequence[np.ndarray],
    shape: Sequence[int],
    states: Sequence[str],
    *,
    search: bool,
    kind: str = "sum",
) -> Labels:
    """A sum in normal form: the multiset of its terms, exact zeros dropped.

    Of kind "max" or "min": the set of its terms, since max(a, a) is a.
    """
    place = np.broadcast_shapes(*[part.shape[1:-1] for part in parts])
    within_limit(*place, sum(part.shape[-1] for part in parts))
    wide = [np.broadcast_to(p, (p.shape[0], *place, p.shape[-1])) for p in parts]
    terms = np.concatenate(wide, -1)
    terms = cancelled(terms) if kind == "sum" else distinct(terms)
    terms = compacted(terms) if terms.shape[-1] > MOST_TERMS else terms
    code = multiset(terms, joint(shape, states, kind), search=search)
    labels = Labels(tuple(shape), tuple(states), code)
    found = (periods_of(code) < common_period(periods_of(terms))).any()
    if kept(terms[0].size, terms.shape[-1]) and (
        kind != "sum" or not found
    ):  # a new symmetry would be lost with a sum's terms
        labels.terms, labels.kind = terms, kind
    return labels


def kept(total: int, count: int) -> bool:
    """Whether sums of `count` terms, of `total` in all places, are kept in normal form."""
    return total <= FEW_IN_ALL or (count <= MOST_TERMS and total <= MOST_IN_ALL)


def cancelled(terms: np.ndarray) -> np.ndarray:
    """Without pairs a, -a, in sums of a few terms."""
    count = terms.shape[-1]
    if not 1 < count <= MOST_CANCELLED:
        return terms
    gone = is_zero(terms)
    names, opposite = absolute(terms), absolute(negated(terms))
    for i, j in itertools.combinations(range(count), 2):
        pair = (names[..., i] == opposite[..., j]).all(0) & ~gone[..., i] & ~gone[..., j]
        gone[..., i] |= pair
        gone[..., j] |= pair
    return without(terms, gone)


def joint(shape: Sequence[int], states: Sequence[str], kind: str = "sum") -> np.ndarray:
    """Names the sum, which is a vector over the bundled axes even where all terms are zero."""
    return name_of(kind, [n for n, s in zip(shape, states, strict=True) if s == "B" and n > 1])


def distinct(terms: np.ndarray) -> np.ndarray:
    """Each term once, the rest empty and cut away where no place needs them."""
    names = absolute(terms)
    order = np.lexsort(names, -1)
    names = np.take_along_axis(names, order[None], -1)
    terms = np.take_along_axis(terms, order[None], -1)
    again = np.zeros(order.shape, bool)
    again[..., 1:] = (names[..., 1:] == names[..., :-1]).all(0)
    return compacted(without(terms, again))


def compacted(terms: np.ndarray) -> np.ndarray:
    """Exact zeros last, and cut away where no place needs them."""
    empty = is_zero(terms)
    order = np.argsort(empty, -1, kind="stable")
    width = max(1, int((~empty).sum(-1).max(initial=0)))
    return np.take_along_axis(terms, order[None], -1)[..., :width]


def without(code: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """The code with exact zeros where `zero`."""
    rank = (code.shape[0] - 2) // 2
    still = np.concatenate([ZERO, np.zeros(rank, U), np.ones(rank, U)])
    return np.where(zero[None], still.reshape((-1,) + (1,) * (code.ndim - 1)), code)
