"""Rows that are affine and the same at all places: whatever moves their inputs moves their output.

    row(T x) = T row(x), and <c J, D x> = <c, D row(x)>

for every T and D that act along the axes alone, parts of a pixel included: normalization with
running statistics, a bias, a residual sum, a convolution of one pixel. What is known of their
inputs need not be computed of their outputs again, nor the other way round: of the 174 rows of
ResNet-50, 102 are of this kind.
"""

from typing import Any

from jaxconv.equivariance import _laws
from jaxconv.equivariance._fold import Row
from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law

_SUMS = ("add", "add_any", "sub", "neg", "mul", "div")


def is_affine(program: Program, laws: dict[Value, Law], row: Row) -> bool:
    """Whether a row commutes with every motion along the axes."""
    if len(row.outputs) != 1:
        return False
    return all(_is_affine(program.equations[i], laws) for i in row.equations)


def _is_affine(equation: Equation, laws: dict[Value, Law]) -> bool:
    output = equation.outputs[0]
    law = laws.get(output)
    if law is None or not law.moving:
        return False
    if not all(m is None or m.count == m.period for m in law.moves):
        return False
    if equation.primitive == "reshape":  # normalization merges all axes but the last, and back
        return _circles(laws.get(equation.inputs[0])) == _circles(law)
    if equation.primitive == "conv_general_dilated":
        return _is_pixelwise(equation, laws)
    if equation.primitive not in _SUMS:
        return False
    moving = [v for v in equation.inputs if v in laws]
    if equation.primitive == "mul" and len(moving) > 1:
        return False
    if equation.primitive == "div" and equation.inputs[1] in laws:
        return False
    return all(_moves_alike(v, output, laws) for v in equation.inputs)


def _is_pixelwise(equation: Equation, laws: dict[Value, Law]) -> bool:
    """Whether a convolution mixes the channels of a pixel and reads no other."""
    (x, kernel), params = equation.inputs, equation.params
    if kernel in laws or x not in laws or params["batch_group_count"] != 1:
        return False
    window = [kernel.shape[axis] for axis in params["dimension_numbers"].rhs_spec[2:]]
    plain = all(n == 1 for n in (*window, *params["window_strides"], *params["lhs_dilation"]))
    unpadded = all(tuple(pair) == (0, 0) for pair in params["padding"])
    return plain and unpadded and laws[x].motion() == laws[equation.outputs[0]].motion()


def is_light(program: Program, laws: dict[Value, Law], row: Row) -> bool:
    """Whether moving what an affine row reads and running it costs less than to move its output.

    Moving takes a multiplication for every entry of the circles it turns on; so does a sum over
    channels for each of them.
    """
    for equation in (program.equations[i] for i in row.equations):
        if equation.primitive == "conv_general_dilated":
            kernel = equation.inputs[1].shape
            channels = kernel[equation.params["dimension_numbers"].rhs_spec[1]]
            moves = [move for move in laws[equation.outputs[0]].moves if move]
            if channels > sum(move.count for move in moves):
                return False
    return True


def _circles(law: Law | None) -> list[Any] | None:
    """What moves, whatever axes it is kept on."""
    return law and [m and (m.count, m.ratio, m.period) for m in law.moves]


def _moves_alike(value: Value, output: Value, laws: dict[Value, Law]) -> bool:
    """Whether an operand moves as the output does, or is one number along its axes."""
    if value in laws:
        return value.shape == output.shape and laws[value].motion() == laws[output].motion()
    if not value.shape:
        return True
    return len(value.shape) == len(output.shape) and all(
        value.shape[axis] == 1 for axis in _laws.axes_of(laws[output])
    )
