"""One equation with what its operands see, and the rules that many operations share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxconv.equivariance._jaxpr import Equation, Value
from jaxconv.equivariance._sight.algebra import Sight, join

Sights = Sequence[Sight | None]
Concrete = Callable[[Value], np.ndarray | None]
"""The entries of a value that depends on no argument; None when they cannot be had."""


class Step:
    """One equation, the sights of its operands, and the size of the input axis.

    Attributes:
        equation: the equation.
        sights: what each operand sees; None for one that does not depend on the input.
        pixels: size of the input axis.
        concrete: gives the entries of an operand that depends on no argument.
    """

    def __init__(self, equation: Equation, sights: Sights, pixels: int, concrete: Concrete):
        """See the attributes."""
        self.equation, self.sights = equation, sights
        self.pixels, self.concrete = pixels, concrete
        self.params: Any = equation.params
        self.shape = equation.outputs[0].shape

    @property
    def size(self) -> int:
        """Size of the axis along which the first operand's window moves."""
        sight = self.sights[0]
        return 1 if sight is None or sight.axis is None else self.inside(0)[sight.axis]

    def inside(self, number: int) -> tuple[int, ...]:
        """Shape of an operand."""
        return self.equation.inputs[number].shape

    def joined(self, sights: Sights) -> Sight | None:
        """The join of sights of arrays shaped as the output."""
        return join(sights, self.shape, self.pixels)

    def stilled(self, number: int) -> Sight | None:
        """One window for all entries of an operand: the hull of its."""
        sight = self.sights[number]
        if sight is None:
            return None
        return sight.still(
            1 if sight.axis is None else self.inside(number)[sight.axis], self.pixels
        )

    def plain(self) -> "Step":
        """The same step with operands whose axes are not mergers."""
        sights = [
            sight
            if sight is None or sight.axis is None
            else sight.plain(value.shape[sight.axis], self.pixels)
            for sight, value in zip(self.sights, self.equation.inputs, strict=True)
        ]
        return Step(self.equation, sights, self.pixels, self.concrete)

    def with_others(self, sight: Sight | None, after: int = 1) -> Sight | None:
        """Joins what the operands from number `after` on see, wherever they see it."""
        others = [self.stilled(number) for number in range(after, len(self.sights))]
        return self.joined([sight, *others])


Rule = Callable[[Step], Sight | None]
"""What the first result of an equation sees."""


def elementwise(step: Step) -> Sight | None:
    """Joins operands of one shape; axes of size 1 and scalars broadcast."""
    sights = []
    for number, sight in enumerate(step.sights):
        shape = step.inside(number)
        axis = None if sight is None else sight.axis
        if axis is not None and shape[axis] != step.shape[axis]:
            sight = step.stilled(number)
        sights.append(sight)
    return step.joined(sights)


def moved(place: Callable[[Step, int], int | None]) -> Rule:
    """A rule for operations that carry axis a of their first operand to axis place(a)."""

    def rule(step: Step) -> Sight | None:
        sight = step.sights[0]
        if sight is None or sight.axis is None:
            return step.with_others(sight)
        axis = place(step, sight.axis)
        kept = axis is not None and step.shape[axis] == step.size
        return step.with_others(sight.at(axis) if kept else step.stilled(0))

    return rule


def same_unless(*names: str) -> Rule:
    """A rule for operations that mix entries along the axes that a parameter names."""

    def place(step: Step, axis: int) -> int | None:
        named = np.atleast_1d([step.params[name] for name in names if name in step.params])
        return None if axis in named % len(step.inside(0)) else axis

    return moved(place)


def reduced(step: Step, axis: int) -> int | None:
    gone = step.params["axes"] if "axes" in step.params else step.params["dimensions"]
    return None if axis in gone else axis - sum(other < axis for other in gone)
