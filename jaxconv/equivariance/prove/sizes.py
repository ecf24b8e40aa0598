"""Proofs for a list of sizes: a law is one of the traced shape, 224 may obey what 225 does not."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxconv.equivariance.prove._proof import Proof
from jaxconv.equivariance.prove.prove import prove


def prove_sizes(
    f: Callable[..., Any],
    x: Any,
    sizes: Sequence[int | Sequence[int]],
    axes: Sequence[int] = (1, 2),
    *,
    params: Any = None,
    weights: str = "generic",
    periodic: bool = False,
) -> dict[int | tuple[int, ...], Proof]:
    """Derives how the outputs of f move when its input shifts, for each of several input sizes.

    A stride must divide the size of what it strides over, or circular borders do not close.

    Args:
        f: any function of x, or of (params, x) when params are given, at all of the sizes.
        x: array or `jax.ShapeDtypeStruct`, or a pytree of them; only shapes are read.
        sizes: one size for all `axes`, or one per axis.
        axes: the axes of x that shift, and whose size changes.
        params: weights of f, values or shapes.
        weights: "generic", to prove for all values of `params`, or "actual", for those given.
        periodic: take positive zero padding to wrap around.

    Returns:
        The `Proof` for each entry of `sizes`.

    Raises:
        ValueError: for axes that x does not have, or where f does not take a size.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        >>> proofs = prove_sizes(lambda x: x[:, ::2, ::2].mean((1, 2)), x, [8, 9, (8, 6)])
        >>> {size: proof.outputs[0].laws[0].kind for size, proof in proofs.items()}
        {8: 'invariant', 9: 'unproved', (8, 6): 'invariant'}
    """
    found = {}
    for size in sizes:
        row = (size,) * len(axes) if isinstance(size, int) else tuple(size)
        resized = jax.tree.map(lambda leaf, row=row: _resized(leaf, axes, row), x)
        proof = prove(f, resized, axes, params=params, weights=weights, periodic=periodic)
        found[size if isinstance(size, int) else row] = proof
    return found


def _resized(leaf: Any, axes: Sequence[int], row: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    shape = list(leaf.shape)
    for axis, size in zip(axes, row, strict=True):
        shape[axis] = size
    return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)
