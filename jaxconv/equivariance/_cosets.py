"""Which shifts a check must try when a proof answers for the others.

If f(T_l x) = T'_l f(x) is proved for all l of a lattice, the error at a shift t + l is the error
at t, moved: one shift of every coset of the lattice says it all. One shift of the lattice itself
is tried as well, since a proof is about real numbers.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._proof import Proof
from jaxconv.equivariance.prove.prove import prove

FEWEST = 16
"""Fewer shifts than this are not worth a proof."""


def representatives(
    f: Callable[[Any], Any], x: Any, law: str, axes: Sequence[int] | None, lattice: Any
) -> np.ndarray | None:
    """A shift of every coset (rows), or None where nothing is proved or nothing is gained."""
    leaves = jax.tree.leaves(x)
    ranks = {len(np.shape(leaf)) for leaf in leaves}
    if len(ranks) != 1 or any(np.shape(leaf) != np.shape(leaves[0]) for leaf in leaves):
        return None
    rank = ranks.pop()
    moved = tuple(range(1, rank - 1)) if axes is None else tuple(axis % rank for axis in axes)
    sizes = [np.shape(leaves[0])[axis] for axis in moved]
    steps = (lattice,) * len(moved) if isinstance(lattice, int) else tuple(lattice)
    if len(steps) != len(moved) or not moved or np.prod(sizes) < FEWEST:
        return None
    try:
        proof = prove(f, jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), x), moved)
    except Exception:  # whatever keeps f from being proved, the numbers say what is wrong with it
        return None
    periods = [p for number in range(len(moved)) if (p := _period(proof, number, law))]
    if len(periods) < len(moved):
        return None
    known = [math.lcm(p, step) for p, step in zip(periods, steps, strict=True)]
    cosets = itertools.product(*[range(0, p, s) for p, s in zip(known, steps, strict=True)])
    of_lattice = [p % n for p, n in zip(known, sizes, strict=True)]
    rows = np.array([*cosets, of_lattice])
    return rows if len(rows) * 2 < np.prod(np.divide(sizes, steps)) else None


def _period(proof: Proof, number: int, law: str) -> int | None:
    """The lattice along one axis on which the law that is checked is proved, or None."""
    axis, size = proof.program.axes[number], proof.program.sizes[number]
    found = 1
    for output in proof.outputs:
        proved = output.laws[number]
        if not _is(proved, law, axis, size, output.shape):
            return None
        found = math.lcm(found, proved.shift)
    return found


def _is(proved: Law, law: str, axis: int, size: int, shape: tuple[int, ...]) -> bool:
    if proved.off_ties:  # a tie is for the numbers to find
        return False
    if law == "invariant":
        return proved.kind == "invariant"
    return (
        proved.kind == "equivariant"
        and proved.axis == axis
        and proved.roll * size == proved.shift * shape[axis]
    )
