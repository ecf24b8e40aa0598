"""Integer arithmetic of windows that slide: sizes, amounts of padding, receptive fields, lattices.

One axis at a time, plain Python integers, no arrays. The notation is that of Dumoulin and Visin
2016, arXiv:1603.07285: n input size, k window, s stride, d dilation, p padding.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple


def effective_window(window: int, dilation: int = 1) -> int:
    """Input pixels from the first to the last tap of a window: d·(k - 1) + 1.

    Example:
        >>> effective_window(3, dilation=2)
        5
    """
    return dilation * (window - 1) + 1


def output_size(
    size: int, window: int, stride: int = 1, dilation: int = 1, padding: tuple[int, int] = (0, 0)
) -> int:
    """How many windows fit: ⌊(n + p_low + p_high - d·(k - 1) - 1) / s⌋ + 1, never below 0.

    Example:
        >>> output_size(32, 3, stride=2, padding=(1, 1))
        16

    References:
        Dumoulin and Visin 2016, arXiv:1603.07285, relationship 15.
    """
    room = size + sum(padding) - effective_window(window, dilation)
    return max(room // stride + 1, 0)


def same_padding(size: int, window: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Padding (low, high) that makes the output ⌈n / s⌉, the odd pixel high, as XLA's SAME.

    Example:
        >>> same_padding(32, 3, stride=2)
        (0, 1)
    """
    covered = (math.ceil(size / stride) - 1) * stride + effective_window(window, dilation)
    total = max(covered - size, 0)
    return total // 2, total - total // 2


def named_padding(
    name: str, size: int, window: int, stride: int = 1, dilation: int = 1
) -> tuple[int, int]:
    """Padding (low, high) that a name of the padding grammar stands for on one axis.

    "same": output ⌈n / s⌉ (XLA's split); "half": half the effective window on both sides (as
    PyTorch's padding=k // 2); "valid": none; "causal": everything before, so that no output sees
    a later input; "full": every overlap, d·(k - 1) on both sides.

    Example:
        >>> named_padding("causal", 32, 3, dilation=2)
        (4, 0)
    """
    reach = dilation * (window - 1)
    half = effective_window(window, dilation) // 2
    amounts = {
        "same": same_padding(size, window, stride, dilation),
        "half": (half, half),
        "valid": (0, 0),
        "causal": (reach, 0),
        "full": (reach, reach),
    }
    return amounts[name]


def transposed_size(
    size: int, window: int, stride: int = 1, dilation: int = 1, padding: tuple[int, int] = (0, 0)
) -> int:
    """Smallest input whose `output_size` is `size`: (n - 1)·s + d·(k - 1) + 1 - p_low - p_high.

    Example:
        >>> transposed_size(16, 3, stride=2, padding=(1, 1))
        31

    References:
        Dumoulin and Visin 2016, arXiv:1603.07285, relationship 14.
    """
    return (size - 1) * stride + effective_window(window, dilation) - sum(padding)


class Field(NamedTuple):
    """Which input pixels one output pixel sees, along one axis.

    Output i sees inputs stride·i - padding .. stride·i - padding + size - 1.
    """

    size: int = 1
    stride: int = 1
    padding: int = 0


def receptive_field(layers: Iterable[tuple[int, int, int, int]]) -> Field:
    """Receptive field of a chain of windows, given as (window, stride, dilation, low padding).

        r ← r + (d·(k - 1))·S,  P ← P + p·S,  S ← S·s

    Example:
        >>> receptive_field([(7, 2, 1, 3), (3, 2, 1, 1)])
        Field(size=11, stride=4, padding=5)

    References:
        Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural
        Networks", equations 1 and 2.
    """
    size, stride, padding = Field()
    for window, step, dilation, low in layers:
        size += dilation * (window - 1) * stride
        padding += low * stride
        stride *= step
    return Field(size, stride, padding)


def shift_lattice(size: int, stride: int) -> int | None:
    """Smallest shift p that a stride keeps exactly on a circular axis; None if it divides nothing.

    Shifts by multiples of p = s move the output by whole pixels, if s divides the axis: otherwise
    the output does not close into a circle and no shift is exact.

    Example:
        >>> shift_lattice(32, 4), shift_lattice(30, 4)
        (4, None)
    """
    return stride if size % stride == 0 else None
