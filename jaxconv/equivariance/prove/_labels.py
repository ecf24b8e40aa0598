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

import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxconv.equivariance.prove._hash import (
    U,
    mix,
    multipliers,
    name_of,
    spread,
)

ZERO = name_of("exactly zero")
"""Name of a term of a sum that is exactly 0 (zero weight, zero padding)."""
CHUNK = 30_000
"""Labels that are looked at together: 1.4 MB, which the cache holds. By trial among 10⁴ to 10⁶."""
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
    for row, values in enumerate([*shifts.view(U), *periods.view(U)]):
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


def relative(code: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Sealed names with coordinates relative to `anchor` (D, ...), one per last-axis group."""
    periods = periods_of(code)
    shifts = shifts_of(code) - anchor[..., None]
    if periods.size and periods.min() == periods.max():  # as they mostly are: no division
        shifts += periods * (shifts < 0)
    else:
        shifts %= periods
    return sealed(code[:2], shifts, periods)


def common_period(periods: np.ndarray) -> np.ndarray:
    """Least common multiple over the last axis."""
    largest = periods.max(-1)
    if (largest[..., None] % periods == 0).all():
        return largest
    return np.lcm.reduce(periods, axis=-1)


def first_anchor(code: np.ndarray) -> np.ndarray:
    """τ of the first operand with the largest g, per group axis."""
    index = periods_of(code).argmax(-1)[..., None]
    return np.take_along_axis(shifts_of(code), index, -1)[..., 0]


def combine(code: np.ndarray, salt: np.ndarray, fixed: Sequence[int] = ()) -> np.ndarray:
    """Labels of op(v_1, ..., v_m), the operands along the last axis, in order.

    Along the group axes `fixed` the result is seen from the origin.
    """
    return by_rows(code, lambda part: _combined(part, salt, fixed))


def _combined(code: np.ndarray, salt: np.ndarray, fixed: Sequence[int]) -> np.ndarray:
    anchor = first_anchor(code)
    anchor[list(fixed)] = 0
    weights = multipliers(code.shape[-1])[:, None]
    total = (relative(code, anchor) * weights).sum(-1, dtype=U)
    return assemble(mix(total + spread(salt, 1)), anchor, common_period(periods_of(code)))


def by_rows(code: np.ndarray, join: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Joins the operands along the last axis, a few places at a time."""
    rows, place, count = code.shape[0], code.shape[1:-1], code.shape[-1]
    flat = code.reshape(rows, math.prod(place), count)
    step = max(1, CHUNK // max(count, 1))
    parts = [join(flat[:, i : i + step]) for i in range(0, max(flat.shape[1], 1), step)]
    out = np.concatenate(parts, 1) if len(parts) != 1 else parts[0]
    return out.reshape(rows, *place)


def is_zero(code: np.ndarray) -> np.ndarray:
    """Where a term is exactly zero."""
    return (code[0] == ZERO[0]) & (code[1] == ZERO[1])
