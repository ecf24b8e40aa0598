"""What loaders return: digits, the statistics of channels, normalization, missing packages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, raises

from jaxconv.train.data import Dataset, channel_statistics, digits, normalize
from jaxconv.train.data._dataset import checked


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    dataset = digits()
    assert dataset.name == "digits"
    assert dataset.classes == tuple("0123456789")
    assert dataset.train_images.shape == (1438, 8, 8, 1)
    assert dataset.test_images.shape == (359, 8, 8, 1)
    for images in (dataset.train_images, dataset.test_images):
        assert images.dtype == np.uint8
        assert images.max() == 255
    ours = np.concatenate([dataset.train_images, dataset.test_images])[..., 0] / (255 / 16)
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    assert labels.dtype == np.int32
    rows = np.concatenate([ours.round().reshape(-1, 64), labels[:, None]], 1)
    theirs = np.concatenate([bunch.data, bunch.target[:, None]], 1)
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], theirs[np.lexsort(theirs.T)])


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_digits_split_evenly_over_classes(fraction):
    dataset = digits(seed=3, test_fraction=fraction)
    train, test = np.bincount(dataset.train_labels), np.bincount(dataset.test_labels)
    np.testing.assert_allclose(test / (train + test), np.full(10, fraction), atol=0.003)


def test_digits_split_is_a_function_of_the_seed():
    first, again, other = digits(seed=1), digits(seed=1), digits(seed=2)
    for one, two in zip(first[:4], again[:4], strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.test_images, other.test_images)
    assert digits().test_labels[:20].tolist() == [
        0,
        0,
        0,
        5,
        8,
        2,
        3,
        3,
        3,
        3,
        6,
        4,
        9,
        8,
        0,
        4,
        0,
        4,
        7,
        2,
    ]


def test_digits_refuse_an_empty_split():
    with raises(
        ValueError,
        "digits: test_fraction leaves a split empty; expected 0 < test_fraction < 1. "
        "Got test_fraction=1.0. Use test_fraction=0.2.",
    ):
        digits(test_fraction=1.0)


def test_statistics_and_normalization(rng):
    images = rng.integers(0, 256, (1500, 3, 5, 2)).astype(np.uint8)  # two chunks, the last ragged
    images[..., 1] //= 4
    mean, deviation = channel_statistics(images)
    scaled = images.astype(np.float64) / 255
    assert_close(mean, scaled.mean((0, 1, 2)).astype(np.float32), 1e-6)
    assert_close(deviation, scaled.std((0, 1, 2)).astype(np.float32), 1e-6)
    result = jax.jit(normalize)(images, mean, deviation)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result.mean((0, 1, 2)), np.zeros(2), atol=1e-5)
    np.testing.assert_allclose(result.std((0, 1, 2)), np.ones(2), atol=1e-5)
    one = normalize(images[0, 0, 0], mean, deviation)
    assert_close(one, result[0, 0, 0])


def test_a_constant_channel_stays_finite():
    images = np.full((2, 3, 3, 1), 7, np.uint8)
    result = normalize(images, *channel_statistics(images))
    np.testing.assert_allclose(result, np.zeros((2, 3, 3, 1)), atol=1e-6)


def test_normalization_refuses():
    with raises(
        TypeError,
        "normalize: images are not bytes; expected uint8 from 0 to 255. Got images of dtype "
        "float32. Normalize the images of a Dataset, once.",
    ):
        normalize(jnp.zeros((1, 2, 2, 1)), jnp.zeros(1), jnp.ones(1))
    with raises(
        ValueError,
        "channel_statistics: there are no pixels; expected at least one image. Got images of "
        "shape (0, 4, 4, 1). Pass dataset.train_images.",
    ):
        channel_statistics(np.zeros((0, 4, 4, 1), np.uint8))


def test_splits_are_checked():
    images, labels = np.zeros((3, 2, 2, 1), np.uint8), np.asarray([0, 1, 2], np.int32)
    checked("mnist", Dataset(images, labels, images, labels, ("a", "b", "c"), "mnist"))
    with raises(
        ValueError,
        "mnist: 3 test images have 2 labels; expected as many labels as images. Got test_labels "
        "of shape (2,). Use the two files of one download.",
    ):
        checked("mnist", Dataset(images, labels, images, labels[:2], ("a", "b", "c"), "mnist"))
    with raises(
        ValueError,
        "mnist: train labels run from 0 to 2; expected 0 to 1. Got train_labels of shape (3,). "
        "Use the labels that belong to these images.",
    ):
        checked("mnist", Dataset(images, labels, images, labels, ("a", "b"), "mnist"))
