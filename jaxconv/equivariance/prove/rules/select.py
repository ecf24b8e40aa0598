"""Gradients of pooling: each window sends what it is given to the tap that it selects."""

import numpy as np

from jaxconv.equivariance.prove._arrays import Labels, Unmodelled, Value
from jaxconv.equivariance.prove._hash import frozen, name_of, salted
from jaxconv.equivariance.prove._labels import ZERO, combine, constant_code, is_zero
from jaxconv.equivariance.prove._operands import lift
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove._terms import summed
from jaxconv.equivariance.prove._windows import Window, gathered


def _windows(call: Call, shape: tuple[int, ...], outputs: tuple[int, ...]) -> dict[int, Window]:
    geometry = zip(
        shape,
        call.params["window_dimensions"],
        call.params["window_strides"],
        call.params["padding"],
        outputs,
        strict=True,
    )
    return {
        axis: Window(n, taps, stride, 1, 1, low, high, count)
        for axis, (n, taps, stride, (low, high), count) in enumerate(geometry)
        if (taps, stride, low, high) != (1, 1, 0, 0)
    }


@rule("select_and_scatter_add")
def select_and_scatter_add(context: Context, call: Call, source: Value, x: Value) -> Labels:
    """Computes y[i] = Σ over windows o and taps t that lie on i of source[o] · [o selects t]."""
    windows = _windows(call, x.shape, source.shape)
    states = ["E" if axis in windows else "-" for axis in range(len(x.shape))]
    below = _matched(context, x, source, states)
    above = _matched(context, source, x, states)
    taps = gathered(context, below.code, windows, ZERO)
    given = np.broadcast_to(above.code[..., None], (*taps.shape[:-1], 1))
    layout = below.states, above.states, frozen(call.params["window_dimensions"])
    salt = name_of("select", str(call.params.get("select_prim")), layout)
    whole = combine(np.concatenate([given, taps], -1), salt)
    terms = _sent_back(context, whole, windows)
    return summed([terms], x.shape, below.states, search=terms[0].size < 100_000)


def _matched(context: Context, value: Value, other: Value, states: list[str]) -> Labels:
    """The value at explicit states wherever either operand is explicit."""
    wanted = [
        "E" if s == "E" or (isinstance(other, Labels) and other.states[d] == "E") else "-"
        for d, s in enumerate(states)
    ]
    return lift(value, value.shape, wanted, context.rank)


def _sent_back(context: Context, code: np.ndarray, windows: dict[int, Window]) -> np.ndarray:
    """For every input the windows that cover it, with the tap at which they do, last axis."""
    edge_name = constant_code(ZERO, context.rank)
    ndim = code.ndim
    for axis, window in windows.items():
        taps, inputs = np.arange(window.taps)[None], np.arange(window.size)[:, None]
        position = inputs + window.low - taps
        valid = (position >= 0) & (position % window.stride == 0)
        valid &= position // window.stride < window.outputs
        index = np.where(valid, position // window.stride, window.outputs)
        shape = (*code.shape[: axis + 1], 1, *code.shape[axis + 2 :])
        edge = np.broadcast_to(edge_name.reshape((-1,) + (1,) * (code.ndim - 1)), shape)
        code = np.moveaxis(
            np.concatenate([code, edge], axis + 1).take(index, axis + 1), axis + 2, -1
        )
    code = code.reshape(*code.shape[:ndim], -1)
    zero = is_zero(code)
    names = np.stack(
        [salted(code[:2, ..., t], name_of("tap", t)) for t in range(code.shape[-1])], -1
    )
    names = np.where(zero, code[:2], names)
    return np.concatenate([names, code[2:]])


@rule("select_and_gather_add")
def select_and_gather_add(context: Context, call: Call, tangent: Value, x: Value) -> Labels:
    """Computes y[o] = tangent at the tap that window o selects in x."""
    if any(d != 1 for key in ("base_dilation", "window_dilation") for d in call.params[key]):
        raise Unmodelled("dilated selection")
    windows = _windows(call, x.shape, call.shape)
    states = ["E" if axis in windows else "-" for axis in range(len(x.shape))]
    pair = [_matched(context, a, b, states) for a, b in ((tangent, x), (x, tangent))]
    codes = [gathered(context, labels.code, windows, ZERO) for labels in pair]
    codes = np.broadcast_arrays(*codes)
    kinds = [_either(a, b) for a, b in zip(pair[0].states, pair[1].states, strict=True)]
    salt = call.salt([labels.states for labels in pair])
    return Labels(call.shape, tuple(kinds), combine(np.concatenate(codes, -1), salt))


def _either(first: str, second: str) -> str:
    return "E" if "E" in (first, second) else "B" if "B" in (first, second) else "R"
