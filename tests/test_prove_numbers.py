"""The numbers that judge the prover, and its constants: NumPy's values are those of JAX."""

import jax
import numpy as np
import prove_programs
import pytest

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove._numbers import NUMBERS, computed


def equations(name):
    program = _jaxpr.trace(prove_programs.PROGRAMS[name], np.zeros(prove_programs.SHAPE))
    yield from flat(program)


def flat(program):
    for equation in program.equations:
        yield equation
        for inner in equation.programs:
            yield from flat(inner)
