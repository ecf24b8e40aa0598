"""Pools that end in a grid of a given size, or in one value per channel."""

import jax
import jax.numpy as jnp

from jaxconv import _parse, ops
from jaxconv._types import IntOrInts, Layer
from jaxconv.layers import _checks
from jaxconv.layers._make import stateless


def adaptive_avg_pool(output_shape: IntOrInts, *, name: str = "adaptive_avg_pool") -> Layer:
    """Takes the mean of the cells of a grid of a given size, whatever the size of the image.

        y[n, i, c] = mean of x[n, ⌊i·n/m⌋ : ⌈(i + 1)·n/m⌉, c]

    with n pixels in and m out on each spatial axis; cells overlap where m does not divide n.

    Shapes: x (N, *spatial, C) -> y (N, *output_shape, C).
    Params: {}. State: {}.
    Equivariance: exact on shifts by whole cells of a circular image, if m divides n; otherwise
    none.

    Args:
        output_shape: pixels out, for all spatial axes or per axis.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when it has not one
            entry per spatial axis.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> adaptive_avg_pool(2).apply({}, {}, jnp.arange(5.0).reshape(1, 5, 1))[0].ravel().tolist()
        [1.0, 3.0]

    References:
        torch.nn.AdaptiveAvgPool2d, whose cells these are.
    """
    _parse.ints("adaptive_avg_pool", "output_shape", output_shape)
    return stateless(name, lambda x: ops.adaptive_avg_pool(x, output_shape))


def adaptive_max_pool(output_shape: IntOrInts, *, name: str = "adaptive_max_pool") -> Layer:
    """Keeps the largest value of the cells of a grid of a given size.

        y[n, i, c] = max of x[n, ⌊i·n/m⌋ : ⌈(i + 1)·n/m⌉, c]

    with n pixels in and m out on each spatial axis; cells overlap where m does not divide n.

    Shapes: x (N, *spatial, C) -> y (N, *output_shape, C).
    Params: {}. State: {}.
    Equivariance: that of `adaptive_avg_pool`.

    Args:
        output_shape: pixels out, for all spatial axes or per axis.
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: at construction for an impossible argument; in `init` when it has not one
            entry per spatial axis.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> adaptive_max_pool(2).apply({}, {}, jnp.arange(5.0).reshape(1, 5, 1))[0].ravel().tolist()
        [2.0, 4.0]

    References:
        torch.nn.AdaptiveMaxPool2d, whose cells these are.
    """
    _parse.ints("adaptive_max_pool", "output_shape", output_shape)
    return stateless(name, lambda x: ops.adaptive_max_pool(x, output_shape))


def global_avg_pool(*, name: str = "global_avg_pool") -> Layer:
    """Takes the mean of each channel over the whole image.

        y[n, c] = (1 / pixels) Σ_i x[n, i, c]

    bfloat16 and float16 accumulate in float32.

    Shapes: x (N, *spatial, C) -> y (N, C).
    Params: {}. State: {}.
    Equivariance: invariant: a circular shift of x by any amount leaves y as it is.

    Args:
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        TypeError: when x holds integers.
        ValueError: when x has no spatial axis or no pixels.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> global_avg_pool().apply({}, {}, jnp.arange(6.0).reshape(1, 2, 3, 1))[0].item()
        2.5

    References:
        Lin, Chen and Yan 2013, arXiv:1312.4400, section 3.2.
    """

    def mean(x):
        _check_pixels("global_avg_pool", x)
        _parse.floating("global_avg_pool", "x", x)
        return jnp.mean(_checks.flat(x), axis=1, dtype=_checks.wide(x)).astype(x.dtype)

    return stateless(name, mean)


def global_max_pool(*, name: str = "global_max_pool") -> Layer:
    """Keeps the largest value of each channel over the whole image.

        y[n, c] = max_i x[n, i, c]

    A tie sends its gradient to the first of the largest in row-major order; a NaN gives NaN.

    Shapes: x (N, *spatial, C) -> y (N, C).
    Params: {}. State: {}.
    Equivariance: invariant: a circular shift of x by any amount leaves y as it is.

    Args:
        name: what the layer is called inside a composition.

    Returns:
        A stateless `Layer`.

    Raises:
        ValueError: when x has no spatial axis or no pixels.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> global_max_pool().apply({}, {}, jnp.arange(6.0).reshape(1, 2, 3, 1))[0].item()
        5.0
    """

    def largest(x):
        _check_pixels("global_max_pool", x)
        y = _checks.flat(x)
        while y.shape[1] > 1:
            y = _halve(y)
        return y[:, 0]

    return stateless(name, largest)


def _halve(x: jax.Array) -> jax.Array:
    """The larger of each two neighbors of axis 1, the first in a tie; NaN stays.

    jnp.max splits the gradient of a tie, and loses NaNs on CPU with jaxlib 0.10.2.
    """
    even, odd = x[:, ::2], x[:, 1::2]
    pairs = even[:, : odd.shape[1]]
    larger = jnp.where((odd > pairs) | (odd != odd), odd, pairs)
    return jnp.concatenate([larger, even[:, odd.shape[1] :]], axis=1)


def _check_pixels(where: str, x: jax.Array) -> None:
    if 0 in _parse.image(where, x):
        raise ValueError(
            f"{where}: x has no pixels; expected at least one. Got x of shape {x.shape}. "
            f"Use less stride or more padding before it."
        )
