"""The order in which samples are seen: a pure function of (seed, epoch).

Nothing is carried from one epoch to the next, so a run that resumes at any step sees what the
straight run saw, however many workers or devices either has: the position in the data is one
integer.
"""

from collections.abc import Iterator

import numpy as np

from jaxconv import _parse


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of 0 … count - 1 that depends on nothing but the arguments.

        order = argsort(Philox(key = (seed, epoch))[:count])

    Philox is counter-based, so the epoch is part of its key and no earlier epoch has to be drawn.
    The raw stream of a NumPy bit generator is fixed across NumPy versions (its `shuffle` and
    `permutation` are not), so the order outlives upgrades of NumPy and of JAX.

    Shapes: -> (count,) of int64.

    Args:
        seed: from 0 to 2⁶⁴ - 1.
        epoch: from 0 to 2⁶⁴ - 1.
        count: how many samples there are.

    Returns:
        The sample to take at every position.

    Raises:
        ValueError: when an argument is negative or does not fit.
        TypeError: when an argument is no integer.

    Example:
        >>> print(order(0, 0, 8), order(0, 1, 8))
        [0 2 1 5 4 3 6 7] [5 3 7 2 4 1 0 6]

    References:
        Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox); NEP 19 (what
        NumPy promises about streams).
    """
    words = []
    for name, value in (("seed", seed), ("epoch", epoch)):
        word = _parse.integer("order", name, value, minimum=0)
        if word >= 2**64:
            raise ValueError(
                f"order: {name} has {word.bit_length()} bits; expected at most 64. "
                f"Got {name}={word}. Use {name}={word % 2**64}."
            )
        words.append(word)
    count = _parse.integer("order", "count", count, minimum=0)
    stream = np.random.Philox(key=words[0] + (words[1] << 64))
    return np.argsort(stream.random_raw(count), kind="stable")


def batches(
    indices: np.ndarray, batch_size: int, *, drop_last: bool = False
) -> Iterator[np.ndarray]:
    """Cuts an order into batches; the last one is shorter when they do not come out even.

    Shapes: indices (count,) -> ⌈count / batch_size⌉ arrays (batch_size,), the last one ragged.

    Args:
        indices: from `order`, or `np.arange(count)`.
        batch_size: samples a batch.
        drop_last: whether to leave out a ragged last batch, as training does that wants one shape.

    Returns:
        An iterator over arrays of sample numbers.

    Raises:
        ValueError: when `batch_size` is below 1.

    Example:
        >>> [batch.tolist() for batch in batches(np.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
        >>> [batch.tolist() for batch in batches(np.arange(5), 2, drop_last=True)]
        [[0, 1], [2, 3]]
    """
    size = _parse.integer("batches", "batch_size", batch_size)
    end = len(indices) - len(indices) % size if drop_last else len(indices)
    return (indices[start : min(start + size, end)] for start in range(0, end, size))


def padded_batches(indices: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts an order into batches of one size, with a mask that is false where the last is filled.

    One compiled function then serves every batch, and sums under the mask are exact: each sample
    counts once. The filling repeats the first index, which is a sample like any other.

    Shapes: indices (count,) -> ⌈count / batch_size⌉ pairs (batch_size,) of integers and of bools.

    Args:
        indices: from `order`, or `np.arange(count)`.
        batch_size: samples a batch.

    Returns:
        An iterator over pairs `(indices, mask)`.

    Raises:
        ValueError: when `batch_size` is below 1.

    Example:
        >>> [(batch.tolist(), mask.tolist()) for batch, mask in padded_batches(np.arange(3), 2)]
        [([0, 1], [True, True]), ([2, 0], [True, False])]
    """
    size = _parse.integer("padded_batches", "batch_size", batch_size)
    return (_pad(batch, size, indices) for batch in batches(indices, size))


def _pad(batch: np.ndarray, size: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    filling = np.repeat(indices[:1], size - len(batch))
    return np.concatenate([batch, filling]), np.arange(size) < len(batch)
