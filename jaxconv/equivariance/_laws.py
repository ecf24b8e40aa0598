"""How every array of a program should move when the input is shifted on a circle.

The axis along which a value's window moves, and by how many input pixels from one entry to the
next, are read from the program (`_sight`). A shift of the input by t pixels should then move the
value by t / stride entries along that axis, on a circle of n / stride entries; a value without
such an axis should stay.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

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

    def describe(self, shift: Sequence[float]) -> str:
        """In a few words: "stays", or by how much it moves along which axes."""
        words = [
            f"{_fraction(move.ratio * Fraction(t).limit_denominator(1024))} on axis {move.axis}"
            for move, t in zip(self.moves, shift, strict=True)
            if move is not None and t
        ]
        return ", ".join(words) if words else "stays"


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
    clean = [
        i
        for i in range(count)
        if sight.stride * i + sight.low >= 0 and sight.stride * i + sight.high <= pixels - 1
    ]
    border = (clean[0], count - 1 - clean[-1]) if clean else (count, 0)
    ratio = 1 / sight.stride
    return Move(sight.axis, inner, count, ratio, abs(pixels * ratio), border)


def _opened(y: jax.Array, move: Move) -> tuple[jax.Array, int]:
    """The array with the part of the axis that moves as an axis of its own."""
    shape = list(y.shape)
    outer = shape[move.axis] // (move.inner * move.count)
    shape[move.axis : move.axis + 1] = [outer, move.count, move.inner]
    return y.reshape(shape), move.axis + 1


def moved(y: jax.Array, law: Law, shift: Sequence[float]) -> tuple[jax.Array, jax.Array]:
    """What a shift of the input should make of a value, and a mask of where that is known."""
    known = jnp.ones([1] * y.ndim, bool)
    for move, t in zip(law.moves, shift, strict=True):
        if move is None or not t:
            continue
        opened, axis = _opened(y, move)
        new, mask = _moved_along(opened, axis, move, move.ratio * Fraction(t))
        y = new.reshape(y.shape)
        spread = jnp.broadcast_to(
            _moves.along(mask, axis, opened.ndim)[
                tuple(
                    slice(0, None) if a in (axis - 1, axis, axis + 1) else slice(0, 1)
                    for a in range(opened.ndim)
                )
            ],
            [s if a in (axis - 1, axis, axis + 1) else 1 for a, s in enumerate(opened.shape)],
        )
        shape = [s if a == move.axis else 1 for a, s in enumerate(y.shape)]
        known = known & spread.reshape(shape)
    return y, known


def _moved_along(
    y: jax.Array, axis: int, move: Move, amount: Fraction
) -> tuple[jax.Array, jax.Array]:
    count, everything = move.count, jnp.ones(move.count, bool)
    closes = move.period.denominator == 1 and move.period >= 1
    period = int(move.period) if closes else 0
    if amount.denominator == 1:
        shift = jnp.asarray(int(amount))
        if closes:
            return _moves.window(y, shift, axis, period)
        return _moves.slide(y, shift, axis)
    real = y if jnp.issubdtype(y.dtype, jnp.floating) else y.astype(jnp.float32)
    if closes and count >= period:
        circle = jax.lax.slice_in_dim(real, 0, period, axis=axis)
        turned = _moves.spectral(circle, jnp.asarray(float(amount)), axis)
        index = np.arange(count) % period
        return jnp.take(turned, index, axis=axis).astype(y.dtype), everything
    out, mask = _moves.sample(real, jnp.asarray(-float(amount)), count, axis, "bilinear")
    return out.astype(y.dtype), mask


def derivative(y: jax.Array, law: Law, shift: Sequence[float]) -> jax.Array:
    """Rate at which a value should change along a shift: Σ ratio·t·∂y, spectral on its circle."""
    total = jnp.zeros_like(y)
    for move, t in zip(law.moves, shift, strict=True):
        if move is None or not t:
            continue
        opened, axis = _opened(y, move)
        scale = jnp.asarray(float(move.ratio * Fraction(t)), y.dtype)
        total = total + scale * _slope(opened, axis, move).reshape(y.shape)
    return total


def _slope(y: jax.Array, axis: int, move: Move) -> jax.Array:
    closes = move.period.denominator == 1 and move.period >= 1
    if closes and move.count >= move.period:
        period = int(move.period)
        circle = jax.lax.slice_in_dim(y, 0, period, axis=axis)
        index = np.arange(move.count) % period
        return jnp.take(_moves.derivative(circle, axis), index, axis=axis)
    if y.shape[axis] < 2:
        return jnp.zeros_like(y)
    return jnp.asarray(jnp.gradient(y, axis=axis)).astype(y.dtype)  # a part of a circle: by lines


def clean_mask(shape: Sequence[int], law: Law, shift: Sequence[float]) -> jax.Array:
    """Entries whose own window, and that of the entry they come from, lies in the input."""
    clean = jnp.ones([1] * len(shape), bool)
    for move, t in zip(law.moves, shift, strict=True):
        if move is None:
            continue
        low, high = move.border
        here = np.arange(move.count)
        ok = np.ones(move.count, bool)
        amount = float(move.ratio) * t
        for index in (here, here - int(np.floor(amount)), here - int(np.ceil(amount))):
            index = index % move.count
            ok &= (index >= low) & (index < move.count - high)
        outer = shape[move.axis] // (move.inner * move.count)
        full = np.tile(np.repeat(ok, move.inner), outer)
        clean = clean & _moves.along(jnp.asarray(full), move.axis, len(shape))
    return clean
