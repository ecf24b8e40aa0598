"""The value of one equation, by NumPy where that is simple: no compilation for one small array.

Constants of a program and the numbers beside a proof are computed here. A primitive that the
table lacks, or a type that NumPy lacks, is left to JAX; a test compares every entry with it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxconv.equivariance import _jaxpr

Compute = Callable[..., Any]
NUMBERS: dict[str, Compute] = {}
"""Primitive name to f(params, *arrays): an array or a list of arrays."""


def computed(equation: _jaxpr.Equation, values: Sequence[Any]) -> list[Any]:
    """Values of the outputs of an equation."""
    slots = (*equation.inputs, *equation.outputs)
    if equation.primitive in NUMBERS and all(_simple(slot.dtype) for slot in slots):
        arrays = [np.asarray(v, s.dtype) for v, s in zip(values, equation.inputs, strict=True)]
        params = {**equation.params, "shape": equation.outputs[0].shape}
        with np.errstate(all="ignore"):
            out = NUMBERS[equation.primitive](params, *arrays)
        if out is not NotImplemented:
            out = out if isinstance(out, list) else [out]
            pairs = zip(out, equation.outputs, strict=True)
            return [np.asarray(value, slot.dtype).reshape(slot.shape) for value, slot in pairs]
    with jax.ensure_compile_time_eval():
        out = equation.bind(*values)
    return list(out) if isinstance(out, (list, tuple)) else [out]


def _simple(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biufc"


def _register(**functions: Compute) -> None:
    for name, function in functions.items():
        NUMBERS[name] = function


def _pointwise(function: Callable[..., Any]) -> Compute:
    """Scalars and axes of size 1 broadcast."""

    def compute(params: dict[str, Any], *arrays: np.ndarray) -> Any:
        return np.broadcast_to(function(*arrays), params["shape"])

    return compute


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "fc":
        return a / b
    b = np.where(b == 0, 1, b)
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


_POINTWISE = {
    **dict.fromkeys(("add", "add_any"), np.add),
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divided,
    "rem": np.fmod,
    "neg": np.negative,
    "max": np.maximum,
    "min": np.minimum,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "atan2": np.arctan2,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "square": np.square,
    "pow": np.power,
    "floor": np.floor,
    "ceil": np.ceil,
    "logistic": _logistic,
    "is_finite": np.isfinite,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "real": np.real,
    "imag": np.imag,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "conj": np.conj,
    "complex": lambda a, b: a + 1j * b,
    **dict.fromkeys(("copy", "stop_gradient"), np.asarray),
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
}
NUMBERS |= {name: _pointwise(function) for name, function in _POINTWISE.items()}


def _select(p: dict[str, Any], which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    which = np.broadcast_to(which.astype(int), p["shape"])
    return np.take_along_axis(np.stack(cases), which[None], 0)[0]


def _converted(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    x = np.real(x) if x.dtype.kind == "c" and np.dtype(p["new_dtype"]).kind != "c" else x
    return x.astype(p["new_dtype"])


def _stretched(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    place = [1] * len(p["shape"])
    for axis, target in enumerate(p["broadcast_dimensions"]):
        place[target] = x.shape[axis]
    return np.broadcast_to(x.reshape(place), p["shape"])


def _reshaped(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    order = p.get("dimensions")
    return (x if order is None else x.transpose(order)).reshape(p["shape"])


def _sliced(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    strides = p["strides"] or (1,) * x.ndim
    bounds = zip(p["start_indices"], p["limit_indices"], strides, strict=True)
    return x[tuple(slice(*bound) for bound in bounds)]


def _iota(p: dict[str, Any]) -> np.ndarray:
    place = [-1 if d == p["dimension"] else 1 for d in range(len(p["shape"]))]
    line = np.arange(p["shape"][p["dimension"]]).reshape(place)
    return np.broadcast_to(line, p["shape"])


def padded(p: dict[str, Any], x: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Low, high and interior padding, negative amounts included."""
    for axis, (low, high, inside) in enumerate(p["padding_config"]):
        size = x.shape[axis]
        last = size + max(size - 1, 0) * inside
        position = np.arange(-low, last + high)
        valid = (position >= 0) & (position < last) & (position % (inside + 1) == 0)
        index = np.where(valid, position // (inside + 1), size)
        edge = np.full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), value, x.dtype)
        x = np.concatenate([x, edge], axis).take(index, axis)
    return x


def _block(x: np.ndarray, sizes: Sequence[int], starts: Sequence[np.ndarray]) -> tuple[slice, ...]:
    rows = zip(x.shape, sizes, starts, strict=True)
    first = [int(np.clip(int(start), 0, n - size)) for n, size, start in rows]
    return tuple(slice(a, a + size) for a, size in zip(first, sizes, strict=True))


def _updated(p: dict[str, Any], x: np.ndarray, update: np.ndarray, *starts: Any) -> np.ndarray:
    out = x.copy()
    out[_block(x, update.shape, starts)] = update
    return out


_register(
    select_n=_select,
    convert_element_type=_converted,
    broadcast_in_dim=_stretched,
    reshape=_reshaped,
    squeeze=lambda p, x: x.reshape(p["shape"]),
    expand_dims=lambda p, x: x.reshape(p["shape"]),
    transpose=lambda p, x: x.transpose(p["permutation"]),
    slice=_sliced,
    iota=_iota,
    pad=padded,
    rev=lambda p, x: np.flip(x, p["dimensions"]),
    tile=lambda p, x: np.tile(x, p["reps"]),
    split=lambda p, x: np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"]),
    concatenate=lambda p, *a: np.concatenate(a, p["dimension"]),
    stack=lambda p, *a: np.stack(a, p["axis"]),
    dynamic_slice=lambda p, x, *s: x[_block(x, p["slice_sizes"], s)],
    dynamic_update_slice=_updated,
)


def _reduction(function: Callable[..., Any]) -> Compute:
    return lambda p, x: function(x, axis=tuple(p["axes"]))


def _running(function: np.ufunc) -> Compute:
    def compute(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
        x = np.flip(x, p["axis"]) if p["reverse"] else x
        out = function.accumulate(x, p["axis"])
        return np.flip(out, p["axis"]) if p["reverse"] else out

    return compute


def _sorted(p: dict[str, Any], x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    keys = (x, *others)[: p["num_keys"]]
    order = np.lexsort(keys[::-1], p["dimension"])
    return [np.take_along_axis(a, order, p["dimension"]) for a in (x, *others)]


def _top(p: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    axis = p.get("axis", x.ndim - 1) % x.ndim
    order = np.argsort(-x, axis, kind="stable").take(np.arange(p["k"]), axis)
    return [np.take_along_axis(x, order, axis), order]


def _dot(p: dict[str, Any], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    (contract_a, contract_b), (batch_a, batch_b) = p["dimension_numbers"]
    left, right = list(range(a.ndim)), [a.ndim + d for d in range(b.ndim)]
    for i, j in zip((*contract_a, *batch_a), (*contract_b, *batch_b), strict=True):
        right[j] = left[i]
    shared = {left[i] for i in (*contract_a, *batch_a)}
    out = [left[i] for i in batch_a]
    out += [i for i in left if i not in shared] + [j for j in right if j not in shared]
    return np.einsum(a, left, b, right, out, optimize=True)


_register(
    **{
        f"reduce_{name}": _reduction(function)
        for name, function in {
            "sum": np.sum,
            "max": np.max,
            "min": np.min,
            "prod": np.prod,
            "and": np.bitwise_and.reduce,
            "or": np.bitwise_or.reduce,
        }.items()
    },
    argmax=lambda p, x: np.argmax(x, p["axes"][0]),
    argmin=lambda p, x: np.argmin(x, p["axes"][0]),
    cumsum=_running(np.add),
    cumprod=_running(np.multiply),
    cummax=_running(np.maximum),
    cummin=_running(np.minimum),
    sort=_sorted,
    top_k=_top,
    dot_general=_dot,
    integer_pow=lambda p, x: x ** p["y"] if p["y"] >= 0 else 1 / x ** -p["y"],
)
