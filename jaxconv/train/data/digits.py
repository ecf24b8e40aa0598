"""The handwritten digits that ship inside scikit-learn: real images without a download."""

import numpy as np

from jaxconv._extras import need
from jaxconv.train.data._dataset import Dataset
from jaxconv.train.data.order import order


def digits(*, seed: int = 0, test_fraction: float = 0.2) -> Dataset:
    """Loads 1,797 handwritten digits of 8 x 8 pixels, split at random, evenly over the classes.

    The 17 gray levels 0 … 16 become the bytes 0 … 255. Of each class, `round(test_fraction · n)`
    of its n images are for testing; which ones is a pure function of `seed` and the class.

    Shapes: images (N, 8, 8, 1) of uint8, labels (N,) of int32; 1,438 train and 359 test images by
    default.

    Args:
        seed: picks the split.
        test_fraction: share of every class that is held out, between 0 and 1.

    Returns:
        A `Dataset` with the classes "0" … "9".

    Raises:
        ValueError: when `test_fraction` is not between 0 and 1.
        ModuleNotFoundError: when scikit-learn is not installed.

    Example:
        >>> dataset = digits()
        >>> len(dataset.train_labels), len(dataset.test_labels)
        (1438, 359)

    References:
        Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits", UCI (the test part of
        it is what scikit-learn ships).
    """
    if not 0 < test_fraction < 1:
        raise ValueError(
            f"digits: test_fraction leaves a split empty; expected 0 < test_fraction < 1. "
            f"Got test_fraction={test_fraction}. Use test_fraction=0.2."
        )
    bunch = need("digits", "sklearn.datasets", "train").load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    test = np.zeros(len(labels), bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        chosen = order(seed, label, len(members))[: round(test_fraction * len(members))]
        test[members[chosen]] = True
    return Dataset(
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        classes=tuple(str(label) for label in range(10)),
        name="digits",
    )
