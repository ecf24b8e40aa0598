"""The last step of normalizations in other people's programs: a factor and a shift per channel."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxconv.ops import _channels
from jaxconv.ops._define import Literal
from jaxconv.ops._rewrite import Form, Makers


def scale_shift_form(eqn: Any, makers: Makers) -> Form | None:
    """A sum u · scale + shift whose scale and shift are rows, one number per channel.

    Or (x - mean) · scale + shift, with a row of means. The values are the same ones; the gradients
    of all rows take two sums, of g and of g · u, which are made in one pass.
    """
    out = eqn.outvars[0].aval
    if not jnp.issubdtype(out.dtype, jnp.floating):
        return None
    product, shift = _image_and_row(eqn, makers)
    u, scale = _image_and_row(_maker(product, makers, "mul"), makers)
    if u is None:
        return None
    x, mean = _image_and_row(_maker(u, makers, "sub"), makers)
    is_centered = x is not None and x is makers[u].invars[0]
    operands = (x, mean, scale, shift) if is_centered else (u, scale, shift)

    def function(image: jax.Array, *rows: jax.Array) -> jax.Array:
        flat = [row.reshape(out.shape[-1]) for row in rows]
        return _centered(image, *flat) if is_centered else _scaled(image, *flat)

    return Form("scale and shift of channels", function, operands)


def _scaled(u: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    return _channels.scale_shift(jnp.stack([shift, scale]), u)


@jax.custom_jvp
def _centered(x: jax.Array, mean: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Scale · u + shift, with u = x - mean, and its derivative written down.

        ẏ = scale · ẋ + (ṡhift - scale · ṁean) + ṡcale · u

    The transpose of the last two terms needs no third sum, of scale · g, for the mean.
    """
    return _scaled(x - _row(mean, x), scale, shift)


@_centered.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, mean, scale, _), (x_dot, mean_dot, scale_dot, shift_dot) = primals, tangents
    rest = _scaled(x - _row(mean, x), scale_dot, shift_dot - scale * mean_dot)
    return _centered(*primals), _row(scale, x) * x_dot + rest


def _row(values: jax.Array, like: jax.Array) -> jax.Array:
    return values.reshape((1,) * (like.ndim - 1) + values.shape)


def _maker(variable: Any, makers: Makers, primitive: str) -> Any:
    """The equation that makes a variable, if there is one and it is of this primitive."""
    maker = None if variable is None else makers.get(variable)
    return maker if maker is not None and maker.primitive.name == primitive else None


def _image_and_row(eqn: Any, makers: Makers) -> tuple[Any, Any]:
    """The two operands of an equation if one is an image and one a row of its channels."""
    operands = () if eqn is None or any(isinstance(v, Literal) for v in eqn.invars) else eqn.invars
    for image, other in (operands, operands[::-1]) if operands else ():
        row = _unspread(other, makers)
        shape, count = row.aval.shape, math.prod(row.aval.shape)
        is_row = shape[-1:] == image.aval.shape[-1:] == (count,) and count < image.aval.size
        if is_row and row.aval.dtype == image.aval.dtype:
            return image, row
    return None, None


def _unspread(variable: Any, makers: Makers) -> Any:
    """What was repeated along every axis but the last to make a variable, or the variable."""
    maker = _maker(variable, makers, "broadcast_in_dim")
    if maker is None or isinstance(maker.invars[0], Literal):
        return variable
    axes = maker.params["broadcast_dimensions"]
    return maker.invars[0] if axes[-1:] == (len(variable.aval.shape) - 1,) else variable
