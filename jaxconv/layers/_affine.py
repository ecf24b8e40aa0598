"""What every normalization shares: parameters, checks and the last step."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxconv._types import HasShape
from jaxconv.layers import _checks
from jaxconv.layers._init import Initializer, ones, parameter, parameter_dtype, zeros
from jaxconv.ops import _channels


def check_epsilon(where: str, epsilon: float) -> None:
    """Refuses an epsilon that does not keep the square root away from zero."""
    if not epsilon > 0:
        raise ValueError(
            f"{where}: epsilon does not keep the variance away from zero; expected a number "
            f"above 0. Got epsilon={epsilon}. Use epsilon=1e-5."
        )


def check_count(where: str, x: HasShape, count: int, what: str, fix: str) -> None:
    """Refuses statistics of a single value, whose variance is always zero."""
    if count < 2:
        raise ValueError(
            f"{where}: statistics of {count} value per {what} say nothing; expected at least 2 "
            f"values. Got x of shape {tuple(x.shape)}. {fix}"
        )


def scale_and_bias(
    where: str,
    key: jax.Array,
    x: HasShape,
    scale_init: Initializer | None,
    *,
    scale: bool,
    bias: bool,
) -> dict[str, jax.Array]:
    """Params {"scale", "bias"}, those of the two that are wanted: ones and zeros."""
    shape, dtype, params = (x.shape[-1],), parameter_dtype(x), {}
    if scale:
        draw = scale_init or ones
        params["scale"] = parameter(where, "scale", jax.random.fold_in(key, 0), dtype, draw, shape)
    if bias:
        params["bias"] = zeros(jax.random.fold_in(key, 1), shape, dtype)
    return params


def standardize(
    values: jax.Array, mean: jax.Array, variance: jax.Array, epsilon: float
) -> jax.Array:
    """(values - mean) / √(variance + epsilon), in the dtype of values."""
    return (values - mean) * lax.rsqrt(variance + epsilon)


def affine(params: dict[str, jax.Array], y: jax.Array, x: HasShape) -> jax.Array:
    """Y · scale + bias per channel, in the dtype of y, then as x."""
    if len(params) == 2:
        q = jnp.stack([params["bias"], params["scale"]]).astype(y.dtype)
        return _channels.scale_shift(q, y).astype(x.dtype)
    if "scale" in params:
        y = y * _checks.broadcastable(params["scale"].astype(y.dtype), y)
    if "bias" in params:
        y = y + _checks.broadcastable(params["bias"].astype(y.dtype), y)
    return y.astype(x.dtype)


def check_channels(where: str, params: dict[str, jax.Array], x: HasShape) -> None:
    """Refuses an x that has not the channels that scale and bias were made for."""
    for value in params.values():
        _checks.channels(where, x, value.size)
