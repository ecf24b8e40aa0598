"""Operations that weigh what they see: pools, convolutions, products with a matrix."""

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
    contracted, batch = step.params["dimension_numbers"]
    sights = []
    for side in (0, 1):
        sight = step.sights[side]
        if sight is not None and sight.axis is not None:
            a, free = sight.axis, _free(step, side)
            if a in batch[side]:
                sight = sight.at(batch[side].index(a))
            elif a in contracted[side]:
                sight = _through_matrix(step, side, a) or step.stilled(side)
            else:
                skipped = len(batch[0]) + (len(_free(step, 0)) if side else 0)
                sight = sight.at(skipped + free.index(a))
        sights.append(sight)
    return step.joined(sights)


def _free(step: Step, side: int) -> list[int]:
    taken = [*step.params["dimension_numbers"][0][side], *step.params["dimension_numbers"][1][side]]
    return [axis for axis in range(len(step.inside(side))) if axis not in taken]


def _through_matrix(step: Step, side: int, axis: int) -> Sight | None:
    """A contraction with a known matrix, as in resizing: its band is the window."""
    other, (contracted, _) = 1 - side, step.params["dimension_numbers"]
    free, sight = _free(step, other), step.plain().sights[side]
    if len(free) != 1 or len(step.inside(other)) != 2 or sight is None or sight.axis is None:
        return None
    matrix = step.concrete(step.equation.inputs[other])
    if matrix is None:
        return None
    rows = matrix if contracted[other] == (1,) or contracted[other] == [1] else matrix.T
    position = 0 if other == 0 else len(step.shape) - 1
    seen = band(sight, rows != 0, step.pixels)
    return seen and (seen.at(position) if seen.stride else seen)
