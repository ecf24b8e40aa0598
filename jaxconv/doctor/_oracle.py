"""Convolution and its gradients in NumPy, one tap after the other in float64.

    y[n, i, o] = Σ_{a, c} kernel[a, c, o] · x̄[n, s·i + a, c]

where x̄ is x with zeros around it, or cropped where a padding is negative.
"""

from typing import Any, NamedTuple

import numpy as np

Pads = tuple[tuple[int, int], ...]


class Answer(NamedTuple):
    """A convolution y, and the cotangents of x and of the kernel for a cotangent of y."""

    y: np.ndarray
    x: np.ndarray
    kernel: np.ndarray


def error(actual: Any, expected: np.ndarray) -> float:
    """The largest deviation relative to the largest value expected; infinite where NaNs differ."""
    actual = np.asarray(actual, np.float64)
    if actual.shape != expected.shape or (np.isnan(actual) != np.isnan(expected)).any():
        return float("inf")
    there = ~np.isnan(expected)
    deviation = np.abs(actual[there] - expected[there]).max(initial=0.0)
    scale = np.abs(expected[there]).max(initial=1e-30)
    return float(deviation / scale) if np.isfinite(deviation) else float("inf")


def convolution(
    x: np.ndarray, kernel: np.ndarray, g: np.ndarray, pads: Pads, stride: tuple[int, ...]
) -> Answer:
    """The convolution of x (N, *spatial, C) with kernel (*window, C / groups, features).

    Groups follow from the shapes; g is the cotangent of y.
    """
    groups = x.shape[-1] // kernel.shape[-2]
    parts = [
        _one_group(*part, pads, stride)
        for part in zip(
            np.split(x.astype(np.float64), groups, -1),
            np.split(kernel.astype(np.float64), groups, -1),
            np.split(g.astype(np.float64), groups, -1),
            strict=True,
        )
    ]
    return Answer(*(np.concatenate(part, -1) for part in zip(*parts, strict=True)))


def _one_group(
    x: np.ndarray, kernel: np.ndarray, g: np.ndarray, pads: Pads, stride: tuple[int, ...]
) -> Answer:
    sizes = [size + low + high for size, (low, high) in zip(x.shape[1:-1], pads, strict=True)]
    spots = [_spot(size, *pad) for size, pad in zip(x.shape[1:-1], pads, strict=True)]
    everything = (slice(None),)
    inside = everything + tuple(spot[0] for spot in spots)
    outside = everything + tuple(spot[1] for spot in spots)
    wide = np.zeros((len(x), *sizes, x.shape[-1]))
    wide[outside] = x[inside]
    y, dx, dk = np.zeros(g.shape), np.zeros(wide.shape), np.zeros(kernel.shape)
    contracted = tuple(range(x.ndim - 1))
    for tap in np.ndindex(*kernel.shape[:-2]):
        seen = everything + tuple(
            slice(a, a + s * (n - 1) + 1, s)
            for a, s, n in zip(tap, stride, g.shape[1:-1], strict=True)
        )
        y += wide[seen] @ kernel[tap]
        dx[seen] += g @ kernel[tap].T
        dk[tap] = np.tensordot(wide[seen], g, (contracted, contracted))
    back = np.zeros(x.shape)
    back[inside] = dx[outside]
    return Answer(y, back, dk)


def _spot(size: int, low: int, high: int) -> tuple[slice, slice]:
    """Where the same pixels of an axis stand before and after padding."""
    first, last = max(-low, 0), size - max(-high, 0)
    return slice(first, last), slice(first + low, last + low)
