"""Along which axis every value moves: as a receptive field is followed, but through joins.

A receptive field is a bound, so x - mean(x) sees the whole image and its window stands still. For
the question of how a value moves, what stands still beside it does not matter: the sum moves as x
does. Where the bound of `_sight` stands still this walk takes the motion of the operand that moves:
of an elementwise operation, of the free axes of a product, through a matrix that turns with its
operand, and from a Fourier transform to its inverse.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._sight.algebra import Sight
from jaxconv.equivariance._sight.walk import Walk
from jaxconv.equivariance._sight.window import free_place, matrix_of

_LOOKUPS = ("gather", "dynamic_slice")
_LINEAR = [
    "add",
    "broadcast_in_dim",
    "complex",
    "concatenate",
    "convert_element_type",
    "copy",
    "div",
    "dot_general",
    "dynamic_slice",
    "dynamic_update_slice",
    "fft",
    "gather",
    "imag",
    "mul",
    "neg",
    "pad",
    "real",
    "reshape",
    "scatter",
    "scatter-add",
    "slice",
    "squeeze",
    "sub",
    "transpose",
]
"""What is made of a spectrum and of things that stand still is a spectrum again."""
_ROUNDING = 1e-5
"""Difference of two entries of a matrix, relative to its largest, that counts as none."""


class Spectrum(NamedTuple):
    """A Fourier transform along an axis that moved.

    Attributes:
        axis: of the spectrum, along which its frequencies are.
        period: input pixels once around the axis that was transformed.
        origin: how that axis moved.
    """

    axis: int
    period: Fraction
    origin: Sight


class Motion(Walk):
    """What the values of a program see, with the motion of operands that move kept."""

    def __init__(self, program: Program, seen: Sequence[Sight | None], pixels: int):
        """As a `Walk`."""
        self._spectra: dict[Value, Spectrum] = {}
        self._mixed: set[Value] = set()  # made of spectra, but none
        super().__init__(program, seen, pixels)

    def _step(self, equation: Equation, sights: list[Sight | None]) -> list[Sight | None]:
        found = super()._step(equation, sights)
        self._follow(equation, sights)
        return [
            self._kept(equation, sights, value, sight)
            for value, sight in zip(equation.outputs, found, strict=True)
        ]

    def _kept(
        self, equation: Equation, sights: list[Sight | None], value: Value, sight: Sight | None
    ) -> Sight | None:
        if sight is None or sight.axis is not None or equation.primitive == "sort":
            return sight
        if equation.primitive == "fft":
            return self._inverse(equation) or sight
        if equation.primitive == "dot_general":
            return self._multiplied(equation, sights) or sight
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

    def _multiplied(self, equation: Equation, sights: list[Sight | None]) -> Sight | None:
        """The motion of a product: of a free axis, or through a matrix that turns with it."""
        for side, sight in enumerate(sights):
            if sight is None or sight.axis is None:
                continue
            place = free_place(equation, side, sight.axis)
            if place is not None:
                return sight.at(place)
            found = matrix_of(equation, side)
            if found is None or sight.part is not None:
                continue
            value, axes, place = found
            step = _turns(self._computed(value, weights=True), axes)
            if step:
                return sight._replace(axis=place, stride=sight.stride * step)
        return None

    def _follow(self, equation: Equation, sights: list[Sight | None]) -> None:
        """Notes outputs that are spectra: of an axis that moves, or made of one spectrum."""
        value, sight = equation.outputs[0], sights[0] if sights else None
        turned = _transformed(equation) if equation.primitive == "fft" else range(0)
        if sight is not None and sight.axis is not None and sight.axis in turned:
            if _forward(equation) and sight.part is None:
                period = abs(sight.stride) * equation.inputs[0].shape[sight.axis]
                self._spectra[value] = Spectrum(sight.axis, period, sight)
            return
        known = [self._spectra.get(operand) for operand in equation.inputs]
        spectra = [spectrum for spectrum in known if spectrum]
        if any(spectrum.axis in turned for spectrum in spectra):
            return
        mixed = any(operand in self._mixed for operand in equation.inputs)
        made = None if mixed else self._made(equation, known, spectra)
        if made is not None:
            self._spectra[value] = made
        elif spectra or mixed:
            self._mixed.update(equation.outputs)

    def _made(
        self, equation: Equation, known: list[Spectrum | None], spectra: list[Spectrum]
    ) -> Spectrum | None:
        """The spectrum that an operation makes of one spectrum and of things that stand still."""
        products = ("mul", "div", "dot_general")
        if len(set(spectra)) != 1 or equation.primitive not in _LINEAR:
            return None
        if len(spectra) > 1 and equation.primitive in products:
            return None
        marks = [spectrum and spectrum.origin._replace(axis=spectrum.axis) for spectrum in known]
        (mark,) = super()._step(equation, marks)
        axis = spectra[0].axis if mark is None or mark.axis is None else mark.axis
        return spectra[0]._replace(axis=axis) if axis < len(equation.outputs[0].shape) else None

    def _inverse(self, equation: Equation) -> Sight | None:
        """How the axis moves that an inverse transform makes of a spectrum."""
        spectrum, value = self._spectra.get(equation.inputs[0]), equation.outputs[0]
        if spectrum is None or _forward(equation) or spectrum.axis not in _transformed(equation):
            return None
        stride = spectrum.period / value.shape[spectrum.axis]
        return spectrum.origin._replace(axis=spectrum.axis, stride=stride)


def _forward(equation: Equation) -> bool:
    return not equation.params["fft_type"].name.startswith("I")


def _transformed(equation: Equation) -> range:
    """The axes of a transform, which are the last ones."""
    rank = len(equation.inputs[0].shape)
    return range(rank - len(equation.params["fft_lengths"]), rank)


def _turns(matrix: np.ndarray | None, axes: tuple[int, int]) -> Fraction | None:
    """Input entries per output entry of a matrix (outputs, inputs) that turns with its operand.

    M[o + 1, i + s] = M[o, i] around both circles for s inputs an output, or M[o + u, i + 1] for u
    outputs an input, and the same matrix for every index of other axes.
    """
    if matrix is None:
        return None
    rows = np.moveaxis(matrix, axes, (-2, -1))
    outputs, inputs = rows.shape[-2:]
    rows = rows.reshape(-1, outputs, inputs)
    step = Fraction(inputs, outputs)
    if 1 not in (step.numerator, step.denominator):
        return None
    turned = np.roll(rows, (step.denominator, step.numerator), (1, 2))
    near = _ROUNDING * np.abs(rows).max(initial=0)
    same = (np.abs(turned - rows) <= near).all() and (np.abs(rows - rows[:1]) <= near).all()
    return step if same else None


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
