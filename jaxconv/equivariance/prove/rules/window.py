"""Sliding windows: convolutions as sums of terms, reduce_window as multisets."""

import math
from collections.abc import Sequence

import numpy as np

from jaxconv.equivariance.prove._arrays import (
    Known,
    Labels,
    Unmodelled,
    Value,
    bundled,
    expanded,
)
from jaxconv.equivariance.prove._hash import U, frozen, mix, name_of, spread
from jaxconv.equivariance.prove._labels import (
    ZERO,
    combine,
    is_zero,
    periods_of,
)
from jaxconv.equivariance.prove._moves import transposed
from jaxconv.equivariance.prove._multisets import multiset
from jaxconv.equivariance.prove._operands import lift, zero_entries
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove._terms import as_terms, joint, kept, summed
from jaxconv.equivariance.prove._windows import Taps, Window


def _active(labels: Labels, windows: dict[int, Window], *, periodic: bool) -> Labels:
    """Expands replicated axes on which a window would see the border."""
    for axis, window in windows.items():
        wraps = periodic and window.base == 1
        if labels.states[axis] == "B":
            raise Unmodelled("window along a bundled axis")
        if labels.states[axis] == "R" and not window.trivial and not wraps:
            labels = expanded(labels, axis)
    return labels


def _seen(labels: Labels, windows: dict[int, Window], *, periodic: bool) -> dict[int, Window]:
    """The windows that matter: on explicit axes, and on axes of size 1 with a border."""
    return {
        axis: window
        for axis, window in windows.items()
        if labels.states[axis] == "E"
        or (labels.shape[axis] == 1 and not window.trivial and not (periodic and window.base == 1))
    }


@rule("conv_general_dilated")
def convolution(context: Context, call: Call, x: Value, kernel: Value) -> Labels:
    """Computes y[o] = Σ_t kernel[t] · x[window(o, t)]: a sum of terms, one a tap."""
    params = call.params
    numbers = params["dimension_numbers"]
    x = _canonical(context, x, numbers.lhs_spec)
    weights = _canonical(context, kernel, numbers.rhs_spec)
    for axis in (0, 1):
        weights = bundled(weights, axis)
    x = bundled(x, 1)
    if params["batch_group_count"] > 1:
        x = bundled(x, 0)
    out_shape = [call.shape[axis] for axis in numbers.out_spec]
    windows = _conv_windows(params, x.shape, weights.shape, out_shape)
    x = _all_explicit(x, windows, periodic=context.periodic)
    seen = _seen(x, windows, periodic=context.periodic)
    for axis in windows:
        weights = expanded(weights, axis) if axis in seen else bundled(weights, axis)
    taps = Taps(context, x.code, seen, ZERO)
    layout = [params[key] for key in ("feature_group_count", "batch_group_count")]
    salt = name_of(
        "tap", frozen(layout), str(call.dtypes[0]), x.states, weights.states, x.shape[:2]
    )
    slices = _kernel_taps(kernel, weights, numbers.rhs_spec, context.rank)
    states = ["B" if d == 1 else "E" if d in seen else s for d, s in enumerate(x.states)]
    name, shape = joint(out_shape, states), (taps.rows, *taps.shape)
    keep = kept(math.prod(taps.shape) * taps.count, taps.count)
    codes, terms = [], []
    for here in taps:
        products = _products(here, slices, salt)
        codes.append(multiset(products, name))
        terms += [products] if keep else []
    canonical = Labels(tuple(out_shape), tuple(states), np.concatenate(codes, 1).reshape(shape))
    if keep:
        canonical.terms = np.concatenate(terms, 1).reshape(*shape, taps.count)
    return transposed(canonical, list(np.argsort(numbers.out_spec)))


def _canonical(context: Context, value: Value, spec: Sequence[int]) -> Labels:
    labels = lift(value, value.shape, _kernel_states(value, spec), context.rank)
    return transposed(labels, spec)


def _kernel_states(value: Value, spec: Sequence[int]) -> list[str]:
    """A constant is explicit along its window axes, bundled along batch and channels."""
    if isinstance(value, Labels):
        return ["-"] * value.ndim
    return ["B" if axis in spec[:2] else "E" for axis in range(len(value.shape))]


def _all_explicit(x: Labels, windows: dict[int, Window], *, periodic: bool) -> Labels:
    for axis in windows:
        if x.states[axis] == "B":
            x = expanded(x, axis)
    return _active(x, windows, periodic=periodic)


def _conv_windows(params: dict, x_shape, kernel_shape, out_shape) -> dict[int, Window]:
    geometry = zip(
        params["window_strides"],
        params["rhs_dilation"],
        params["lhs_dilation"],
        params["padding"],
        strict=True,
    )
    return {
        d + 2: Window(
            x_shape[d + 2], kernel_shape[d + 2], stride, dilation, base, low, high, out_shape[d + 2]
        )
        for d, (stride, dilation, base, (low, high)) in enumerate(geometry)
    }


def _kernel_taps(kernel: Value, weights: Labels, spec: Sequence[int], rank: int) -> np.ndarray:
    """Labels of the kernel slices in the order of the taps; zero slices are exactly zero."""
    code = weights.code
    if isinstance(kernel, Known):
        states = [weights.states[spec.index(axis)] for axis in range(len(spec))]
        zero = zero_entries(kernel, states).transpose(spec)
        zero = np.broadcast_to(zero, code.shape[1:])
        names = np.where(zero, spread(ZERO, zero.ndim), code[:2])
        code = np.concatenate([names, code[2:]])
    return code.reshape(code.shape[0], -1)


def _products(taps: np.ndarray, kernel: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Terms kernel[t] · x[t], zero if either is; linear in both, so order does not matter."""
    shape = taps.shape[1:]
    wide = kernel.reshape((kernel.shape[0],) + (1,) * (len(shape) - 1) + (-1,))
    zero = is_zero(taps) | is_zero(wide)
    if (periods_of(kernel) == 1).all():
        seed = mix(wide[:2] + spread(salt, len(shape)))
        names = mix(taps[:2] * U(11) + seed)
        terms = np.concatenate([names, taps[2:]])
    else:
        pair = np.stack([taps, np.broadcast_to(wide, taps.shape)], -1)
        terms = combine(pair, salt)
    names = np.where(zero, spread(ZERO, zero.ndim), terms[:2])
    coordinates = terms[2:]
    if zero.any():
        rank = coordinates.shape[0] // 2
        still = np.concatenate([np.zeros(rank, U), np.ones(rank, U)])
        coordinates = np.where(zero, still.reshape((-1,) + (1,) * zero.ndim), coordinates)
    return np.concatenate([names, coordinates])


@rule("reduce_window_max", "reduce_window_min", "reduce_window_sum", "reduce_window")
def reduce_window(context: Context, call: Call, x: Value, *initial: Value) -> Labels:
    """Computes y[o] = op over the window of o: the multiset of what it sees, borders dropped."""
    if len(call.shapes) != 1 or not isinstance(x, Labels) or len(initial) > 1:
        raise Unmodelled("reduce_window of several arrays")
    windows = _windows_of_pool(x.shape, call)
    for axis in windows:
        if x.states[axis] == "B":
            x = expanded(x, axis)
    x = _active(x, windows, periodic=context.periodic)
    seen = _seen(x, windows, periodic=context.periodic)
    fill = name_of("initial value") if initial else ZERO
    flat = [window.taps for axis, window in windows.items() if axis not in seen]
    states = ["E" if d in seen else s for d, s in enumerate(x.states)]
    kind = {"max": "max", "min": "min", "sum": "sum"}.get(call.name.removeprefix("reduce_window_"))
    if kind is not None and not flat:
        terms = as_terms(x, x, kind=kind)
        wide = Taps(context, terms, seen, ZERO).whole()
        terms = wide.reshape(*wide.shape[:-2], -1)
        return summed([terms], call.shape, states, search=True, kind=kind)
    taps = Taps(context, x.code, seen, fill)
    operation, ordered = _window_operation(call.params, initial)
    salt = name_of("window", call.name, operation, x.states, x.shape if flat else None, flat)
    if ordered:
        salt = name_of(salt.tobytes(), "ordered", frozen(call.params["padding"]))
    join = combine if ordered else multiset
    code = np.concatenate([join(here, salt) for here in taps], 1)
    return Labels(call.shape, tuple(states), code.reshape(taps.rows, *taps.shape))


def _windows_of_pool(shape: tuple[int, ...], call: Call) -> dict[int, Window]:
    """The windows along the axes on which they do anything."""
    params = call.params
    geometry = zip(
        shape,
        params["window_dimensions"],
        params["window_strides"],
        params["window_dilation"],
        params["base_dilation"],
        params["padding"],
        call.shape,
        strict=True,
    )
    return {
        axis: Window(n, taps, stride, dilation, base, low, high, outputs)
        for axis, (n, taps, stride, dilation, base, (low, high), outputs) in enumerate(geometry)
        if (taps, stride, base, low, high) != (1, 1, 1, 0, 0)
    }


def _window_operation(params: dict, initial: tuple[Value, ...]) -> tuple[str, bool]:
    """Text of the reducing function, and whether order may matter to it."""
    if not initial:
        return "", False
    jaxpr = params.get("jaxpr")
    if not isinstance(initial[0], Known) or jaxpr is None or params.get("consts"):
        raise Unmodelled("reduce_window with a computed operator")
    names = [equation.primitive.name for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns]
    text = f"{names} {initial[0].array.tobytes().hex()} {jaxpr}"
    commutes = len(names) == 1 and names[0] in {"add", "mul", "max", "min", "and", "or"}
    return text, not commutes
