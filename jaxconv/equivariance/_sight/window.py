"""Operations that weigh what they see: pools, convolutions, products with a matrix."""

from jaxconv.equivariance._jaxpr import Equation, Value
from jaxconv.equivariance._sight.algebra import Sight, band
from jaxconv.equivariance._sight.step import Step


def pool(step: Step) -> Sight | None:
    """Pools: a window over every axis."""
    sight, p = step.sights[0], step.params
    if sight is None or sight.axis is None:
        return step.with_others(sight)
    a, ones = sight.axis, (1,) * len(step.shape)
    base = p.get("base_dilation", ones)[a]
    reach = p.get("window_dilation", ones)[a] * (p["window_dimensions"][a] - 1)
    return step.with_others(_slid(sight, base, p["padding"][a][0], reach, p["window_strides"][a]))


def _slid(sight: Sight, base: int, low: int, reach: int, stride: int) -> Sight:
    """A window of reach + 1 entries over the dilated and padded axis, every stride-th one."""
    return sight.zoomed(base).taken(-low).spread(0, reach).taken(0, stride)


def convolution(step: Step) -> Sight | None:
    sight, p = step.sights[0], step.params
    numbers = p["dimension_numbers"]
    if sight is not None and sight.axis is not None:
        if sight.axis in numbers.lhs_spec[2:]:
            j = numbers.lhs_spec.index(sight.axis) - 2
            reach = p["rhs_dilation"][j] * (step.inside(1)[numbers.rhs_spec[j + 2]] - 1)
            sight = _slid(
                sight, p["lhs_dilation"][j], p["padding"][j][0], reach, p["window_strides"][j]
            ).at(numbers.out_spec[j + 2])
        elif sight.axis == numbers.lhs_spec[0] and p["batch_group_count"] == 1:
            sight = sight.at(numbers.out_spec[0])
        else:
            sight = step.stilled(0)
    return step.with_others(sight)


def dot(step: Step) -> Sight | None:
    sights = []
    for side in (0, 1):
        sight = step.sights[side]
        if sight is not None and sight.axis is not None:
            place = free_place(step.equation, side, sight.axis)
            if place is not None:
                sight = sight.at(place)
            else:
                sight = _through_matrix(step, side) or step.stilled(side)
        sights.append(sight)
    return step.joined(sights)


def free_place(equation: Equation, side: int, axis: int) -> int | None:
    """Where an axis of an operand of a product is in the output; None if it is contracted."""
    contracted, batch = equation.params["dimension_numbers"]
    if axis in batch[side]:
        return list(batch[side]).index(axis)
    if axis in contracted[side]:
        return None
    skipped = len(batch[0]) + (len(_free(equation, 0)) if side else 0)
    return skipped + _free(equation, side).index(axis)


def _free(equation: Equation, side: int) -> list[int]:
    contracted, batch = equation.params["dimension_numbers"]
    taken = [*contracted[side], *batch[side]]
    return [axis for axis in range(len(equation.inputs[side].shape)) if axis not in taken]


def matrix_of(equation: Equation, side: int) -> tuple[Value, tuple[int, int], int] | None:
    """The other operand of a product where it is a matrix, or the same one for every batch entry.

    With its axes of outputs and of inputs, and the axis of the outputs in what the product makes.
    """
    other, contracted = 1 - side, equation.params["dimension_numbers"][0]
    free = _free(equation, other)
    if len(free) != 1 or len(contracted[other]) != 1:
        return None
    place = free_place(equation, other, free[0])
    assert place is not None
    return equation.inputs[other], (free[0], contracted[other][0]), place


def _through_matrix(step: Step, side: int) -> Sight | None:
    """A contraction with a known matrix, as in resizing: its band is the window."""
    found, sight = matrix_of(step.equation, side), step.plain().sights[side]
    if found is None or len(found[0].shape) != 2 or sight is None or sight.axis is None:
        return None
    value, axes, place = found
    matrix = step.concrete(value)
    if matrix is None:
        return None
    seen = band(sight, matrix.transpose(axes) != 0, step.pixels)
    return seen and (seen.at(place) if seen.stride else seen)
