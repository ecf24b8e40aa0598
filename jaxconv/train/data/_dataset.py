"""What every loader returns, and the normalization that training wants."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 1024  # images a step of a sum; bounds the copy at 6 MB for 32 x 32 x 3


class Dataset(NamedTuple):
    """Labeled images in two splits, in memory, as they are on disk.

    Shapes: images (N, H, W, C) of uint8, labels (N,) of int32 that index `classes`.

    Example:
        >>> from jaxconv.train.data import digits
        >>> dataset = digits()
        >>> dataset.train_images.shape, dataset.train_images.dtype
        ((1438, 8, 8, 1), dtype('uint8'))
        >>> dataset.classes[dataset.test_labels[0]]
        '0'
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    name: str


def checked(where: str, dataset: Dataset) -> Dataset:
    """The dataset, when every split has as many labels as images and every label has a name."""
    splits = (
        ("train", dataset.train_images, dataset.train_labels),
        ("test", dataset.test_images, dataset.test_labels),
    )
    for split, images, labels in splits:
        if len(images) != len(labels):
            raise ValueError(
                f"{where}: {len(images)} {split} images have {len(labels)} labels; expected as "
                f"many labels as images. Got {split}_labels of shape {labels.shape}. "
                f"Use the two files of one download."
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(dataset.classes):
            raise ValueError(
                f"{where}: {split} labels run from {labels.min()} to {labels.max()}; expected "
                f"0 to {len(dataset.classes) - 1}. Got {split}_labels of shape {labels.shape}. "
                f"Use the labels that belong to these images."
            )
    return dataset


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every channel, on the scale where 255 is 1.

        mean[c] = E[images[..., c]] / 255,  deviation[c] = √(E[images[..., c]²] / 255² - mean[c]²)

    A channel that never changes gets the deviation 1, so dividing by it is harmless.

    Shapes: images (N, H, W, C) of uint8 -> mean (C,), deviation (C,) of float32.

    Args:
        images: what `Dataset.train_images` holds.

    Returns:
        `(mean, deviation)`.

    Raises:
        ValueError: when there are no images.

    Example:
        >>> mean, deviation = channel_statistics(np.full((2, 4, 4, 1), 51, np.uint8))
        >>> print(mean, deviation)
        [0.2] [1.]
    """
    if not images.size:
        raise ValueError(
            f"channel_statistics: there are no pixels; expected at least one image. "
            f"Got images of shape {images.shape}. Pass dataset.train_images."
        )
    channels = images.shape[-1]
    total, squares = np.zeros((2, images[0].size), np.int64)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].reshape(-1, images[0].size).astype(np.uint16)
        total += chunk.sum(0, dtype=np.int64)
        squares += (chunk * chunk).sum(0, dtype=np.int64)  # 255² still fits 16 bits
    pixels = images.size // channels
    mean = total.reshape(-1, channels).sum(0) / pixels
    variance = np.maximum(squares.reshape(-1, channels).sum(0) / pixels - mean**2, 0)
    deviation = np.where(variance > 0, np.sqrt(variance) / 255, 1)
    return (mean / 255).astype(np.float32), deviation.astype(np.float32)


def normalize(
    images: jax.Array | np.ndarray,
    mean: jax.Array | np.ndarray,
    deviation: jax.Array | np.ndarray,
) -> jax.Array:
    """Turns bytes into floats of mean 0 and deviation 1 per channel; runs inside jit.

        y[..., c] = (images[..., c] / 255 - mean[c]) / deviation[c]

    Shapes: images (*any, C) of uint8, mean (C,), deviation (C,) -> y (*any, C) of float32.

    Args:
        images: bytes from 0 to 255.
        mean: from `channel_statistics`.
        deviation: from `channel_statistics`.

    Returns:
        The normalized images.

    Raises:
        TypeError: when the images are no bytes, so that they are not normalized twice.

    Example:
        >>> pixels = np.asarray([[[[0], [255]]]], np.uint8)
        >>> print(normalize(pixels, np.asarray([0.5]), np.asarray([0.5])).ravel())
        [-1.  1.]
    """
    if images.dtype != np.uint8:
        raise TypeError(
            f"normalize: images are not bytes; expected uint8 from 0 to 255. "
            f"Got images of dtype {images.dtype}. Normalize the images of a Dataset, once."
        )
    shape = (1,) * (images.ndim - 1) + (-1,)
    center = jnp.asarray(mean, jnp.float32).reshape(shape)
    scale = jnp.asarray(deviation, jnp.float32).reshape(shape)
    return (jnp.asarray(images).astype(jnp.float32) / 255 - center) / scale
