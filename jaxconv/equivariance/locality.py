"""Assertions on what an output may see: its receptive field, the past, its own sample.

All of them change some inputs and look at which outputs change, with every number of the output
compared exactly: an output that does not depend on an input is computed from the same numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _parse
from jaxconv.equivariance._program import chunk_of, mapped, traced


def dependence(
    f: Callable[[jax.Array], jax.Array], x: jax.Array, axis: int = 1, *, seed: int = 0
) -> np.ndarray:
    """Which outputs along an axis see which inputs along it.

        D[i, j] = whether some f(x)[:, .., i, ..] changes when x[:, .., j, ..] is replaced

    Measured with random replacements of the input's size, so an influence that this input does
    not show (behind a relu that is off, say) is missed.

    Args:
        f: a function of one array to one array with the same axis.
        x: the input.
        axis: the axis.
        seed: of the replacements.

    Returns:
        A boolean matrix (outputs, inputs).

    Example:
        >>> x = jnp.arange(1.0, 7.0).reshape(1, 6, 1)
        >>> dependence(lambda x: x[:, ::2] + x[:, 1::2], x).astype(int).tolist()
        [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]
    """
    x = jnp.asarray(x)
    program = traced(f, x, x)
    size = x.shape[axis]
    scale = np.abs(np.asarray(x, np.float64)).max(initial=0.0) + 1
    noise = np.random.default_rng(seed).normal(size=x.shape) * scale
    other = x + jnp.asarray(noise).astype(x.dtype)

    def changed(constants, x, other, base, j):
        here = jnp.arange(size) == j
        mask = here.reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
        y = program.run(constants, [jnp.where(mask, other, x)])[0]
        different = (y != base) & ~(jnp.isnan(y) & jnp.isnan(base))
        others = tuple(a for a in range(y.ndim) if a != axis % y.ndim)
        return different.any(axis=others)

    def run(constants, x, other):
        # the base is one more row of the same program, so both round alike
        everything = jnp.full((1,), size, int)
        base = mapped(
            lambda j: program.run(constants, [jnp.where(j == size, x, other)])[0], everything, 1
        )[0]
        rows = jnp.arange(size)
        return mapped(lambda j: changed(constants, x, other, base, j), rows, chunk_of(None, [x]))

    return np.asarray(jax.jit(run)(program.constants, x, other)).T


def _extent(seen: np.ndarray) -> int:
    """Inputs from the first to the last that is seen, on a circle: all but the longest gap."""
    size = len(seen)
    hits = np.flatnonzero(seen)
    if not len(hits):
        return 0
    gaps = np.diff(np.append(hits, hits[0] + size)) - 1
    return int(size - gaps.max())


def assert_receptive_field(
    f: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    size: int | Sequence[int],
    *,
    axes: Sequence[int] | None = None,
    seed: int = 0,
) -> None:
    """Checks how many inputs the outputs see along each axis: from the first to the last.

    Args:
        f: a function of one array to one array with the same axes.
        x: (N, *spatial, C), longer than the receptive field.
        size: inputs that the output which sees most sees, per axis.
        axes: the axes; all between the first and the last unless given.
        seed: of the replacements.

    Raises:
        AssertionError: with what was measured, when it differs.
        ValueError: when the field is no smaller than the input ("not testable").

    Example:
        >>> x = jnp.arange(1.0, 9.0).reshape(1, 8, 1)
        >>> assert_receptive_field(lambda x: x[:, 2:] + x[:, :-2], x, 3)
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_receptive_field"
    x = jnp.asarray(x)
    axes = tuple(range(1, x.ndim - 1)) if axes is None else tuple(axes)
    sizes = _parse.per_axis(where, "size", size, len(axes))  # type: ignore[arg-type]
    for axis, expected in zip(axes, sizes, strict=True):
        if expected >= x.shape[axis]:
            raise ValueError(
                f"{where}: not testable, axis {axis} has {x.shape[axis]} pixels; expected more "
                f"than the receptive field. Got size={expected}. Use x with {2 * expected} "
                f"pixels there."
            )
        found = max(_extent(row) for row in dependence(f, x, axis, seed=seed))
        if found != expected:
            raise AssertionError(
                f"{where}: outputs see {found} inputs along axis {axis}; expected {expected}. "
                f"Got size={size}. Check window, dilation and stride, or use size={found}."
            )


def assert_causal(
    f: Callable[[jax.Array], jax.Array], x: jax.Array, *, axis: int = 1, seed: int = 0
) -> None:
    """Checks that no output sees a later input along an axis.

    Output i of a stride s stands at input s·i, s = ⌈inputs / outputs⌉, and may see none after it.

    Args:
        f: a function of one array to one array with the same axis.
        x: the input, (N, time, C) say.
        axis: the axis of time.
        seed: of the replacements.

    Raises:
        AssertionError: with the first output that sees the future.

    Example:
        >>> x = jnp.arange(1.0, 9.0).reshape(1, 8, 1)
        >>> assert_causal(lambda x: jnp.cumsum(x, axis=1), x)
    """
    __tracebackhide__ = True  # pytest shows the line that called
    seen = dependence(f, x, axis, seed=seed)
    stride = -(-seen.shape[1] // seen.shape[0])
    for i, row in enumerate(seen):
        later = np.flatnonzero(row[stride * i + 1 :])
        if len(later):
            last = stride * i + 1 + int(later[-1])
            raise AssertionError(
                f"assert_causal: output {i} along axis {axis}, which stands at input "
                f"{stride * i}, sees input {last}; expected none later. "
                f'Got stride={stride}. Use padding="causal", or pad before and not after.'
            )


def assert_batch_independent(
    f: Callable[[Any], Any], x: Any, *, tolerance: float | None = None, seed: int = 0
) -> None:
    """Checks that what f makes of a sample does not depend on the others in its batch.

    Args:
        f: a function of x, a batch on the first axis of every leaf, to such outputs.
        x: an array or a pytree of arrays, at least two samples.
        tolerance: on the largest change relative to the largest output; 1e-5 in float32.
        seed: of the replacements.

    Raises:
        AssertionError: with the sample and the change.
        ValueError: for a batch of one ("not testable").

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (3, 8, 1))
        >>> assert_batch_independent(lambda x: x - x.mean(axis=1, keepdims=True), x)
    """
    __tracebackhide__ = True  # pytest shows the line that called
    where = "assert_batch_independent"
    leaves, tree = jax.tree.flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    count = leaves[0].shape[0]
    if count < 2:
        raise ValueError(
            f"{where}: not testable, the batch has {count} sample; expected at least 2. "
            f"Got x of shape {tuple(leaves[0].shape)}. Use x of two or more samples."
        )
    program = traced(f, tree.unflatten(leaves), tree.unflatten(leaves))
    rng = np.random.default_rng(seed)
    others = [
        (leaf + jnp.asarray(3 * rng.normal(size=leaf.shape)).astype(leaf.dtype))
        if jnp.issubdtype(leaf.dtype, jnp.floating)
        else leaf
        for leaf in leaves
    ]

    def run(constants, leaves, others, n):
        def pick(leaf, other):
            keep = (jnp.arange(count) == n) | (n < 0)
            return jnp.where(keep.reshape([-1] + [1] * (leaf.ndim - 1)), leaf, other)

        return program.run(constants, [pick(a, b) for a, b in zip(leaves, others, strict=True)])

    rows = jnp.arange(-1, count)
    evaluate = jax.jit(lambda c, a, b: mapped(lambda n: run(c, a, b, n), rows, 1))
    for path, out in zip(program.paths, evaluate(program.constants, leaves, others), strict=True):
        _compare_samples(where, path, np.asarray(out), tolerance)


def _compare_samples(where: str, path: str, out: np.ndarray, tolerance: float | None) -> None:
    __tracebackhide__ = True  # pytest shows the line that called
    from jaxconv.equivariance.measure import TOLERANCE

    limit = TOLERANCE.get(str(out.dtype), 0.0) if tolerance is None else tolerance
    wide = out.astype(np.float64)
    base, alone = wide[0], wide[1:]
    scale = max(np.abs(base).max(initial=0.0), 1e-300)
    for n in range(len(base)):
        change = np.abs(alone[n][n] - base[n]).max(initial=0.0) / scale
        if not change <= limit:
            raise AssertionError(
                f"{where}: sample {n} of f{path} changes by {change:.2e} when the others in its "
                f"batch are replaced; expected at most {limit:.1e}. Got a batch of {len(base)}. "
                f"Use train=False, or statistics that each sample has for itself."
            )
