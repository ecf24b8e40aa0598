"""Pools as NumPy loops in float64, transcribed from the formulas of the docstrings.

`taps` lists, for every output pixel, the pixels of x that its window sees in row-major order, with
None for a zero of padding; the rest is one line each. Imports nothing from the library.
"""

import itertools
import math

import numpy as np


def _source(position, size, mode):
    """Which pixel of an axis stands at a position of its continuation; None outside of zeros."""
    if mode == "zeros":
        return position if 0 <= position < size else None
    if mode == "circular":
        return position % size
    if mode == "edge":
        return min(max(position, 0), size - 1)
    while not 0 <= position < size:  # reflect: mirrored at the border pixels, again and again
        position = -position if position < 0 else 2 * (size - 1) - position
    return position


def taps(spatial, window, stride, padding, dilation, modes):
    """{output pixel: [pixel of x or None, …]}, both as tuples."""
    axes = []
    for n, k, s, (low, high), d, mode in zip(
        spatial, window, stride, padding, dilation, modes, strict=True
    ):
        count = (n + low + high - d * (k - 1) - 1) // s + 1
        axes.append(
            [[_source(s * i + d * a - low, n, mode) for a in range(k)] for i in range(count)]
        )
    return {
        out: [
            None if None in pixel else pixel
            for pixel in itertools.product(*(axis[i] for axis, i in zip(axes, out, strict=True)))
        ]
        for out in itertools.product(*(range(len(axis)) for axis in axes))
    }


def cells(spatial, sizes):
    """The windows of adaptive pooling: {output pixel: [pixel of x, …]}."""
    axes = [
        [range(math.floor(i * n / m), math.ceil((i + 1) * n / m)) for i in range(m)]
        for n, m in zip(spatial, sizes, strict=True)
    ]
    return {
        out: list(itertools.product(*(axis[i] for axis, i in zip(axes, out, strict=True))))
        for out in itertools.product(*(range(len(axis)) for axis in axes))
    }


def _shape(windows):
    return tuple(max(out[axis] for out in windows) + 1 for axis in range(len(next(iter(windows)))))


def extreme(x, windows, sign=1, *, last=False):
    """(y, indices): the first largest value (smallest for sign=-1) and its row-major position.

    A NaN replaces whatever came before, as in torch. `last` takes the last of equals instead:
    the rule that the tests must be able to tell apart.
    """
    spatial = x.shape[1:-1]
    y = np.zeros((x.shape[0], *_shape(windows), x.shape[-1]), x.dtype)
    indices = np.zeros(y.shape, np.int32)
    for out, pixels in windows.items():
        best = where = None
        for pixel in [pixel for pixel in pixels if pixel is not None]:
            value = x[(slice(None), *pixel)]
            position = np.full(value.shape, np.ravel_multi_index(pixel, spatial), np.int32)
            if best is None:
                best, where = value, position
                continue
            with np.errstate(invalid="ignore"):
                wins = value > best if sign > 0 else value < best
            wins |= np.isnan(value) | ((value == best) if last else False)
            best, where = np.where(wins, value, best), np.where(wins, position, where)
        y[(slice(None), *out)], indices[(slice(None), *out)] = best, where
    return y, indices


def send(g, indices, shape):
    """Gradient of a pool that picks: g[n, i, c] added at pixel indices[n, i, c]."""
    flat = np.zeros((shape[0], math.prod(shape[1:-1]), shape[-1]), g.dtype)
    for n, *out, c in np.ndindex(*g.shape):
        flat[n, indices[(n, *out, c)], c] += g[(n, *out, c)]
    return flat.reshape(shape)


def average(x, windows, *, count_padding=False):
    """The mean over the taps that are pixels, or over all taps."""
    y = np.zeros((x.shape[0], *_shape(windows), x.shape[-1]))
    for out, pixels in windows.items():
        values = [x[(slice(None), *pixel)] for pixel in pixels if pixel is not None]
        y[(slice(None), *out)] = sum(values) / (len(pixels) if count_padding else len(values))
    return y


def norm(x, windows, p):
    """(Σ |x|^p)^(1/p) over the taps."""
    y = np.zeros((x.shape[0], *_shape(windows), x.shape[-1]))
    for out, pixels in windows.items():
        values = [np.abs(x[(slice(None), *pixel)]) for pixel in pixels if pixel is not None]
        if values and math.isinf(p):
            y[(slice(None), *out)] = np.max(values, axis=0)
        elif values:
            y[(slice(None), *out)] = np.sum(np.power(values, p), axis=0) ** (1 / p)
    return y
