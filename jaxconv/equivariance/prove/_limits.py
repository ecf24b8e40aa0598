"""What limits a law: every equation after which less holds than before.

Blame is a fact of the data flow. An equation is charged with every shift that its inputs obeyed
and its output does not, and a charge is dropped as far as a later value obeys these shifts again,
so that the slices inside a circular padding or a roll are never blamed. What strides (and
position-dependent constants) cost is read off the program with circular borders, where nothing
else is in the way; what borders cost off the program as it is, less what strides cost there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove._arrays import Labels
from jaxconv.equivariance.prove._interpret import Step
from jaxconv.equivariance.prove._laws import Law
from jaxconv.equivariance.prove._trail import Trail, follow, moves, start


@dataclass(frozen=True)
class Limit:
    """An operation that limits the law of an output.

    Attributes:
        axis: of the input, in the order of `axes`.
        level: "stride" where it costs shifts everywhere (strides, position-dependent constants),
            "border" where it costs the border.
        primitive: name of the operation in the jaxpr.
        layer: path of named scopes, "" outside of any.
        source: the user's line, or None.
        cause: in words, what about it.
        effect: in words, what it cost.
        before: the finest shift that its inputs obey; N where they obey none.
        after: the finest shift that its output obeys; N where it obeys none.
        order: position in the program.
    """

    axis: int
    level: str
    primitive: str
    layer: str
    source: _jaxpr.Source | None
    cause: str
    effect: str
    before: int
    after: int
    order: int = 0

    def __str__(self) -> str:
        place = self.layer or spoken(self.primitive)
        return f"{self.cause} of {place}" + (f" at {self.source}" if self.source else "")

    def explains(self, lattice: int) -> bool:
        """Whether a value that obeys multiples of `lattice` only is what it is because of this."""
        return self.before % math.gcd(self.after, lattice) != 0

    def seen_by(self, lattice: int, size: int) -> "Limit":
        """What is left of it in a value that obeys multiples of `lattice` of N = size."""
        after = math.gcd(self.after, lattice)
        if self.level == "border" or after == self.after:
            return self
        return replace(self, after=after, effect=_leaves(self.before, after, size))


SPOKEN = {
    "conv_general_dilated": "conv",
    "dot_general": "dot",
    "reduce_window_max": "max_pool",
    "reduce_window_min": "min_pool",
    "reduce_window_sum": "sum_pool",
    "reduce_sum": "sum",
    "reduce_max": "max",
    "reduce_min": "min",
    "select_n": "where",
}
"""Primitives by the names that people call them by."""


LEVELS = ("stride", "border")
"""What can be charged, in the order in which it is."""
SELECTIONS = ("slice", "rev", "concatenate", "dynamic_slice", "gather", "split", "pad")
"""Primitives that only pick elements."""


def spoken(primitive: str) -> str:
    """The name of an operation in a report."""
    return SPOKEN.get(primitive, primitive)


def whole(law: Law, size: int) -> int:
    """Lattice of the whole output; the size where nothing is proved."""
    return law.shift if law.exact else size


def inside(law: Law, size: int) -> int:
    """Lattice away from the border; the size where nothing is proved."""
    return abs(law.shift) if law.exact or law.kind == "interior" else size


@dataclass(frozen=True)
class Seen:
    """One step of a run, for the table: what it is, and the trails of what it read and made."""

    order: int
    equation: _jaxpr.Equation
    slot: _jaxpr.Value
    before: tuple[Trail, ...]
    after: Trail


@dataclass
class Recorder:
    """Watches a run: gives every value its trail, charges equations, and collects the steps.

    Attributes:
        sizes: of the shifted axes.
        levels: what it charges: "stride" in a run with circular borders, "border" in a run of the
            program as it is; both where these two are one.
        strides: (step, axis) of what is charged, or was, in the run with circular borders.
        seen: the steps, in program order.
        labels: how many labels the run made, which is what it cost.
    """

    sizes: tuple[int, ...]
    levels: tuple[str, ...]
    strides: set[tuple[int, int]] = field(default_factory=set)
    seen: list[Seen] = field(default_factory=list)
    labels: int = 0
    steps: int = 0

    def trail(self, value: Any) -> Trail:
        """The trail of a value, computed where it has none."""
        if not isinstance(value, Labels):
            return start(value, self.sizes)
        if value.trail is None:
            value.trail = start(value, self.sizes)
        return value.trail

    def __call__(self, step: Step) -> None:
        """Sets the trail of every output of a step."""
        self.steps += 1
        sources = [value for value in step.operands if isinstance(value, Labels)]
        trails = [self.trail(value) for value in sources]
        slots = [None] * len(step.outputs) if step.inner else step.equation.outputs
        for value, slot in zip(step.outputs, slots, strict=True):
            if not isinstance(value, Labels):
                continue
            self.labels += value.code[0].size
            trail = follow(value, sources, trails)
            if trail is None:
                trail = start(value, self.sizes)
                trail.limits = self._limits(step, trails, trail)
            value.trail = trail
            if slot is not None:
                self.seen.append(Seen(self.steps, step.equation, slot, tuple(trails), trail))

    def _limits(
        self, step: Step, trails: Sequence[Trail], made: Trail
    ) -> tuple[tuple[Limit, ...], ...]:
        limits = []
        for axis in range(len(self.sizes)):
            found = [l for level in self.levels for l in self._at(level, step, trails, made, axis)]
            limits.append(tuple(sorted(found, key=lambda limit: limit.order)))
        return tuple(limits)

    def _at(
        self, level: str, step: Step, trails: Sequence[Trail], made: Trail, axis: int
    ) -> list[Limit]:
        """What limits a value along an axis, at one level."""
        lattice = inside if level == "stride" else whole
        law, size = made.laws[axis], self.sizes[axis]
        now = lattice(law, size)
        read = dict.fromkeys(l for trail in trails for l in trail.limits[axis] if l.level == level)
        kept = [limit.seen_by(now, size) for limit in read if limit.explains(now)]
        if level == "border" and law.exact:
            return []  # a lattice of the whole is what strides leave
        before = [(trail.laws[axis], trail.extents[axis]) for trail in trails]
        change = math.lcm(*[lattice(law, size) for law, _ in before]), now
        if level == "stride":
            charge = self._stride_charge(step, axis, change)
        else:
            charge = self._border_charge(step, before, made, axis, change)
        if charge is not None:
            place = step.equation.primitive, "/".join(step.equation.scope), step.equation.source
            kept.append(Limit(axis, level, *place, *charge, self.steps))
        return kept

    def _stride_charge(
        self, step: Step, axis: int, change: tuple[int, int]
    ) -> tuple[str, str, int, int] | None:
        """(cause, effect, before, after) when an equation costs something everywhere."""
        size, (then, now) = self.sizes[axis], change
        if then % now == 0:
            return None
        self.strides.add((self.steps, axis))
        return _cause(step), _leaves(then, now, size), then, now

    def _border_charge(
        self,
        step: Step,
        before: list[tuple[Law, int]],
        made: Trail,
        axis: int,
        change: tuple[int, int],
    ) -> tuple[str, str, int, int] | None:
        """(cause, effect, before, after) when an equation, which is not exact, costs borders."""
        law, size, (then, now) = made.laws[axis], self.sizes[axis], change
        cause, halo = _cause(step), _halo(law, made.extents[axis])
        if then % now:
            left = f"exact only inside{halo}" if halo else "no shift is left"
            return cause, left, then, now
        if "padding" not in cause:
            return None
        reach = [_pixels(b, extent) for b, extent in before if b.kind == "interior"]
        if reach and law.kind == "interior" and _pixels(law, made.extents[axis]) > max(reach):
            return cause, f"padding again{halo}", 1, size
        if reach and law.kind == "unproved" and (self.steps, axis) not in self.strides:
            return cause, "no shift is left: the halos meet", 1, size
        return None


def _leaves(then: int, now: int, size: int) -> str:
    """The effect of what obeys multiples of `now` where it could obey multiples of `then`."""
    if now >= size:
        return "no shift is left"
    of = "" if then == 1 else f" of the multiples of {then}"
    odd = f", which does not divide {size}" if size % now else ""
    return f"leaves multiples of {now}{of}{odd}"


def _pixels(law: Law, extent: int) -> float:
    """Input pixels that the interior of a law leaves out."""
    return sum(law.halo) * abs(law.shift / (law.roll or 1))


def _halo(law: Law, extent: int) -> str:
    return f", halo {law.halo} of {extent}" if law.kind == "interior" else ""


def _cause(step: Step) -> str:
    """What about an operation breaks a law, in words."""
    if step.gap is not None:
        return f"unmodelled operation ({step.gap})"
    if step.notes:
        return " and ".join(sorted(step.notes))
    primitive, params = step.equation.primitive, step.equation.params
    strides = params.get("window_strides") or params.get("strides") or ()
    if any(stride > 1 for stride in strides):
        return "stride"
    if primitive.startswith(("conv_general_dilated", "reduce_window")):
        return "window"
    if primitive in SELECTIONS:
        return "selection"
    if primitive.startswith("reduce_"):
        return "grouping"  # of elements that do not stay together
    still = [v for v in step.operands if not isinstance(v, Labels) or not moves(v)]
    if not still or len(step.operands) < 2:
        return "operation"
    weights = any(isinstance(value, Labels) for value in still)
    return "position-dependent weights" if weights else "position-dependent constant"
