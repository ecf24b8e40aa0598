"""Proofs: shift laws of any function, derived from its jaxpr."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jaxconv.equivariance.prove._analysis import output_laws
from jaxconv.equivariance.prove._arrays import Labels, Value
from jaxconv.equivariance.prove._choices import choice_limits
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._limits import LEVELS, Limit, Recorder
from jaxconv.equivariance.prove._program import Run, pads, trace
from jaxconv.equivariance.prove._proof import Gap, Output, Proof
from jaxconv.equivariance.prove._rows import rows, walks_of
from jaxconv.equivariance.prove._table import Context
from jaxconv.equivariance.prove.rules.index import DEPENDS


def prove(
    f: Callable[..., Any],
    x: Any,
    axes: Sequence[int] = (1, 2),
    *,
    params: Any = None,
    weights: str = "generic",
    periodic: bool = False,
) -> Proof:
    """Derives how the outputs of f move when its input shifts, from the program of f.

        f(T_p x) = T'_q f(x)    for all x, with T circular shifts along `axes`

    Nothing is computed but constants: shapes are enough. Every element of every intermediate
    array is named as a function of x seen from a place, so that an output that moves with the
    input carries the same names at other places.

    Args:
        f: any function of x, or of (params, x) when params are given, to a pytree of arrays.
        x: array or `jax.ShapeDtypeStruct`, or a pytree of them that shift together.
        axes: the axes of x that shift.
        params: weights of f, values or shapes.
        weights: "generic", to prove for all values of `params`, or "actual", for those given.
        periodic: take positive zero padding to wrap around: the law that strides alone leave.

    Returns:
        A `Proof`; print it.

    Raises:
        ValueError: for axes that x does not have, or sizes that do not divide.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        >>> print(prove(lambda x: x[:, ::2, ::2].mean((1, 2)), x).theorem)
        Output is invariant to shifts by multiples of 2 (16 of 64 shifts); the first obstruction is
        the ... of ...

    References:
        Chaman and Dokmanic 2021, arXiv:2011.14214, section 3 (what subsampling does to shifts).
    """
    program = trace("prove", f, x, axes, params, weights)
    padded = pads(program.program)
    wrapped = Recorder(program.sizes, LEVELS[: 1 if periodic or padded else 2])
    circular = program.run(Context(program.sizes, periodic=True), wrapped)
    left, decided = output_laws(program, circular, periodic=True)
    recorder, run, laws = wrapped, circular, left
    if padded and not periodic:
        recorder = Recorder(program.sizes, LEVELS[1:], wrapped.strides)
        run = program.run(Context(program.sizes), recorder)
        laws, decided = output_laws(program, run, periodic=False)
    walks = walks_of(program)
    short = any(not law.exact or law.shift > 1 for row in laws for law in row)
    chosen = choice_limits(program, periodic=periodic) if decided and short else None
    outputs = []
    for number, path in enumerate(program.paths):
        strides = _limits(wrapped, circular.outputs[number], left[number], "stride")
        borders = _limits(recorder, run.outputs[number], laws[number], "border")
        if chosen is not None:
            strides, borders = chosen[number], ()
        fields = tuple(walk.field(program.program.outputs[number]) for walk in walks)
        known = {(limit.order, limit.axis, limit.after) for limit in strides}
        borders = tuple(l for l in borders if (l.order, l.axis, l.after) not in known)
        shape = run.outputs[number].shape
        outputs.append(Output(path, shape, laws[number], left[number], strides, borders, fields))
    return Proof(
        program,
        tuple(outputs),
        _gaps(run, decided=decided),
        rows(recorder.seen, wrapped.seen, walks),
        periodic,
        recorder.labels,
        tuple(tuple(map(_alone, each.outputs)) for each in (run, circular)),
    )


def _alone(value: Value) -> Value:
    """The value without its history."""
    return replace(value, trail=None, terms=None) if isinstance(value, Labels) else value


def _limits(recorder: Recorder, value: Any, laws: tuple[Law, ...], level: str) -> tuple[Limit, ...]:
    """What limits the laws that are coarser than all shifts, in program order."""
    trail = recorder.trail(value)
    found = dict.fromkeys(
        limit
        for law, limits in zip(laws, trail.limits, strict=True)
        if not (law.exact and law.shift == 1)
        for limit in limits
        if limit.level == level
    )
    return tuple(sorted(found, key=lambda limit: limit.order))


def _gaps(run: Run, *, decided: bool) -> tuple[Gap, ...]:
    found = dict.fromkeys(
        Gap(equation.primitive, reason, "/".join(equation.scope), equation.source)
        for equation, reason in run.interpreter.gaps
        if not (decided and reason == DEPENDS)
    )
    return tuple(found)
