"""Maxima written as a comparison and a choice, read as what they are.

    where(a > b, a, b)  and  where((a > b) | isnan(a), a, b)   are   max(a, b)

A choice by a comparison has no symmetry that names could show; a maximum does not mind the order
of its operands, which is what proves a tree of them over all pixels invariant.
"""

from jax import lax

from jaxconv.equivariance import _jaxpr

_LARGER = {"gt": True, "ge": True, "lt": False, "le": False}
_EXTREMES = {True: ("max", lax.max), False: ("min", lax.min)}


def with_extremes(program: _jaxpr.Program) -> _jaxpr.Program:
    """The program with such choices replaced by max and min."""
    makers = {id(slot): equation for equation in program.equations for slot in equation.outputs}
    equations = tuple(_extreme(equation, makers) or equation for equation in program.equations)
    return program._replace(equations=equations)


def _extreme(
    equation: _jaxpr.Equation, makers: dict[int, _jaxpr.Equation]
) -> _jaxpr.Equation | None:
    if equation.primitive != "select_n" or len(equation.inputs) != 3:
        return None
    which, other, chosen = equation.inputs
    comparisons = [c for c in _alternatives(which, makers) if not _is_nan(c)]
    if len(comparisons) != 1 or comparisons[0].primitive not in _LARGER:
        return None
    (compared,) = comparisons
    pair = [id(value) for value in compared.inputs]
    if sorted(pair) != sorted([id(other), id(chosen)]) or other is chosen:
        return None
    larger = _LARGER[compared.primitive] == (pair[0] == id(chosen))
    name, bind = _EXTREMES[larger]
    return equation._replace(primitive=name, inputs=(other, chosen), params={}, bind=bind)


def _alternatives(which: _jaxpr.Value, makers: dict[int, _jaxpr.Equation]) -> list[_jaxpr.Equation]:
    """The conditions whose disjunction a value is."""
    maker = makers.get(id(which))
    if maker is None:
        return []
    if maker.primitive == "or":
        return [found for value in maker.inputs for found in _alternatives(value, makers)]
    return [maker]


def _is_nan(equation: _jaxpr.Equation) -> bool:
    return equation.primitive == "ne" and equation.inputs[0] is equation.inputs[1]
