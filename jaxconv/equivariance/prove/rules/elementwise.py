"""Position by position: one new function of the operands; sums in normal form."""

import numpy as np

from jaxconv.equivariance.prove._arrays import Known, Labels, Unmodelled, Value, condensed
from jaxconv.equivariance.prove._operands import (
    as_terms,
    common_states,
    lift,
    negated,
    summed,
    uniform,
    zipped,
)
from jaxconv.equivariance.prove._table import Call, Context, rule

_WORDS = """
abs acos acosh and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz complex
conj convert_element_type cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge
gt igamma igamma_grad_a igammac imag integer_pow is_finite le le_to lgamma log log1p logistic lt
lt_to max min mul mulhi ne nextafter not or polygamma population_count pow pvary pcast
random_gamma_grad real reduce_precision regularized_incomplete_beta rem round rsqrt shift_left
shift_right_arithmetic shift_right_logical sign sin sinh sqrt square tan tanh xor zeta
"""
NAMES = _WORDS.split()
"""Primitives that act position by position, each on its own."""
SUMS_TERMS = 2000
"""Sums with fewer terms in all also look for a finer stabilizer."""


@rule(*NAMES)
def elementwise(context: Context, call: Call, *operands: Value) -> Labels:
    """Computes y[i] = op(a[i], b[i], ...)."""
    if len(operands) == 1 and isinstance(operands[0], Labels):
        return operands[0].applied(call.salt())
    states = common_states(operands, call.shape)
    lifted = [lift(v, call.shape, states, context.rank) for v in operands]
    salt = call.salt([labels.states for labels in lifted])
    return zipped(lifted, call.shape, states, salt)


@rule("copy", "copy_p", "stop_gradient", "sharding_constraint", "optimization_barrier")
def identity(context: Context, call: Call, *operands: Value) -> list[Value]:
    """Computes y = x, for every operand."""
    return list(operands)


@rule("bitcast_convert_type")
def bitcast(context: Context, call: Call, x: Labels) -> Labels:
    """Reinterprets the bits of every element."""
    if x.shape != call.shape:
        raise Unmodelled("bitcast that changes the shape")
    return x.applied(call.salt())


@rule("add", "add_any", "sub")
def add(context: Context, call: Call, a: Value, b: Value) -> Labels:
    """Computes y[i] = a[i] ± b[i], as a multiset of terms: x + 0 is x, a + b is b + a."""
    if np.dtype(call.dtypes[0]).kind == "b":
        return elementwise(context, call, a, b)
    states = common_states((a, b), call.shape)
    signs = (1, -1 if call.name == "sub" else 1)
    parts = [
        as_terms(value, lift(value, call.shape, states, context.rank), sign)
        for value, sign in zip((a, b), signs, strict=True)
    ]
    few = sum(part[0].size for part in parts) < SUMS_TERMS
    return summed(parts, call.shape, states, search=few)


@rule("neg")
def negate(context: Context, call: Call, x: Labels) -> Labels:
    """Computes y[i] = -x[i], term by term."""
    return summed([negated(as_terms(x, x))], x.shape, x.states, search=False)


@rule("select_n")
def select(context: Context, call: Call, which: Value, *cases: Value) -> Value:
    """Computes y[i] = cases[which[i]][i]; a constant choice picks labels."""
    if isinstance(which, Labels):
        return elementwise(context, call, which, *cases)
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
    return condensed(Labels(call.shape, options[0].states, code), range(len(call.shape)))
