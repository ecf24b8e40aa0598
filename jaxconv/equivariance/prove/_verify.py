"""Numbers beside a proof: every claim confirmed, every non-proof refuted or left undecided."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance.prove._hash import divisors
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._program import Program

TOLERANCE = {"float64": 1e-9, "float32": 1e-3, "bfloat16": 1e-1, "float16": 5e-2}
"""Relative to the largest output: only a difference far above rounding refutes."""


@dataclass(frozen=True)
class Check:
    """One law beside the numbers.

    Attributes:
        output: path of the output leaf.
        axis: shifted axis of the input.
        law: what the proof says.
        outcome: "confirmed" · "contradicted" (a claim that the numbers break: a bug of the
            prover) · "refuted" (nothing is proved, and `shift` is a counterexample to every
            law) · "undecided" (nothing is proved, and the numbers allow a law).
        shift: of the input, where the numbers were taken.
        error: largest difference, relative to the largest output.
    """

    output: str
    axis: int
    law: Law
    outcome: str
    shift: int
    error: float


def verify(program: Program, laws: list[tuple[Law, ...]], key: jax.Array) -> list[Check]:
    """Checks the laws of every output on a random input (and random weights, if generic)."""
    key_x, key_weights = jax.random.split(key)
    x = _drawn(key_x, program.x)
    params = program.params
    if program.generic and params is not None:
        params = _drawn(key_weights, params)
    call = jax.jit(lambda x: program.function(x))
    if params is not None:
        call = jax.jit(lambda x: program.function(params, x))
    base = [np.asarray(leaf) for leaf in jax.tree.leaves(call(x))]
    checks = []
    for number, axis in enumerate(program.axes):
        shifts = {_trial(row[number], program, number) for row in laws}
        after = {p: _leaves(call, _shifted(program, x, number, p)) for p in shifts}
        for path, row, value in zip(program.paths, laws, range(len(base)), strict=True):
            p = _trial(row[number], program, number)
            outcome, error = _outcome(row[number], base[value], after[p][value])
            checks.append(Check(path, axis, row[number], outcome, p, error))
    return checks


def _leaves(call: Any, x: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(call(x))]


def _drawn(key: jax.Array, tree: Any) -> Any:
    """Standard normal values of the shapes of a tree; integers are left at one."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    values = [
        jax.random.normal(k, leaf.shape, leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
        else jnp.ones(leaf.shape, leaf.dtype)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, values)


def _trial(law: Law, program: Program, number: int) -> int:
    """The shift to try: that of the law, else the coarsest one that could still obey a law."""
    if law.kind in ("unproved", "partial"):
        size, finest = program.sizes[number], program.finest[number]
        coarse = [p for p in divisors(size)[:-1] if p % finest == 0]
        return coarse[-1] if coarse else finest
    return law.shift


def _shifted(program: Program, x: Any, number: int, p: int) -> Any:
    axis, size = program.axes[number], program.sizes[number]
    return jax.tree.map(lambda leaf: jnp.roll(leaf, p * leaf.shape[axis] // size, axis), x)


def _outcome(law: Law, before: np.ndarray, after: np.ndarray) -> tuple[str, float]:
    limit = TOLERANCE.get(str(before.dtype), 0.0)
    before, after = before.astype(np.float64), after.astype(np.float64)
    scale = np.abs(before).max(initial=0.0) + 1e-30
    difference = lambda a, b: float(np.abs(a - b).max(initial=0.0) / scale)
    error = min(difference(a, b) for a, b in _pairs(law, before, after))
    if law.kind in ("unproved", "partial"):
        return ("refuted" if error > limit else "undecided"), error
    return ("contradicted" if not error <= limit else "confirmed"), error


def _pairs(law: Law, before: np.ndarray, after: np.ndarray) -> list[tuple[Any, Any]]:
    """Arrays that the law says are equal; any one pair will do."""
    if law.kind == "invariant":
        return [(after, before)]
    if law.kind == "equivariant":
        return [(after, np.roll(before, law.roll, law.axis))]
    if law.kind == "adaptive":
        return [(after, np.roll(before, roll, law.axis)) for roll in law.rolls]
    if law.kind == "interior":
        a, b = np.moveaxis(after, law.axis or 0, 0), np.moveaxis(before, law.axis or 0, 0)
        low, stop = law.halo[0], len(a) - law.halo[1]
        return [(a[low + law.roll : stop], b[low : stop - law.roll])]
    if law.kind == "permuted":
        return [(np.sort(after.reshape(-1)), np.sort(before.reshape(-1)))]
    rolls = [(d, q) for d in range(before.ndim) for q in range(1, before.shape[d])]
    ordered = (np.sort(after.reshape(-1)), np.sort(before.reshape(-1)))
    return [(after, before), ordered, *[(after, np.roll(before, q, d)) for d, q in rolls]]
