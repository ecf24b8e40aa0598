"""What the entries of an array see of one axis of the input, as an affine window.

An entry at index i of one axis (the one that `axis` names) sees at most the input pixels

    stride·i + low, ..., stride·i + high

in the coordinates of the input axis, which go on below 0 and beyond its end: there lies padding.
A sight is an upper bound. Where a bound is all that is left of the window, it is the hull.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Sight(NamedTuple):
    """What the entries of an array see of one input axis.

    Attributes:
        axis: the axis of the array along which the window moves; None when all entries see the
            same window.
        stride: input pixels that the window moves by from one entry to the next.
        low: first pixel that entry 0 sees.
        high: last pixel that entry 0 sees.
        known: False when an operation without a rule made it, and it stands for "anything".
        part: None, or (inner, count) where `axis` is a merger of several and only the part of its
            index (index // inner) % count moves the window: rows of pixels, mostly.
    """

    axis: int | None
    stride: Fraction
    low: Fraction
    high: Fraction
    known: bool = True
    part: tuple[int, int] | None = None

    def at(self, axis: int | None) -> "Sight":
        """The same window along another axis."""
        return self._replace(axis=axis)

    def taken(self, start: int, step: int = 1) -> "Sight":
        """Entries start, start + step, ... of its axis."""
        shift = self.stride * start
        return self._replace(
            stride=self.stride * step, low=self.low + shift, high=self.high + shift
        )

    def spread(self, first: Fraction | int, last: Fraction | int) -> "Sight":
        """Entry i sees what entries i + first .. i + last saw."""
        ends = (self.stride * first, self.stride * last)
        return self._replace(low=self.low + min(ends), high=self.high + max(ends))

    def zoomed(self, times: int) -> "Sight":
        """Entry i of it becomes entry times·i; those between see what lies between."""
        return self._replace(stride=self.stride / times)

    def still(self, size: int, pixels: int) -> "Sight | None":
        """One window for all entries of an axis of `size`, cut to the input; None if empty."""
        size = self.part[1] if self.part else size
        ends = (Fraction(0), self.stride * (size - 1))
        low = max(self.low + min(ends), Fraction(0))
        high = min(self.high + max(ends), Fraction(pixels - 1))
        return Sight(None, Fraction(0), low, high, self.known) if low <= high else None

    def plain(self, size: int, pixels: int) -> "Sight | None":
        """The same without `part`, on an axis of `size`: a coarser bound where there was one."""
        if self.part is None:
            return self
        inner, count = self.part
        if inner * count < size:
            return self.still(size, pixels)
        return self._replace(part=None).zoomed(inner).spread(1 - inner, 0)

    def tight(self) -> "Sight":
        """The same with ends that some entry reaches: pixels are whole numbers."""
        steps = self.stride.denominator
        low, high = math.ceil(self.low * steps), math.floor(self.high * steps)
        return self._replace(low=Fraction(low, steps), high=Fraction(high, steps))


def start(axis: int) -> Sight:
    """What the input itself sees: every pixel of `axis` sees itself."""
    return Sight(axis, Fraction(1), Fraction(0), Fraction(0))


def whole(pixels: int, *, known: bool) -> Sight:
    """Every entry may see the whole axis."""
    return Sight(None, Fraction(0), Fraction(0), Fraction(pixels - 1), known)


def join(sights: Iterable[Sight | None], shape: Sequence[int], pixels: int) -> Sight | None:
    """The sight of entries that see what each of several arrays of one shape saw."""
    present = [sight for sight in sights if sight is not None]
    if not present:
        return None
    first = present[0]
    known = all(sight.known for sight in present)
    motion = (first.axis, first.stride, first.part)
    if any((sight.axis, sight.stride, sight.part) != motion for sight in present):
        stilled = [
            sight.still(1 if sight.axis is None else shape[sight.axis], pixels) for sight in present
        ]
        return join(stilled, shape, pixels)
    low, high = min(sight.low for sight in present), max(sight.high for sight in present)
    return first._replace(low=low, high=high, known=known)


def band(sight: Sight, sees: np.ndarray, pixels: int) -> Sight | None:
    """The window of entries o that see entries i of an axis wherever sees[o, i].

    Its stride is the ratio of the sizes or the slope from the first row to the last, whichever
    leaves the narrower band; without a band, as in a dense layer, one window for all.
    """
    outputs, inputs = sees.shape
    rows = [(o, np.flatnonzero(row)) for o, row in enumerate(sees) if row.any()]
    if not rows:
        return None
    (o, start), (o_last, last) = rows[0], rows[-1]
    slope = Fraction(int(last[0] - start[0]), max(o_last - o, 1))
    bands = []
    for stride in (Fraction(inputs, outputs), slope):
        low = min(int(i[0]) - stride * o for o, i in rows)
        high = max(int(i[-1]) - stride * o for o, i in rows)
        bands.append((high - low, low, high, stride))
    width, low, high, stride = min(bands)
    if width >= inputs - 1:
        return sight.still(inputs, pixels)
    return sight.spread(low, high)._replace(stride=sight.stride * stride)


class ReceptiveField(NamedTuple):
    """Which input pixels an output entry may depend on, along one input axis.

    Output i of `axis` sees no pixel but stride·i - padding .. stride·i - padding + size - 1 (for a
    stride that is no whole number, the at most `size` whole pixels from stride·i - padding on).

    Attributes:
        size: pixels in the window; 0 when the output does not depend on the input.
        stride: how far the window moves from one output to the next; 0 when it does not move.
        padding: how far the window of output 0 reaches beyond the start of the axis.
        axis: the output axis along which the window moves, or None.
        known: False when an operation without a rule was met: then the window is the whole axis.
    """

    size: int
    stride: int | Fraction
    padding: int | Fraction
    axis: int | None
    known: bool = True


def field(sight: Sight | None) -> ReceptiveField:
    """The public form of a sight."""
    if sight is None:
        return ReceptiveField(0, 0, 0, None)
    phases = range(sight.stride.denominator)
    size = max(
        math.floor(sight.high + sight.stride * i) - math.ceil(sight.low + sight.stride * i) + 1
        for i in phases
    )
    return ReceptiveField(size, _plain(sight.stride), _plain(-sight.low), sight.axis, sight.known)


def _plain(number: Fraction) -> int | Fraction:
    return int(number) if number.denominator == 1 else number
