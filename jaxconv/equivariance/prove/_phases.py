"""Phases: values that a shift of x multiplies by a root of unity, as Fourier coefficients are.

A label with charge c along a shifted axis of N pixels says, beside v(x) = F(T_τ⁻¹ x),

    F(T_h x) = exp(-2πi h·c / N) F(x)                       for all h in g Z,

a stabilizer with a twist, so that τ is read modulo the shifts that turn the phase by whole
circles. Products add charges, |·| removes them, and a
value whose charge a rule cannot follow keeps only the shifts that turn its phase by whole circles.
"""

from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import ANY, Labels, Value, plain
from jaxconv.equivariance.prove._labels import combine
from jaxconv.equivariance.prove._operands import charges, common_states, lift
from jaxconv.equivariance.prove._table import Call, Context


def has_phase(*values: Value) -> bool:
    """Whether any of the values has a charge."""
    return any(isinstance(value, Labels) and value.charge is not None for value in values)


def product(context: Context, call: Call, values: Sequence[Value], powers: Sequence[int]) -> Labels:
    """One function of all values whose charge is the sum of theirs, times `powers`."""
    states = common_states(values, call.shape)
    lifted = [lift(value, call.shape, states, context.rank) for value in values]
    total = np.zeros((context.rank,) + (1,) * len(call.shape), np.int64)
    for labels, power in zip(lifted, powers, strict=True):
        total = added_charges(total, charges(labels), context.sizes, power)
    salt = call.salt([labels.states for labels in lifted])
    return _joined(context, call, lifted, states, total, salt)


def added_charges(
    a: np.ndarray, b: np.ndarray, sizes: tuple[int, ...], power: int = 1
) -> np.ndarray:
    """Charges of products a · b^power: sums, in whole circles."""
    circle = np.array(sizes).reshape((-1,) + (1,) * (a.ndim - 1))
    free = (a == ANY) | (b == ANY)
    total = np.where(free, 0, a) + power * np.where(free, 0, b)
    return np.where(free, ANY, total % circle)


def equal_phases(context: Context, call: Call, values: Sequence[Value]) -> Labels | None:
    """One linear function of values with one charge; None where the charges differ."""
    states = common_states(values, call.shape)
    lifted = [lift(value, call.shape, states, context.rank) for value in values]
    rows = np.broadcast_arrays(
        *[charges(labels, value) for labels, value in zip(lifted, values, strict=True)]
    )
    charge = rows[0]
    for row in rows[1:]:
        if ((row != charge) & (row != ANY) & (charge != ANY)).any():
            return None
        charge = np.where(charge == ANY, row, charge)
    salt = call.salt([labels.states for labels in lifted])
    return _joined(context, call, lifted, states, charge, salt)


def _joined(
    context: Context,
    call: Call,
    lifted: Sequence[Labels],
    states: Sequence[str],
    charge: np.ndarray,
    salt: np.ndarray,
) -> Labels:
    code, periods = joined_code(lifted, salt)
    code[2 + context.rank :] = periods
    charge = np.broadcast_to(charge, (context.rank, *code.shape[1:]))
    out = Labels(call.shape, tuple(states), code, charge=charge, sizes=context.sizes)
    return out if (charge != 0).any() else plain(out)


def joined_code(lifted: Sequence[Labels], salt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Code of a product, phases left out, and its periods with phases."""
    codes = np.broadcast_arrays(*[plain(labels).code for labels in lifted])
    phased = np.broadcast_arrays(*[labels.code[2 + labels.rank :] for labels in lifted])
    return combine(np.stack(codes, -1), salt), np.lcm.reduce(np.stack(phased, -1), axis=-1)


def without(*values: Value) -> list[Value]:
    """The values without phases."""
    return [plain(value) for value in values]
