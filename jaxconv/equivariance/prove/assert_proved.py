"""Proofs as assertions, for tests."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxconv.equivariance.prove import _text
from jaxconv.equivariance.prove._limits import inside
from jaxconv.equivariance.prove.prove import prove

LAWS = ("invariant", "equivariant", "permuted", "adaptive", "interior")
IMPLIED = {
    "invariant": ("invariant",),
    "equivariant": ("equivariant",),
    "permuted": ("invariant", "equivariant", "permuted"),
    "adaptive": ("invariant", "equivariant", "adaptive"),
    "interior": ("invariant", "equivariant", "interior"),
}
"""Kinds of laws that are at least as strong as the one asked for."""


def assert_proved(
    f: Callable[..., Any],
    x: Any,
    axes: Sequence[int] = (1, 2),
    *,
    law: str,
    shift: int | Sequence[int] = 1,
    sizes: Sequence[int] | None = None,
    params: Any = None,
    weights: str = "generic",
) -> None:
    """Checks that a law is proved for every output, on a lattice at least as fine as asked.

        f(T_p x) = T'_q f(x)    for all x, and p any multiple of `shift`

    Args:
        f: any function of x, or of (params, x) when params are given.
        x: array or `jax.ShapeDtypeStruct`, or a pytree of them that shift together.
        axes: the axes of x that shift.
        law: "invariant", "equivariant", "permuted", "adaptive" or "interior"; a stronger one
            will do for the last three.
        shift: the lattice, one for all axes or one per axis.
        sizes: prove it for each of these sizes of all `axes` instead of the size of x.
        params: weights of f.
        weights: "generic" or "actual".

    Raises:
        AssertionError: with what is proved instead, and what limits it.
        ValueError: for an unknown law.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        >>> assert_proved(lambda x: x.max((1, 2)), x, law="invariant", sizes=[7, 8])
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_proved"
    if law not in LAWS:
        words = ", ".join(f'"{word}"' for word in LAWS)
        raise ValueError(
            f"{where}: law is unknown; expected one of {words}. Got law={law!r}. "
            f'Use law="equivariant", say.'
        )
    wanted = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    failures = []
    for size in sizes or (None,):
        proof = prove(f, _sized(x, axes, size), axes, params=params, weights=weights)
        named = "" if size is None else f"size {size}: "
        for output in proof.outputs:
            found = zip(axes, output.laws, wanted, proof.program.sizes, strict=True)
            failures += [
                f"  {named}{output.name}, axis {axis}: {_text.describe(actual)}"
                for axis, actual, p, n in found
                if actual.kind not in IMPLIED[law] or p % inside(actual, n)
            ]
            limits = _text.limits(output.limits, proof.program.axes)
            failures += [limits] if limits and failures else []
    if failures:
        lattice = "all shifts" if set(wanted) == {1} else f"multiples of {wanted}"
        raise AssertionError(
            f"{where}: {law} on {lattice} is not proved; expected it for every output.\n"
            + "\n".join(failures)
        )


def _sized(x: Any, axes: Sequence[int], size: int | None) -> Any:
    """Shapes of x with the shifted axes of another size."""
    if size is None:
        return x

    def resized(leaf: Any) -> jax.ShapeDtypeStruct:
        shape = list(leaf.shape)
        for axis in axes:
            shape[axis] = size
        return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)

    return jax.tree.map(resized, x)
