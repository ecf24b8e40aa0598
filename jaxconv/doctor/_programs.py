"""The programs of the canaries: each returns its error against NumPy in float64.

Of each canary there are two, one in plain JAX and one in this library's operations. Every program
draws its own numbers and compiles with the options that a user gets by default.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv import ops
from jaxconv.compiler_options import rows_here
from jaxconv.doctor._oracle import Pads, convolution, error
from jaxconv.fast import fast

LIMIT = 1e-4
"""Errors above this are faults: rounding in float32 gave at most 1e-6 here, faults 4e-3 to inf."""

Jit = Callable[..., Any]
"""jax.jit, or the same with compiler options."""


def _draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


# --- long batches ------------------------------------------------------------------------------


def rows(jit: Jit) -> float:
    """Sums of squares of matrix-vector products, by vmap."""
    matrix, x = _draw(3, 3), _draw(32769, 3)
    sums = jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(x)
    return error(sums, ((x.astype(float) @ matrix.T.astype(float)) ** 2).sum(1))


def own_rows(jit: Jit) -> float:
    """Squares of a 1 × 1 convolution, and their means over windows of rows."""
    kernel, x = _draw(1, 3, 3), _draw(1, 32769, 3)
    squares = np.square(x.astype(float) @ kernel[0].astype(float))
    pooled = squares.reshape(1, -1, 3, 3).mean(2)
    own = lambda x: jnp.square(ops.conv(x, jnp.asarray(kernel)))
    own_pooled = lambda x: ops.avg_pool(own(x), 3)
    return max(error(jit(own)(x), squares), error(jit(own_pooled)(x), pooled))


# --- NaN ---------------------------------------------------------------------------------------


def _with_nan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images with one NaN pixel, their maxima over windows of 2 × 2, and over everything."""
    x = _draw(2, 16, 16, 16)
    x[0, 3, 4] = np.nan
    wide = x.astype(float)
    return x, wide.reshape(2, 8, 2, 8, 2, 16).max((2, 4)), wide.max((1, 2), keepdims=True)


def _lax_max_pool(x: Any) -> jax.Array:
    window = (1, 2, 2, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def nan(jit: Jit) -> float:
    """A maximum over windows, over two axes, and over everything."""
    x, windows, whole = _with_nan()
    over_axes = jit(lambda x: x.max((1, 2), keepdims=True))(x)
    everything = jit(jnp.max)(x)
    return max(
        error(jit(_lax_max_pool)(x), windows),
        error(over_axes, whole),
        error(everything, np.array(np.nan)),
    )


def own_nan(jit: Jit) -> float:
    """The same by pools: over windows, over cells, and over everything."""
    x, windows, whole = _with_nan()
    pools = {
        lambda x: ops.max_pool(x, 2): windows,
        lambda x: ops.adaptive_max_pool(x, 8): windows,
        lambda x: ops.max_pool(x, 16): whole,
    }
    return max(error(jit(pool)(x), expected) for pool, expected in pools.items())


# --- many axes -----------------------------------------------------------------------------------


def rank_7(jit: Jit) -> float:
    """A sum over one of seven axes."""
    x, y = _draw(3, 1, 2, 2, 8, 8, 8), _draw(8, 8, 8, 2, 2, 1, 3).T
    total = jit(lambda x, y: jnp.sum(x * y, axis=3))(x, y)
    return error(total, (x.astype(float) * y).sum(3))


def own_rank_7(jit: Jit) -> float:
    """A grouped convolution of volumes, whose gradients reshape to the most axes."""
    pads = ((1, 1),) * 3
    conv = functools.partial(ops.conv, padding=pads, groups=4)
    return _both_ways(jit, conv, _draw(2, 6, 7, 8, 8), _draw(3, 3, 3, 2, 8), pads, (1, 1, 1))


# --- convolutions --------------------------------------------------------------------------------


def _lax_conv(x: Any, kernel: Any, pads: Pads, stride: tuple[int, ...]) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, stride, pads, dimension_numbers=layout)


def _both_ways(
    jit: Jit,
    conv: Callable[..., jax.Array],
    x: np.ndarray,
    kernel: np.ndarray,
    pads: Pads,
    stride: tuple[int, ...],
    *,
    gradients: bool = True,
) -> float:
    """The worst error of a convolution and, unless told otherwise, of its gradients."""
    out = jax.eval_shape(conv, x, kernel)
    g = _draw(*out.shape)
    expected = convolution(x, kernel, g, pads, stride)
    worst = error(jit(conv)(x, kernel), expected.y)
    if gradients:
        dx, dk = jit(lambda x, k, g: jax.vjp(conv, x, k)[1](g))(x, kernel, g)
        worst = max(worst, error(dx, expected.x), error(dk, expected.kernel))
    return worst


NEGATIVE: tuple[Pads, ...] = (((0, 0), (-1, 1)), ((-1, 1), (0, 0)), ((0, 0), (-2, 1)))
PAST_WINDOW: Pads = ((3, 0), (3, 0))


def _negative(
    jit: Jit, make: Callable[[Pads], Callable[..., jax.Array]], *, gradients: bool
) -> float:
    x, kernel = _draw(1, 6, 14, 8), _draw(2, 2, 8, 16)
    return max(
        _both_ways(jit, make(pads), x, kernel, pads, (1, 1), gradients=gradients)
        for pads in NEGATIVE
    )


def negative_padding(jit: Jit) -> float:
    """Three paddings below zero on the low side and above it on the high side."""
    return _negative(jit, lambda pads: lambda x, k: _lax_conv(x, k, pads, (1, 1)), gradients=False)


def own_negative_padding(jit: Jit) -> float:
    """The same by this library's operation, with gradients, and by `fast` of plain JAX."""
    own = _negative(jit, lambda pads: functools.partial(ops.conv, padding=pads), gradients=True)
    cure = lambda pads: fast(lambda x, k: _lax_conv(x, k, pads, (1, 1)))
    return max(own, _negative(jit, cure, gradients=False))


def _past_window(jit: Jit, conv: Callable[..., jax.Array]) -> float:
    return _both_ways(jit, conv, _draw(2, 8, 9, 8), _draw(2, 2, 8, 16), PAST_WINDOW, (1, 1))


def padding_gradient(jit: Jit) -> float:
    """A window of 2 taps with a padding of 3 on the low side."""
    return _past_window(jit, lambda x, k: _lax_conv(x, k, PAST_WINDOW, (1, 1)))


def own_padding_gradient(jit: Jit) -> float:
    """The same by this library's operation, and by `fast` of plain JAX."""
    own = _past_window(jit, lambda x, k: ops.conv(x, k, padding=PAST_WINDOW))
    return max(own, _past_window(jit, fast(lambda x, k: _lax_conv(x, k, PAST_WINDOW, (1, 1)))))


STRIDED: Pads = ((4, 4), (1, 2))


def _strided(jit: Jit, conv: Callable[..., jax.Array]) -> float:
    return _both_ways(jit, conv, _draw(2, 11, 12, 8), _draw(3, 3, 8, 16), STRIDED, (2, 3))


def gradients(jit: Jit) -> float:
    """Strides of 2 and 3, one axis padded past its window on both sides."""
    return _strided(jit, lambda x, k: _lax_conv(x, k, STRIDED, (2, 3)))


def own_gradients(jit: Jit) -> float:
    """The same by this library's operation."""
    return _strided(jit, lambda x, k: ops.conv(x, k, padding=STRIDED, stride=(2, 3)))


DILATED: Pads = ((1, 1), (1, 0))


def _dilated(jit: Jit, conv: Callable[..., jax.Array]) -> float:
    """The gradient in the input, for a kernel whose taps lie two pixels apart on one axis."""
    x, kernel = _draw(2, 8, 9, 12), _draw(2, 3, 12, 6)
    g = _draw(*jax.eval_shape(conv, x, kernel).shape)
    spread = np.zeros((2, 5, 12, 6))
    spread[:, ::2] = kernel
    (dx,) = jit(lambda x, g: jax.vjp(lambda x: conv(x, jnp.asarray(kernel)), x)[1](g))(x, g)
    return error(dx, convolution(x, spread, g, DILATED, (2, 3)).x)


def _lax_dilated(x: Any, kernel: Any) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (2, 3),
        DILATED,
        rhs_dilation=(1, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def dilated_gradient(jit: Jit) -> float:
    """Strides of 2 and 3 with a dilation of 2 on the second axis."""
    return _dilated(jit, _lax_dilated)


def own_dilated_gradient(jit: Jit) -> float:
    """The same by this library's operation, and by `fast` of plain JAX."""
    own = lambda x, k: ops.conv(x, k, padding=DILATED, stride=(2, 3), dilation=(1, 2))
    return max(_dilated(jit, own), _dilated(jit, fast(_lax_dilated)))


# --- ties ---------------------------------------------------------------------------------------


def _ties(jit: Jit, pool: Callable[[Any], jax.Array]) -> float:
    """Windows of 2 × 2 whose maximum stands in two or four places; the first takes it all."""
    x = np.tile(np.array([[1, 2], [2, 0]], np.float32), (4, 4))[None, :, :, None]
    x[:, :2, :2] = 1
    x = np.repeat(x, 8, -1)
    first = np.tile(np.array([[0, 1], [0, 0]], float), (4, 4))
    first[:2, :2] = [[1, 0], [0, 0]]
    g = _draw(1, 4, 4, 8)
    expected = first[None, :, :, None] * g.astype(float).repeat(2, 1).repeat(2, 2)
    (dx,) = jit(lambda x, g: jax.vjp(pool, x)[1](g))(x, g)
    return error(dx, expected)


def ties(jit: Jit) -> float:
    """The gradient of lax.reduce_window."""
    return _ties(jit, _lax_max_pool)


def own_ties(jit: Jit) -> float:
    """The gradient of this library's max pool."""
    return _ties(jit, lambda x: ops.max_pool(x, 2))


# --- compiler options ----------------------------------------------------------------------------


UNDER_OPTIONS = (rows, nan, gradients, own_gradients, ties, own_ties, rank_7)
"""What options can break; a negative padding is wrong under all of them."""


def own_options(jit: Jit) -> float | None:
    """The same programs under each set of options that `compiler_options` may return."""
    tuned = [functools.partial(jit, compiler_options=row.options) for row in rows_here()]
    return max((program(jit) for jit in tuned for program in UNDER_OPTIONS), default=None)


PROGRAMS: dict[str, Callable[[Jit], float | None]] = {
    "rows/xla": rows,
    "rows/own": own_rows,
    "nan/xla": nan,
    "nan/own": own_nan,
    "rank_7/xla": rank_7,
    "rank_7/own": own_rank_7,
    "negative_padding/xla": negative_padding,
    "negative_padding/own": own_negative_padding,
    "padding_gradient/xla": padding_gradient,
    "padding_gradient/own": own_padding_gradient,
    "gradients/xla": gradients,
    "gradients/own": own_gradients,
    "dilated_gradient/xla": dilated_gradient,
    "dilated_gradient/own": own_dilated_gradient,
    "ties/xla": ties,
    "ties/own": own_ties,
    "options/own": own_options,
}
"""By canary and side: "xla" for plain JAX, "own" for this library's operations."""


def run(name: str) -> float | None:
    """The error of a program compiled by default; None where there is nothing to run."""
    program = PROGRAMS.get(name)
    return None if program is None else program(jax.jit)
