"""Every case as jitted JAX functions: on this library's operations, and on plain lax.

A gradient is the pullback alone, without the forward pass, where the operation is linear: XLA
removes what the result does not need. That of a max pool needs the forward pass and is timed with
it, as are torch's.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jaxconv as jc
from benchmarks._cases import Case

Function = Callable[..., Any]


def operands(case: Case, dtype: Any = np.float32, seed: int = 0) -> dict[str, jax.Array]:
    """Random x, kernel (unless a pool) and cotangent g."""
    rng = np.random.default_rng(seed)
    shapes = {"x": case.x, "g": case.output}
    if "pool" not in case.kind:
        shapes["kernel"] = case.kernel
    return {
        name: jnp.asarray(rng.standard_normal(shape, np.float32), dtype)
        for name, shape in shapes.items()
    }


def ours(case: Case) -> Function:
    """The case on `jaxconv.ops`: a function of x, or of x and kernel."""
    options = {"stride": case.stride, "dilation": case.dilation, "padding": case.padding}
    window = {"window": case.window, **options}
    match case.kind:
        case "max_pool":
            return lambda x: jc.ops.max_pool(x, **window)
        case "avg_pool":
            return lambda x: jc.ops.avg_pool(x, **window)
        case "conv_transpose":
            return lambda x, kernel: jc.ops.conv_transpose(x, kernel, **options)
        case "vmap_conv":
            return jax.vmap(lambda x, kernel: jc.ops.conv(x, kernel, **options))
    return lambda x, kernel: jc.ops.conv(x, kernel, groups=case.groups, **options)


def plain(case: Case) -> Function:
    """The case as every other JAX library writes it."""
    rank = len(case.window)
    if case.kind in ("max_pool", "avg_pool"):
        return _plain_pool(case)
    if case.kind == "conv_transpose":
        return lambda x, kernel: _plain_transposed(case, x, kernel)
    spatial = "DHW"[3 - rank :]

    def conv(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (case.stride,) * rank, case.padding,
            rhs_dilation=(case.dilation,) * rank, feature_group_count=case.groups,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        )  # fmt: skip

    return jax.vmap(conv) if case.kind == "vmap_conv" else conv


def _plain_pool(case: Case) -> Function:
    dims = (1, *case.window, 1), (1, *(case.stride,) * len(case.window), 1)
    padding = ((0, 0), *case.padding, (0, 0))
    if case.kind == "max_pool":
        return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, *dims, padding)
    total = lambda x: lax.reduce_window(x, 0.0, lax.add, *dims, padding)
    return lambda x: total(x) / total(jnp.ones((1, *x.shape[1:-1], 1), x.dtype))


def _plain_transposed(case: Case, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """As the gradient of a convolution: a convolution of x with zeros between its pixels."""
    rank = len(case.window)
    spatial = "DHW"[3 - rank :]
    flipped = jnp.flip(kernel, range(rank)).swapaxes(-1, -2)
    padding = [(k - 1 - a, k - 1 - b) for k, (a, b) in zip(case.window, case.padding, strict=True)]
    return lax.conv_general_dilated(
        x, flipped, (1,) * rank, padding, lhs_dilation=(case.stride,) * rank,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )  # fmt: skip


def of_pass(function: Function, which: str) -> Function:
    """The pass of a function of x (and kernel), as a function of x, (kernel,) and g."""
    if which == "forward":
        return lambda *args: function(*args[:-1])
    index = 0 if which == "input gradient" else 1

    def gradient(*args):
        *primals, g = args
        fixed = list(primals)

        def varied(value):
            return function(*fixed[:index], value, *fixed[index + 1 :])

        y, pullback = jax.vjp(varied, primals[index])
        return (y, *pullback(g)) if len(primals) == 1 else pullback(g)[0]

    return gradient


def arguments(values: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
    """x, kernel if there is one, g."""
    return tuple(values[name] for name in ("x", "kernel", "g") if name in values)
