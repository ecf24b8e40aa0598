"""Assertions on values that follow from a law: changes of intensity, gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxconv.equivariance._symmetries import intensity
from jaxconv.equivariance.actions import Action, Shifts
from jaxconv.equivariance.asserts import check
from jaxconv.equivariance.measure import shift_error


def assert_intensity_equivariant(
    f: Callable[[Any], Any],
    x: Any,
    *,
    gains: Sequence[float] = (0.1, 1.0, 10.0),
    offsets: Sequence[float] = (-10.0, 0.0, 10.0),
    law: str = "equivariant",
    tolerance: float | None = None,
) -> None:
    """Checks that a change of intensity passes through f unchanged.

        f(a·x + b) = a·f(x) + b for every a and b

    Args:
        f: any function of x to arrays.
        x: (N, *spatial, C), or a pytree of such inputs.
        gains: the factors a.
        offsets: the constants b.
        law: "equivariant" as above, or "invariant": f(a·x + b) = f(x).
        tolerance: on eps_inf; from the dtype and the noise floor unless given, times the largest
            gain and offset, which the rounding of the input grows with.

    Raises:
        AssertionError: with the worst (a, b), the error and where it is.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> assert_intensity_equivariant(lambda x: x.max(2), x)

    References:
        Herbreteau, Moebel and Kervrann 2023, arXiv:2306.05037, definition 1.
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_intensity_equivariant"
    error = shift_error(f, x, intensity(gains, offsets), law=law, where=where)
    if tolerance is None:
        largest = max([1.0, *map(abs, gains), *map(abs, offsets)])
        tolerance = largest * max(leaf.tolerance for leaf in error.leaves)
    check(error, where, tolerance)


def assert_gradient_equivariant(
    f: Callable[[Any], Any],
    x: Any,
    *,
    action: Action | str = "circular",
    shifts: Shifts = "all",
    period: int | Sequence[int] | None = None,
    lattice: int | Sequence[int] = 1,
    axes: Sequence[int] | None = None,
    tolerance: float | None = None,
    chunk: int | None = None,
    seed: int = 0,
) -> None:
    """Checks that the gradient of an invariant scalar moves with its input.

        f(T_t x) = f(x) for all x  =>  grad f(T_t x) = T_t grad f(x)

    Args:
        f: a function of x to one number: a loss, a sum of logits.
        x: (N, *spatial, C), or a pytree of such inputs, which move together.
        action: "circular", "interior", or an `Action`.
        shifts: "all", how many to draw, or rows of them.
        period: shifts run from 0 to below this; the size of the axis unless given.
        lattice: only multiples of this.
        axes: moved axes of the inputs; all between the first and the last unless given.
        tolerance: on eps_inf; from the dtype and the noise floor unless given.
        chunk: shifts evaluated at once; bounds memory.
        seed: of drawn shifts and of the noise.

    Raises:
        AssertionError: with the worst shift, the error, where it is, and what to change.
        TypeError: when f returns more than one number.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> assert_gradient_equivariant(lambda x: (x**3).mean(), x)
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_gradient_equivariant"
    out = jax.eval_shape(f, x)
    if getattr(out, "shape", None) != ():
        shape = getattr(out, "shape", jax.tree.structure(out))
        raise TypeError(
            f"{where}: f returns more than a number; expected a scalar. "
            f"Got f(x) of shape {shape}. Use lambda x: f(x).sum()."
        )
    error = shift_error(
        jax.grad(f),
        x,
        action,
        shifts=shifts,
        period=period,
        lattice=lattice,
        law="equivariant",
        axes=axes,
        stride=1,
        chunk=chunk,
        seed=seed,
        where=where,
    )
    check(error, where, tolerance, (jax.grad(f), x, axes))
