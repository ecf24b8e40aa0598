"""Values of windows, gathers, scatters and Fourier transforms, by NumPy."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxconv.equivariance.prove._numbers import NUMBERS, padded
from jaxconv.equivariance.prove._places import gathered_places, scattered_places

_OPERATIONS = {"add": (np.add, 0), "mul": (np.multiply, 1)}
_OPERATIONS |= {"max": (np.maximum, -math.inf), "min": (np.minimum, math.inf)}


def _taps(
    x: np.ndarray, fill: Any, outputs: Sequence[int], geometry: Sequence[Sequence[Any]]
) -> Iterator[np.ndarray]:
    """What every window sees at each tap; geometry: window, strides, padding, dilations."""
    window, strides, padding, base, dilation = geometry
    config = [(low, high, d - 1) for (low, high), d in zip(padding, base, strict=True)]
    wide = padded({"padding_config": config}, x, fill)
    for tap in itertools.product(*map(range, window)):
        rows = zip(tap, dilation, strides, outputs, strict=True)
        place = [slice(t * d, t * d + max(s * (n - 1) + 1, 0), s) for t, d, s, n in rows]
        yield wide[tuple(place)]


def _geometry(p: dict[str, Any]) -> list[Sequence[Any]]:
    ones = (1,) * len(p["window_dimensions"])
    names = ("window_dimensions", "window_strides", "padding")
    dilations = (p.get("base_dilation") or ones, p.get("window_dilation") or ones)
    return [*[p[name] for name in names], *dilations]


def _convolved(p: dict[str, Any], x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    numbers = p["dimension_numbers"]
    x, kernel = x.transpose(numbers.lhs_spec), kernel.transpose(numbers.rhs_spec)
    batches, groups = p["batch_group_count"], p["feature_group_count"]
    if batches > 1:  # groups of the batch become groups of channels
        x = x.reshape(batches, -1, *x.shape[1:]).swapaxes(0, 1)
        x, groups = x.reshape(len(x), -1, *x.shape[3:]), batches
    outputs = [p["shape"][axis] for axis in numbers.out_spec[2:]]
    split = kernel.reshape(groups, len(kernel) // groups, *kernel.shape[1:])
    still = [(len(x), x.shape[1], *outputs), (1, 1), ((0, 0),) * 2, (1, 1), (1, 1)]
    geometry = [
        (1, 1, *kernel.shape[2:]),
        (*still[1], *p["window_strides"]),
        (*still[2], *p["padding"]),
        (*still[3], *p["lhs_dilation"]),
        (*still[4], *p["rhs_dilation"]),
    ]
    total = np.zeros(())
    taps = itertools.product(*map(range, kernel.shape[2:]))
    for seen, tap in zip(_taps(x, 0, still[0], geometry), taps, strict=True):
        seen = seen.reshape(len(x), groups, x.shape[1] // groups, *outputs)
        total = total + np.einsum("goc,ngc...->ngo...", split[(..., *tap)], seen)
    total = total.reshape(len(x), len(kernel), *outputs)
    return total.transpose(np.argsort(numbers.out_spec))


def _windowed(function: np.ufunc, start: float) -> Any:
    def compute(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
        initial = start if x.dtype.kind == "f" or not math.isinf(start) else _least(x, start)
        taps = _taps(x, initial, p["shape"], _geometry(p))
        return function.reduce(np.stack(list(taps)))

    return compute


def _least(x: np.ndarray, start: float) -> int:
    limits = np.iinfo(x.dtype)
    return limits.min if start < 0 else limits.max


def _window(p: dict[str, Any], x: np.ndarray, *initial: np.ndarray) -> Any:
    names = [eqn.primitive.name for eqn in getattr(p["jaxpr"], "jaxpr", p["jaxpr"]).eqns]
    if len(initial) != 1 or len(names) != 1 or names[0] not in _OPERATIONS:
        return NotImplemented
    function, empty = _OPERATIONS[names[0]]  # XLA leaves padding out; the start counts once
    taps = list(_taps(x, empty, p["shape"], _geometry(p)))
    return function(initial[0], function.reduce(np.stack(taps)))


def _selected(p: dict[str, Any], x: np.ndarray, outputs: Sequence[int]) -> np.ndarray:
    """Flat place in x of the tap that every window selects; a tap outside is never selected."""
    sign = 1 if "ge" in str(p["select_prim"]) else -1
    places = np.arange(x.size).reshape(x.shape)
    best, chosen = np.full(outputs, -np.inf), np.zeros(outputs, int)
    geometry = _geometry(p)
    values, where = (
        _taps(x * sign, -np.inf, outputs, geometry),
        _taps(places, -1, outputs, geometry),
    )
    for value, place in zip(values, where, strict=True):
        better = (value > best) & (place >= 0)
        best, chosen = np.where(better, value, best), np.where(better, place, chosen)
    return chosen


def _sent_back(p: dict[str, Any], source: np.ndarray, x: np.ndarray) -> np.ndarray:
    out = np.zeros(x.size, source.dtype)
    np.add.at(out, _selected(p, x, source.shape).reshape(-1), source.reshape(-1))
    return out.reshape(x.shape)


def _gathered(p: dict[str, Any], x: np.ndarray, index: np.ndarray) -> np.ndarray:
    places = gathered_places(p, x.shape, index, p["shape"])
    fill = p["fill_value"]
    if fill is None:
        fill = (
            np.nan if x.dtype.kind in "fc" else np.iinfo(x.dtype).min if x.dtype.kind == "i" else 1
        )
    return np.where(places >= 0, x.reshape(-1)[np.maximum(places, 0)], fill)


def _scattered(kind: str) -> Any:
    def compute(p: dict[str, Any], x: np.ndarray, index: np.ndarray, u: np.ndarray) -> np.ndarray:
        places = scattered_places(p, x.shape, index, u.shape).reshape(-1)
        out, kept = x.reshape(-1).copy(), places >= 0
        if kind:
            _SCATTERS[kind].at(out, places[kept], u.reshape(-1)[kept])
        else:
            out[places[kept]] = u.reshape(-1)[kept]
        return out.reshape(x.shape)

    return compute


def _transformed(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    functions = {"FFT": np.fft.fftn, "IFFT": np.fft.ifftn}
    functions |= {"RFFT": np.fft.rfftn, "IRFFT": np.fft.irfftn}
    lengths = p["fft_lengths"]
    return functions[p["fft_type"].name](x, lengths, range(x.ndim - len(lengths), x.ndim))


_SCATTERS = {"add": np.add, "sub": np.subtract, "mul": np.multiply}
_SCATTERS |= {"max": np.maximum, "min": np.minimum}
NUMBERS |= {
    "conv_general_dilated": _convolved,
    "reduce_window_sum": _windowed(np.add, 0.0),
    "reduce_window_max": _windowed(np.maximum, -math.inf),
    "reduce_window_min": _windowed(np.minimum, math.inf),
    "reduce_window": _window,
    "select_and_scatter_add": _sent_back,
    "select_and_gather_add": lambda p, t, x: t.reshape(-1)[_selected(p, x, p["shape"])],
    "gather": _gathered,
    "scatter": _scattered(""),
    **{f"scatter-{kind}": _scattered(kind) for kind in _SCATTERS},
    "fft": _transformed,
}
