"""Position by position: one new function of the operands; sums in normal form."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance.prove._arrays import (
    Known,
    Labels,
    Value,
    bundled,
    condensed,
    extent,
    renamed,
)
from jaxconv.equivariance.prove._hash import name_of
from jaxconv.equivariance.prove._labels import is_zero
from jaxconv.equivariance.prove._operands import charges, common_states, lift, uniform, zipped
from jaxconv.equivariance.prove._phases import equal_phases, has_phase, product, without
from jaxconv.equivariance.prove._table import Call, Context, rule
from jaxconv.equivariance.prove._terms import as_terms, negated, summed

_WORDS = """
acos acosh and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz complex
cos cosh digamma eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge
gt igamma igamma_grad_a igammac imag is_finite le le_to lgamma log log1p logistic lt
lt_to mulhi ne nextafter not or polygamma population_count pow pvary pcast
random_gamma_grad real reduce_precision regularized_incomplete_beta rem round rsqrt shift_left
shift_right_arithmetic shift_right_logical sign sin sinh sqrt tan tanh xor zeta
"""
NAMES = _WORDS.split()
"""Primitives that act position by position, each on its own."""
PHASED = ("abs", "conj", "convert_element_type", "div", "integer_pow", "mul", "square")
"""More of them, that know what becomes of phases."""
SUMS_TERMS = 2000
"""Sums with fewer terms in all also look for a finer stabilizer."""


@rule(*NAMES)
def elementwise(context: Context, call: Call, *operands: Value) -> Value:
    """Computes y[i] = op(a[i], b[i], ...)."""
    if call.name == "lt" and _not_negative(*operands):
        return Known(np.zeros(call.shape, bool))
    if len(operands) == 1 and isinstance(operands[0], Labels):
        return informed(operands[0].applied(call.salt()), operands)
    states = common_states(operands, call.shape)
    lifted = [lift(v, call.shape, states, context.rank) for v in operands]
    salt = call.salt([labels.states for labels in lifted])
    return informed(zipped(lifted, call.shape, states, salt), operands)


def _not_negative(a: Value, b: Value) -> bool:
    """Whether a < b cannot be: a holds positions, b nothing above 0."""
    positions = isinstance(a, Labels) and a.order is not None
    return positions and isinstance(b, Known) and bool((b.array <= 0).all())


def informed(out: Labels, operands: Sequence[Value]) -> Labels:
    """Notes which arrays determine the output position by position."""
    labelled = [v for v in operands if isinstance(v, Labels)]
    still = [v.array for v in operands if isinstance(v, Known)]
    if all(v.shape == out.shape for v in labelled) and all((a == a.flat[:1]).all() for a in still):
        tokens = [v.determined | {v.token} for v in labelled]
        out.determined = frozenset.intersection(*tokens)
    return out


@rule("max", "min")
def extreme(context: Context, call: Call, a: Value, b: Value) -> Labels:
    """Computes the larger (smaller) of a[i] and b[i], as a set of terms."""
    states = common_states((a, b), call.shape)
    parts = [as_terms(v, lift(v, call.shape, states, context.rank), kind=call.name) for v in (a, b)]
    few = sum(part[0].size for part in parts) < SUMS_TERMS
    out = summed(parts, call.shape, states, search=few, kind=call.name)
    return informed(out, (a, b))


@rule(*PHASED, charged=True)
def phased(context: Context, call: Call, *operands: Value) -> Value:
    """Products, whose charges are sums; |x|, which has none."""
    if call.name in ("mul", "div"):
        a, b = operands
        zero = [isinstance(v, Known) and bool((v.array == 0).all()) for v in (a, b)]
        if zero[0] or (zero[1] and call.name == "mul"):  # of finite values
            return Known(np.zeros(call.shape, call.dtypes[0]))
        if _is_one(b) and a.shape == call.shape:
            return a
        if call.name == "mul" and _is_one(a) and b.shape == call.shape:
            return b
    scaled = _scaled(call, operands)
    if scaled is not None:
        return informed(scaled, operands)
    if not has_phase(*operands):
        out = elementwise(context, call, *operands)
        if isinstance(out, Labels) and call.name == "convert_element_type":
            out.order = _order_as(call.dtypes[0], operands[0])
        return out
    powers = _POWERS.get(call.name, (1,))
    if call.name == "integer_pow":
        powers = (call.params["y"],)
    real = call.name == "convert_element_type" and np.dtype(call.dtypes[0]).kind != "c"
    if real:
        return elementwise(context, call, *without(*operands))
    return product(context, call, operands, powers)


def _order_as(dtype: Any, x: Value) -> tuple[Labels, int] | None:
    """The order that x holds, if integers of the type can count that far."""
    if isinstance(x, Known) or x.order is None or np.dtype(dtype).kind not in "iu":
        return None
    keys, axis = x.order
    return x.order if np.iinfo(dtype).max >= keys.shape[axis] else None


def _scaled(call: Call, operands: Sequence[Value]) -> Labels | None:
    """A sum times a number, as the sum of its terms times the number."""
    if call.name not in ("mul", "div") or not isinstance(operands[0], Labels):
        operands = operands[::-1] if call.name == "mul" else ()
    x, factor = operands if len(operands) == 2 else (None, None)
    if not isinstance(x, Labels) or not isinstance(factor, Known) or x.shape != call.shape:
        return None
    number = factor.array.reshape(-1)[:1]
    if x.terms is None or x.kind != "sum" or (factor.array != number).any():
        return None
    if not jnp.issubdtype(call.dtypes[0], jnp.inexact):
        return None  # (a + b) // 2 is not a // 2 + b // 2
    salt = name_of(call.name, str(number.dtype), number.tobytes())
    terms = renamed(x.terms, salt, keep_zero=True)
    return summed([terms], x.shape, x.states, search=False)


def _is_one(value: Value) -> bool:
    return isinstance(value, Known) and bool((value.array == 1).all())


_POWERS = {"abs": (0,), "conj": (-1,), "mul": (1, 1), "div": (1, -1), "square": (2,)}


@rule(
    *("copy", "stop_gradient", "optimization_barrier", "name", "device_put"),
    *("sharding_constraint", "layout_constraint", "reshard"),
    charged=True,
)
def identity(context: Context, call: Call, *operands: Value) -> list[Value]:
    """Computes y = x, for every operand."""
    return list(operands)


@rule("bitcast_convert_type")
def bitcast(context: Context, call: Call, x: Labels) -> Labels:
    """Reinterprets the bits of every element, one as several or several as one."""
    wide = x.shape[len(call.shape) :]
    if wide:
        x = bundled(x, x.ndim - 1)
    out = x.applied(call.salt(wide, x.states))
    states = (*x.states, "B")[: len(call.shape)]
    place = extent(call.shape, states)
    return Labels(call.shape, states, out.code.reshape(len(out.code), *place))


@rule("add", "add_any", "sub", charged=True)
def add(context: Context, call: Call, a: Value, b: Value) -> Value:
    """Computes y[i] = a[i] ± b[i], as a multiset of terms: x + 0 is x, a + b is b + a."""
    if np.dtype(call.dtypes[0]).kind == "b":
        return elementwise(context, call, a, b)
    if has_phase(a, b):
        together = equal_phases(context, call, (a, b))
        return together or elementwise(context, call, *without(a, b))
    states = common_states((a, b), call.shape)
    signs = (1, -1 if call.name == "sub" else 1)
    parts = [
        as_terms(value, lift(value, call.shape, states, context.rank), sign)
        for value, sign in zip((a, b), signs, strict=True)
    ]
    few = sum(part[0].size for part in parts) < SUMS_TERMS
    out = summed(parts, call.shape, states, search=few)
    if out.terms is not None and is_zero(out.terms).all():
        return Known(np.zeros(call.shape, call.dtypes[0]))
    return informed(out, (a, b))


@rule("neg", charged=True)
def negate(context: Context, call: Call, x: Labels) -> Labels:
    """Computes y[i] = -x[i], term by term."""
    if has_phase(x):
        return product(context, call, (x,), (1,))
    out = summed([negated(as_terms(x, x))], x.shape, x.states, search=False)
    out.token, out.determined = x.token, x.determined  # each is a function of the other
    return out


@rule("select_n", charged=True)
def select(context: Context, call: Call, which: Value, *cases: Value) -> Value:
    """Computes y[i] = cases[which[i]][i]; a constant choice picks labels."""
    if isinstance(which, Labels):
        return elementwise(context, call, *without(which, *cases))
    choice = which.array.astype(int)
    if (choice == choice.flat[0]).all():
        chosen = cases[int(choice.flat[0])]
        return chosen if isinstance(chosen, Known) else lift(chosen, call.shape, (), 0)
    states = list(common_states(cases, call.shape))
    choice = np.broadcast_to(
        choice if choice.ndim else choice.reshape((1,) * len(call.shape)), call.shape
    )
    for axis in range(len(call.shape)):
        if Known(choice).varies(axis):
            states[axis] = "E"
    options = uniform(cases, [call.shape] * len(cases), states, context.rank)
    for axis, state in enumerate(options[0].states):
        if state != "E":
            choice = np.take(choice, [0], axis)
    stacked = np.stack([o.code for o in options])
    code = np.take_along_axis(stacked, choice[None, None], 0)[0]
    out = Labels(call.shape, options[0].states, code)
    if has_phase(*cases):
        rows = [
            np.broadcast_to(charges(o, v), (context.rank, *code.shape[1:]))
            for o, v in zip(options, cases, strict=True)
        ]
        out.charge = np.take_along_axis(np.stack(rows), choice[None, None], 0)[0]
        out.sizes = context.sizes
    return condensed(out, range(len(call.shape)))
