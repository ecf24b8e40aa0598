"""Initial values: normal draws that compile once for all shapes, with fans that count taps.

Compiling one random draw takes XLA 0.3 s on a CPU core, and a network has a draw per kernel shape:
25 of them in ResNet-50. So a kernel of any shape is cut from the same endless sequence of chunks,
each drawn by one compiled function of (key, number of the chunk). Eagerly the chunks meet in a
NumPy array, because a concatenation, a slice and a product would be compiled per shape again;
under a trace they are one vmapped draw, so that `jax.eval_shape` allocates nothing and costs the
same for three parameters as for three billion. Both give the same bits.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxconv._types import HasShape

Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]
"""A function (key, shape, dtype) -> array: those that `jax.nn.initializers` makes, or your own."""

CHUNK = 65_536  # 0.6 ms a chunk on one core; a larger one wastes more on small kernels
TRUNCATED_DEVIATION = 0.87962566103423978  # of a standard normal cut at -2 and 2


def parameter_dtype(x: HasShape) -> Any:
    """Dtype of the parameters for an input: float32, or float64 for a float64 input."""
    return jnp.float64 if x.dtype in (jnp.float64, jnp.complex128) else jnp.float32


def scaled_normal(scale: float, fan_in: int) -> Initializer:
    """Draws of mean 0 and variance scale / fan_in, normal and cut at two deviations.

    With scale=2 these are the values of `jax.nn.initializers.he_normal`, with scale=1 those of
    `lecun_normal`, in distribution; the fan is given, not read off the shape.

    Example:
        >>> kernel = scaled_normal(2, fan_in=72)(jax.random.key(0), (3, 3, 8, 16), jnp.float32)
        >>> kernel.shape, bool(abs(kernel.std() - (2 / 72) ** 0.5) < 0.01)
        ((3, 3, 8, 16), True)

    References:
        He, Zhang, Ren and Sun 2015, arXiv:1502.01852, equation 10.
    """
    deviation = math.sqrt(scale / max(fan_in, 1)) / TRUNCATED_DEVIATION

    def initialize(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return _draw(key, tuple(shape), np.dtype(dtype), deviation)

    return initialize


def constant(value: float) -> Initializer:
    """The same value everywhere; `jnp.full` compiles for every shape anew, 35 ms each.

    Example:
        >>> constant(1)(jax.random.key(0), (3,), jnp.float32).tolist()
        [1.0, 1.0, 1.0]
    """

    def initialize(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        if isinstance(key, Tracer):
            return jnp.full(shape, value, dtype)
        return _put(np.full(shape, value, dtype), key)

    return initialize


zeros, ones = constant(0), constant(1)


def _put(values: np.ndarray, like: jax.Array) -> jax.Array:
    """Moves to where `like` is; unlike jnp.asarray, compiles no copy per shape."""
    return jax.device_put(values, like.sharding if like.committed else None)


@functools.partial(jax.jit, static_argnames="dtype")
def _chunk(key: jax.Array, number: Any, dtype: Any) -> jax.Array:
    """One chunk of standard normals in [-2, 2]: a function of the key and the chunk's number."""
    return jax.random.truncated_normal(jax.random.fold_in(key, number), -2.0, 2.0, (CHUNK,), dtype)


def _draw(key: jax.Array, shape: tuple[int, ...], dtype: Any, deviation: float) -> jax.Array:
    size = math.prod(shape)
    count = max(-(-size // CHUNK), 1)
    first = _chunk(key, 0, dtype)
    if isinstance(first, Tracer):  # the key may be concrete and a trace active all the same
        rest = jax.vmap(lambda number: _chunk(key, number, dtype))(jnp.arange(1, count))
        values = jnp.concatenate([first, rest.reshape(-1)])
        return (values[:size] * deviation).reshape(shape)
    values = np.empty(size, dtype)
    for number in range(count):
        piece = values[number * CHUNK : (number + 1) * CHUNK]
        piece[:] = np.asarray(_chunk(key, number, dtype))[: piece.size]
    values *= deviation
    return _put(values.reshape(shape), first)


def kernel_and_bias(
    where: str,
    key: jax.Array,
    dtype: Any,
    kernel: tuple[Initializer, tuple[int, ...]],
    bias: tuple[Initializer, tuple[int, ...]] | None,
) -> dict[str, jax.Array]:
    """Params {"kernel", "bias"}, from an initializer and a shape for each; no bias for None."""
    params = {"kernel": parameter(where, "kernel", jax.random.fold_in(key, 0), dtype, *kernel)}
    if bias is not None:
        params["bias"] = parameter(where, "bias", jax.random.fold_in(key, 1), dtype, *bias)
    return params


def parameter(
    where: str,
    name: str,
    key: jax.Array,
    dtype: Any,
    initialize: Initializer,
    shape: tuple[int, ...],
) -> jax.Array:
    """Calls an initializer, which may be the user's, and checks what it returns."""
    value = initialize(key, shape, dtype)
    found = getattr(value, "shape", None)
    if found != shape:
        function = getattr(initialize, "__name__", type(initialize).__name__)
        returns = f"a {type(value).__name__}" if found is None else f"shape {found}"
        raise ValueError(
            f"{where}: {name}_init returns {returns}; expected an array of the shape that it is "
            f"asked for, {shape}. Got {name}_init={function}. "
            f"Use jax.nn.initializers.normal(0.02), say."
        )
    return value
