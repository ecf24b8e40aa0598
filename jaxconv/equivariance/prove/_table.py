"""The table of transfer rules: one function per primitive name, filled by `rules/`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxconv.equivariance.prove._arrays import Labels
from jaxconv.equivariance.prove._hash import frozen, name_of

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)
RULES: dict[str, Rule] = {}
"""Primitive name to rule(context, call, *operands)."""
CHARGED: set[str] = set()
"""Primitives whose rules see phases; others get labels without."""
IGNORED = {"sharding", "out_sharding", "precision", "accuracy"}
"""Parameters that do not change a value in real arithmetic."""


@dataclass
class Call:
    """One equation: what it is, and what it produces."""

    name: str
    params: dict[str, Any]
    shapes: list[tuple[int, ...]]
    dtypes: list[Any]
    bind: Callable[..., Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.shapes[0]

    def salt(self, *parts: Any) -> np.ndarray:
        """Names the equation's function, with everything in its parameters."""
        kept = {k: v for k, v in self.params.items() if k not in IGNORED}
        return name_of(self.name, frozen(kept), str(self.dtypes[0]), *parts)


class Repair(NamedTuple):
    """Equations that are run otherwise than they are written.

    Attributes:
        equations: their identities.
        inner: identities of the values that they make.
        circular: whether their borders wrap around.
        shifts: per shifted axis, how far the input that they see is ahead of the input.
        rolls: (axis, amount), by which what they make is rolled.
    """

    equations: frozenset[int]
    inner: frozenset[int]
    circular: bool = False
    shifts: tuple[int, ...] = ()
    rolls: tuple[tuple[int, int], ...] = ()


@dataclass
class Context:
    """What rules may know of the analysis.

    Attributes:
        sizes: of the shifted axes of the input.
        periodic: whether positive padding wraps around instead of filling.
        forks: the value that each data-dependent choice is assumed to take.
        sites: the candidates of every such choice, by order of appearance.
        choices: how many have appeared.
        notes: what a rule has to say of its output ("zero padding"), for the report.
        repairs: what is assumed of some equations to see what mending them would buy.
    """

    sizes: tuple[int, ...]
    periodic: bool = False
    forks: dict[int, int] = field(default_factory=dict)
    sites: dict[int, Labels] = field(default_factory=dict)
    choices: int = 0
    notes: set[str] = field(default_factory=set)
    repairs: tuple[Repair, ...] = ()

    @property
    def rank(self) -> int:
        """Number of shifted axes."""
        return len(self.sizes)


def rule(*names: str, charged: bool = False) -> Callable[[R], R]:
    """Registers a rule for primitives of these names; `charged` if it minds phases."""

    def register(function: R) -> R:
        for name in names:
            assert name not in RULES, name
            RULES[name] = function
            CHARGED.update([name] if charged else [])
        return function

    return register
