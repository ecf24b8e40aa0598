"""Flips and quarter turns, proved: the program is named once more for the transformed input."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxconv.equivariance.prove._arrays import Known, Labels, Value, plain
from jaxconv.equivariance.prove._interpret import Interpreter
from jaxconv.equivariance.prove._labels import moved, sealed
from jaxconv.equivariance.prove._laws import same_multiset
from jaxconv.equivariance.prove._moves import take, transposed
from jaxconv.equivariance.prove._program import Program, trace
from jaxconv.equivariance.prove._table import Context

FARTHEST = 32
"""Shifts beside a flip that are tried, at most, on each side."""
MOST_ROLLS = 64
"""Rolls of the output that are tried for each of them."""


@dataclass(frozen=True)
class Symmetry:
    """How an output answers to a flip or a quarter turn σ of the input.

    Attributes:
        output: path of the leaf, "" for a single array.
        action: "flip of axis 1", "quarter turn of axes (1, 2)".
        kind: "invariant": f(σ T_s x) = f(x) · "equivariant": = T_q σ' f(x) · "permuted": its
            elements are those of f(x) in a fixed other order · "unproved".
        axes: of the output that flip or turn.
        shift: s, by which the input is rolled first, along the axes of the action.
        roll: q, by which the output is rolled last, along `axes`.
    """

    output: str
    action: str
    kind: str
    axes: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()
    roll: tuple[int, ...] = ()

    def __str__(self) -> str:
        """One line."""
        first = f" after a roll by {self.shift}" if any(self.shift) else ""
        last = f", then rolls by {self.roll}" if any(self.roll) else ""
        moves = f"equivariant: axes {self.axes} of the output follow{last}"
        words = {
            "equivariant": moves,
            "permuted": "equivariant up to a fixed permutation",
            "unproved": "nothing is proved",
        }
        name = f"output{self.output}"
        return f"{name}, {self.action}{first}: {words.get(self.kind, self.kind)}"


def prove_symmetries(
    f: Callable[..., Any],
    x: Any,
    axes: Sequence[int] = (1, 2),
    *,
    params: Any = None,
    weights: str = "generic",
) -> tuple[Symmetry, ...]:
    """Derives how the outputs of f answer to flips and quarter turns of its input.

        f(σ x) = σ' f(x)    for all x, with σ a flip of one axis, or a quarter turn of two

    Labels name functions of x, so the program is run twice: on the labels of x and on those of
    σ x. Where both give an element one name, both give it one value. With symmetric kernels a
    convolution follows a flip; with generic weights it does not.

    Args:
        f: any function of x, or of (params, x) when params are given.
        x: array or `jax.ShapeDtypeStruct`, or a pytree of them that flip together.
        axes: the axes of x that flip; two of equal size also turn.
        params: weights of f, values or shapes.
        weights: "generic", to prove for all values of `params`, or "actual", for those given.

    Returns:
        For every action, a `Symmetry` per output leaf.

    Raises:
        ValueError: for axes that x does not have.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        >>> for law in prove_symmetries(lambda x: x[:, ::2] + 1, x):
        ...     print(law)
        output, flip of axis 1 after a roll by (1,): equivariant: axes (1,) of the output follow
        output, flip of axis 2: equivariant: axes (2,) of the output follow
        output, quarter turn of axes (1, 2): nothing is proved
    """
    program = trace("prove_symmetries", f, x, axes, params, weights)
    before = [plain(value) for value in program.run(Context(program.sizes)).outputs]
    found = []
    for groups in _actions(program):
        after = _outputs(program, groups)
        for path, old, new in zip(program.paths, before, after, strict=True):
            found.append(_law(program, path, groups, old, plain(new)))
    return tuple(found)


def _actions(program: Program) -> list[tuple[int, ...]]:
    """Group axes of every action: one flips, two turn."""
    rank = len(program.sizes)
    flips = [(axis,) for axis in range(rank)]
    square = [
        rank == 2 and leaf.shape[program.axes[0]] == leaf.shape[program.axes[1]]
        for leaf in program.inputs
    ]
    return [*flips, (0, 1)] if all(square) else flips


def _outputs(program: Program, groups: tuple[int, ...]) -> list[Value]:
    """Labels of f(σ x), as functions of x."""
    operands = program.operands()
    first = len(operands) - len(program.inputs)
    for number in range(first, len(operands)):
        labels = operands[number]
        assert isinstance(labels, Labels)
        axes = [program.axes[group] % labels.ndim for group in groups]
        if len(axes) == 2:
            labels = transposed(labels, _swapped(labels.ndim, axes))
        operands[number] = take(labels, axes[0], np.arange(labels.shape[axes[0]])[::-1])
    return Interpreter(Context(program.sizes)).run(program.program, operands)


def _swapped(ndim: int, axes: Sequence[int]) -> list[int]:
    order = list(range(ndim))
    order[axes[0]], order[axes[1]] = axes[1], axes[0]
    return order


def _law(program: Program, path: str, groups: tuple[int, ...], old: Value, new: Value) -> Symmetry:
    axes = tuple(program.axes[group] for group in groups)
    action = f"flip of axis {axes[0]}" if len(axes) == 1 else f"quarter turn of axes {axes}"
    if isinstance(old, Known) and isinstance(new, Known):
        same = np.array_equal(old.array, new.array, equal_nan=True)
        return Symmetry(path, action, "invariant" if same else "unproved")
    if isinstance(old, Known) or isinstance(new, Known) or old.states != new.states:
        return Symmetry(path, action, "unproved")
    names = sealed(old.code[:2], *_coordinates(old))
    permuted = None
    for shift in _shifts(program, groups):
        code = new.code
        for group, amount in zip(groups, shift, strict=True):
            code = _shifted(code, group, amount)
        after = moved(code, groups[0], 0)
        if (after == names).all():
            return Symmetry(path, action, "invariant", (), shift)
        for places, image in _images(old, names, len(groups)):
            roll = _roll(image, after, places)
            if roll is not None:
                return Symmetry(path, action, "equivariant", places, shift, roll)
        if permuted is None and same_multiset(after, names):
            permuted = Symmetry(path, action, "permuted", (), shift)
    return permuted or Symmetry(path, action, "unproved")


def _coordinates(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    rows = labels.code[2:].view(np.int64)
    return rows[: labels.rank], rows[labels.rank :]


def _shifted(code: np.ndarray, group: int, amount: int) -> np.ndarray:
    rank, code = (len(code) - 2) // 2, code.copy()
    row = code[2 + group].view(np.int64) - amount
    code[2 + group] = (row % code[2 + rank + group].view(np.int64)).astype(np.uint64)
    return code


def _shifts(program: Program, groups: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shifts to try beside an action, the least first."""
    if len(groups) == 2:
        return [(s, t) for s in (0, 1, -1) for t in (0, 1, -1)]
    size, step = program.sizes[groups[0]], program.finest[groups[0]]
    amounts = [s for s in range(-(size // 2), size // 2 + 1) if s % step == 0]
    amounts = [s for s in amounts if abs(s) <= FARTHEST * step]
    return [(s,) for s in sorted(amounts, key=lambda s: (abs(s), -s))]


def _images(
    labels: Labels, names: np.ndarray, count: int
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """The names of the output flipped along an axis, or turned in two."""
    explicit = [axis for axis, state in enumerate(labels.states) if state == "E"]
    for d in explicit:
        if count == 1:
            yield (d,), np.flip(names, d + 1)
            continue
        for e in explicit:
            if e != d and labels.shape[d] == labels.shape[e]:
                yield (d, e), np.flip(np.swapaxes(names, d + 1, e + 1), d + 1)


def _roll(image: np.ndarray, after: np.ndarray, places: tuple[int, ...]) -> tuple[int, ...] | None:
    """How far the image must roll to be what comes out; None if it never is."""
    axes = tuple(place + 1 for place in places)
    sizes = [image.shape[axis] for axis in axes]
    rows = [np.moveaxis(names[0], places, range(len(places))) for names in (image, after)]
    image_rows, origin = (
        rows[0].reshape(*sizes, -1),
        rows[1].reshape(*sizes, -1)[(0,) * len(axes)],
    )
    for start in np.argwhere((image_rows == origin).all(-1))[:MOST_ROLLS]:
        if (after == np.roll(image, -start, axes)).all():
            signed = [-int(n) % size for n, size in zip(start, sizes, strict=True)]
            return tuple(
                q if q <= size // 2 else q - size for q, size in zip(signed, sizes, strict=True)
            )
    return None
