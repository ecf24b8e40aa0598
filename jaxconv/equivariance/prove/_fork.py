"""Adaptive sampling: what holds whichever of a few labelled candidates an argmax picks.

When an index or a `where` depends on an argmax over few candidates, the program is analyzed once
for each value of the argmax; in each branch the index is a constant. A shift by p maps
candidate k to candidate π(k), so the output of branch k, shifted, must be a roll of the output of
branch π(k). Which roll may depend on k, that is on x. Ties between candidates are excluded.

References:
    Chaman and Dokmanic 2021, arXiv:2011.14214, section 4 (adaptive polyphase sampling).
"""

import functools
from dataclasses import dataclass

import numpy as np

from jaxconv.equivariance.prove._arrays import Known, Labels, Value, plain, uncharged
from jaxconv.equivariance.prove._hash import divisors
from jaxconv.equivariance.prove._labels import absolute, moved
from jaxconv.equivariance.prove._laws import LARGEST_ROLL, Law, slice_sums
from jaxconv.equivariance.prove._program import Program
from jaxconv.equivariance.prove._table import Context
from jaxconv.equivariance.prove.rules.index import DEPENDS

MOST_LEAVES = 64
STILL = (-1, 0)
"""The roll (axis, amount) of an output that does not move."""


@dataclass(frozen=True)
class Branches:
    """Outputs for every outcome of a choice: leaves hold outputs, nodes hold branches."""

    outputs: list[Value] | None = None
    candidates: Labels | None = None
    children: tuple["Branches", ...] = ()


def branched(program: Program, *, periodic: bool) -> Branches | None:
    """The outputs for every outcome of the choices that indices depend on; None if too many."""
    return _branches(program, {}, MOST_LEAVES, periodic=periodic)


def _branches(
    program: Program, forks: dict[int, int], leaves: int, *, periodic: bool
) -> Branches | None:
    context = Context(program.sizes, periodic=periodic, forks=forks)
    run = program.run(context)
    reasons = {reason for _, reason in run.interpreter.gaps}
    open_sites = [site for site in sorted(context.sites) if site not in forks]
    if not open_sites or not (DEPENDS in reasons or program.steered):
        return None if reasons else Branches(outputs=run.outputs)
    candidates = context.sites[open_sites[0]]
    count = candidates.code[0].size
    if count > leaves:
        return None
    children = []
    for outcome in range(count):
        assumed = {**forks, open_sites[0]: outcome}
        child = _branches(program, assumed, leaves // count, periodic=periodic)
        if child is None:
            return None
        children.append(child)
    return Branches(candidates=candidates, children=tuple(children))


def law_of(tree: Branches, output: int, axis: int, size: int) -> Law | None:
    """The finest law of one output along one group axis that holds in every branch."""
    law = functools.partial(Law, off_ties=tree.candidates is not None)
    for p in divisors(size)[:-1]:
        pairs = _pairs(tree, tree, output, axis, p)
        found = [_leaf_rolls(*pair, axis, p) for pair in pairs or [(None, None)]]
        if any(one is None for one in found):
            continue
        rolls = {roll for one in found if one is not None for roll in one}
        if rolls <= {STILL}:
            return law("invariant", p)
        places = {d for d, _ in rolls - {STILL}}
        if len(places) > 1:
            return None
        amounts = tuple(sorted(q for _, q in rolls))
        if len(rolls) == 1:
            return law("equivariant", p, places.pop(), amounts[0])
        return law("adaptive", p, places.pop(), amounts[-1], rolls=amounts)
    return None


def interior_of(tree: Branches, output: int, axis: int, size: int) -> Law | None:
    """The roll that holds in every branch on the longest run of rows, away from the border."""
    best, law = (1, 0, 0), None
    for p in divisors(size)[:-1]:
        pairs = _pairs(tree, tree, output, axis, p) or []
        labels = [plain(v) for pair in pairs for v in pair if isinstance(v, Labels)]
        if not labels or len(labels) != 2 * len(pairs):
            continue
        explicit = [d for d, state in enumerate(labels[0].states) if state == "E"]
        for d in explicit if len({v.states for v in labels}) == 1 else []:
            length = labels[0].shape[d]
            before = [slice_sums(moved(v.code, axis, p), d) for v in labels[::2]]
            after = [slice_sums(absolute(v.code), d) for v in labels[1::2]]
            for q in range(1, min(LARGEST_ROLL, length - 1) + 1):
                match = np.all([a[q:] == b[:-q] for a, b in zip(before, after, strict=True)], 0)
                edges = np.flatnonzero(np.diff(np.r_[False, match, False].astype(int)))
                for start, stop in zip(edges[::2], edges[1::2], strict=True):
                    key = (int(stop - start), -p, -q)
                    if key > best:
                        halo = (int(start), int(length - stop - q))
                        best, law = key, Law("interior", p, d, q, halo, off_ties=True)
    return law


def _pairs(
    before: Branches, after: Branches, output: int, axis: int, p: int
) -> list[tuple[Value, Value]] | None:
    """An output in every branch, and in the branch that the choice takes after a shift by p."""
    if before.outputs is not None and after.outputs is not None:
        return [(before.outputs[output], after.outputs[output])]
    if before.candidates is None or after.candidates is None:
        return None
    keys = moved(before.candidates.code, axis, p).reshape(2, -1).T.tolist()
    others = absolute(after.candidates.code).reshape(2, -1).T.tolist()
    places = list(range(len(keys)))
    if keys != others:  # where no candidate changes, nor do ties
        if len(set(map(tuple, keys))) != len(keys) or sorted(keys) != sorted(others):
            return None
        places = [others.index(key) for key in keys]
    found: list[tuple[Value, Value]] = []
    for child, place in zip(before.children, places, strict=True):
        pairs = _pairs(child, after.children[place], output, axis, p)
        if pairs is None:
            return None
        found += pairs
    return found


def _leaf_rolls(
    before: Value | None, after: Value | None, axis: int, p: int
) -> set[tuple[int, int]] | None:
    """Rolls (axis, amount) that turn an output into the shifted one; None if there are none."""
    if before is None or after is None:
        return None
    if isinstance(before, Known) and isinstance(after, Known):
        return {STILL} if np.array_equal(before.array, after.array) else None
    if isinstance(before, Known) or isinstance(after, Known):
        return None
    before, after = uncharged(before), uncharged(after)
    if before.states != after.states:
        return None
    left, right = moved(before.code, axis, p), absolute(after.code)
    if (left == right).all():
        return {STILL}
    for d in [d for d, state in enumerate(before.states) if state == "E"]:
        size = before.shape[d]
        for q in range(1, size):
            if (left == np.roll(right, q, d + 1)).all():
                return {(d, q if q <= size // 2 else q - size)}
    return None
