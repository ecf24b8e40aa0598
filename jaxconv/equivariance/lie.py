"""The Lie derivative: how fast a function leaves equivariance as its input begins to move.

    L f(x) = d/dτ T'_{-τ} f(T_τ x) at τ = 0  =  D_out f(x) - J_f [D x]

with D the spectral derivative on the circle along the direction of motion, D_out that of the
output in its own pitch. One jvp, no resampling, no border artifact. For a chain of operations
y_k = f_k(y_{k-1}) the local defects L_k = D y_k - J_k [D y_{k-1}] telescope exactly:

    L f(x) = Σ_k J_{>k} L_k

so that the contributions of operations add up to the whole, with their signs. Along a direction
one reverse pass has them all (`_reverse`). A derivative is infinitesimal: it says what finite
shifts do only for smooth functions, as relu and strides show.

References:
    Gruver, Finzi, Goldblum and Wilson 2022, arXiv:2210.02984 (the Lie derivative and its layer by
    layer decomposition). There images are resampled and the norms of layers are squared; here D
    is spectral and contributions keep their signs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _asked, _errors, _fold, _frame, _jaxpr, _laws, _pass, _reverse
from jaxconv.equivariance._jaxpr import Equation, Program, Value
from jaxconv.equivariance._pass import Arrays, Tape
from jaxconv.equivariance._recipe import Recipe


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


def _is_smooth(value: Value) -> bool:
    return value.dtype is not None and jnp.issubdtype(value.dtype, jnp.inexact)


def _active(tape: Tape, values: Sequence[Value]) -> tuple[int, ...]:
    """Which of some values carry derivatives."""
    return tuple(i for i, v in enumerate(values) if v in tape.laws and _is_smooth(v))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _push(recipe: Recipe, active: tuple[int, ...], kept: tuple[int, ...], arrays, tangents):
    """Outputs of a row, and the tangents of those kept."""
    function, given = _reverse.only(recipe, active, kept, arrays)
    return recipe(arrays), jax.jvp(function, given, tangents)[1]


def _pushed(tape: Tape, leaves: Sequence[Any]) -> tuple[Arrays, Arrays]:
    """All values, and the tangents of those that carry one, as the input begins to move."""
    values: Arrays = dict(zip(tape.program.inputs, leaves, strict=True))
    tangents: Arrays = {}
    for value, leaf in values.items():
        if value in tape.laws and _is_smooth(value):
            rate = _reverse.rate_of(tape, value, leaf)
            tangents[value] = jnp.zeros_like(leaf) if rate is None else rate
    for row in tape.rows:
        active = tuple(i for i, v in enumerate(row.inputs) if v in tangents)
        kept = _active(tape, row.outputs) if active else ()
        arrays = _pass.gather(tape, row.inputs, values)
        given = [tangents[row.inputs[i]] for i in active]
        made, pushed = _push(row.recipe, active, kept, arrays, given)
        values.update(zip(row.outputs, made, strict=True))
        tangents.update(zip((row.outputs[i] for i in kept), pushed, strict=True))
    return values, tangents


def direction(tape: Tape, first: Arrays, parts: dict[Value, Any]) -> tuple[dict[Value, Any], float]:
    """Ends along which contributions are in units of the outputs' scale, and the size of parts.

    The scale is ||D y|| of an output that moves and ||y - mean y|| of one that does not.
    """
    scaled, scales = {}, {}
    for value, part in parts.items():
        rate = _reverse.rate_of(tape, value, first[value])
        axes = _laws.axes_of(tape.laws[value])
        scale = _norm(rate) if rate is not None else _contrast(first[value], axes)
        scales[value] = float(scale) or 1.0
        scaled[value] = np.asarray(part, np.float64) / scales[value]
    size = float(np.sqrt(sum((np.abs(part) ** 2).sum() for part in scaled.values())))
    with np.errstate(invalid="ignore"):  # along an infinite error there is no direction: NaN
        ends = {
            value: jnp.asarray(part / ((size or 1.0) * scales[value]), first[value].dtype)
            for value, part in scaled.items()
        }
    return ends, size


def _refuse_whole_numbers(program: Program, laws: dict[Value, Any]) -> None:
    """Their derivative is 0 wherever there is one, which would look like equivariance."""
    for number, value in enumerate(program.outputs):
        if value in laws and not _is_smooth(value):
            raise ValueError(
                f"lie_derivative: output {number} of f has no derivative; expected floating-point "
                f"numbers. Got dtype={value.dtype}. Return the scores that it is made of."
            )


def _norm(part: Any) -> float:
    return float(np.linalg.norm(np.asarray(part, np.float64)))


def _contrast(y: Any, axes: tuple[int, ...]) -> Any:
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
        ValueError: when nothing can move; when the velocity is 0, not finite, or has not one entry
            for each moved axis; when an output that depends on x holds whole numbers.

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
    velocity = _asked.velocity("lie_derivative", velocity, sizes)
    with jax.default_matmul_precision("highest"):
        program = _jaxpr.trace(f, tree.unflatten(leaves))
        laws = _laws.laws_of(program, in_axes)
        _refuse_whole_numbers(program, laws)
        tape = _pass.lay(program, laws, _fold.singles(program, laws), velocity)
        values, tangents = _pushed(tape, leaves)
        targets = [v for v in program.outputs if v in tangents]
        parts = {}
        for value in targets:
            rate = _reverse.rate_of(tape, value, values[value])
            parts[value] = -tangents[value] if rate is None else rate - tangents[value]
        ends, relative = direction(tape, values, parts)
        contributions = _reverse.signed(tape, values, ends)
    found = [np.asarray(parts[value]) for value in targets]
    squares = sum((np.abs(part.astype(np.float64)) ** 2).sum() for part in found)
    largest = max(relative, float(np.abs(contributions).sum()), 1e-300)
    return LieDerivative(
        float(squares / max(sum(part.size for part in found), 1)),
        relative,
        contributions,
        abs(float(contributions.sum()) - relative) / largest,
        tuple(program.equations[row.equations[0]] for row in tape.rows),
        found,
    )
