"""Receptive fields of any function of an image, read from its jaxpr: nothing is computed."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxconv import _parse
from jaxconv._types import HasShape
from jaxconv.equivariance._jaxpr import Program, trace
from jaxconv.equivariance._sight.algebra import ReceptiveField, Sight, start
from jaxconv.equivariance._sight.walk import Walk


def receptive_field(f: Callable[[Any], Any], x: HasShape, axes: Sequence[int] | None = None) -> Any:
    """Finds which input pixels each entry of an output may depend on.

    Along one input axis, output i of axis `axis` sees no pixel but

        stride·i - padding, ..., stride·i - padding + size - 1

    in the coordinates of the input, which go on below 0 and beyond the end: what lies there is
    padding. (With padding modes other than zeros, border outputs see the pixels that stand for
    it.) The answer is an upper bound for all values of x and of the parameters, and what weights
    of zero or a dead branch hide is not taken off. An output whose window cannot be followed as
    it moves, after flattening, say, gets the hull of all windows and stride 0. So does one behind
    an operation without a rule, and says `known=False`.

    Args:
        f: any function of one array. Its jaxpr is read; it runs on tracers only.
        x: an array, or a `jax.ShapeDtypeStruct`.
        axes: axes of x to follow; all but the first and the last unless given.

    Returns:
        What `f` returns, with a tuple of one `ReceptiveField` (size, stride, padding, axis, known)
        per axis of `axes` in place of each array.

    Raises:
        ValueError: for an axis that x does not have.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxconv as jc
        >>> f = lambda x: jc.ops.max_pool(jc.ops.conv(x, jnp.ones((3, 3, 1, 1))), 2)
        >>> receptive_field(f, jnp.zeros((1, 32, 32, 1)))[0]
        ReceptiveField(size=4, stride=2, padding=1, axis=1, known=True)

    References:
        Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural
        Networks", equations 1 to 5; joins take the hull of the paths, as there.
    """
    rank = len(x.shape)
    followed = tuple(range(1, rank - 1)) if axes is None else tuple(axes)
    for axis in followed:
        _parse.integer("receptive_field", "axes", axis, minimum=None)
        if not -rank <= axis < rank:
            raise ValueError(
                f"receptive_field: x has no axis {axis}; expected axes of {rank} or fewer. "
                f"Got axes={followed}. Use axes={tuple(range(1, rank - 1))}."
            )
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    shapes = jax.tree.structure(jax.eval_shape(f, like))
    program = trace(f, like)
    walks = [sights(program, 0, axis % rank) for axis in followed]
    rows = [tuple(walk.field(value) for walk in walks) for value in program.outputs]
    return jax.tree.unflatten(shapes, rows)


def sights(program: Program, position: int, axis: int) -> Walk:
    """What every value of a program sees of one axis of its input number `position`."""
    seen: list[Sight | None] = [None] * len(program.inputs)
    seen[position] = start(axis)
    return Walk(program, seen, program.inputs[position].shape[axis])


__all__ = ["ReceptiveField", "receptive_field", "sights"]
