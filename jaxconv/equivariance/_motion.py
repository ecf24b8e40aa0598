"""Along which axis every value moves: as a receptive field is followed, but through joins.

A receptive field is a bound, so x - mean(x) sees the whole image and its window stands still. For
the question of how a value moves, what stands still beside it does not matter: the sum moves as x
does. Where the bound of `_sight` stands still this walk takes the motion of the operand that moves.
"""

from jaxconv.equivariance._jaxpr import Equation, Value
from jaxconv.equivariance._sight.algebra import Sight
from jaxconv.equivariance._sight.walk import Walk

_LOOKUPS = ("gather", "dynamic_slice")


class Motion(Walk):
    """What the values of a program see, with the motion of operands that move kept."""

    def _step(self, equation: Equation, sights: list[Sight | None]) -> list[Sight | None]:
        found = super()._step(equation, sights)
        return [
            self._kept(equation, sights, value, sight)
            for value, sight in zip(equation.outputs, found, strict=True)
        ]

    def _kept(
        self, equation: Equation, sights: list[Sight | None], value: Value, sight: Sight | None
    ) -> Sight | None:
        if sight is None or sight.axis is not None:
            return sight
        if equation.primitive in _LOOKUPS:
            return _looked_up(equation, sights[0]) or sight
        if equation.primitive == "concatenate":
            axis = equation.params["dimension"]
            return next((s for s in sights if s is not None and s.axis not in (None, axis)), sight)
        if not all(_spreads(operand.shape, value.shape) for operand in equation.inputs):
            return sight
        moving = [
            s
            for operand, s in zip(equation.inputs, sights, strict=True)
            if s is not None and s.axis is not None and operand.shape[s.axis] > 1
        ]
        return moving[0] if moving and _one_pitch(moving) else sight


def _spreads(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an operand of an elementwise operation has this shape: equal, or 1, on each axis."""
    if not shape:
        return True
    return len(shape) == len(to) and all(a in (1, b) for a, b in zip(shape, to, strict=True))


def _one_pitch(moving: list[Sight]) -> bool:
    return len({(s.axis, s.stride, s.part) for s in moving}) == 1


def _looked_up(equation: Equation, sight: Sight | None) -> Sight | None:
    """The motion of an operand of which whole axes are looked up."""
    if sight is None or sight.axis is None:
        return None
    operand, sizes = equation.inputs[0], equation.params["slice_sizes"]
    axis = sight.axis
    if equation.primitive == "dynamic_slice":
        return sight if sizes[axis] == operand.shape[axis] else None
    numbers = equation.params["dimension_numbers"]
    if axis in numbers.operand_batching_dims:
        place = numbers.operand_batching_dims.index(axis)
        source = numbers.start_indices_batching_dims[place]
        rank = len(equation.outputs[0].shape)
        batch = [a for a in range(rank) if a not in numbers.offset_dims]
        return sight.at(batch[source])
    if sizes[axis] != operand.shape[axis] or axis in numbers.collapsed_slice_dims:
        return None
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    kept = [a for a in range(len(operand.shape)) if a not in gone]
    return sight.at(numbers.offset_dims[kept.index(axis)])
