"""What the choice of a formulation depends on."""

import math
from typing import NamedTuple

from jaxconv.ops._cpu.taps import Slide


class Conv(NamedTuple):
    """The static facts of a convolution that the choice depends on."""

    channels: int
    features: int
    window: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    output: tuple[int, ...] = ()  # unless given, nothing is known about it

    @property
    def on_small_maps(self) -> bool:
        """Whether windows have more taps than outputs, on every axis that they span."""
        if not self.output or not all(isinstance(size, int) for size in self.output):
            return False
        spanned = [n for n, k in zip(self.output, self.window, strict=True) if k > 1]
        taps = [k for k in self.window if k > 1]
        return bool(taps) and all(n < k for n, k in zip(spanned, taps, strict=True))

    @property
    def taps(self) -> int:
        """Taps of the window."""
        return math.prod(self.window)

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is a group of its own, with one feature."""
        return self.groups == self.channels == self.features > 1

    @property
    def dilates_strides(self) -> bool:
        """Whether an axis has both a stride and a dilation."""
        axes = zip(self.window, self.stride, self.dilation, strict=True)
        return any(k > 1 and s > 1 and d > 1 for k, s, d in axes)

    @property
    def tiles(self) -> bool:
        """Whether windows lie one next to the other: their stride is their size, without gaps."""
        axes = zip(self.window, self.stride, self.dilation, strict=True)
        return all(k == s and (k == 1 or d == 1) for k, s, d in axes)


def facts(
    channels: int,
    features: int,
    window: tuple[int, ...],
    slide: Slide,
    output: tuple[int, ...] = (),
) -> Conv:
    """The facts of a convolution, from how its window slides."""
    stride, dilation, _, groups = slide
    return Conv(channels, features, window, stride, groups, dilation, output)
