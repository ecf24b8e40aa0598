"""The reverse pass: what every row contributes to the Lie derivative along a direction.

With c the cotangents of the direction, the row from y_i to y_k contributes

    <c_k, J_{>k}' L_k> = <c_k, D y_k> - Σ_i <c_k J_k, D y_i>

where c_k J_k is what the pass sends from k to i anyway. <c, D y> is measured where a row reads y.
At the row that made y it is the sum of these, for its c is the sum of what its readers send. An
affine row contributes nothing: what one of its inputs reads is what the others leave.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance import _laws, _pass
from jaxconv.equivariance._jaxpr import Value
from jaxconv.equivariance._laws import Turn
from jaxconv.equivariance._pass import Arrays, Tape
from jaxconv.equivariance._recipe import Recipe
from jaxconv.equivariance._stretch import Piece, Step, Stretch


@functools.partial(jax.jit, static_argnums=1)
def _rate(y: Any, turned: tuple[Turn, ...]) -> Any:
    return _laws.derivative(y, turned)


def rate_of(tape: Tape, value: Value, y: Any) -> Any:
    """D of a value, or None where it stands still."""
    turned = _laws.turns(tape.laws[value], tape.shift)
    return _rate(y, turned) if turned else None


def only(recipe: Recipe, active: tuple[int, ...], kept: tuple[int, ...], arrays: list[Any]):
    """A row as a function of its active inputs to some of its outputs."""

    def function(*given):
        filled = list(arrays)
        for i, y in zip(active, given, strict=True):
            filled[i] = y
        made = recipe(filled)
        return [made[i] for i in kept]

    return function, [arrays[i] for i in active]


@jax.jit
def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """The sum of products, in float32 at least."""
    wide = a.dtype if jnp.finfo(a.dtype).bits >= 32 else jnp.float32
    product = jnp.real(a.astype(wide) * b.astype(wide))
    return product.sum(axis=-1 if a.ndim else None).sum()


def _backwards(
    stretch: Stretch, ends: Sequence[int]
) -> list[tuple[Step, tuple[tuple[int, ...], tuple[int, ...]]]]:
    """Steps, the last first, which outputs have a cotangent and which inputs are sent one."""
    have, found = set(ends), []
    for step in reversed(stretch.steps):
        kept = tuple(i for i, slot in enumerate(step.outputs) if slot in have)
        active = tuple(i for i, slot in enumerate(step.inputs) if kept and stretch.smooth[slot])
        have |= {step.inputs[i] for i in active}
        found.append((kept, active))
    return list(zip(reversed(stretch.steps), found, strict=True))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _pull(
    stretch: Stretch, ends: tuple[int, ...], known: list[Any], sent: list[Any]
) -> tuple[dict[int, Any], Any]:
    """What a stretch sends back, by slot, and <c, D y> wherever a step reads y, the last first."""
    values, cotangents = _pass.replay(stretch, known), dict(zip(ends, sent, strict=True))
    products = []
    for step, (kept, active) in _backwards(stretch, ends):
        own = [cotangents.pop(step.outputs[i]) for i in kept]
        if not active:
            continue
        arrays = [values[slot] for slot in step.inputs]
        function, given = only(step.recipe, active, kept, arrays)
        back = jax.vjp(function, *given)[1](own)
        sends = dict(zip((step.inputs[i] for i in active), back, strict=True))
        for slot in _measured(step, active):
            rate = _laws.derivative(values[slot], stretch.turned[slot] or ())
            products.append(_dot(sends[slot], rate).astype(float))
        _add(cotangents, sends)
    return cotangents, jnp.stack(products) if products else jnp.zeros(0)


def _measured(step: Step, active: Sequence[int]) -> list[int]:
    """The slots that a step reads for which <c, D y> must be measured: of an affine one not all."""
    slots = [step.inputs[i] for i in active]
    return slots[1:] if step.affine else slots


def _add(cotangents: dict[Any, Any], more: dict[Any, Any]) -> None:
    """Adds cotangents to those of the same name."""
    for name, cotangent in more.items():
        before = cotangents.get(name)
        cotangents[name] = cotangent if before is None else before + cotangent


def signed(tape: Tape, first: Arrays, ends: dict[Value, Any]) -> np.ndarray:
    """What each row adds to Σ <end, L> over the outputs that have an end."""
    cotangents, measured, visits = dict(ends), [], []
    for piece in reversed(tape.pieces):
        stretch = piece.stretch
        made = range(len(stretch.given), len(piece.values))
        at = tuple(slot for slot in made if piece.values[slot] in cotangents)
        sent = [cotangents.pop(value) for value in piece.at(at)]
        back, products = _pull(stretch, at, _pass.known(tape, piece, first), sent)
        _add(cotangents, {piece.values[slot]: cotangent for slot, cotangent in back.items()})
        visits.append((piece, at))
        measured.append(products)
        jax.block_until_ready(measured[max(len(measured) - 1 - _pass.AHEAD, 0)])
    totals = {value: [_end_product(tape, value, first[value], end)] for value, end in ends.items()}
    contributions = np.zeros(len(tape.rows))
    for (piece, at), products in zip(visits, jax.device_get(measured), strict=True):
        _settle(piece, at, list(map(float, products)), totals, contributions)
    return contributions


def _end_product(tape: Tape, value: Value, y: Any, end: Any) -> float:
    rate = rate_of(tape, value, y)
    return 0.0 if rate is None else float(_dot(end, rate))


def _settle(
    piece: Piece,
    at: tuple[int, ...],
    products: list[float],
    totals: dict[Value, list[float]],
    contributions: np.ndarray,
) -> None:
    """Contributions of the rows of a stretch; `totals` has <c, D y> by the readers seen so far."""
    left = iter(products)
    steps = enumerate(_backwards(piece.stretch, at), start=1)
    for number, (step, (kept, active)) in steps:
        made = sum(sum(totals.pop(piece.values[step.outputs[i]])) for i in kept)
        read = {slot: next(left) for slot in _measured(step, active)}
        if active and step.affine:
            read[step.inputs[active[0]]] = made - sum(read.values())
        for slot, product in read.items():
            totals.setdefault(piece.values[slot], []).append(product)
        k = piece.start + len(piece.stretch.steps) - number
        contributions[k] = 0.0 if active and step.affine else made - sum(read.values())
