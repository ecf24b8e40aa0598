"""Whether a choice among candidates ties: laws of adaptive sampling suppose that none does.

Some programs tie at every input, for reasons that no name shows: what is normalized over two
pixels has both rows opposite, and their norms are equal but for rounding.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove._evaluate import evaluated
from jaxconv.equivariance.prove.rules.reduce import MOST_CANDIDATES

ROUNDING = 1000
"""Candidates closer than this many units of rounding of the largest tie: 1.2e-4 in float32."""


def tied(equation: _jaxpr.Equation, operands: Sequence[Any]) -> bool:
    """Whether an equation chooses among few candidates, two of which tie but for rounding."""
    if equation.primitive not in ("argmax", "argmin"):
        return False
    candidates = np.asarray(operands[0])
    along = candidates.shape[equation.params["axes"][0]]
    if not 1 < candidates.size == along <= MOST_CANDIDATES:
        return False
    values = candidates.reshape(-1).astype(np.float64)
    ordered = np.sort(values if equation.primitive == "argmax" else -values)
    inexact = jax.numpy.issubdtype(candidates.dtype, jax.numpy.inexact)
    unit = float(jax.numpy.finfo(candidates.dtype).eps) if inexact else 0.0
    return bool(ordered[-1] - ordered[-2] <= ROUNDING * unit * np.abs(ordered).max())


def any_tie(program: _jaxpr.Program, operands: Sequence[Any]) -> bool:
    """Whether some choice of a program ties at these operands, loops and branches left aside."""
    found: list[bool] = []
    evaluated(program, operands, watch=lambda *step: found.append(tied(*step)))
    return any(found)
