"""The order of samples: a permutation, a pure function of (seed, epoch), stable for good."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import raises

from jaxconv.train.data import batches, order, padded_batches


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000, 1797])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (1, 0), (2**64 - 1, 2**64 - 1)])
def test_order_is_a_permutation(count, seed, epoch):
    result = order(seed, epoch, count)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(np.sort(result), np.arange(count))


def test_order_depends_on_its_arguments_only():
    np.random.seed(0)
    first = order(3, 4, 100)
    np.random.seed(1)
    order(9, 9, 9)
    np.testing.assert_array_equal(order(3, 4, 100), first)
    fresh = subprocess.run(
        [sys.executable, "-c", "from jaxconv.train.data import order; print(*order(3, 4, 100))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert fresh.stdout.split() == [str(index) for index in first]


def test_order_is_frozen():
    # A changed order would break the resuming of every run that was saved before.
    assert order(0, 0, 10).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert order(7, 123, 10).tolist() == [8, 6, 3, 7, 0, 2, 5, 1, 9, 4]


def test_orders_of_other_epochs_and_seeds_are_others():
    orders = [tuple(order(seed, epoch, 50)) for seed in range(10) for epoch in range(10)]
    assert len(set(orders)) == 100
    assert tuple(order(1, 0, 50)) != tuple(order(0, 1, 50))


def test_every_place_is_as_likely():
    orders = np.stack([order(0, epoch, 5) for epoch in range(4000)])
    for sample in range(5):
        counts = (orders == sample).sum(0)
        assert np.all(np.abs(counts - 800) < 5 * np.sqrt(800)), counts


def test_order_refuses():
    with raises(
        ValueError,
        "order: seed is too small; expected at least 0. Got seed=-1. Use seed=0 or more.",
    ):
        order(-1, 0, 3)
    with raises(
        ValueError,
        "order: epoch has 65 bits; expected at most 64. Got epoch=18446744073709551617. "
        "Use epoch=1.",
    ):
        order(0, 2**64 + 1, 3)
    with raises(
        TypeError,
        "order: count is of type float; expected an int. Got count=3.0. Pass a whole number.",
    ):
        order(0, 0, 3.0)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 7])
@pytest.mark.parametrize("size", [1, 3, 6, 10])
def test_batches_cover_the_order(count, size):
    indices = order(0, 0, count)
    kept = list(batches(indices, size))
    np.testing.assert_array_equal(np.concatenate([*kept, indices[:0]]), indices)
    assert [len(batch) for batch in kept[:-1]] == [size] * (len(kept) - 1)
    assert all(1 <= len(batch) <= size for batch in kept)
    dropped = list(batches(indices, size, drop_last=True))
    assert [len(batch) for batch in dropped] == [size] * (count // size)
    for one, other in zip(dropped, kept, strict=False):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 7])
@pytest.mark.parametrize("size", [1, 3, 6, 10])
def test_padded_batches_count_every_sample_once(count, size):
    values = np.arange(count) ** 2
    total = 0
    for indices, mask in padded_batches(order(0, 0, count), size):
        assert indices.shape == mask.shape == (size,)
        total += np.where(mask, values[indices], 0).sum()
    assert total == values.sum()


def test_batches_refuse():
    for function in (batches, padded_batches):
        with raises(
            ValueError,
            f"{function.__name__}: batch_size is too small; expected at least 1. "
            f"Got batch_size=0. Use batch_size=1 or more.",
        ):
            function(np.arange(3), 0)
