"""What limits a law that holds in every branch of an adaptive choice: where branches part ways.

With a choice that depends on x, an equation is charged when, over all branches, its output obeys
fewer shifts than its inputs: a sum of two values that chose their phases apart, a plain stride
after an adaptive one.
"""

import dataclasses
import math

from jaxconv.equivariance.prove._fork import Branches, branched, law_of
from jaxconv.equivariance.prove._limits import Limit
from jaxconv.equivariance.prove._program import Program

MOST_EQUATIONS = 600
"""Longer programs are not searched: every value is compared in every branch."""


def choice_limits(program: Program, *, periodic: bool) -> list[tuple[Limit, ...]]:
    """Limits of every output, in program order; none where the search would take long."""
    body = program.program
    if len(body.equations) > MOST_EQUATIONS:
        return [()] * len(body.outputs)
    values = [v for equation in body.equations for v in equation.outputs]
    wide = dataclasses.replace(program, program=body._replace(outputs=(*body.inputs, *values)))
    tree = branched(wide, periodic=periodic)
    if tree is None:
        return [()] * len(body.outputs)
    place = {id(value): number for number, value in enumerate((*body.inputs, *values))}
    found: dict[int, list[Limit]] = {}
    for order, equation in enumerate(body.equations):
        read = [id(value) for value in equation.inputs if id(value) in place]
        for slot in equation.outputs:
            found[id(slot)] = []
            for axis, size in enumerate(program.sizes):
                then = math.lcm(*[_lattice(tree, place[key], axis, size) for key in read])
                now = _lattice(tree, place[id(slot)], axis, size)
                kept = dict.fromkeys(
                    limit
                    for key in read
                    for limit in found.get(key, ())
                    if limit.axis == axis and limit.explains(now)
                )
                if then % now:
                    kept[_limit(equation, axis, then, now, order)] = None
                found[id(slot)] += kept
    return [tuple(sorted(found.get(id(v), ()), key=lambda l: l.order)) for v in body.outputs]


def _lattice(tree: Branches, number: int, axis: int, size: int) -> int:
    law = law_of(tree, number, axis, size)
    return size if law is None else law.shift


def _limit(equation, axis: int, then: int, now: int, order: int) -> Limit:
    params = equation.params
    strides = params.get("window_strides") or params.get("strides") or ()
    cause = "stride" if any(stride > 1 for stride in strides) else "phase mismatch"
    left = f"leaves multiples of {now}" if now else "no shift is left"
    place = equation.primitive, "/".join(equation.scope), equation.source
    return Limit(axis, "stride", *place, cause, left, then, now, order)
