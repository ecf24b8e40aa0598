"""Values and gradients of operations with windows in float64 NumPy, sharing nothing with jaxconv.

Which pixel every tap of every window reads is looked up in an array of positions that went through
`np.pad` and slicing; -1 stands for padding. Then a convolution is one `einsum` over gathered
windows, and its gradient the transposed `einsum`, scattered with `np.add.at`.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
NUMPY_MODE = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "edge": "edge"}


class Geometry(NamedTuple):
    """Where windows stand: one entry per spatial axis."""

    spatial: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    modes: tuple[str, ...]
    spread: tuple[int, ...] = ()  # input pixels are this far apart, zeros between them


def lookup(geometry: Geometry) -> Array | None:
    """Flat input positions (*output, *window), -1 for padding; None for an empty output."""
    positions, sizes, cut = [], [], []
    for axis in range(len(geometry.spatial)):
        line = _line(geometry, axis)
        reach = geometry.dilation[axis] * (geometry.window[axis] - 1) + 1
        places = range(0, len(line) - reach + 1, geometry.stride[axis])
        if not places:
            return None
        taps = range(0, reach, geometry.dilation[axis])
        positions.append(np.array([[line[start + tap] for tap in taps] for start in places]))
        sizes.append(len(places))
        cut.append(len(taps))
    rank = len(sizes)
    flat, inside = np.zeros((*sizes, *cut), int), np.ones((*sizes, *cut), bool)
    for axis, grid in enumerate(positions):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = grid.shape
        grid = grid.reshape(shape)
        flat = flat * geometry.spatial[axis] + grid
        inside &= grid >= 0
    return np.where(inside, flat, -1)


def _line(geometry: Geometry, axis: int) -> Array:
    """The positions of one axis, spread, padded or cropped."""
    size, (low, high) = geometry.spatial[axis], geometry.padding[axis]
    step = geometry.spread[axis] if geometry.spread else 1
    line = np.full((size - 1) * step + 1, -1)
    line[::step] = np.arange(size)
    mode = NUMPY_MODE[geometry.modes[axis]]
    grow = (max(low, 0), max(high, 0))
    # np.pad reads from the whole axis, so that padding comes before cropping the other side
    padded = np.pad(line, grow, mode, **({"constant_values": -1} if mode == "constant" else {}))
    return padded[max(-low, 0) : len(padded) - max(-high, 0)]


def windows(x: Array, where: Array, empty: float = 0.0) -> Array:
    """What every tap of every window reads: (N, places, taps, C)."""
    rank = x.ndim - 2
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    places = math.prod(where.shape[:rank])
    index = where.reshape(places, -1)
    return np.where((index < 0)[None, :, :, None], empty, flat[:, index])


def scatter(parts: Array, where: Array, spatial: Sequence[int]) -> Array:
    """The adjoint of `windows`."""
    n, places, taps, channels = parts.shape
    index = where.reshape(places, taps)
    flat = np.zeros((n, math.prod(spatial) + 1, channels))
    np.add.at(flat, (slice(None), index), parts)  # -1 is the last entry, which is dropped
    return flat[:, :-1].reshape(n, *spatial, channels)


def conv(x: Array, kernel: Array, g: Array, where: Array, groups: int) -> tuple[Array, ...]:
    """y, and the gradients of <y, g> in x and kernel."""
    read, split, weights = _grouped(x, kernel, where, groups)
    y = np.einsum("npagc,agcf->npgf", read, weights)
    gradient = g.reshape(g.shape[0], -1, groups, g.shape[-1] // groups)
    dk = np.einsum("npagc,npgf->acgf", read, gradient).reshape(kernel.shape)
    dx = np.einsum("npgf,agcf->npagc", gradient, weights).reshape(split)
    shape = (*where.shape[: x.ndim - 2], kernel.shape[-1])
    return y.reshape(x.shape[0], *shape), scatter(dx, where, x.shape[1:-1]), dk


def _grouped(x: Array, kernel: Array, where: Array, groups: int):
    read = windows(x, where)
    split = read.shape
    reads, features = kernel.shape[-2:]
    weights = kernel.reshape(-1, reads, groups, features // groups).swapaxes(1, 2)
    return read.reshape(*split[:3], groups, reads), split, weights


def conv_transpose(
    y: Array, kernel: Array, g: Array, where: Array, spatial: Sequence[int], groups: int
) -> tuple[Array, ...]:
    """The adjoint of `conv` at y, and the gradients of <result, g> in y and kernel."""
    features = kernel.shape[-2] * groups
    zeros = np.zeros((y.shape[0], *spatial, features))
    _, x, _ = conv(zeros, kernel, y, where, groups)
    dy, _, dk = conv(g, kernel, y, where, groups)
    return x, dy, dk


def local_conv(x: Array, kernel: Array, g: Array, where: Array) -> tuple[Array, ...]:
    """Y and its gradients, with filters (*output, *window, C, features) of every place."""
    read = windows(x, where)
    weights = kernel.reshape(*read.shape[1:], kernel.shape[-1])
    y = np.einsum("npac,pacf->npf", read, weights)
    flat = g.reshape(y.shape)
    dx = np.einsum("npf,pacf->npac", flat, weights)
    dk = np.einsum("npac,npf->pacf", read, flat)
    return y.reshape(g.shape), scatter(dx, where, x.shape[1:-1]), dk.reshape(kernel.shape)


def avg_pool(x: Array, g: Array, where: Array, *, count_padding: bool) -> tuple[Array, ...]:
    """Y and its gradient."""
    read = windows(x, where)
    index = where.reshape(read.shape[1:3])
    counts = np.maximum(((index >= 0) | count_padding).sum(1), 1)[None, :, None]
    y = read.sum(2) / counts
    share = (g.reshape(y.shape) / counts)[:, :, None] * np.ones((1, 1, read.shape[2], 1))
    return y.reshape(g.shape), scatter(share, where, x.shape[1:-1])


def max_pool(x: Array, g: Array, where: Array) -> tuple[Array, ...]:
    """Y and its gradient, which goes to the first of the largest in row-major order."""
    read = windows(x, where, -np.inf)
    first = read.argmax(2)
    y = np.take_along_axis(read, first[:, :, None], 2)[:, :, 0]
    parts = np.zeros_like(read)
    np.put_along_axis(parts, first[:, :, None], g.reshape(y.shape)[:, :, None], 2)
    return y.reshape(g.shape), scatter(parts, where, x.shape[1:-1])


def output_shape(where: Array, n: int, features: int) -> tuple[int, ...]:
    """Shape of an output."""
    return (n, *where.shape[: where.ndim // 2], features)


def by_loops(x: Array, kernel: Array, geometry: Geometry, groups: int) -> Array:
    """`conv` once more, as the loops of its formula, for zeros: what checks the lookup."""
    where = lookup(geometry)
    assert where is not None
    y = np.zeros(output_shape(where, x.shape[0], kernel.shape[-1]))
    reads, makes = kernel.shape[-2], kernel.shape[-1] // groups
    for i in np.ndindex(*y.shape[1:-1]):
        for a in itertools.product(*map(range, geometry.window)):
            axes = zip(i, a, geometry.stride, geometry.dilation, geometry.padding, strict=True)
            j = tuple(s * p + d * t - low for p, t, s, d, (low, _) in axes)
            if any(not 0 <= q < n for q, n in zip(j, geometry.spatial, strict=True)):
                continue
            for group in range(groups):
                pixel = x[(slice(None), *j, slice(group * reads, (group + 1) * reads))]
                made = slice(group * makes, (group + 1) * makes)
                y[(slice(None), *i, made)] += pixel @ kernel[(*a, slice(None), made)]
    return y


Outcome = tuple[Any, ...]
