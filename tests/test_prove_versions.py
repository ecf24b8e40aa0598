"""What a newer JAX added that the prover does not know is named at once, and is never trusted."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import prove_programs
import pytest

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove import _interpret, prove
from jaxconv.equivariance.prove._known import OPAQUE, OPAQUE_STEMS, PARAMETERS
from jaxconv.equivariance.prove._shards import COLLECTIVES
from jaxconv.equivariance.prove._table import RULES
from jaxconv.equivariance.prove.rules.elementwise import NAMES, PHASED

LIST_PRIMITIVES = """
import gc, jax, jax.numpy, jax.scipy, jax.scipy.linalg, jax.image, jax.random
from jaxconv.ops._define import Primitive
print(*sorted({o.name for o in gc.get_objects() if isinstance(o, Primitive)}))
"""


def unknown_primitives(names):
    """Names that no rule, no loop, no call, and no list of opaque operations has."""
    known = {*RULES, *_interpret.CONTROL, *COLLECTIVES, *_jaxpr.CALLS, *OPAQUE}
    families = (*OPAQUE_STEMS, "jaxconv_")  # ours have a plain form, which is analyzed instead
    return [name for name in names if name not in known and not name.startswith(families)]


def unknown_parameters(equations):
    """Parameters that the rule of an equation was not written for."""
    return sorted(
        f"{equation.primitive}[{name}]"
        for equation in equations
        for name in equation.params
        if name not in PARAMETERS.get(equation.primitive, equation.params)
    )


def equations(program):
    for equation in program.equations:
        yield equation
        for inner in equation.programs:
            yield from equations(inner)


def test_every_primitive_of_this_jax_is_known():
    run = subprocess.run(
        [sys.executable, "-c", LIST_PRIMITIVES], capture_output=True, text=True, check=True
    )
    names = run.stdout.split()
    assert len(names) > 200
    assert unknown_primitives(names) == [], f"not known to the prover, new in {jax.__version__}"
    assert unknown_primitives([*names, "conv_of_tomorrow"]) == ["conv_of_tomorrow"]


@pytest.mark.parametrize("name", prove_programs.PROGRAMS)
def test_every_parameter_is_known(name):
    with jax.enable_x64(True):
        program = _jaxpr.trace(prove_programs.PROGRAMS[name], np.zeros(prove_programs.SHAPE))
    assert unknown_parameters(equations(program)) == []


def test_rules_name_what_they_read():
    whole = {*NAMES, *PHASED}  # these name all their parameters in the labels of their outputs
    assert {*RULES} - whole == {*PARAMETERS}
    assert not {*RULES} & OPAQUE


def test_a_new_parameter_makes_an_operation_opaque(monkeypatch):
    x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    f = lambda x: jnp.cumsum(x, 3)
    assert prove(f, x).unmodelled == ()
    monkeypatch.setitem(PARAMETERS, "cumsum", PARAMETERS["cumsum"] - {"reverse"})
    proof = prove(f, x)
    assert [law.kind for law in proof.outputs[0].laws] == ["unproved"] * 2
    (gap,) = proof.unmodelled
    assert (gap.primitive, gap.reason) == (
        "cumsum",
        "parameter reverse, which the rule does not know",
    )
    program = _jaxpr.trace(f, jnp.zeros(x.shape))
    assert unknown_parameters(equations(program)) == ["cumsum[reverse]"]
