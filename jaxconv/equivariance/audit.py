"""Which operation breaks equivariance, on which line, by how much."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import (
    _alone,
    _asked,
    _blame,
    _fold,
    _frame,
    _gaps,
    _jaxpr,
    _laws,
    _moves,
    _pass,
    _reverse,
    _table,
)
from jaxconv.equivariance import lie as _lie
from jaxconv.equivariance._pass import Tape
from jaxconv.equivariance._verdicts import Operation, Output


class Audit(NamedTuple):
    """What `audit` found; printed, it is a table with the answer in its first line.

    Attributes:
        operations: in the order of evaluation.
        outputs: verdict per output leaf.
        shift: the audited shift of the input.
        tolerance: eps_inf up to which a value obeys.
        lie: sum of the contributions; NaN without any.
        note: why there are none, or "".
        f: the function.
        x: its input.
    """

    operations: tuple[Operation, ...]
    outputs: tuple[Output, ...]
    shift: tuple[int, ...]
    tolerance: float
    lie: float
    note: str
    f: Callable[[Any], Any]
    x: Any

    @property
    def obeys(self) -> bool:
        """Whether every output moved, or stayed, as it should."""
        return all(output.obeys for output in self.outputs)

    @property
    def counted(self) -> bool:
        """Whether it was asked how much operations add to the final error."""
        return not all(math.isnan(operation.added) for operation in self.operations)

    @property
    def guilty(self) -> tuple[Operation, ...]:
        """The operations that break the law though all that they read obeys."""
        return tuple(operation for operation in self.operations if operation.guilty)

    @property
    def also(self) -> tuple[Operation, ...]:
        """Operations after them that would break the law by themselves."""
        return tuple(o for o in self.operations if o.also and not o.guilty)

    def __str__(self) -> str:
        """The answer in one line, and a table of operations."""
        return _table.text(self)


def audit(
    f: Callable[[Any], Any],
    x: Any,
    *,
    shift: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    counterfactual: bool | Sequence[int] = False,
    lie: bool = True,
    tolerance: float | None = None,
) -> Audit:
    """Runs f on x and on the shifted x, operation by operation, and says where they part.

    f is traced, so it may come from any framework. How the output of every operation should move
    (on which axis, by how many pixels) is read from the program; the input moves on a circle.
    An operation is guilty when its output is not where it should be though everything that it
    reads is; those after it that would break the law by themselves are marked too. Operations in
    one scope and on one line of the user's are one row.

    Args:
        f: any function of x to arrays.
        x: (N, *spatial, C), or a pytree of such inputs, which move together.
        shift: whole pixels along each moved axis; 1, 3, 5 and so on unless given.
        axes: moved axes of the inputs; all between the first and the last unless given.
        counterfactual: for every row, or for the rows given: how much smaller the error of the
            outputs is when this row's output is replaced by the ideally shifted one. One more
            pass for each.
        lie: whether to derive signed contributions to the Lie derivative: one reverse pass.
        tolerance: eps_inf up to which a value obeys; 10 times the dtype's unless given.

    Returns:
        An `Audit`.

    Raises:
        TypeError: when shift is not of whole pixels, or counterfactual neither a bool nor rows.
        ValueError: when nothing can move or shift moves nothing, has not one entry for each moved
            axis, a row is not there, or the tolerance is negative.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> found = audit(lambda x: jnp.tanh(x)[:, ::2].mean((1, 2)), x)
        >>> found.obeys, [operation.path for operation in found.guilty]
        (False, ['slice'])

    References:
        Gruver, Finzi, Goldblum and Wilson 2022, arXiv:2210.02984 (contributions of layers).
    """
    spec = _frame.Spec("audit", None if axes is None else tuple(axes))
    leaves, tree = jax.tree.flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    in_axes, sizes = _frame.input_axes(spec, leaves)
    amount = _asked.pixels("audit", shift, sizes)
    moved = _rolled(leaves, in_axes, amount)
    limit = _limit(leaves, in_axes) if tolerance is None else _asked.tolerance("audit", tolerance)
    with jax.default_matmul_precision("highest"):
        closed, out = jax.make_jaxpr(f, return_shape=True)(tree.unflatten(leaves))
        program = _jaxpr.flatten(closed)
        laws = _laws.laws_of(program, in_axes)
        tape = _pass.lay(program, laws, _fold.calls(program, laws), amount)
        asked = _asked.rows("audit", counterfactual, len(tape.rows))
        found = _pass.finite(tape, leaves, moved)
        blamed = _blame.guilty(tape, found, moved, limit)
        heads = _blame.within(tape, found, moved, limit, blamed)
        also = _alone.others(tape, found, limit, blamed)
        signed, total, note = _signed(tape, found) if lie else (None, float("nan"), "")
        added = _added(tape, found, moved, asked)
    operations = tuple(
        _operation(tape, k, found, amount, signed, heads.get(k))._replace(
            guilty=k in blamed, also=k in also, added=added.get(k, float("nan"))
        )
        for k in range(len(tape.rows))
    )
    return Audit(operations, _outputs(tape, found, out, limit), amount, limit, total, note, f, x)


def _rolled(
    leaves: Sequence[jax.Array], in_axes: Sequence[tuple[int, ...]], amount: tuple[int, ...]
) -> list[jax.Array]:
    """The inputs moved on circles by `amount` pixels, those without axes as they are."""
    return [
        _moves.each(_moves.roll, leaf, jnp.asarray(amount), axes) if axes else leaf
        for leaf, axes in zip(leaves, in_axes, strict=True)
    ]


def _limit(leaves: Sequence[jax.Array], in_axes: Sequence[tuple[int, ...]]) -> float:
    from jaxconv.equivariance.measure import TOLERANCE

    dtype = next(leaf.dtype for leaf, axes in zip(leaves, in_axes, strict=True) if axes)
    return 10 * TOLERANCE.get(str(dtype), 1e-5)


def _signed(tape: Tape, found: _pass.Finite) -> tuple[np.ndarray | None, float, str]:
    """Signed Lie contributions by row along the outputs' finite error; or why there are none."""
    parts = {v: gap for v, gap in found.errors.items() if jnp.issubdtype(gap.dtype, jnp.floating)}
    if not parts:
        return None, float("nan"), "no Lie derivative: no output is of real numbers"
    try:
        ends, _ = _lie.direction(tape, found.first, parts)
        contributions = _reverse.signed(tape, found.first, ends)
    except (TypeError, NotImplementedError, ValueError) as error:  # what JAX cannot differentiate
        return None, float("nan"), f"no Lie derivative: {str(error).splitlines()[0]}"
    return contributions, float(contributions.sum()), ""


def _added(tape, found, moved, asked: Sequence[int]) -> dict[int, float]:
    if not asked:
        return {}
    ends = [v for v in tape.program.outputs if v in tape.laws]
    before = max(float(found.gaps[v].eps_2) for v in ends)
    added = {}
    for k in asked:
        output = tape.rows[k].output
        ideal = _pass.recall(tape, found.first, k)[output]
        second = _pass.patched(tape, moved, output, ideal)
        pairs = [(found.first[v], second[v], tape.laws[v]) for v in ends]
        added[k] = before - max(float(_gaps.compare(*p, tape.shift).eps_2) for p in pairs)
    return added


def _operation(tape, k, found, shift, signed, head) -> Operation:
    row = tape.rows[k]
    equations = [tape.program.equations[i] for i in row.equations]
    head = head or next((e for e in equations if e.primitive == row.name), equations[-1])
    gap, law = found.gaps[row.output], tape.laws[row.output]
    nothing = not bool(gap.compared)
    return Operation(
        "/".join((*head.scope, head.primitive)),
        head.source.file if head.source else "",
        head.source.line if head.source else 0,
        tuple(row.output.shape),
        law.describe(shift),
        float("nan") if nothing else float(gap.eps_inf),
        float("nan") if nothing else float(gap.eps_2),
        float(gap.border),
        law.field,
        float("nan") if signed is None else float(signed[k]),
        False,
        False,
        float("nan"),
        found.maps[row.output],
    )


def _outputs(tape: Tape, found: _pass.Finite, out: Any, limit: float) -> tuple[Output, ...]:
    """The verdict on every leaf of `out`, the outputs' shapes, that a law tells of."""
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(out)]
    return tuple(
        _output(value, tape.laws[value], path, found.gaps[value], tape.shift, limit)
        for path, value in zip(paths, tape.program.outputs, strict=True)
        if value in tape.laws
    )


def _output(value, law, path, gap, shift, limit) -> Output:
    obeys = bool(gap.eps_inf <= limit)
    whole = not jnp.issubdtype(value.dtype, jnp.inexact)
    errors = float(gap.eps_inf), float(gap.eps_2)
    return Output(path, law.describe(shift), law.moving, *errors, obeys, whole)
