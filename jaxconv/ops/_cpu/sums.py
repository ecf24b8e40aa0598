"""Sums over many pixels in two stages, of several operands at once.

A plain sum is handed to a library that cannot take slices and products along, and each is written
out. A reduction of several operands over one short axis (about 8 long) stays with XLA's own code
generator, which fuses what makes the operands into it and unrolls the short loop, so that channels
vectorize. What is left, an eighth, is summed plainly.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax import lax

from jaxconv.ops._cpu import taps


def folding(sizes: Sequence[int], aim: int = 8):
    """How to cut a short axis out of (N, *spatial'): a function on arrays, and that axis.

    Neighbors along the spatial axis that has the divisor nearest to `aim` are taken together, those
    of the first such axis if there are several (7 × 7 windows on 4 × 56 × 56 × 96: 31 ms for
    pixels that lie an eighth of the axis apart, 26 for neighbors). Where no axis but the batch
    has a divisor in aim / 2 .. 2 · aim, and then where none has, the longest axis is padded with
    zeros, which add nothing, to a multiple of `aim`.
    """
    near = lambda n: taps.largest_divisor(n, aim // 2, 2 * aim, aim)
    divisors = {axis: near(n) for axis, n in enumerate(sizes) if _is_static(n)}
    found = [(axis == 0, abs(d - aim), axis, d) for axis, d in divisors.items() if d is not None]
    if found:
        *_, axis, length = min(found)
        extra = 0
    else:
        axis = max(divisors, key=lambda axis: sizes[axis])
        length = min(aim, max(sizes[axis], 1))
        extra = -sizes[axis] % length

    def fold(array: jax.Array) -> jax.Array:
        if extra:
            config = [(0, extra if i == axis else 0, 0) for i in range(array.ndim)]
            array = lax.pad(array, np.zeros((), array.dtype), config)
        shape = array.shape
        return array.reshape(*shape[:axis], shape[axis] // length, length, *shape[axis + 1 :])

    return fold, axis + 1


def _is_static(size: int) -> bool:
    """Whether a size is a number, and not a symbol of a program that is exported for any size."""
    return isinstance(size, int)


def along(operands: Sequence[jax.Array], axis: int) -> Sequence[jax.Array]:
    """The sum of each operand along an axis, all in one pass."""
    if len(operands) == 1:
        return [operands[0].sum(axis)]
    zeros = [np.zeros((), operand.dtype) for operand in operands]
    add = lambda a, b: [p + q for p, q in zip(a, b, strict=True)]
    return lax.reduce(list(operands), zeros, add, (axis,))
