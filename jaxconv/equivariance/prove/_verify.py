"""Numbers beside a proof: every claim confirmed, every non-proof refuted or left undecided."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.equivariance.prove._hash import divisors
from jaxconv.equivariance.prove._laws import UNPROVED, Law
from jaxconv.equivariance.prove._program import Program
from jaxconv.equivariance.prove._ties import any_tie

TOLERANCE = {"float64": 1e-9, "float32": 1e-3, "bfloat16": 1e-1, "float16": 5e-2}
"""Relative to the largest output: only a difference far above rounding refutes."""
CLAIMED = (1, 2, 3)
"""Multiples of a law's shift at which it is confirmed."""


@dataclass(frozen=True)
class Check:
    """One claim, or one thing that is not claimed, beside the numbers.

    Attributes:
        output: path of the output leaf.
        axis: shifted axis of the input.
        law: what is claimed; `UNPROVED` where the check is of something that is not.
        outcome: "confirmed" · "contradicted" (a claim that the numbers break: a bug of the
            prover) · "refuted" (not claimed, and false: shifting `x` by `shift` moves the output
            in no lawful way) · "undecided" (not claimed, and the numbers allow it; or not finite;
            or the claim excludes ties, and candidates tie).
        shift: of the input. A refuted shift refutes every lattice that holds it.
        error: largest difference, relative to the largest output.
        x: the input.
    """

    output: str
    axis: int
    law: Law
    outcome: str
    shift: int
    error: float
    x: Any = field(repr=False, compare=False, default=None)


def verify(program: Program, laws: list[tuple[Law, ...]], key: jax.Array) -> list[Check]:
    """Checks the laws of every output on a random input (and random weights, if generic)."""
    key_x, key_weights = jax.random.split(key)
    x = _drawn(key_x, program.x, weights=False)
    params = program.params
    if program.generic and params is not None:
        params = _drawn(key_weights, params, weights=True)
    function = program.function if params is not None else lambda params, x: program.function(x)
    call = jax.jit(function)
    after = functools.cache(lambda n, p: _leaves(call(params, _shifted(program, x, n, p))))
    ties = lambda x: any_tie(program.program, jax.tree.leaves((params, x)))
    with jax.default_matmul_precision("highest"):
        base = _leaves(call(params, x))
        checks = []
        for number, axis in enumerate(program.axes):
            for path, row, leaf in zip(program.paths, laws, range(len(base)), strict=True):
                for law, p in _trials(row[number], program.sizes[number], program.finest[number]):
                    outcome, error = _outcome(law, p, base[leaf], after(number, p)[leaf])
                    if outcome == "contradicted" and law.off_ties:
                        ends = (x, _shifted(program, x, number, p))
                        outcome = "undecided" if any(map(ties, ends)) else outcome
                    checks.append(Check(path, axis, law, outcome, p, error, x))
    return checks


def _trials(law: Law, size: int, finest: int) -> list[tuple[Law, int]]:
    """(claim, shift): multiples of the law's shift, and the coarsest shifts not claimed.

    A law on multiples of p' is one on multiples of any multiple of p': what fails at p / prime
    fails on every finer lattice that p / prime is in.
    """
    trials = []
    coarse = law.shift if law.exact else size
    if law.exact or law.kind == "interior":
        trials += [(law, times * law.shift) for times in CLAIMED if abs(times * law.shift) < size]
    for prime in _primes(coarse):
        if coarse // prime % finest == 0:
            trials.append((UNPROVED, coarse // prime))
    return trials


def _primes(n: int) -> list[int]:
    return [d for d in divisors(n) if d > 1 and len(divisors(d)) == 2]


def _leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def _drawn(key: jax.Array, tree: Any, *, weights: bool) -> Any:
    """Random values of the shapes of a tree; integers are left at one.

    Inputs are standard normal. Matrices and kernels are scaled to keep the size of what they act
    on, and vectors are in [0.5, 1.5), since one of them may be a variance.
    """
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))[: len(leaves)]
    values = [_leaf(k, leaf, weights=weights) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, values)


def _leaf(key: jax.Array, leaf: Any, *, weights: bool) -> jax.Array:
    shape, dtype = np.shape(leaf), leaf.dtype
    if not jnp.issubdtype(dtype, jnp.inexact):
        return jnp.ones(shape, dtype)
    if weights and len(shape) < 2:
        return jax.random.uniform(key, shape, dtype, 0.5, 1.5)
    fan_in = math.prod(shape[:-1]) if weights else 1
    return jax.random.normal(key, shape, dtype) * jnp.asarray(max(fan_in, 1) ** -0.5, dtype)


def _shifted(program: Program, x: Any, number: int, p: int) -> Any:
    axis, size = program.axes[number], program.sizes[number]
    return jax.tree.map(lambda leaf: jnp.roll(leaf, p * leaf.shape[axis] // size, axis), x)


def _outcome(law: Law, p: int, before: np.ndarray, after: np.ndarray) -> tuple[str, float]:
    limit = TOLERANCE.get(str(before.dtype), 0.0)
    before, after = before.astype(np.float64), after.astype(np.float64)
    scale = np.abs(before).max(initial=0.0) + 1e-30
    difference = lambda a, b: float(np.abs(a - b).max(initial=0.0) / scale)
    error = min(difference(a, b) for a, b in _pairs(law, p, before, after))
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return "undecided", error
    if law.kind == "unproved":
        return ("refuted" if error > limit else "undecided"), error
    return ("contradicted" if error > limit else "confirmed"), error


def _pairs(law: Law, p: int, before: np.ndarray, after: np.ndarray) -> Iterator[tuple[Any, Any]]:
    """Arrays that the law says are equal after a shift by p; any one pair will do."""
    times = p // law.shift if law.shift else 0
    if law.kind == "invariant":
        yield after, before
    elif law.kind == "equivariant":
        yield after, np.roll(before, times * law.roll, law.axis)
    elif law.kind == "adaptive":
        for roll in range(times * min(law.rolls), times * max(law.rolls) + 1):
            yield after, np.roll(before, roll, law.axis)
    elif law.kind == "interior":
        a, b = np.moveaxis(after, law.axis or 0, 0), np.moveaxis(before, law.axis or 0, 0)
        low, stop = law.halo[0], max(len(a) - law.halo[1], 0)
        yield a[low + times * law.roll : stop], b[low : max(stop - times * law.roll, low)]
    elif law.kind == "permuted":
        yield np.sort(after.reshape(-1)), np.sort(before.reshape(-1))
    else:
        yield after, before
        yield np.sort(after.reshape(-1)), np.sort(before.reshape(-1))
        for d in range(before.ndim):
            for q in range(1, before.shape[d]):
                yield after, np.roll(before, q, d)
