"""Labels: value numbering modulo translation.

G = Z_N1 x ... x Z_ND is the group of circular shifts of the chosen axes of the input x, with
(T_s x)[i] = x[i - s]. Every element v[i] of every intermediate array has a label (κ, τ, g):

    v[i](x) = F_κ(T_τ⁻¹ x)                                       τ in G, read modulo g
    F_κ(T_h x) = F_κ(x)      for all h in g_1 Z x ... x g_D Z    the stabilizer

κ names a function of x, so equal κ means equal function; g_a = N_a says nothing, g_a = 1 says
invariant along a. Constants have g = 1. Shifting x by p turns (κ, τ) into (κ, τ - p): a law is
read off by comparing the labels before and after.

A code array holds labels: uint64 of shape (2 + 2D, ...), rows κ (two lanes), τ (D), g (D).
"""

from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._hash import (
    U,
    divisors,
    mix,
    multipliers,
    name_of,
    spread,
)

ZERO = name_of("exactly zero")
"""Name of a term of a sum that is exactly 0 (zero weight, zero padding)."""
SEARCH_LIMIT = 4_000_000
"""Hashes that the search for a canonical anchor of one multiset may compute."""
_COORDINATES = np.stack([mix(np.arange(1, 33, dtype=U) * U(k)) | U(1) for k in (3, 7)])


def rank_of(code: np.ndarray) -> int:
    """D, the number of shifted axes."""
    return (code.shape[0] - 2) // 2


def shifts_of(code: np.ndarray) -> np.ndarray:
    """τ (D, ...), signed."""
    return code[2 : 2 + rank_of(code)].view(np.int64)


def periods_of(code: np.ndarray) -> np.ndarray:
    """G (D, ...), signed."""
    return code[2 + rank_of(code) :].view(np.int64)


def assemble(names: np.ndarray, shifts: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """A code array from its rows."""
    rows = [names, (shifts % periods).astype(U), periods.astype(U)]
    return np.concatenate(rows)


def constant_code(names: np.ndarray, rank: int) -> np.ndarray:
    """Labels of values that do not depend on x: τ = 0, g = 1."""
    shape = (rank, *names.shape[1:])
    return np.concatenate([names, np.zeros(shape, U), np.ones(shape, U)])


def sealed(names: np.ndarray, shifts: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """Names (2, ...) that tell whole labels apart, coordinates included."""
    out = np.array(np.broadcast_to(names, (2, *shifts.shape[1:])))
    for row, values in enumerate([*shifts.astype(U), *periods.astype(U)]):
        out += spread(_COORDINATES[:, row], values.ndim) * values
    return mix(out)


def moved(code: np.ndarray, axis: int, shift: int | np.ndarray) -> np.ndarray:
    """Sealed names after the input is shifted by `shift` along group axis `axis`."""
    shifts = shifts_of(code).copy()
    shifts[axis] = (shifts[axis] - shift) % periods_of(code)[axis]
    return sealed(code[:2], shifts, periods_of(code))


def absolute(code: np.ndarray) -> np.ndarray:
    """Sealed names of the labels as they are."""
    return sealed(code[:2], shifts_of(code), periods_of(code))


def _relative(code: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Sealed names with coordinates relative to `anchor` (D, ...), one per last-axis group."""
    periods = periods_of(code)
    return sealed(code[:2], (shifts_of(code) - anchor[..., None]) % periods, periods)


def common_period(periods: np.ndarray) -> np.ndarray:
    """Least common multiple over the last axis."""
    largest = periods.max(-1)
    if (largest[..., None] % periods == 0).all():
        return largest
    return np.lcm.reduce(periods, axis=-1)


def _first_anchor(code: np.ndarray) -> np.ndarray:
    """τ of the first operand with the largest g, per group axis."""
    index = periods_of(code).argmax(-1)[..., None]
    return np.take_along_axis(shifts_of(code), index, -1)[..., 0]


def combine(code: np.ndarray, salt: np.ndarray, fixed: Sequence[int] = ()) -> np.ndarray:
    """Labels of op(v_1, ..., v_m), the operands along the last axis, in order.

    Along the group axes `fixed` the result is seen from the origin.
    """
    anchor = _first_anchor(code)
    anchor[list(fixed)] = 0
    weights = multipliers(code.shape[-1]).reshape((2,) + (1,) * (code.ndim - 2) + (-1,))
    total = (_relative(code, anchor) * weights).sum(-1, dtype=U)
    names = mix(total + spread(salt, total.ndim - 1))
    return assemble(names, anchor, common_period(periods_of(code)))


def is_zero(code: np.ndarray) -> np.ndarray:
    """Where a term is exactly zero."""
    return (code[0] == ZERO[0]) & (code[1] == ZERO[1])


def _multiset_names(code: np.ndarray, anchor: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """Sum over the last axis of the hashes of relative labels: blind to order."""
    hashes = mix(_relative(code, anchor))
    if zero is not None:
        hashes[:, zero] = 0
    return hashes.sum(-1, dtype=U)


def multiset(code: np.ndarray, salt: np.ndarray, *, search: bool = True) -> np.ndarray:
    """Labels of op({v_1, ..., v_m}) for a commutative op, the operands along the last axis.

    With `search`, a p that leaves the multiset unchanged when x shifts by p becomes the period:
    that is what proves global pooling, norm statistics and attention invariant.
    """
    shape = code.shape[1:-1]
    flat = code.reshape(code.shape[0], -1, code.shape[-1])
    zero = is_zero(flat)
    zero = zero if zero.any() else None
    periods = common_period(periods_of(flat))
    if search:
        periods = _stabilized(flat, periods, zero)
    anchor = _canonical_anchor(flat, periods, zero)
    names = mix(_multiset_names(flat, anchor, zero) + spread(salt, 1))
    return assemble(names, anchor, periods).reshape(code.shape[0], *shape)


def _stabilized(code: np.ndarray, periods: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """The finest period per row: the least p under which the multiset does not change."""
    periods = periods.copy()
    origin = np.zeros_like(periods)
    base = None
    for axis in range(len(periods)):
        for period in np.unique(periods[axis]):
            rows = np.flatnonzero(periods[axis] == period)
            steps, sure = _steps(code[:, rows], axis, int(period), zero, rows)
            present = set(np.unique(steps).tolist())
            for p in divisors(int(period))[:-1]:
                if p not in present and sure.all():
                    continue
                likely = (steps == p).any(-1) | ~sure
                some = rows[likely]
                if not some.size:
                    continue
                base = _multiset_names(code, origin, zero) if base is None else base
                anchor = origin[:, some].copy()
                anchor[axis] = p
                part = None if zero is None else zero[some]
                same = (_multiset_names(code[:, some], anchor, part) == base[:, some]).all(0)
                periods[axis, some[same]] = p
                left = np.ones(len(rows), bool)
                left[np.flatnonzero(likely)[same]] = False
                rows, steps, sure = rows[left], steps[left], sure[left]
    return periods


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


def _canonical_anchor(code: np.ndarray, periods: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """An anchor that depends on the multiset only, so that shifted multisets share a name.

    τ of the class that occurs once and has the least hash; where no class does, the member
    that gives the least name. Any anchor is sound, a canonical one finds more equal functions.
    """
    anchor = _first_anchor(code)
    lonely = np.zeros(code.shape[1], bool)
    for axis in range(len(periods)):
        largest = periods_of(code)[axis].max(-1, keepdims=True)
        eligible = periods_of(code)[axis] == largest
        if zero is not None:
            eligible &= ~zero
        keys = np.where(eligible, code[0], U(0))
        order = np.sort(keys, 1)
        edge = np.ones((len(order), 1), bool)
        step = order[:, 1:] != order[:, :-1]
        single = np.hstack([edge, step]) & np.hstack([step, edge]) & (order != 0)
        found = single.any(1)
        key = np.take_along_axis(order, single.argmax(1)[:, None], 1)
        position = (keys == key).argmax(1)
        chosen = shifts_of(code)[axis, np.arange(len(order)), position]
        anchor[axis] = np.where(found, chosen, anchor[axis])
        lonely |= ~found & (periods[axis] > 1)
    rows = np.flatnonzero(lonely)
    if rows.size and rows.size * code.shape[-1] ** 2 <= SEARCH_LIMIT:
        part = None if zero is None else zero[rows]
        anchor[:, rows] = _least_anchor(code[:, rows], part, periods[:, rows])
    return anchor


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
