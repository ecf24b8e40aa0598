"""Pools in other people's programs, whatever axes their windows span, and pools' gradients."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv.ops import _extremes, _window
from jaxconv.ops._cpu.taps import Slide, accumulator, pad_spatial
from jaxconv.ops._rewrite import Form

MOST_SUMMED = 64
"""Taps along one axis of a sum that are added one by one."""


def _extreme_form(eqn: Any) -> Form | None:
    """A maximum or minimum over windows: lax.reduce_window's, at any place."""
    (x,) = (v.aval for v in eqn.invars)
    if not _is_ordinary(eqn, x) or any(d != 1 for d in eqn.params["base_dilation"]):
        return None
    slide, window = _slide(eqn.params)
    largest = eqn.primitive.name == "reduce_window_max"

    def function(x: jax.Array) -> jax.Array:
        wide = _padded(x, eqn.params["padding"], largest=largest)
        return _extremes.extreme(wide, slide, window, largest=largest)[0, ..., 0]

    return Form("extreme of shifted slices", function)


def _gradient_form(eqn: Any) -> Form | None:
    """The gradient of such a maximum: select-and-scatter."""
    x = eqn.invars[1].aval
    selects = {"ge": True, "le": False}.get(str(eqn.params["select_prim"]))
    if selects is None or not _is_ordinary(eqn, x):
        return None
    slide, window = _slide(eqn.params)

    def function(g: jax.Array, x: jax.Array) -> jax.Array:
        wide = _padded(x, eqn.params["padding"], largest=selects)
        g = _extremes.gradient(wide, g[None, ..., None], slide, window, largest=selects)
        back = [(-low, -high) for low, high in eqn.params["padding"]]
        return pad_spatial(g, back)[0, ..., 0]

    return Form("phases of the stride", function)


def _sum_form(eqn: Any) -> Form | None:
    """A sum over windows, as sums along one axis after the other."""
    (x,) = (v.aval for v in eqn.invars)
    params = eqn.params
    if any(d != 1 for d in params["base_dilation"]) or not jnp.issubdtype(x.dtype, jnp.floating):
        return None
    if max(params["window_dimensions"]) > MOST_SUMMED or math.prod(params["window_dimensions"]) < 2:
        return None
    output = eqn.outvars[0].aval.shape
    if 0 in output:
        return None
    axes = zip(
        range(x.ndim), params["window_dimensions"], params["window_strides"],
        params["window_dilation"], output, strict=True,
    )  # fmt: skip
    rows = [_window.Row(axis, 0, *sizes) for axis, *sizes in axes][::-1]

    def function(x: jax.Array) -> jax.Array:
        config = [(low, high, 0) for low, high in params["padding"]]
        total = lax.pad(x, np.zeros((), x.dtype), config).astype(accumulator(x))
        for row in rows:
            if (row.window, row.stride) != (1, 1):
                total = _window.sum_row(total, row)
        return total.astype(x.dtype)

    return Form("sums along one axis after the other", function)


def _is_ordinary(eqn: Any, x: Any) -> bool:
    real = jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)
    taps = math.prod(eqn.params["window_dimensions"])
    return bool(real) and 1 < taps <= _extremes.MOST_TAPS and 0 not in eqn.outvars[0].aval.shape


def _slide(params: Any) -> tuple[Slide, tuple[int, ...]]:
    window = tuple(params["window_dimensions"])
    ones = (1,) * len(window)
    dilation = tuple(params.get("window_dilation", ones))
    return Slide(tuple(params["window_strides"]), dilation, ((0, 0),) * len(window)), window


def _padded(x: jax.Array, padding: Any, *, largest: bool) -> jax.Array:
    """Padded by what never wins, as one image of one channel: every axis may have windows."""
    loser = _extremes.worst(x.dtype, largest=largest)
    return pad_spatial(x[None, ..., None], padding, loser)


POOLS: dict[str, Callable[[Any], Form | None]] = {
    "reduce_window_max": _extreme_form,
    "reduce_window_min": _extreme_form,
    "reduce_window_sum": _sum_form,
    "select_and_scatter_add": _gradient_form,
}
"""By name of the primitive."""
