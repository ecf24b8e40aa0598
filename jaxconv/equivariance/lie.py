"""The Lie derivative: how fast a function leaves equivariance as its input begins to move.

    L f(x) = d/dτ T'_{-τ} f(T_τ x) at τ = 0  =  D_out f(x) - J_f [D x]

with D the spectral derivative on the circle along the direction of motion, D_out that of the
output in its own pitch. One jvp, no resampling, no border artifact. For a chain of operations
y_k = f_k(y_{k-1}) the local defects L_k = D y_k - J_k [D y_{k-1}] telescope exactly:

    L f(x) = Σ_k J_{>k} L_k

so that the contributions of operations add up to the whole, with their signs. A derivative is
infinitesimal: it says what finite shifts do only for smooth functions, as relu and strides show.

References:
    Gruver, Finzi, Goldblum and Wilson 2022, arXiv:2210.02984 (the Lie derivative and its layer by
    layer decomposition). There images are resampled and the norms of layers are squared; here D
    is spectral and contributions keep their signs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _errors, _frame, _jaxpr, _laws
from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._laws import Law
from jaxconv.equivariance._pass import Arrays, evaluate, held, read


class LieDerivative(NamedTuple):
    """The Lie derivative of a function at x.

    Attributes:
        absolute: mean of L² over outputs: the local equivariance error.
        relative: ||L|| / ||D f||, for outputs that move; ||L|| / ||f - mean f|| for others.
        contributions: of every operation to `relative`, along the direction of L, with signs;
            they add up to it.
        residue: |Σ contributions - relative| / Σ |contributions|: rounding.
        operations: the operations that contributions belong to.
        values: L itself, one array per output leaf.
    """

    absolute: float
    relative: float
    contributions: np.ndarray
    residue: float
    operations: tuple[Equation, ...]
    values: list[np.ndarray]


def _is_real(value: Value) -> bool:
    return value.dtype is not None and jnp.issubdtype(value.dtype, jnp.floating)


def _rate(value: Value, y: jax.Array, laws: dict[Value, Law], velocity: Sequence[float]):
    """D of a value: zero for what does not depend on the input or does not move."""
    if value not in laws or not laws[value].moving:
        return jnp.zeros_like(y)
    return _laws.derivative(y, laws[value], velocity)


def _defects(
    equation: Equation, arrays: Arrays, laws: dict[Value, Law], velocity: Sequence[float]
) -> list[jax.Array | None]:
    """L of each output of one operation, None for those that are no real numbers."""
    inputs = [read(value, arrays) for value in equation.inputs]
    inputs = [
        jax.lax.stop_gradient(y) if _is_real(v) else y
        for v, y in zip(equation.inputs, inputs, strict=True)
    ]
    active = [i for i, v in enumerate(equation.inputs) if _is_real(v) and v in laws]
    real = [i for i, v in enumerate(equation.outputs) if _is_real(v)]
    if not active or not real:
        return [None] * len(equation.outputs)

    def outputs(*given):
        filled = list(inputs)
        for i, y in zip(active, given, strict=True):
            filled[i] = y
        made = equation.bind(*filled)
        made = list(made) if isinstance(made, (list, tuple)) else [made]
        return [made[i] for i in real]

    primals = [inputs[i] for i in active]
    tangents = [_rate(equation.inputs[i], inputs[i], laws, velocity) for i in active]
    made, pushed = jax.jvp(outputs, primals, tangents)
    defects: list[jax.Array | None] = [None] * len(equation.outputs)
    for i, y, push in zip(real, made, pushed, strict=True):
        defects[i] = _rate(equation.outputs[i], y, laws, velocity) - push
    return defects


def lie_pass(
    program: Program, laws: dict[Value, Law], velocity: Sequence[float]
) -> Callable[..., Any]:
    """(constants, leaves) -> L and D of the outputs, outputs, signed contributions, residue."""
    keys = list(held(program))
    targets = [i for i, v in enumerate(program.outputs) if _is_real(v) and v in laws]

    def chain(constants, leaves, gates, *, defects):
        arrays: Arrays = dict(zip(keys, constants, strict=True))
        arrays.update(zip(program.inputs, leaves, strict=True))
        for k, equation in enumerate(program.equations):
            made = evaluate(equation, arrays)
            if defects and any(v in laws for v in equation.outputs):
                for i, defect in enumerate(_defects(equation, arrays, laws, velocity)):
                    if defect is not None:
                        gate = gates[k].astype(defect.dtype)
                        made[i] = made[i] + gate * jax.lax.stop_gradient(defect)
            arrays.update(zip(equation.outputs, made, strict=True))
        return [read(program.outputs[i], arrays) for i in targets]

    def run(constants, leaves):
        gates = jnp.zeros(len(program.equations))
        y, pull = jax.vjp(lambda g: chain(constants, leaves, g, defects=True), gates)
        real = [i for i, v in enumerate(program.inputs) if _is_real(v)]

        def through(*given):
            filled = list(leaves)
            for i, leaf in zip(real, given, strict=True):
                filled[i] = leaf
            return chain(constants, filled, gates, defects=False)

        inward = [leaves[i] for i in real]
        rates = [_rate(program.inputs[i], leaves[i], laws, velocity) for i in real]
        _, pushed = jax.jvp(through, inward, rates)
        own = [
            _rate(program.outputs[i], out, laws, velocity)
            for i, out in zip(targets, y, strict=True)
        ]
        lie = [a - b for a, b in zip(own, pushed, strict=True)]
        scales = [
            _norm([rate]) if laws[v].moving else _contrast(out, v, laws)
            for v, out, rate in zip((program.outputs[i] for i in targets), y, own, strict=True)
        ]
        scaled = [part / scale.astype(part.dtype) for part, scale in zip(lie, scales, strict=True)]
        size = _norm(scaled)
        safe = jnp.where(size > 0, size, 1)
        ends = [
            (part / (safe * scale).astype(part.dtype))
            for part, scale in zip(scaled, scales, strict=True)
        ]
        (contributions,) = pull(ends)
        count = sum(part.size for part in lie)
        return lie, _norm(lie) ** 2 / count, size, contributions

    return run


def _norm(parts: Sequence[jax.Array]) -> jax.Array:
    return jnp.sqrt(sum((jnp.sum(part.astype(_wide(part)) ** 2) for part in parts), 0.0))


def _wide(part: jax.Array) -> Any:
    return part.dtype if part.dtype == jnp.float64 else jnp.float32


def _contrast(y: jax.Array, value: Value, laws: dict[Value, Law]) -> jax.Array:
    axes = tuple(sorted({move.axis for move in laws[value].moves if move}))
    return _errors.scale_of(y, _errors.Frame(axes, ())).contrast


def lie_derivative(
    f: Callable[[Any], Any],
    x: Any,
    velocity: Sequence[float] | None = None,
    *,
    axes: Sequence[int] | None = None,
) -> LieDerivative:
    """How fast f leaves equivariance when x begins to move, and which operations make it so.

        L f(x) = D_out f(x) - J_f [D x] = Σ_k J_{>k} L_k

    How each value of the program moves is read from the program; x moves on a circle.

    Args:
        f: any function of x to arrays.
        x: (N, *spatial, C), or a pytree of such inputs, which move together.
        velocity: input pixels per unit of time along each moved axis; 1 along all unless given.
        axes: moved axes of the inputs; all between the first and the last unless given.

    Returns:
        A `LieDerivative`.

    Raises:
        ValueError: when nothing can move.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> bool(lie_derivative(lambda x: 2 * x, x).relative < 1e-6)
        True
        >>> bool(lie_derivative(jax.nn.relu, x).relative > 0.1)  # relu aliases
        True
    """
    spec = _frame.Spec("lie_derivative", None if axes is None else tuple(axes))
    leaves, tree = jax.tree.flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    in_axes, sizes = _frame.input_axes(spec, leaves)
    velocity = [1.0] * len(sizes) if velocity is None else list(velocity)
    with jax.default_matmul_precision("highest"):
        program = _jaxpr.trace(f, tree.unflatten(leaves))
        laws = _laws.laws_of(program, in_axes)
        run = jax.jit(lie_pass(program, laws, velocity))
        found = run(list(held(program).values()), leaves)
    values, absolute, relative, contributions = jax.tree.map(np.asarray, found)
    total = float(contributions.astype(np.float64).sum())
    largest = max(float(relative), float(np.abs(contributions).sum()), 1e-300)
    residue = abs(total - float(relative)) / largest
    return LieDerivative(
        float(absolute), float(relative), contributions, residue, program.equations, values
    )
