"""Shift laws, read off the labels of an output by comparing them before and after a shift."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from jaxconv.equivariance.prove._arrays import Known, Labels, Value, uncharged
from jaxconv.equivariance.prove._hash import divisors, mix
from jaxconv.equivariance.prove._labels import absolute, moved, periods_of, shifts_of

SAMPLES = 64
"""Elements that a shift must map to elements before it is tried on all of them."""
LARGEST_ROLL = 8
"""Output displacements that the search for an interior tries."""
MOST_CANDIDATES = 3
"""Input shifts that it tries for each of them."""
LEAST_PARTIAL = 0.25
"""Share of elements that must move to an element for a partial law to be worth a line."""


@dataclass(frozen=True)
class Law:
    """How an output moves when one axis of the input shifts.

    Attributes:
        kind: "invariant" · "equivariant" (a roll of the output) · "permuted" (a fixed
            permutation of the elements) · "adaptive" (a roll that depends on x, ties excluded) ·
            "interior" (a roll away from the border) · "partial" (some elements move to an
            element) · "unproved".
        shift: p, the finest input shift for which it is proved; its multiples follow.
        axis: of the output that rolls.
        roll: q, how far the output moves when the input moves by p.
        halo: rows at the low and the high end that the interior leaves out.
        share: of elements that move to an element ("partial").
        rolls: the possible rolls, which of them depends on x ("adaptive").
        off_ties: whether it supposes that no two candidates of a choice tie.
    """

    kind: str
    shift: int = 0
    axis: int | None = None
    roll: int = 0
    halo: tuple[int, int] = (0, 0)
    share: float = 1.0
    rolls: tuple[int, ...] = ()
    off_ties: bool = field(default=False, compare=False)

    @property
    def exact(self) -> bool:
        """Whether it holds for the whole output and every circular shift by multiples of p."""
        return self.kind in ("invariant", "equivariant", "permuted", "adaptive")


INVARIANT = Law("invariant", 1)
UNPROVED = Law("unproved")


def laws_of(value: Value, sizes: tuple[int, ...], *, partial: bool = True) -> tuple[Law, ...]:
    """The finest law for each shifted axis of the input; partial ones only if asked for."""
    if isinstance(value, Known) or value.code.size == 0:
        return (INVARIANT,) * len(sizes)
    table = _Table(uncharged(value))
    return tuple(table.law(axis, size, partial=partial) for axis, size in enumerate(sizes))


def coarsened(law: Law, finest: int) -> Law:
    """The law on shifts by multiples of `finest` only."""
    if law.kind == "unproved" or law.shift % finest == 0:
        return law
    times = math.lcm(abs(law.shift), finest) // abs(law.shift)
    rolls = tuple(roll * times for roll in law.rolls)
    return replace(law, shift=law.shift * times, roll=law.roll * times, rolls=rolls)


class _Table:
    """Sealed names of an output and their sums over slices, computed once."""

    def __init__(self, labels: Labels):
        self.labels = labels
        self.names = absolute(labels.code)
        self.ordered = np.sort(self.names[0].reshape(-1))
        flat = labels.code.reshape(len(labels.code), -1)
        places = np.linspace(0, flat.shape[1] - 1, SAMPLES).astype(int)
        self.sample = flat[:, np.unique(places)]
        self.total = mix(self.names).sum(axis=tuple(range(1, self.names.ndim)), dtype=np.uint64)
        self.explicit = [axis for axis, s in enumerate(labels.states) if s == "E"]
        self.slices = {axis: slice_sums(self.names, axis) for axis in self.explicit}

    def law(self, axis: int, size: int, *, partial: bool) -> Law:
        if size == 1:
            return INVARIANT
        for p in self._possible(axis, size):
            found = self._exact(axis, p)
            if found is not None:
                return found
        law = self._interior(axis, size)
        if law is None and partial:
            law = self._partial(axis, size)
        return law or UNPROVED

    def _possible(self, axis: int, size: int) -> list[int]:
        """Shifts after which a few elements are elements still: few wrong ones pass."""
        tried = np.array(divisors(size)[:-1])
        codes = np.repeat(self.sample[:, None], len(tried), 1)
        after = moved(codes, axis, tried[:, None])[0]
        place = np.minimum(np.searchsorted(self.ordered, after), len(self.ordered) - 1)
        return tried[(self.ordered[place] == after).all(1)].tolist()

    def _exact(self, axis: int, p: int) -> Law | None:
        after = moved(self.labels.code, axis, p)
        if (after == self.names).all():
            return Law("invariant", p)
        total = mix(after).sum(axis=tuple(range(1, after.ndim)), dtype=np.uint64)
        if (total != self.total).any():
            return None
        for d in self.explicit:
            sums, size = slice_sums(after, d), self.labels.shape[d]
            for q in _rolls(self.slices[d], sums):
                if (after == np.roll(self.names, q, d + 1)).all():
                    return Law("equivariant", p, d, q if q <= size // 2 else q - size)
        return Law("permuted", p) if same_multiset(after, self.names) else None

    def _interior(self, axis: int, size: int) -> Law | None:
        best: tuple[int, int, int] | None = None
        law = None
        for d in self.explicit:
            length = self.labels.shape[d]
            for q in range(1, min(LARGEST_ROLL, length - 1) + 1):
                for p in self._candidates(axis, d, q, size):
                    sums = slice_sums(moved(self.labels.code, axis, p), d)
                    match = np.r_[False, sums[q:] == self.slices[d][:-q], False]
                    edges = np.flatnonzero(match[1:] != match[:-1])
                    signed = p if p <= size // 2 else p - size
                    for start, stop in zip(edges[::2], edges[1::2], strict=True):
                        key = (stop - start, -abs(signed), -q)
                        if best is None or key > best:
                            halo = (int(start), int(length - (stop + q)))
                            best, law = key, Law("interior", signed, d, q, halo)
                if best is not None and 2 * best[0] >= length:
                    break  # larger rolls move fewer rows
        return law

    def _candidates(self, axis: int, d: int, q: int, size: int) -> list[int]:
        """Input shifts that move most of the middle one of the lines that move, by q along d."""
        code = np.moveaxis(self.labels.code, d + 1, 1)
        lines = code.reshape(*code.shape[:2], -1)
        moving = (periods_of(lines)[axis] > 1).sum(0)
        line = lines[
            ..., np.flatnonzero(moving == moving.max())[(moving == moving.max()).sum() // 2]
        ]
        same = (line[:2, q:] == line[:2, :-q]).all(0) & (periods_of(line)[axis, q:] > 1)
        shifts = shifts_of(line)[axis]
        found = ((shifts[q:] - shifts[:-q]) % size)[same]
        values, counts = np.unique(found[found > 0], return_counts=True)
        return [int(p) for p in values[np.argsort(-counts, kind="stable")][:MOST_CANDIDATES]]

    def _partial(self, axis: int, size: int) -> Law | None:
        active = periods_of(self.labels.code)[axis] > 1
        if not active.any():
            return None
        for p in divisors(size)[:-1]:
            after = moved(self.labels.code, axis, p)[0]
            share = float(np.isin(after[active], self.names[0][active]).mean())
            if share >= LEAST_PARTIAL:
                return Law("partial", p, share=share)
        return None


def slice_sums(names: np.ndarray, axis: int) -> np.ndarray:
    """One word for every slice across an axis."""
    others = tuple(d for d in range(names.ndim) if d not in (0, axis + 1))
    place = np.arange(math.prod(names.shape[d] for d in others), dtype=np.uint64)
    rows = np.moveaxis(names[0], axis, 0).reshape(names.shape[axis + 1], -1)
    return mix(rows + mix(place)).sum(1, dtype=np.uint64)


def _rolls(before: np.ndarray, after: np.ndarray) -> list[int]:
    """All q > 0 with after == roll(before, q)."""
    size = len(before)
    starts = np.flatnonzero(before == after[0])
    shifts = sorted({int(-start % size) for start in starts} - {0})
    return [q for q in shifts if (after == np.roll(before, q)).all()]


def same_multiset(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same names, in any order."""
    rows = [n.reshape(2, -1) for n in (a, b)]
    ordered = [r[:, np.lexsort(r)] for r in rows]
    return bool((ordered[0] == ordered[1]).all())
