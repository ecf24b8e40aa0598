"""What audits and Lie derivatives are asked for, checked before anything runs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxconv import _parse


def pixels(where: str, shift: Any, sizes: Sequence[int]) -> tuple[int, ...]:
    """Whole pixels along each moved axis, of which one at least is moved along.

    Unless given 1, 3, 5 and so on: odd, and different along every axis, so that no even stride and
    no diagonal pattern hides from it.
    """
    if shift is None:
        return tuple(range(1, 2 * len(sizes), 2))
    given = _per_axis(where, "shift", shift, sizes)
    amount = tuple(_parse.integer(where, "shift", t, minimum=None) for t in given)
    if not any(t % size for t, size in zip(amount, sizes, strict=True)):
        raise ValueError(
            f"{where}: shift moves nothing on the circle; expected one that is no multiple of "
            f"every size of {tuple(sizes)}. Got shift={amount}. Use shift={(1,) * len(sizes)}."
        )
    return amount


def velocity(where: str, given: Any, sizes: Sequence[int]) -> list[float]:
    """Pixels per unit of time along each moved axis, not all of them 0; 1 unless given."""
    if given is None:
        return [1.0] * len(sizes)
    rates = [float(rate) for rate in _per_axis(where, "velocity", given, sizes)]
    if not all(map(math.isfinite, rates)) or not any(rates):
        raise ValueError(
            f"{where}: velocity is no direction; expected finite numbers, not all 0. "
            f"Got velocity={tuple(rates)}. Use velocity={(1.0,) * len(sizes)}."
        )
    return rates


def rows(where: str, counterfactual: Any, count: int) -> list[int]:
    """The rows of an audit that a counterfactual is asked for."""
    if isinstance(counterfactual, (bool, np.bool_)):
        return list(range(count)) if counterfactual else []
    if not isinstance(counterfactual, (Sequence, np.ndarray)) or isinstance(counterfactual, str):
        raise TypeError(
            f"{where}: counterfactual is of type {type(counterfactual).__name__}; expected True, "
            f"False, or numbers of rows. Got counterfactual={counterfactual!r}. "
            f"Use counterfactual=[0], say."
        )
    asked = [_parse.integer(where, "counterfactual", k, minimum=0) for k in counterfactual]
    if asked and max(asked) >= count:
        raise ValueError(
            f"{where}: counterfactual names a row that is not there; expected numbers below "
            f"{count}. Got counterfactual={asked}. Rows count from 0, as in Audit.operations."
        )
    return asked


def tolerance(where: str, given: float) -> float:
    """A limit of errors."""
    if not given >= 0:
        raise ValueError(
            f"{where}: tolerance is no limit of an error; expected a number of at least 0. "
            f"Got tolerance={given}. Leave it out for 10 times the dtype's."
        )
    return float(given)


def _per_axis(where: str, name: str, given: Any, sizes: Sequence[int]) -> list[Any]:
    """One entry for every moved axis."""
    listed = list(given) if isinstance(given, (Sequence, np.ndarray)) else None
    if listed is None or len(listed) != len(sizes):
        raise ValueError(
            f"{where}: {name} has not one entry for each of the {len(sizes)} moved axes; expected "
            f"a tuple of {len(sizes)}. Got {name}={given!r}. Use {name}={(1,) * len(sizes)}, or "
            f"name the moved axes with axes=."
        )
    return listed
