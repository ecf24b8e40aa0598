"""Linear maps of a circular axis whose matrix is known: one product of matrices along the axis."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.ops.conv import accumulator

LARGEST_MATRIX = 128
"""Entries of a circle that a product with a matrix turns faster than an FFT does.

On two cores of a CPU, 56 x 56 x 256 entries along both axes: 1.1 ms against 3.3; 112 x 112 x 64:
2.2 against 3.5.
"""

FEWEST_COLUMNS = 24
"""Entries beside one another that every line has, for a product a line to be worth it.

Back through a product along the second axis, same cores: 32 x 32 x 32 x 16, 1.4 ms and 0.4 as one
product; 32 x 16 x 16 x 32, 0.4 and 0.3, but forward 0.2 and 0.3.
"""


def times(matrix: np.ndarray, x: jax.Array, axis: int) -> jax.Array:
    """A matrix times every line of x along an axis; in float32 at least.

    Written so that the axis is not transposed, which a contraction over it would do, but where a
    line has so few columns that many small products are slower.
    """
    work = x.astype(accumulator(x.dtype))
    weights = jnp.asarray(matrix, work.dtype)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    multiply = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    if inner == 1:
        out = multiply(work.reshape(outer, x.shape[axis]), weights.T)
    elif outer == 1:
        out = multiply(weights, work.reshape(x.shape[axis], inner))
    elif inner < FEWEST_COLUMNS:
        lines, precision = work.reshape(outer, x.shape[axis], inner), jax.lax.Precision.HIGHEST
        out = jnp.moveaxis(jnp.tensordot(weights, lines, (1, 1), precision=precision), 0, 1)
    else:
        many = jnp.broadcast_to(weights, (outer, *weights.shape))
        out = multiply(many, work.reshape(outer, x.shape[axis], inner))
    shape = (*x.shape[:axis], weights.shape[0], *x.shape[axis + 1 :])
    return out.reshape(shape).astype(x.dtype)
