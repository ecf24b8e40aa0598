"""The changes that would make a function exact, and the proof of what they buy together."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxconv.equivariance.prove import _text
from jaxconv.equivariance.prove._fixes import Link, laws_with, sampled, shifts_of, strided
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._limits import Limit
from jaxconv.equivariance.prove._program import padded
from jaxconv.equivariance.prove._proof import Proof
from jaxconv.equivariance.prove._rows import Row
from jaxconv.equivariance.prove.prove import prove

HOW = {
    "circular": "circular padding",
    "adaptive": "adaptive sampling, one phase for all of them",
    "around": "adaptive sampling, and back onto the pixels that were sampled (polyphase_around)",
}


@dataclass(frozen=True)
class Change:
    """One change: what to do, and to which operations.

    Attributes:
        repair: "circular" borders; "adaptive" sampling of one phase by all operations; or the same
            "around" what the samples go through, until operations put them back.
        operations: the calls to change, with their lines.
    """

    repair: str
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Suggestion:
    """Changes that make a function exact, or as exact as changes of operations can.

    Attributes:
        proof: of the function as it is.
        changes: what to change, in program order; () where nothing helps or nothing is needed.
        laws: what is proved with all of them, per output and shifted axis.
        shifts: how many circular shifts all outputs obey then.
        remaining: what no change of borders or strides mends, with its lines.
    """

    proof: Proof
    changes: tuple[Change, ...]
    laws: tuple[tuple[Law, ...], ...]
    shifts: int
    remaining: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether every shift is obeyed then."""
        return all(law.exact and law.shift == 1 for row in self.laws for law in row)

    def __str__(self) -> str:
        """The law that the changes give, the changes, and what they leave."""
        axes, sizes = self.proof.program.axes, self.proof.program.sizes
        pairs = zip(self.proof.outputs, self.laws, strict=True)
        found = "; ".join(_text.sentence(output.name, row, axes, sizes) for output, row in pairs)
        if not self.changes:
            what = "Nothing to change" if self.exact else "No change of borders or strides helps"
            lines = [f"{what}: {found}."]
        else:
            count = f"{len(self.changes)} change{'s' * (len(self.changes) > 1)}"
            lines = [f"With {count}, {found}."]
        for number, change in enumerate(self.changes, start=1):
            lines.append(f"  {number}. {HOW[change.repair]}:")
            lines += [f"       {name}" for name in dict.fromkeys(change.operations)]
        if self.remaining:
            lines.append("What they do not mend (make_shift_invariant wraps it whole):")
            lines += [textwrap.indent(name, "  ") for name in self.remaining]
        return "\n".join(lines)


def suggest(
    f: Callable[..., Any],
    x: Any,
    axes: Sequence[int] = (1, 2),
    *,
    params: Any = None,
    weights: str = "generic",
) -> Suggestion:
    """Names operations to change so that f is exact on every shift, and leaves out what it can.

    Every operation whose border costs an output something gets circular padding; every group of
    strides that meet again (a body and its shortcut) samples adaptively, by one choice. Where later
    operations go back to as many pixels (a decoder), they put them where they were sampled. A group
    of strides, or a pure pad, without which the others buy as much is left out, one after the
    other; windows that reach past an axis are all named, untried. What the changes buy together is
    proved, for every phase that could be chosen, as `Proof.fixes` proves what each buys alone: 256
    phases, the four levels of a U-Net of two axes, are the most, and take half a minute.

    Args:
        f: any function, as `prove` takes it.
        x: array or `jax.ShapeDtypeStruct`, or a pytree of them that shift together.
        axes: the axes of x that shift.
        params: weights of f, values or shapes.
        weights: "generic" or "actual", as in `prove`.

    Returns:
        A `Suggestion`; print it.

    Raises:
        ValueError: as `prove`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        >>> print(suggest(lambda x: x[:, ::2, ::2].mean((1, 2)), x))
        With 1 change, output is invariant to all circular shifts (64 of 64 shifts, ties excluded).
          1. adaptive sampling, one phase for all of them:
               ...

    References:
        Chaman and Dokmanic 2021, arXiv:2011.14214, section 4 (shared choices).
    """
    proof = prove(f, x, axes, params=params, weights=weights)
    sizes, own = proof.program.sizes, _own_laws(proof)
    limits = tuple(dict.fromkeys(limit for output in proof.outputs for limit in output.limits))
    broken = _broken(proof)
    groups = list(strided(proof.rows, limits).items())
    laws: Sequence[Sequence[Law]] = proof.periodic_laws if broken else own
    kept, mended = _sampled(proof, groups, periodic=bool(broken))
    if mended is not None and shifts_of(mended, sizes) > shifts_of(laws, sizes):
        laws = mended
    else:
        kept = []
    if shifts_of(laws, sizes) <= shifts_of(own, sizes):
        broken, kept, laws = [], [], own
    changes = [_change(link) for link in kept]
    if broken:
        changes.insert(0, Change("circular", tuple(row.name for row in broken)))
    mending = {id(row) for rows in [broken, *(link.rows for link in kept)] for row in rows}
    left = _remaining(proof, limits, mending)
    return Suggestion(proof, tuple(changes), tuple(map(tuple, laws)), shifts_of(laws, sizes), left)


def _change(link: Link) -> Change:
    names = tuple(row.name for row in [*link.rows, *link.back])
    return Change("around" if link.back else "adaptive", names)


def _broken(proof: Proof) -> list[Row]:
    """Operations whose borders all have to be circular for what circular borders give.

    A window that reaches past the end of an axis needs it; of what only pads, channels maybe,
    that is tried.
    """
    if proof.periodic_laws == _own_laws(proof):
        return []
    rows = [row for row in proof.rows if any(map(padded, row.equations))]
    goal = list(proof.periodic_laws)
    for row in list(rows):
        if all(equation.primitive == "pad" for equation in row.equations if padded(equation)):
            fewer = [other for other in rows if other is not row]
            if laws_with(proof.program, fewer) == goal:
                rows = fewer
    return rows


def _own_laws(proof: Proof) -> tuple[tuple[Law, ...], ...]:
    return tuple(output.laws for output in proof.outputs)


Groups = Sequence[tuple[tuple[Limit | None, ...], list[Row]]]


def _sampled(
    proof: Proof, groups: Groups, *, periodic: bool
) -> tuple[list[Link], list[tuple[Law, ...]] | None]:
    """Groups to sample adaptively, as few as buy the most, and what is proved with them."""
    chain = _chain(proof, groups)
    values = proof.values[1 if periodic else 0]
    run = lambda some: sampled(proof.program, some, values, periodic=periodic) if some else None
    laws = run(chain)
    if laws is None:
        return [], None
    most = shifts_of(laws, proof.program.sizes)
    for link in list(chain):
        fewer = [other for other in chain if other is not link]
        less = run(_chained(fewer))
        if less is not None and shifts_of(less, proof.program.sizes) >= most:
            chain, laws = fewer, less
    return chain, laws


def _chain(proof: Proof, groups: Groups) -> list[Link]:
    """Groups in the order of their strides, each with the shifts before and after it per axis."""
    order = sorted(groups, key=lambda item: [step.before for step in item[0] if step])
    level = [1] * len(proof.program.sizes)
    links = []
    for steps, group in order:
        padded = [*steps, *[None] * (len(level) - len(steps))]
        pairs = [
            (step.before, step.after) if step else (at, at)
            for step, at in zip(padded, level, strict=True)
        ]
        level = [after for _, after in pairs]
        links.append(Link(group, pairs, _back(proof, pairs)))
    return _chained(links)


def _back(proof: Proof, steps: Sequence[tuple[int, int]]) -> list[Row]:
    """Operations that go from the pixels that are left after steps to as many as before."""
    found = []
    for row in proof.rows:
        laws = row.circular or row.laws
        moves = all(law.kind == "equivariant" for law in laws)
        pixels = [row.shape[law.axis or 0] for law in laws]
        ends = zip(proof.program.sizes, row.entered, pixels, steps, strict=True)
        if moves and row.entered and all((n // a, n // b) == s[::-1] for n, a, b, s in ends):
            found.append(row)
    return found


def _chained(links: Sequence[Link]) -> list[Link]:
    """The links, unless one begins with other shifts than those that the one before it leaves."""
    for one, other in zip(links, links[1:], strict=False):
        if any(a != b for (_, a), (b, _) in zip(one.steps, other.steps, strict=True)):
            return []
    return list(links)


def _remaining(proof: Proof, limits: Sequence[Limit], mending: set[int]) -> tuple[str, ...]:
    """Limits of operations that no change touches, and operations that no rule describes."""
    orders = {order for row in proof.rows if id(row) in mending for order in row.orders}
    found = [str(limit) for limit in limits if limit.order not in orders]
    found += [f"{gap.primitive} ({gap.reason}) at {gap.source}" for gap in proof.unmodelled]
    return tuple(dict.fromkeys(found))
