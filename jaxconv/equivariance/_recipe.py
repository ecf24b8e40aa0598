"""A run of operations as a function that is compiled once for all runs that do the same.

A network repeats itself: ResNet-50 has 174 calls that depend on its input, of 54 kinds. A recipe
compares equal when primitives, parameters and wiring are equal, so as a static argument it finds
what was compiled before, within one audit and between audits.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxconv.equivariance._jaxpr import Equation, Value


class Recipe:
    """Equations as a function from the values that they read to some that they make.

    A class for its equality: two recipes are equal when they compute the same.
    """

    __slots__ = ("_hash", "_key", "_kept", "_steps")

    def __init__(
        self, equations: Sequence[Equation], inputs: Sequence[Value], outputs: Sequence[Value]
    ):
        """Numbers the values in the order in which they appear."""
        places = {value: i for i, value in enumerate(inputs)}
        self._steps, key = [], []
        for equation in equations:
            sources = [places[v] if v in places else _number(v) for v in equation.inputs]
            made = range(len(places), len(places) + len(equation.outputs))
            places.update(zip(equation.outputs, made, strict=True))
            self._steps.append((equation.bind, sources))
            known = [s if isinstance(s, int) else (str(s.dtype), s.tobytes()) for s in sources]
            key.append((equation.primitive, _frozen(equation.params), tuple(known)))
        self._kept = tuple(places[value] for value in outputs)
        self._key = (len(inputs), tuple(key), self._kept)
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        """Of primitives, parameters and wiring."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether both do the same to what they are given."""
        return isinstance(other, Recipe) and self._key == other._key

    def __call__(self, arrays: Sequence[jax.Array]) -> list[jax.Array]:
        """The outputs for arrays in the order of the inputs."""
        found = list(arrays)
        for bind, sources in self._steps:
            made = bind(*(found[s] if isinstance(s, int) else s for s in sources))
            found += made if isinstance(made, (list, tuple)) else [made]
        return [found[i] for i in self._kept]


def is_number(value: Value) -> bool:
    """Whether a value is a number in the program, which a recipe holds itself."""
    return (
        value.constant is not None and not isinstance(value.constant, jax.Array) and not value.shape
    )


def _number(value: Value) -> np.ndarray:
    return np.asarray(value.constant, value.dtype)


def _frozen(params: Any) -> tuple[Any, ...]:
    """Parameters as a key: by value where they can be hashed, by identity where not."""
    found = []
    for name, value in sorted(params.items()):
        try:
            hash(value)
        except TypeError:
            value = ("identity", id(value))  # the recipe holds the parameters, so it stays theirs
        found.append((name, value))
    return tuple(found)
