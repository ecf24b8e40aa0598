"""`fast(f)`: the same function, with convolutions, pools and norms on this library's operations.

XLA runs grouped and depthwise convolutions and the gradients of pools on a CPU 10 to 500 times
slower than it could, whatever library the model is written in. `fast` traces a function, replaces
the equations that this library has a better form for, and leaves everything else as it is: the
other equations, their names, their source lines, nested programs (jit, scan, while, cond,
checkpoint) around them, and rules of custom derivatives.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxconv.ops import _define, _recognize, _rewrite


class Change(NamedTuple):
    """One equation that `fast` replaces.

    Attributes:
        operation: name of the primitive in the original program.
        form: the formulation that takes its place.
        scope: the enclosing named scopes, as in a profile.
        shapes: shapes of the operands.
        times: how often the equation stands in the program.
    """

    operation: str
    form: str
    scope: str
    shapes: tuple[tuple[int, ...], ...]
    times: int = 1


class Explanation(tuple[Change, ...]):
    """What `fast` changes in a program; prints as a table."""

    def __str__(self) -> str:
        """One line per change, under a line that counts them."""
        total = sum(change.times for change in self)
        head = f"fast replaces {total} operation{'' if total == 1 else 's'}"
        rows = [
            f"  {c.times:>3} x {c.operation} {' '.join(map(_shape, c.shapes))} -> {c.form}"
            + (f"  in {c.scope}" if c.scope else "")
            for c in self
        ]
        return "\n".join([head, *rows])


def fast(f: Callable[..., Any]) -> Callable[..., Any]:
    """Returns f running on this library's operations; outputs are equal up to rounding.

    The result is an ordinary function: jit it, differentiate it, vmap it, in any order. Put it
    where the forward pass is, `fast(model.apply)`, so that gradients are derived from the fast
    forms, or round a whole training step, whose gradient convolutions are recognized too.

    Args:
        f: a function of pytrees. Leaves that are no arrays (flags, strings, functions) are
            passed on as they are.

    Returns:
        A function with the signature of f.

    Example:
        >>> from jax import lax
        >>> def depthwise(x, kernel):
        ...     layout = ("NHWC", "HWIO", "NHWC")
        ...     return lax.conv_general_dilated(
        ...         x, kernel, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=8
        ...     )
        >>> x, kernel = jax.numpy.ones((1, 5, 5, 8)), jax.numpy.ones((3, 3, 1, 8))
        >>> bool((fast(depthwise)(x, kernel) == depthwise(x, kernel)).all())
        True
        >>> print(fast.explain(depthwise, x, kernel))
        fast replaces 1 operation
            1 x conv_general_dilated (1, 5, 5, 8) (3, 3, 1, 8) -> depthwise
    """

    @functools.wraps(f)
    def faster(*args: Any, **kwargs: Any) -> Any:
        program, arrays, structure = _trace(f, args, kwargs)
        rewritten, _ = _rewrite.rewrite(program, _recognize.better_form)
        leaves = _define.jaxpr_as_fun(rewritten)(*arrays)
        return jax.tree.unflatten(structure, map(_as_array, leaves))

    return faster


def explain(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Says which operations `fast` replaces in f for these arguments; computes nothing.

    Args:
        f: the function.
        args: its arguments; arrays may be `jax.ShapeDtypeStruct`s.
        kwargs: its keyword arguments, likewise.

    Returns:
        An `Explanation`: a tuple of `Change`s that prints as a table.
    """
    program, _, _ = _trace(f, args, kwargs)
    counts: dict[Change, int] = {}
    for eqn, form in _rewrite.rewrite(program, _recognize.better_form)[1]:
        shapes = tuple(v.aval.shape for v in eqn.invars)
        change = Change(eqn.primitive.name, form, str(eqn.source_info.name_stack), shapes)
        counts[change] = counts.get(change, 0) + 1
    return Explanation(change._replace(times=times) for change, times in counts.items())


def _trace(f: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, list[Any], Any]:
    """The program of f, the arrays that it is called with, and the structure of its result."""
    leaves, structure = jax.tree.flatten((args, kwargs))
    is_array = [hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves]
    arrays = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]

    def on_arrays(*arrays: Any) -> Any:
        rest = iter(arrays)
        merged = [
            next(rest) if array else leaf for leaf, array in zip(leaves, is_array, strict=True)
        ]
        args, kwargs = jax.tree.unflatten(structure, merged)
        return f(*args, **kwargs)

    program, shapes = jax.make_jaxpr(on_arrays, return_shape=True)(*arrays)
    return program, arrays, jax.tree.structure(shapes)


def _as_array(leaf: Any) -> jax.Array:
    """An output, which is a number where the program returns one that it holds."""
    return leaf if isinstance(leaf, jax.Array) else jax.numpy.asarray(leaf)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


fast.explain = explain  # type: ignore[attr-defined]
