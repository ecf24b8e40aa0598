"""Fuzzes the prover: random networks and single operations against the numbers.

    python -m benchmarks prove --networks 1000 --operations 300 --seed 0

Every label of every intermediate array is checked on every shift of a random float64 input, and
every law is compared with the finest one that the numbers allow. A label that the numbers
contradict is a refuted claim; a law that the numbers allow and that is not proved is a miss.
"""

import collections
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _machine, _options
from benchmarks._networks import Network, network
from jaxconv.equivariance.prove._analysis import output_laws
from jaxconv.equivariance.prove._hash import divisors
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._oracle import observed
from jaxconv.equivariance.prove._program import trace

TOLERANCE = 1e-9
RETRIALS = 3
"""Other inputs that must allow a law too before it counts as missed: a branch may flip."""
INPUTS = 4
"""Inputs at which a program may be NaN before there is no verdict."""
SAMPLED = 50
"""One network in so many is also run by JAX, to judge the numbers that judge the labels."""


def main(argv: list[str]) -> None:
    parser = _options.parser("prove", __doc__, wrap=True)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--operations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every miss")
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    print(_machine.describe(), flush=True)
    for title, count, operations in (
        ("networks", options.networks, None),
        ("operations", options.operations, 1),
    ):
        tally = fuzz(range(options.seed, options.seed + count), operations, verbose=options.verbose)
        share = tally["missed"] / max(tally["true laws"], 1)
        print(f"{title}: {dict(tally)}, {share:.1%} of true laws missed")


def fuzz(seeds, operations: int | None, *, verbose: bool = False) -> collections.Counter:
    """Counts verdicts, refuted programs and misses over seeds; prints what is refuted or missed."""
    tally, start = collections.Counter(), time.process_time()
    for seed in seeds:
        program = network(seed, operations=operations)
        refuted, verdicts = judge(program, seed)
        if tally["programs"] % 500 == 499:
            jax.clear_caches()
            print(dict(tally), flush=True)
        tally["programs"] += 1
        tally["not a number"] += not verdicts
        if refuted:
            tally["refuted"] += 1
            print(
                f"REFUTED seed {seed} {program.names} {program.shape} {program.axes}: {refuted[:2]}"
            )
        for axis, (law, missed) in enumerate(verdicts):
            tally["verdicts"] += 1
            tally[law.kind] += 1
            tally["true laws"] += law.exact or law.kind == "interior" or bool(missed)
            if missed:
                cause = first_missed(program, seed, axis)
                tally["missed"] += 1
                tally[f"missed at {cause}"] += 1
                if verbose:
                    print(f"missed seed {seed} at {cause} {program.names}: {missed}, proved {law}")
    tally["seconds"] = round(time.process_time() - start)
    return tally


def first_missed(program: Network, seed: int, axis: int) -> str:
    """The first layer after which a law is missed: what the prover does not know about."""
    for count, name in enumerate(program.names, 1):
        part = program._replace(names=program.names[:count], layers=program.layers[:count])
        verdicts = judge(part, seed, 0)[1]
        if verdicts and verdicts[axis][1]:
            return name
    return "the whole"


def judge(
    program: Network, seed: int, retrials: int = RETRIALS
) -> tuple[list[str], list[tuple[Law, str]]]:
    """Contradicted labels, and every law with the finer one that the numbers allow, if any.

    Labels are checked on normal numbers, and on small whole ones, where ties are many and exact.
    No verdict where labels are contradicted and f(x) is NaN at each of a few inputs: laws hold for
    finite values. A law that excludes ties is not judged by an input at which candidates tie.
    """
    traced = trace("fuzz", program, np.zeros(program.shape), program.axes, None, "generic")
    for trial in range(INPUTS):
        x = np.random.default_rng([seed, 1 + 100 * trial]).normal(size=program.shape)
        refuted, run, (values,), tied = observed(traced, x)
        if not refuted or _finite(program, x):
            break
    else:
        return [], []
    whole = np.random.default_rng([seed, 7]).integers(-2, 3, program.shape).astype(float)
    broken = observed(traced, whole).broken if retrials else []
    if broken and _finite(program, whole):
        refuted += [f"whole numbers: {text}" for text in broken]
    laws, _ = output_laws(traced, run, periodic=False)
    rank = len(traced.sizes)
    if seed % SAMPLED == 0:
        origin = (0,) * rank
        refuted += (
            []
            if _same(values[origin], np.asarray(program(jnp.asarray(x))))
            else ["not what JAX says"]
        )
    verdicts = []
    for axis, law in enumerate(laws[0]):
        if not (law.off_ties and tied):
            refuted += _refutes(values, axis, law, rank)
        missed = _missed(values, axis, traced.sizes[axis], law, rank)
        for trial in range(2, 2 + retrials if missed else 0):
            if not missed:
                break
            again = np.random.default_rng([seed, trial]).normal(size=program.shape)
            others = observed(traced, again).outputs[0]
            missed = _missed(others, axis, traced.sizes[axis], law, rank)
        verdicts.append((law, missed))
    return refuted, verdicts


def _finite(program: Network, x: np.ndarray) -> bool:
    return bool(np.isfinite(np.asarray(program(jnp.asarray(x)))).all())


def _after(values: np.ndarray, axis: int, p: int) -> np.ndarray:
    """f(T_p T_s x) for every s."""
    return np.roll(values, -p, axis)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    scale = np.nanmax(np.abs(np.where(np.isfinite(b), b, 0)), initial=0) + 1
    return np.allclose(a, b, rtol=0, atol=TOLERANCE * scale, equal_nan=True)


def _refutes(values: np.ndarray, axis: int, law: Law, rank: int) -> list[str]:
    after = _after(values, axis, law.shift)
    if law.kind == "invariant" and not _same(after, values):
        return [f"not {law}"]
    if law.kind == "equivariant" and not _same(after, np.roll(values, law.roll, rank + law.axis)):
        return [f"not {law}"]
    if law.kind == "permuted":
        ends = np.sort(after.reshape(-1)), np.sort(values.reshape(-1))
        return [] if _same(*ends) else [f"not {law}"]
    if law.kind == "adaptive":
        rolled = np.stack([np.roll(values, roll, rank + law.axis) for roll in law.rolls])
        inner = tuple(range(rank + 1, rolled.ndim))
        near = np.isclose(after[None], rolled, rtol=0, atol=TOLERANCE, equal_nan=True)
        return [] if near.all(inner).any(0).all() else [f"not {law}"]
    if law.kind == "interior":
        low, high = law.halo
        a, b = np.moveaxis(after, rank + law.axis, 0), np.moveaxis(values, rank + law.axis, 0)
        stop = len(a) - high
        return [] if _same(a[low + law.roll : stop], b[low : stop - law.roll]) else [f"not {law}"]
    return []


def _missed(values: np.ndarray, axis: int, size: int, law: Law, rank: int) -> str:
    """The finest numeric law that is finer than the proved one, in words, or nothing."""
    for p in divisors(size)[:-1]:
        if law.exact and p >= law.shift:
            return ""
        after = _after(values, axis, p)
        if _same(after, values):
            return f"invariant {p}"
        for d in range(rank, values.ndim):
            for q in range(1, values.shape[d]):
                if _same(after, np.roll(values, q, d)):
                    return f"equivariant {p} to {q} along {d - rank}"
    return "" if law.kind not in ("unproved", "partial") else _interior(values, axis, size, rank)


def _interior(values: np.ndarray, axis: int, size: int, rank: int) -> str:
    """A roll that holds on two rows in a row, of which at least one moves at all."""
    for d in range(rank, values.ndim):
        rows = np.moveaxis(values, d, 0)
        for q in range(1, min(4, len(rows) - 1)):
            for p in range(1, size):
                after = np.moveaxis(_after(values, axis, p), d, 0)
                match = [_same(after[j], rows[j - q]) for j in range(q, len(rows))]
                moves = [not _same(after[j], rows[j]) for j in range(q, len(rows))]
                pairs = zip(match, match[1:], moves, moves[1:], strict=False)
                if any(a and b and (c or d) for a, b, c, d in pairs):
                    return f"interior {p} to {q} along {d - rank}"
    return ""
