"""Labels of commutative operations: multisets, seen from an anchor that only depends on them."""

import numpy as np

from jaxconv.equivariance.prove._hash import U, divisors, mix, spread
from jaxconv.equivariance.prove._labels import (
    assemble,
    by_rows,
    common_period,
    first_anchor,
    is_zero,
    periods_of,
    rank_of,
    relative,
    shifts_of,
)

SEARCH_LIMIT = 4_000_000
"""Hashes that the search for a canonical anchor of one multiset may compute."""


def _multiset_names(code: np.ndarray, anchor: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """Sum over the last axis of the hashes of relative labels: blind to order."""
    hashes = mix(relative(code, anchor))
    if zero is not None:
        hashes[:, zero] = 0
    return hashes.sum(-1, dtype=U)


def multiset(code: np.ndarray, salt: np.ndarray, *, search: bool = True) -> np.ndarray:
    """Labels of op({v_1, ..., v_m}) for a commutative op, the operands along the last axis.

    With `search`, a p that leaves the multiset unchanged when x shifts by p becomes the period:
    that is what proves global pooling, norm statistics and attention invariant.
    """
    return by_rows(code, lambda part: _gathered(part, salt, search=search))


def _gathered(code: np.ndarray, salt: np.ndarray, *, search: bool) -> np.ndarray:
    zero = is_zero(code)
    zero = zero if zero.any() else None
    periods = common_period(periods_of(code))
    anchor, alone = _lone_members(code, zero)
    if search:
        periods = _stabilized(code, periods, zero, alone)
    _anchored(code, periods, zero, anchor, alone > 0)
    names = mix(_multiset_names(code, anchor, zero) + spread(salt, 1))
    return assemble(names, anchor, periods)


def _eligible(code: np.ndarray, axis: int, zero: np.ndarray | None) -> np.ndarray:
    """Members that may be an anchor along an axis: of the largest period, and not zero."""
    largest = periods_of(code)[axis].max(-1, keepdims=True)
    eligible = periods_of(code)[axis] == largest
    return eligible if zero is None else eligible & ~zero


def _lone_members(code: np.ndarray, zero: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Per group axis and row: τ and period of a member whose name no other has; 0 without one.

    A shift that leaves the multiset as it is leaves that member where it is.
    """
    anchor, alone = first_anchor(code), np.zeros(shifts_of(code).shape[:2], np.int64)
    last: tuple[np.ndarray, ...] = ()
    for axis in range(len(alone)):
        eligible = _eligible(code, axis, zero)
        if not last or (eligible != last[0]).any():
            keys = np.where(eligible, code[0], U(0))
            order = np.sort(keys, 1)
            edge = np.ones((len(order), 1), bool)
            step = order[:, 1:] != order[:, :-1]
            single = np.hstack([edge, step]) & np.hstack([step, edge]) & (order != 0)
            key = np.take_along_axis(order, single.argmax(1)[:, None], 1)
            last = eligible, single.any(1), (keys == key).argmax(1)
        _, found, position = last
        rows = np.flatnonzero(found)
        anchor[axis, rows] = shifts_of(code)[axis, rows, position[rows]]
        alone[axis, rows] = periods_of(code)[axis, rows, position[rows]]
    return anchor, alone


def _stabilized(
    code: np.ndarray, periods: np.ndarray, zero: np.ndarray | None, alone: np.ndarray
) -> np.ndarray:
    """The finest period per row: the least p under which the multiset does not change."""
    periods = periods.copy()
    for axis in range(len(periods)):
        open_rows = alone[axis] != periods[axis]
        for period in np.unique(periods[axis, open_rows]):
            rows = np.flatnonzero(open_rows & (periods[axis] == period))
            steps, sure = _steps(code[:, rows], axis, int(period), zero, rows)
            present = set(np.unique(steps).tolist())
            for p in divisors(int(period))[:-1]:
                if p not in present and sure.all():
                    continue
                likely = (steps == p).any(-1) | ~sure
                some = rows[likely]
                if not some.size:
                    continue
                same = _unchanged(code, axis, p, zero, some)
                periods[axis, some[same]] = p
                left = np.ones(len(rows), bool)
                left[np.flatnonzero(likely)[same]] = False
                rows, steps, sure = rows[left], steps[left], sure[left]
    return periods


def _unchanged(
    code: np.ndarray, axis: int, p: int, zero: np.ndarray | None, rows: np.ndarray
) -> np.ndarray:
    """Which of `rows` are the same multiset after x shifts by p along an axis."""
    origin = np.zeros((rank_of(code), len(rows)), np.int64)
    anchor = origin.copy()
    anchor[axis] = p
    code, zero = code[:, rows], None if zero is None else zero[rows]
    return (_multiset_names(code, anchor, zero) == _multiset_names(code, origin, zero)).all(0)


def _steps(
    code: np.ndarray, axis: int, period: int, zero: np.ndarray | None, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By how much x must shift to bring each member to where the first one is; who must come.

    A shift that leaves a multiset as it is brings some member to the place of any other, so only
    these shifts need be tried where a member has the full period.
    """
    full = periods_of(code)[axis] == period
    if zero is not None:
        full &= ~zero[rows]
    shifts = shifts_of(code)[axis]
    first = np.take_along_axis(shifts, full.argmax(-1)[:, None], -1)
    return np.where(full, (shifts - first) % period, -1), full.any(-1)


def _anchored(
    code: np.ndarray,
    periods: np.ndarray,
    zero: np.ndarray | None,
    anchor: np.ndarray,
    found: np.ndarray,
) -> None:
    """Fills in anchors that depend on the multiset only, so that shifted multisets share a name.

    Where no member is alone with its name, the one after the longest gap: the first of a window.
    Where several gaps are the longest, the member that gives the least name. Any anchor is sound,
    a canonical one finds more equal functions.
    """
    open_rows = ~found & (periods > 1)
    tied = np.zeros(code.shape[1], bool)
    for axis in np.flatnonzero(open_rows.any(1)).tolist():
        rows = np.flatnonzero(open_rows[axis])
        part = code[:, rows]
        eligible = _eligible(part, axis, None if zero is None else zero[rows])
        period = periods[axis, rows][:, None]
        far = np.iinfo(np.int64).max // 2
        places = np.sort(np.where(eligible, shifts_of(part)[axis] % period, far), 1)
        last = np.take_along_axis(places, eligible.sum(1, keepdims=True) - 1, 1)
        gaps = np.diff(places, axis=1, prepend=last - period)
        gaps = np.where(places < far, gaps, -1)
        longest = gaps.max(1)
        anchor[axis, rows] = np.take_along_axis(places, gaps.argmax(1)[:, None], 1)[:, 0]
        tied[rows] |= ((gaps == longest[:, None]).sum(1) > 1) | (longest < 0)
    rows = np.flatnonzero(tied)
    if rows.size and rows.size * code.shape[-1] ** 2 <= SEARCH_LIMIT:
        part = None if zero is None else zero[rows]
        anchor[:, rows] = _least_anchor(code[:, rows], part, periods[:, rows])


def _least_anchor(code: np.ndarray, zero: np.ndarray | None, periods: np.ndarray) -> np.ndarray:
    """The member whose coordinates, taken as the anchor, give the least name.

    Members that a period of the multiset maps to each other give the same name.
    """
    best, anchor = None, np.zeros(shifts_of(code).shape[:2], np.int64)
    largest = periods_of(code).max(-1)
    members = np.arange(code.shape[-1])
    if code.shape[1] == 1:  # one multiset, often long: the pixels of an image
        fit = (periods_of(code) == largest[..., None]).all(0)[0]
        fit = np.flatnonzero(fit if zero is None else fit & ~zero[0])
        places = shifts_of(code)[:, 0, fit] % periods
        members = fit[np.unique(places, axis=1, return_index=True)[1]] if len(fit) else members
    for member in members:
        candidate = shifts_of(code)[..., member]
        allowed = (periods_of(code)[..., member] == largest).all(0)
        if zero is not None:
            allowed &= ~zero[:, member]
        names = _multiset_names(code, candidate, zero)[0]
        names = np.where(allowed, names, np.iinfo(U).max)
        better = np.ones(len(names), bool) if best is None else names < best
        best = names if best is None else np.where(better, names, best)
        anchor = np.where(better, candidate, anchor)
    return anchor
