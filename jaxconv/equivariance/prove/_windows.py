"""Where sliding windows read, and the labels that they see there."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxconv.equivariance.prove._arrays import LIMIT, Unmodelled
from jaxconv.equivariance.prove._hash import spread
from jaxconv.equivariance.prove._labels import CHUNK, constant_code
from jaxconv.equivariance.prove._table import Context


@dataclass(frozen=True)
class Window:
    """Geometry of a window along one axis: out[o] sees in[(o·stride + t·dilation - low) / base]."""

    size: int
    taps: int
    stride: int
    dilation: int
    base: int
    low: int
    high: int
    outputs: int

    @property
    def trivial(self) -> bool:
        """Whether every tap of every output lies on an input."""
        return self.low <= 0 and self.high <= 0 and self.base == 1

    def index(self, *, periodic: bool) -> np.ndarray:
        """Input index of each (output, tap); `size` where there is none."""
        outputs, taps = np.arange(self.outputs)[:, None], np.arange(self.taps)[None]
        position = outputs * self.stride + taps * self.dilation - self.low
        if periodic:
            position = position % (self.size * self.base)
        valid = (position >= 0) & (position % self.base == 0) & (position // self.base < self.size)
        return np.where(valid, position // self.base, self.size)


class Taps:
    """Labels of all taps of all windows along the axes of `windows`, a few places at a time.

    What is done with taps stays in the cache that way, whatever the size of the image.
    """

    def __init__(
        self, context: Context, code: np.ndarray, windows: dict[int, Window], fill: np.ndarray
    ):
        """Lays out where every window of every place reads in `code` (rows, *extent)."""
        rest = code.shape[1:]
        outputs = [windows[d].outputs if d in windows else n for d, n in enumerate(rest)]
        self.count = math.prod(w.taps for w in windows.values())
        if math.prod(outputs) * self.count > 4 * LIMIT:
            raise Unmodelled("more window taps than fit")
        self.shape, self.rows = tuple(outputs), code.shape[0]
        edge = constant_code(spread(fill, 1), context.rank)
        self.code = np.concatenate([code.reshape(self.rows, -1), edge], 1)
        self.reads: list[np.ndarray] = []
        for axis, size in enumerate(rest):
            index = np.arange(size)[:, None]
            if axis in windows:
                window = windows[axis]
                index = window.index(periodic=context.periodic)
                if window.base == 1 and (index == window.size).any():
                    context.notes.add("zero padding")
            outside = math.prod(rest)  # so that any place beside an edge is one
            step = math.prod(rest[axis + 1 :])
            self.reads.append(np.where(index == size, outside, index * step))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Labels (rows, places, taps), a few places at a time, in order."""
        step, total = max(1, CHUNK // self.count), math.prod(self.shape)
        for start in range(0, max(total, 1), step):
            flat = np.arange(start, min(start + step, total))
            places = np.unravel_index(flat, self.shape)
            read = np.zeros((len(flat), 1), int)
            for place, index in zip(places, self.reads, strict=True):
                wide = read[:, :, None] + index[place][:, None]
                read = wide.reshape(len(flat), read.shape[1] * index.shape[1])
            yield self.code.take(np.minimum(read, self.code.shape[1] - 1), 1)

    def whole(self) -> np.ndarray:
        """All of them at once (rows, *extent, taps)."""
        return np.concatenate(list(self), 1).reshape(self.rows, *self.shape, self.count)


def gathered(
    context: Context, code: np.ndarray, windows: dict[int, Window], fill: np.ndarray
) -> np.ndarray:
    """Labels of all taps of all windows along the axes of `windows`, taps last and flat."""
    return Taps(context, code, windows, fill).whole()
