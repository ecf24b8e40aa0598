"""Assertions on how functions transform, in the manner of chex: silent, or an AssertionError.

Each runs `shift_error` and compares every output leaf with a tolerance that its dtype and the
measured noise floor explain. A check that has nothing to compare raises a ValueError: it is never
a pass.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxconv.equivariance import _cosets, _messages
from jaxconv.equivariance.actions import Action, Shifts
from jaxconv.equivariance.audit import audit
from jaxconv.equivariance.measure import ShiftError, shift_error

REPORTERS: list[Callable[[ShiftError, str], None]] = []
"""Called with every failure and its message before it is raised: the pytest plugin's pictures."""


def check(
    error: ShiftError,
    where: str,
    tolerance: float | None,
    given: tuple[Callable[[Any], Any], Any, Sequence[int] | None] | None = None,
) -> None:
    """Raises when an element is not obeyed, after telling whoever listens.

    With `given`, the function, its input and its moved axes, the message names what is at fault.
    """
    __tracebackhide__ = True  # pytest shows the line that called
    error = _within(error, tolerance)
    if error.obeys.all():
        return
    message = _messages.failure(where, error, _culprit(error, *given) if given else "")
    for report in REPORTERS:
        report(error, message)
    raise AssertionError(message)


def _within(error: ShiftError, tolerance: float | None) -> ShiftError:
    if tolerance is None:
        return error
    leaves = tuple(leaf._replace(tolerance=tolerance) for leaf in error.leaves)
    return error._replace(leaves=leaves)


def _settled(
    run: Callable[..., ShiftError], rows: np.ndarray | None, tolerance: float | None
) -> bool:
    """Whether a shift of every coset obeys, for all the others are proved to do as it does."""
    return rows is not None and bool(_within(run("circular", shifts=rows), tolerance).obeys.all())


def _culprit(error: ShiftError, f: Callable[[Any], Any], x: Any, axes: Sequence[int] | None) -> str:
    """The first operation that an audit at the worst shift blames; "" where it blames none."""
    if error.action != "circular shift":
        return ""
    shift = [int(t) for t in error.elements[error.worst_leaf.worst]]
    asked = shift if any(shift) else None  # unmoved where f(x) itself is no number
    guilty = audit(f, x, shift=asked, axes=axes, lie=False).guilty
    return f"The first operation at fault is {guilty[0].place}. " if guilty else ""


def assert_shift_equivariant(
    f: Callable[[Any], Any],
    x: Any,
    *,
    action: Action | str = "circular",
    shifts: Shifts = "all",
    period: int | Sequence[int] | None = None,
    lattice: int | Sequence[int] = 1,
    axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
    stride: Any = None,
    border: Any = None,
    tolerance: float | None = None,
    chunk: int | None = None,
    seed: int = 0,
) -> None:
    """Checks that every output moves as the input does, for every shift of a period.

        f(T_t x) = T_{t / stride} f(x)

    Where `prove` proves it on a lattice, one shift of every coset stands for all of them.

    Args:
        f: any function of x to arrays.
        x: (N, *spatial, C), or a pytree of such inputs, which move together.
        action: "circular" (rolls), "interior" (zero-filled shifts, compared where no output
            sees the edge), or an `Action` that displaces.
        shifts: "all", how many to draw, or rows of them.
        period: shifts run from 0 to below this; the size of the axis unless given.
        lattice: only multiples of this: what a strided network can claim.
        axes: moved axes of the inputs; all between the first and the last unless given.
        output_axes: moved axes of the outputs, if they are others.
        stride: input pixels per output pixel; the ratio of sizes unless given.
        border: outputs at the ends of the moved axes that see the edge; measured unless given.
        tolerance: on eps_inf; from the dtype and the noise floor unless given.
        chunk: shifts evaluated at once; bounds memory.
        seed: of drawn shifts and of the noise.

    Raises:
        AssertionError: with the worst shift, the error, where it is, and what to change.
        ValueError: when there is nothing to compare.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> assert_shift_equivariant(jnp.tanh, x)
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_shift_equivariant"
    run = functools.partial(
        shift_error, f, x, law="equivariant", axes=axes, chunk=chunk, seed=seed, where=where
    )
    given = (period, output_axes, stride, border)
    if action == "circular" and isinstance(shifts, str) and all(g is None for g in given):
        rows = _cosets.representatives(f, x, "equivariant", axes, lattice)
        if _settled(run, rows, tolerance):
            return
    error = run(
        action,
        shifts=shifts,
        period=period,
        lattice=lattice,
        output_axes=output_axes,
        stride=stride,
        border=border,
    )
    check(error, where, tolerance, (f, x, axes))


def assert_shift_invariant(
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
    """Checks that no output changes when the input shifts, for every shift of a period.

        f(T_t x) = f(x)

    Where `prove` proves it on a lattice, one shift of every coset stands for all of them.

    Args:
        f: any function of x to arrays.
        x: (N, *spatial, C), or a pytree of such inputs, which move together.
        action: "circular" (rolls), "interior" (zero-filled shifts that lose nothing of x), or an
            `Action` that displaces.
        shifts: "all", how many to draw, or rows of them.
        period: shifts run from 0 to below this; the size of the axis unless given.
        lattice: only multiples of this: what a strided network can claim.
        axes: moved axes of the inputs; all between the first and the last unless given.
        tolerance: on eps_inf; from the dtype and the noise floor unless given.
        chunk: shifts evaluated at once; bounds memory.
        seed: of drawn shifts and of the noise.

    Raises:
        AssertionError: with the worst shift, the error, where it is, and what to change.
        ValueError: when there is nothing to compare.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> assert_shift_invariant(lambda x: x.mean((1, 2)), x)
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_shift_invariant"
    run = functools.partial(
        shift_error, f, x, law="invariant", axes=axes, chunk=chunk, seed=seed, where=where
    )
    if action == "circular" and isinstance(shifts, str) and period is None:
        rows = _cosets.representatives(f, x, "invariant", axes, lattice)
        if _settled(run, rows, tolerance):
            return
    error = run(action, shifts=shifts, period=period, lattice=lattice)
    check(error, where, tolerance, (f, x, axes))


def assert_equivariant(
    f: Callable[[Any], Any],
    x: Any,
    action: Action,
    *,
    law: str = "auto",
    axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
    stride: Any = None,
    border: Any = None,
    tolerance: float | None = None,
    chunk: int | None = None,
    seed: int = 0,
) -> None:
    """Checks that f obeys an action: a flip, a quarter turn, a translation, a change of intensity.

        f(T_g x) = T'_g f(x)

    Args:
        f: any function of x to arrays.
        x: (N, *spatial, C), or a pytree of such inputs, which move together.
        action: an `Action`.
        law: "equivariant", "invariant", or "auto": invariant are outputs without moved axes.
        axes: moved axes of the inputs; all between the first and the last unless given.
        output_axes: moved axes of the outputs, if they are others.
        stride: input pixels per output pixel; the ratio of sizes unless given.
        border: outputs at the ends of the moved axes that see the edge; measured unless given.
        tolerance: on eps_inf; from the dtype and the noise floor unless given.
        chunk: elements evaluated at once; bounds memory.
        seed: of the noise.

    Raises:
        AssertionError: with the worst element, the error, where it is, and what to change.
        ValueError: when there is nothing to compare.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxconv.equivariance import flip
        >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
        >>> assert_equivariant(jnp.abs, x, flip())
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_equivariant"
    error = shift_error(
        f,
        x,
        action,
        law=law,
        axes=axes,
        output_axes=output_axes,
        stride=stride,
        border=border,
        chunk=chunk,
        seed=seed,
        where=where,
    )
    check(error, where, tolerance, (f, x, axes))
