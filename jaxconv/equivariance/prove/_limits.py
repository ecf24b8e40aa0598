"""What limits a law: every equation whose output obeys less than its inputs did.

Blame is a fact of the data flow. An equation is charged when the lattice of its output is coarser
than the least common multiple of its inputs', and the charge is dropped where a later value
recovers, so that the slices inside a circular padding or a roll are never blamed. Strides (the
lattice of the interior) and borders (the law of the whole) are charged separately.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxconv.equivariance import _jaxpr
from jaxconv.equivariance.prove._arrays import Labels
from jaxconv.equivariance.prove._interpret import Step
from jaxconv.equivariance.prove._laws import Law, laws_of
from jaxconv.equivariance.prove.rules.elementwise import NAMES as ELEMENTWISE

WINDOWED = ("conv_general_dilated", "reduce_window")


@dataclass(frozen=True)
class Limit:
    """An operation that limits the law of an output.

    Attributes:
        axis: of the input, in the order of `axes`.
        level: "stride" where it costs lattice everywhere, "border" where it costs the border.
        primitive: name of the operation in the jaxpr.
        layer: path of named scopes, "" outside of any.
        source: the user's line, or None.
        cause: in words, what about it.
        effect: in words, what it cost.
        order: position in the program.
    """

    axis: int
    level: str
    primitive: str
    layer: str
    source: _jaxpr.Source | None
    cause: str
    effect: str
    order: int = field(default=0, compare=False)

    def __str__(self) -> str:
        place = f"{self.layer} ({self.primitive})" if self.layer else self.primitive
        return f"{self.cause} of {place}" + (f" at {self.source}" if self.source else "")


class Trail(NamedTuple):
    """Laws of a value, and what limits them, per shifted axis."""

    laws: tuple[Law, ...]
    limits: tuple[tuple[Limit, ...], ...]


@dataclass(frozen=True)
class Row:
    """One operation in the table of a proof."""

    primitive: str
    layer: str
    source: _jaxpr.Source | None
    shape: tuple[int, ...]
    laws: tuple[Law, ...]
    changed: bool


@dataclass
class Recorder:
    """Watches a run: gives every value its trail and collects the table."""

    sizes: tuple[int, ...]
    rows: list[Row] = field(default_factory=list)
    steps: int = 0

    def trail(self, value: Any) -> Trail:
        """The trail of a value, computed where it has none."""
        if isinstance(value, Labels) and value.trail is not None:
            return value.trail
        laws = laws_of(value, self.sizes, partial=False)
        trail = Trail(laws, ((),) * len(self.sizes))
        if isinstance(value, Labels):
            value.trail = trail
        return trail

    def __call__(self, step: Step) -> None:
        """Sets the trail of every output of a step."""
        self.steps += 1
        sources = [value for value in step.operands if isinstance(value, Labels)]
        trails = [self.trail(value) for value in sources]
        for value in step.outputs:
            if not isinstance(value, Labels):
                continue
            if len(sources) == 1 and _inherits(step) and value.shape == sources[0].shape:
                value.trail = trails[0]
            else:
                laws = laws_of(value, self.sizes, partial=False)
                value.trail = Trail(laws, self._limits(step, trails, laws, value.shape))
                changed = any(trail.laws != laws for trail in trails)
                self.rows.append(_row(step, value.shape, laws, changed=changed))

    def _limits(
        self, step: Step, trails: Sequence[Trail], laws: tuple[Law, ...], shape: tuple[int, ...]
    ) -> tuple[tuple[Limit, ...], ...]:
        limits = []
        for axis, size in enumerate(self.sizes):
            law = laws[axis]
            before = [trail.laws[axis] for trail in trails]
            kept: dict[Limit, None] = {}
            for trail in trails:
                kept.update(
                    (l, None) for l in trail.limits[axis] if _alive(l, trail.laws[axis], law, size)
                )
            charge = _charge(step, before, law, size, shape)
            if charge is not None:
                limit = Limit(axis, *charge[:1], *_place(step), *charge[1:], self.steps)
                kept[limit] = None
            limits.append(tuple(sorted(kept, key=lambda limit: limit.order)))
        return tuple(limits)


def whole(law: Law, size: int) -> int:
    """Lattice of the whole output; the size where nothing is proved."""
    return law.shift if law.exact else size


def inside(law: Law, size: int) -> int:
    """Lattice away from the border; the size where nothing is proved."""
    return abs(law.shift) if law.exact or law.kind == "interior" else size


def _alive(limit: Limit, before: Law, after: Law, size: int) -> bool:
    lattice = whole if limit.level == "border" else inside
    then, now = lattice(before, size), lattice(after, size)
    return now > 1 and now % then == 0


def _charge(
    step: Step, before: list[Law], law: Law, size: int, shape: tuple[int, ...]
) -> tuple[str, str, str] | None:
    """(level, cause, effect) when an equation costs something."""
    then, now = math.lcm(*[inside(b, size) for b in before]), inside(law, size)
    exact_then, exact_now = math.lcm(*[whole(b, size) for b in before]), whole(law, size)
    cause = _cause(step)
    if now > then:
        left = f"lattice {then} to {now}" if now < size else "no shift left"
        borders = "padding" in cause and law.kind not in ("invariant", "equivariant")
        return "border" if borders and now == size else "stride", cause, left + _halo(law, shape)
    if exact_now > exact_then:
        return "border", cause, "exact only inside" + _halo(law, shape)
    grown = sum(law.halo) > max([sum(b.halo) for b in before if b.kind == "interior"] or [0])
    if law.kind == "interior" and "padding" in cause and grown:
        return "border", cause, "padding again" + _halo(law, shape)
    return None


def _halo(law: Law, shape: tuple[int, ...]) -> str:
    if law.kind != "interior":
        return ""
    return f", halo {law.halo} of {shape[law.axis or 0]}"


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
    if primitive.startswith(WINDOWED):
        return "window"
    constants = sum(not isinstance(v, Labels) for v in step.operands)
    return "position-dependent constant" if constants and len(step.operands) > 1 else "operation"


def _place(step: Step) -> tuple[str, str, _jaxpr.Source | None]:
    return step.equation.primitive, "/".join(step.equation.scope), step.equation.source


def _inherits(step: Step) -> bool:
    scalars = all(isinstance(value, Labels) or value.array.size == 1 for value in step.operands)
    return scalars and step.equation.primitive in ELEMENTWISE


def _row(step: Step, shape: tuple[int, ...], laws: tuple[Law, ...], *, changed: bool) -> Row:
    primitive, layer, source = _place(step)
    return Row(primitive, layer, source, shape, laws, changed)
