"""The table of rules: what each operation does to what its operands see."""

from jaxconv.equivariance._sight import shape, window
from jaxconv.equivariance._sight.algebra import Sight, whole
from jaxconv.equivariance._sight.step import Rule, Step, elementwise, moved, reduced, same_unless


def apply(step: Step) -> list[Sight | None]:
    """The sights of all results of an equation that is no loop and no branch."""
    outputs = step.equation.outputs
    if all(sight is None for sight in step.sights):
        return [None] * len(outputs)
    name = step.equation.primitive
    if name == "split":
        return shape.split(step)
    if name == "optimization_barrier":
        return list(step.sights)
    rule = RULES.get(name)
    step = step if name in _MERGED else step.plain()
    sight = whole(step.pixels, known=False) if rule is None else rule(step)
    return [sight] * len(outputs)


_ELEMENTWISE = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp clz complex conj
    convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor
    ge gt igamma igammac imag integer_pow is_finite le lgamma log log1p logistic lt max min mul
    mul_add_p ne neg nextafter not or polygamma population_count pow real reduce_precision rem
    round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt
    square stop_gradient sub tan tanh xor
"""

POINTWISE = frozenset(_ELEMENTWISE.split())
"""Operations that make every entry of the entries at the same place."""

_REDUCTIONS = """
    argmax argmin reduce reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
    reduce_xor
"""

_POOLS = "reduce_window reduce_window_max reduce_window_min reduce_window_sum"
_RUNNING = "cumlogsumexp cummax cummin cumprod cumsum"

_MERGED = {
    *(_ELEMENTWISE + _REDUCTIONS).split(),
    "broadcast_in_dim",
    "dot_general",
    "reshape",
    "squeeze",
    "transpose",
}
"""Operations whose rules cope with an axis that is a merger of several."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), elementwise),
    **dict.fromkeys(_REDUCTIONS.split(), moved(reduced)),
    **dict.fromkeys(_RUNNING.split(), same_unless("axis")),
    **dict.fromkeys(_POOLS.split(), window.pool),
    "broadcast_in_dim": moved(lambda step, a: step.params["broadcast_dimensions"][a]),
    "concatenate": shape.concatenate,
    "conv_general_dilated": window.convolution,
    "dot_general": window.dot,
    "dynamic_slice": shape.dynamic_slice,
    "dynamic_update_slice": moved(lambda step, a: a),
    "fft": moved(
        lambda step, a: a if a < len(step.shape) - len(step.params["fft_lengths"]) else None
    ),
    "gather": shape.gather,
    "pad": shape.pad,
    "reshape": shape.reshape,
    "rev": shape.rev,
    "slice": shape.slice_,
    "sort": same_unless("dimension"),
    "squeeze": moved(
        lambda step, a: (
            None
            if a in step.params["dimensions"]
            else a - sum(other < a for other in step.params["dimensions"])
        )
    ),
    "stack": shape.stack,
    "tile": shape.tile,
    "unstack": shape.unstack,
    "transpose": moved(lambda step, a: tuple(step.params["permutation"]).index(a)),
}
"""The rule of every operation that has one; `split` and loops have several results."""
