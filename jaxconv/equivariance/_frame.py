"""Which axes move, of inputs and outputs, and by how much; and where the border is."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from jaxconv.equivariance.actions import Action, Frame

LAWS = ("auto", "equivariant", "invariant")


class Spec(NamedTuple):
    """Options of a check that say what must happen where.

    Attributes:
        where: the public function that was called, for messages.
        axes: moved axes of every input leaf; all between the first and the last unless given.
        law: "equivariant", "invariant", or "auto": by the number of axes of each output leaf.
        output_axes: moved axes of the output leaves; those of the input unless given.
        stride: input pixels per output pixel; the ratio of sizes unless given.
        border: outputs at the ends of the moved axes that see beyond the input's edge.
    """

    where: str
    axes: tuple[int, ...] | None = None
    law: str = "auto"
    output_axes: tuple[int, ...] | None = None
    stride: Any = None
    border: Any = None


def leaf_axes(spec: Spec, leaf: Any) -> tuple[int, ...]:
    """The moved axes of one input leaf; () for a leaf without spatial axes, which stays."""
    rank = len(leaf.shape)
    if rank < 3 and spec.axes is None:
        return ()
    axes = range(1, rank - 1) if spec.axes is None else spec.axes
    return tuple(axis % rank for axis in axes if -rank <= axis < rank)


def input_axes(spec: Spec, leaves: Sequence[Any]) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """Moved axes of every input leaf, and their sizes, which all moved leaves must share."""
    axes = [leaf_axes(spec, leaf) for leaf in leaves]
    sizes = [tuple(x.shape[a] for a in ax) for x, ax in zip(leaves, axes, strict=True) if ax]
    if not sizes:
        shapes = [tuple(leaf.shape) for leaf in leaves]
        raise ValueError(
            f"{spec.where}: nothing can move; expected x (N, *spatial, C) or axes=. "
            f"Got x of shape {shapes[0] if len(shapes) == 1 else shapes}. "
            f"Add a batch axis with x[None], or name the moved axes."
        )
    if len(set(sizes)) > 1:
        raise ValueError(
            f"{spec.where}: inputs that move together differ in size; expected equal spatial "
            f"sizes. Got {' and '.join(map(str, dict.fromkeys(sizes)))}. Resize one, or close "
            f"over the one that stays."
        )
    return axes, sizes[0]


def output_frame(
    spec: Spec, action: Action, leaf: Any, sizes: Sequence[int], axes: tuple[int, ...]
) -> Frame:
    """How one output leaf must move, from its shape and the options."""
    moved = spec.output_axes if spec.output_axes is not None else axes
    rank = len(leaf.shape)
    law = spec.law
    if law == "auto":
        law = "equivariant" if rank > max(moved) + (spec.axes is None) else "invariant"
    if law == "invariant":
        return Frame((), ())
    if rank <= max(moved):
        raise ValueError(
            f"{spec.where}: an output has {rank} axes; expected moved axes {tuple(moved)} in it. "
            f"Got f(x) of shape {tuple(leaf.shape)}. Use assert_shift_invariant, or output_axes=."
        )
    out = [leaf.shape[axis] for axis in moved]
    if spec.stride is not None:
        strides = (
            spec.stride if isinstance(spec.stride, (tuple, list)) else [spec.stride] * len(out)
        )
        ratio = tuple(1 / Fraction(s).limit_denominator(1024) for s in strides)
    else:
        ratio = tuple(
            _line_ratio(n, m) if action.line else Fraction(m, n)
            for n, m in zip(sizes, out, strict=True)
        )
    return Frame(tuple(moved), ratio, _given_border(spec.border, len(out)))


def _line_ratio(size: int, out: int) -> Fraction:
    """The pitch of an output that may have lost its border: a whole stride that explains its size.

    The smallest s with out = ⌈size / s⌉ (padded), else ⌊size / out⌋ (not padded); a guess that
    `stride` replaces.
    """
    if out > size:
        return Fraction(round(out / size))
    padded = (s for s in range(1, size + 1) if -(-size // s) == out)
    return Fraction(1, next(padded, size // max(out, 1)))


def _given_border(border: Any, count: int) -> tuple[tuple[int, int], ...] | None:
    if border is None:
        return None
    if isinstance(border, int):
        return ((border, border),) * count
    return tuple((b, b) if isinstance(b, int) else tuple(b) for b in border)
