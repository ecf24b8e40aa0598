"""How every array of a program should move when the input is shifted on a circle.

The axis along which a value's window moves, and by how many input pixels from one entry to the
next, are read from the program (`_sight`). A shift of the input by t pixels should then move the
value by t / stride entries along that axis, on a circle of n / stride entries; a value without
such an axis should stay.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _moves
from jaxconv.equivariance._jaxpr import Program, Value
from jaxconv.equivariance._motion import Motion
from jaxconv.equivariance._sight.algebra import Sight, start
from jaxconv.equivariance._sight.walk import Walk


class Move(NamedTuple):
    """How a value should move when the input shifts along one axis.

    Attributes:
        axis: axis of the value.
        inner: entries after the part of the axis that moves (1 unless axes were merged).
        count: entries of that part.
        ratio: entries per input pixel.
        period: entries of the circle, a fraction where it does not close.
        border: entries (low, high) whose window reaches beyond the input's edges.
    """

    axis: int
    inner: int
    count: int
    ratio: Fraction
    period: Fraction
    border: tuple[int, int]


class Law(NamedTuple):
    """How a value should move; one entry per moved input axis, None where it should stay.

    Attributes:
        moves: how it moves along each.
        known: whether every operation before it has a rule; the law is a guess otherwise.
        field: input pixels that one entry sees, per moved input axis.
    """

    moves: tuple[Move | None, ...]
    known: bool
    field: tuple[int, ...]

    @property
    def moving(self) -> bool:
        """Whether it moves at all."""
        return any(move is not None for move in self.moves)

    def motion(self) -> list[Any]:
        """Where and how it moves, its borders left out."""
        return [move and move[:-1] for move in self.moves]

    def describe(self, shift: Sequence[float]) -> str:
        """In a few words: "stays", or by how much it moves along which axes."""
        words = [
            f"{_fraction(move.inner * move.ratio * _exact(t))} on axis {move.axis}"
            for move, t in zip(self.moves, shift, strict=True)
            if move is not None and t
        ]
        return ", ".join(words) if words else "stays"


def _exact(shift: float) -> Fraction:
    return Fraction(shift).limit_denominator(1024)


def _fraction(number: Fraction) -> str:
    return str(number) if number.denominator <= 64 else f"{float(number):.3g}"


def laws_of(program: Program, in_axes: Sequence[tuple[int, ...]]) -> dict[Value, Law]:
    """The law of every value that depends on a moved input."""
    walks, motions = [], []
    for i in range(max(map(len, in_axes))):
        seen = [start(axes[i]) if axes else None for axes in in_axes]
        pairs = zip(program.inputs, in_axes, strict=True)
        pixels = next(value.shape[axes[i]] for value, axes in pairs if axes)
        walks.append(Walk(program, seen, pixels))
        motions.append(Motion(program, seen, pixels))
    values = [*program.inputs, *(v for e in program.equations for v in e.outputs)]
    laws = {}
    for value in values:
        sights = [walk.sights.get(value) for walk in walks]
        if any(sight is not None for sight in sights) and _is_array(value):
            seen = [motion.sights.get(value) for motion in motions]
            laws[value] = _law(value, sights, seen, [walk.pixels for walk in walks])
    return laws


def _is_array(value: Value) -> bool:
    return not jnp.issubdtype(value.dtype, jax.dtypes.extended)


def _law(
    value: Value,
    sights: Sequence[Sight | None],
    motions: Sequence[Sight | None],
    pixels: Sequence[int],
) -> Law:
    moves, field = [], []
    for sight, motion, n in zip(sights, motions, pixels, strict=True):
        moves.append(_move(value, motion, n) if motion is not None else None)
        field.append(0 if sight is None else min(int(sight.high - sight.low) + 1, n))
    known = all(sight is None or sight.known for sight in sights)
    return Law(tuple(moves), known, tuple(field))


def _move(value: Value, sight: Sight, pixels: int) -> Move | None:
    if sight.axis is None or sight.stride == 0:
        return None
    inner, count = sight.part or (1, value.shape[sight.axis])
    # an entry i is clean where 0 <= stride * i + low and stride * i + high <= pixels - 1
    ends = -sight.low / sight.stride, (pixels - 1 - sight.high) / sight.stride
    ends = ends if sight.stride > 0 else ends[::-1]
    first, last = max(math.ceil(ends[0]), 0), min(math.floor(ends[1]), count - 1)
    border = (first, count - 1 - last) if first <= last else (count, 0)
    ratio = 1 / sight.stride
    return Move(sight.axis, inner, count, ratio, abs(pixels * ratio), border)


class Turn(NamedTuple):
    """By how much a value turns along one of its axes: all that moving it needs.

    Attributes:
        axis: axis of the value.
        inner: entries after the part of the axis that moves.
        count: entries of that part.
        period: entries of the circle.
        amount: entries by which it turns.
    """

    axis: int
    inner: int
    count: int
    period: Fraction
    amount: Fraction

    @property
    def closes(self) -> bool:
        """Whether the value holds a whole circle of whole entries, or more."""
        return self.period.denominator == 1 and 1 <= self.period <= self.count


def turns(law: Law, shift: Sequence[float]) -> tuple[Turn, ...]:
    """How a shift of the input turns a value; layers of one shape and pitch turn alike."""
    return tuple(turn for turn in circles(law, shift) if turn.amount)


def circles(law: Law, shift: Sequence[float]) -> tuple[Turn, ...]:
    """As `turns`, with those by nothing: one along every axis that moves."""
    return tuple(
        Turn(m.axis, m.inner, m.count, m.period, m.ratio * _exact(t))
        for m, t in zip(law.moves, shift, strict=True)
        if m is not None
    )


def axes_of(moves: Law | Sequence[Turn]) -> tuple[int, ...]:
    """Axes along which a value moves."""
    found = moves.moves if isinstance(moves, Law) else moves
    return tuple(sorted({move.axis for move in found if move}))


def _opened(y: jax.Array, turn: Turn) -> tuple[jax.Array, int]:
    """The array with the part of the axis that moves as an axis of its own."""
    shape = list(y.shape)
    outer = shape[turn.axis] // (turn.inner * turn.count)
    shape[turn.axis : turn.axis + 1] = [outer, turn.count, turn.inner]
    return y.reshape(shape), turn.axis + 1


def along(vector: jax.Array, turn: Turn | Move, shape: Sequence[int]) -> jax.Array:
    """A vector over the part of an axis that moves, shaped to broadcast over the value."""
    outer = shape[turn.axis] // (turn.inner * turn.count)
    full = jnp.tile(jnp.repeat(vector, turn.inner), outer)
    return _moves.along(full, turn.axis, len(shape))


def moved(y: jax.Array, turned: Sequence[Turn]) -> tuple[jax.Array, jax.Array]:
    """What turning makes of a value, and a mask of where that is known."""
    known = jnp.ones([1] * y.ndim, bool)
    for turn in turned:
        if not turn.amount:
            continue
        opened, axis = _opened(y, turn)
        new, mask = _turned(opened, axis, turn)
        y = new.reshape(y.shape)
        known = known if mask is None else known & along(mask, turn, y.shape)
    return y, known


def rolled(y: jax.Array, turned: Sequence[Turn], amounts: jax.Array) -> tuple[Any, Any]:
    """As `moved`, by traced numbers of whole entries."""
    known = jnp.ones([1] * y.ndim, bool)
    for i, turn in enumerate(turned):
        opened, axis = _opened(y, turn)
        new, mask = _by_whole(opened, axis, turn, amounts[i])
        y = new.reshape(y.shape)
        known = known & along(mask, turn, y.shape)
    return y, known


def _by_whole(y: jax.Array, axis: int, turn: Turn, amount: jax.Array) -> tuple[Any, Any]:
    if turn.period.denominator == 1 and turn.period >= 1:
        return _moves.window(y, amount, axis, int(turn.period))
    return _moves.slide(y, amount, axis)


def _turned(y: jax.Array, axis: int, turn: Turn) -> tuple[jax.Array, jax.Array | None]:
    if turn.amount.denominator == 1:
        if turn.closes and turn.count == turn.period:
            return jnp.roll(y, int(turn.amount), axis), None
        return _by_whole(y, axis, turn, jnp.asarray(int(turn.amount)))
    real = y if jnp.issubdtype(y.dtype, jnp.floating) else y.astype(jnp.float32)
    if turn.closes:
        turned = _moves.translated(_circle(real, axis, turn), float(turn.amount), axis)
        return _repeated(turned, axis, turn).astype(y.dtype), None
    amount = jnp.asarray(-float(turn.amount))
    out, mask = _moves.sample(real, amount, turn.count, axis, "bilinear")
    return out.astype(y.dtype), mask


def _circle(y: jax.Array, axis: int, turn: Turn) -> jax.Array:
    """Once round the circle, of which the axis may hold more."""
    return jax.lax.slice_in_dim(y, 0, int(turn.period), axis=axis)


def _repeated(y: jax.Array, axis: int, turn: Turn) -> jax.Array:
    period = int(turn.period)
    if turn.count == period:
        return y
    return jnp.take(y, np.arange(turn.count) % period, axis=axis)


def derivative(y: jax.Array, turned: Sequence[Turn]) -> jax.Array:
    """Rate at which a value should change as it turns: Σ amount·∂y, spectral on its circle."""
    total = jnp.zeros_like(y)
    for turn in turned:
        if not turn.amount:
            continue
        opened, axis = _opened(y, turn)
        scale = jnp.asarray(float(turn.amount), y.dtype)
        total = total + scale * _slope(opened, axis, turn).reshape(y.shape)
    return total


def _slope(y: jax.Array, axis: int, turn: Turn) -> jax.Array:
    if turn.closes:
        return _repeated(_moves.derivative(_circle(y, axis, turn), axis), axis, turn)
    if y.shape[axis] < 2:
        return jnp.zeros_like(y)
    return jnp.asarray(jnp.gradient(y, axis=axis)).astype(y.dtype)  # a part of a circle: by lines


def borders(law: Law) -> list[tuple[int, int]]:
    """Entries (low, high) whose window reaches beyond the input, for every axis that moves."""
    return [move.border for move in law.moves if move is not None]


def inside(turned: Sequence[Turn], border: Any, shape: Sequence[int]) -> jax.Array:
    """Where an entry's own window, and that of the entry it comes from, is in the input.

    A mask that broadcasts over a value of a shape; the border may be traced.
    """
    found = jnp.ones([1] * len(shape), bool)
    for i, turn in enumerate(turned):
        here = np.arange(turn.count)
        ok = jnp.ones(turn.count, bool)
        for index in (here, here - math.floor(turn.amount), here - math.ceil(turn.amount)):
            source = index % turn.count
            ok = ok & (source >= border[i][0]) & (source < turn.count - border[i][1])
        found = found & along(ok, turn, shape)
    return found
