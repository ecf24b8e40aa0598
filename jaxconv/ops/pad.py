"""Padding, and cropping where an amount is negative, with a mode per spatial axis.

Everything is slices, reversals and concatenations with static bounds: the gradient is slices and
sums, where a gather would be transposed into a slow scatter.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv import _parse
from jaxconv._types import Padding, PaddingMode


def pad(
    x: jax.Array, padding: Padding, *, padding_mode: PaddingMode = "zeros", value: float = 0
) -> jax.Array:
    """Extends every spatial axis, or crops it where the amount is negative.

        y[n, i, c] = X[n, i - low, c],    0 <= i < size + low + high

    where X is x continued without end: by `value` for "zeros", periodically for "circular", by
    mirror images that share the border pixel for "reflect", by the border pixel for "edge". An
    amount may exceed the size of its axis.

    Shapes: x (N, *spatial, C) -> y (N, *spatial', C), spatial' = spatial + low + high.

    Args:
        x: images, of any dtype.
        padding: one amount for both sides of all axes, or a pair (low, high) per spatial axis.
        padding_mode: "zeros", "circular", "reflect" or "edge", for all axes or one per axis.
        value: what "zeros" pads with.

    Returns:
        The padded images.

    Raises:
        ValueError: when an axis would get a negative size, or an empty axis is to be continued.

    Example:
        >>> x = jnp.arange(4.0).reshape(1, 4, 1)
        >>> pad(x, 2, padding_mode="circular").ravel().tolist()
        [2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 0.0, 1.0]
        >>> pad(x, ((1, -2),), value=7).ravel().tolist()
        [7.0, 0.0, 1.0]

    References:
        The modes "constant", "wrap", "reflect" and "edge" of numpy.pad, by value.
    """
    spatial = _parse.image("pad", x)
    if isinstance(padding, str):
        raise ValueError(
            f"pad: padding is a word, which needs a window; expected an int or one pair "
            f"(low, high) per spatial axis. Got padding={padding!r}. Use padding=1, say."
        )
    ones = (1,) * len(spatial)
    amounts = _parse.padding_amount("pad", padding, spatial, ones, ones, ones)
    modes = _parse.padding_modes("pad", padding_mode, len(spatial))
    return pad_axes("pad", x, amounts, modes, value)


def pad_axes(
    where: str,
    x: jax.Array,
    amounts: Sequence[_parse.Pair],
    modes: Sequence[str],
    value: float = 0,
) -> jax.Array:
    """Pads every spatial axis of x by its pair (low, high) in its mode; arguments are canonical."""
    for axis, (pair, mode) in enumerate(zip(amounts, modes, strict=True)):
        _check_axis(where, x, axis, pair, mode)
    zeros = [pair if mode == "zeros" else (0, 0) for pair, mode in zip(amounts, modes, strict=True)]
    if any(pair != (0, 0) for pair in zeros):
        config = ((0, 0, 0), *((low, high, 0) for low, high in zeros), (0, 0, 0))
        x = lax.pad(x, jnp.asarray(value, x.dtype), config)
    for axis, (pair, mode) in enumerate(zip(amounts, modes, strict=True), start=1):
        if mode != "zeros" and pair != (0, 0):
            x = _continue_axis(x, axis, pair, mode)
    return x


def _check_axis(where: str, x: jax.Array, axis: int, pair: _parse.Pair, mode: str) -> None:
    size = x.shape[axis + 1] + sum(pair)
    if size < 0:
        raise ValueError(
            f"{where}: padding crops spatial axis {axis} to {size} pixels; expected at least 0. "
            f"Got x of shape {x.shape}. Crop at most {x.shape[axis + 1]} pixels."
        )
    if mode != "zeros" and size > 0 and x.shape[axis + 1] == 0:
        raise ValueError(
            f"{where}: spatial axis {axis} has no pixel to repeat; expected at least 1 for "
            f"padding_mode={mode!r}. Got x of shape {x.shape}. "
            f'Use padding_mode="zeros" for that axis.'
        )


def _continue_axis(x: jax.Array, axis: int, pair: _parse.Pair, mode: str) -> jax.Array:
    """Continues x along one axis: a concatenation of straight pieces of x."""
    size = x.shape[axis]
    positions = np.arange(-pair[0], size + pair[1])
    before, after = positions[positions < 0], positions[positions >= size]
    inside = positions[(positions >= 0) & (positions < size)]
    pieces = []
    for part in (before, inside, after):
        for start, step, count in _runs(_source(part, size, mode).tolist()):
            pieces.append(_piece(x, axis, start, step, count))
    if not pieces:
        return lax.slice_in_dim(x, 0, 0, axis=axis)
    return lax.concatenate(pieces, axis) if len(pieces) > 1 else pieces[0]


def _source(positions: np.ndarray, size: int, mode: str) -> np.ndarray:
    """Which pixel of an axis of `size` stands at each position of its endless continuation."""
    if mode == "circular":
        return positions % size
    if mode == "edge":
        return np.clip(positions, 0, size - 1)
    period = max(2 * (size - 1), 1)
    folded = positions % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(positions)


def _runs(indices: list[int]) -> list[tuple[int, int, int]]:
    """Cuts indices into runs (start, step, count) whose step is 1, 0 or -1."""
    runs: list[tuple[int, int, int]] = []
    while indices:
        steps = [after - before for before, after in itertools.pairwise(indices)]
        step = steps[0] if steps and abs(steps[0]) <= 1 else 1
        count = 1 + len(list(itertools.takewhile(lambda s, step=step: s == step, steps)))
        runs.append((indices[0], step, count))
        indices = indices[count:]
    return runs


def _piece(x: jax.Array, axis: int, start: int, step: int, count: int) -> jax.Array:
    if step == 0:
        pixel = lax.slice_in_dim(x, start, start + 1, axis=axis)
        shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
        return lax.broadcast_in_dim(pixel, shape, tuple(range(x.ndim)))
    if step == 1:
        return lax.slice_in_dim(x, start, start + count, axis=axis)
    return lax.rev(lax.slice_in_dim(x, start - count + 1, start + 1, axis=axis), (axis,))
