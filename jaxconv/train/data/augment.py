"""Random changes to images that leave their labels right, inside jit, one key a sample.

A sample's key is `fold_in(fold_in(key, epoch), sample)`: what happens to it depends on the epoch
and on which sample it is, not on the batch it is in, the size of that batch, the device, or where
the run was resumed. Each function here takes one image; `augment` maps a list of them over a batch:

    images = augment(key, epoch, indices, images, (flip, partial(pad_and_crop, padding=4)))
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxconv import _parse

Change = Callable[[jax.Array, jax.Array], jax.Array]
"""(key, image (H, W, C)) -> image of the same shape and dtype."""


def sample_keys(key: jax.Array, epoch: jax.Array | int, indices: jax.Array) -> jax.Array:
    """One key for every sample of a batch, whatever batch it is in.

        keys[n] = fold_in(fold_in(key, epoch), indices[n])

    Shapes: indices (N,) -> keys (N,).

    Args:
        key: the run's.
        epoch: from 0; may be traced.
        indices: numbers of the samples within the data set.

    Returns:
        The keys.

    Example:
        >>> keys = sample_keys(jax.random.key(0), 3, jnp.asarray([5, 2]))
        >>> alone = sample_keys(jax.random.key(0), 3, jnp.asarray([2]))
        >>> bool(keys[1] == alone[0])
        True
    """
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, epoch), indices)


def augment(
    key: jax.Array,
    epoch: jax.Array | int,
    indices: jax.Array,
    images: jax.Array,
    changes: Sequence[Change],
) -> jax.Array:
    """Applies every change in turn to every image, each with the sample's own key.

    Shapes: indices (N,), images (N, H, W, C) -> (N, H, W, C), dtype kept.

    Args:
        key: the run's.
        epoch: from 0; may be traced.
        indices: numbers of the samples within the data set.
        images: the batch; bytes or floats.
        changes: functions (key, image) -> image, such as those of this module.

    Returns:
        The changed images.

    Example:
        >>> images = jnp.arange(24, dtype=jnp.uint8).reshape(2, 3, 4, 1)
        >>> augment(jax.random.key(0), 0, jnp.arange(2), images, (flip,)).shape
        (2, 3, 4, 1)
    """

    def one(sample_key: jax.Array, image: jax.Array) -> jax.Array:
        for place, change in enumerate(changes):
            image = change(jax.random.fold_in(sample_key, place), image)
        return image

    return jax.vmap(one)(sample_keys(key, epoch, indices), images)


def flip(key: jax.Array, image: jax.Array) -> jax.Array:
    """Mirrors left and right, with probability one half.

    Shapes: image (H, W, C) -> (H, W, C).

    Args:
        key: randomness.
        image: bytes or floats.

    Returns:
        The image or its mirror image.

    Example:
        >>> image = jnp.asarray([[[0], [1]]])
        >>> sorted({int(flip(jax.random.key(seed), image)[0, 0, 0]) for seed in range(8)})
        [0, 1]
    """
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def pad_and_crop(key: jax.Array, image: jax.Array, *, padding: int = 4) -> jax.Array:
    """Pads with zeros on all sides and cuts out a random window of the old size.

    Each of the (2 · padding + 1)² windows is as likely as another. Zeros are black in bytes and the
    mean in normalized images; normalize first for the latter.

    Shapes: image (H, W, C) -> (H, W, C).

    Args:
        key: randomness.
        image: bytes or floats.
        padding: pixels on each side.

    Returns:
        The window.

    Raises:
        ValueError: when `padding` is negative.

    Example:
        >>> image = jnp.ones((4, 4, 1))
        >>> int((pad_and_crop(jax.random.key(1), image, padding=2) == 0).sum()) % 2
        0

    References:
        He et al. 2016, arXiv:1512.03385, section 4.2.
    """
    padding = _parse.integer("pad_and_crop", "padding", padding, minimum=0)
    start = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    return jax.lax.dynamic_slice(padded, (start[0], start[1], 0), image.shape)


def circular_shift(key: jax.Array, image: jax.Array, *, pixels: int | None = None) -> jax.Array:
    """Shifts by a random whole number of pixels; what leaves on one side enters on the other.

    Shapes: image (H, W, C) -> (H, W, C).

    Args:
        key: randomness.
        image: bytes or floats.
        pixels: largest shift along either axis, in both directions; None for every circular shift.

    Returns:
        The shifted image.

    Raises:
        ValueError: when `pixels` is negative.

    Example:
        >>> image = jnp.arange(12).reshape(3, 4, 1)
        >>> jnp.sort(circular_shift(jax.random.key(0), image).ravel()).tolist() == list(range(12))
        True
    """
    height, width, _ = image.shape
    low, high = jnp.zeros(2, jnp.int32), jnp.asarray([height, width])
    if pixels is not None:
        reach = _parse.integer("circular_shift", "pixels", pixels, minimum=0)
        low, high = jnp.full(2, -reach), jnp.full(2, reach + 1)
    shift = jax.random.randint(key, (2,), low, high)
    rows = (jnp.arange(height) - shift[0]) % height
    columns = (jnp.arange(width) - shift[1]) % width
    return image[rows][:, columns]


def cutout(key: jax.Array, image: jax.Array, *, window: int = 8) -> jax.Array:
    """Blanks a square whose center is anywhere in the image, so part of it may lie outside.

    Shapes: image (H, W, C) -> (H, W, C).

    Args:
        key: randomness.
        image: bytes or floats; normalize first, so that 0 is the mean.
        window: pixels a side.

    Returns:
        The image with zeros in the square.

    Raises:
        ValueError: when `window` is below 1.

    Example:
        >>> blank = cutout(jax.random.key(0), jnp.ones((8, 8, 1)), window=2) == 0
        >>> int(blank.sum()) in (1, 2, 4)
        True

    References:
        DeVries and Taylor 2017, arXiv:1708.04552, section 3.2.
    """
    window = _parse.integer("cutout", "window", window)
    height, width, _ = image.shape
    center = jax.random.randint(key, (2,), jnp.zeros(2, jnp.int32), jnp.asarray([height, width]))
    rows = jnp.arange(height) - (center[0] - window // 2)
    columns = jnp.arange(width) - (center[1] - window // 2)
    inside = ((rows >= 0) & (rows < window))[:, None] & ((columns >= 0) & (columns < window))[None]
    return jnp.where(inside[..., None], jnp.zeros((), image.dtype), image)


def partners(key: jax.Array, epoch: jax.Array | int, indices: jax.Array, count: int) -> jax.Array:
    """Draws for every sample another number of a sample, to mix it with.

    Shapes: indices (N,) -> (N,) of int32 from 0 to count - 1.

    Args:
        key: the run's; not the one that `augment` gets.
        epoch: from 0; may be traced.
        indices: numbers of the samples within the data set.
        count: samples in the data set.

    Returns:
        The numbers of the partners, which depend on no batch.

    Raises:
        ValueError: when `count` is below 1.

    Example:
        >>> partners(jax.random.key(0), 0, jnp.asarray([4, 8]), 10).shape
        (2,)
    """
    count = _parse.integer("partners", "count", count)
    draw = lambda sample_key: jax.random.randint(sample_key, (), 0, count)
    return jax.vmap(draw)(sample_keys(key, epoch, indices))


def mixup(
    keys: jax.Array,
    pair: tuple[jax.Array, jax.Array],
    other: tuple[jax.Array, jax.Array],
    *,
    alpha: float = 0.2,
) -> tuple[jax.Array, jax.Array]:
    """Mixes every image with another, and their labels in the same proportion.

        w[n] ~ Beta(alpha, alpha),  image = w · x + (1 - w) · x',  label = w · y + (1 - w) · y'

    Shapes: images (N, *any) of floats, labels (N, classes) of floats (one-hot) -> the same two.

    Args:
        keys: one a sample, from `sample_keys`.
        pair: `(images, labels)`.
        other: `(images, labels)` to mix in: those of `partners`, or the batch itself rolled by one
            (which costs no lookup but makes a sample depend on its neighbor in the batch).
        alpha: above 0; the larger, the nearer w is to one half.

    Returns:
        `(images, labels)`.

    Raises:
        TypeError: when images or labels are integers.
        ValueError: when `alpha` is not above 0.

    Example:
        >>> keys = sample_keys(jax.random.key(0), 0, jnp.arange(2))
        >>> images, labels = jnp.ones((2, 4, 4, 1)), jnp.eye(2)
        >>> mixed, weights = jax.jit(mixup)(keys, (images, labels), (0 * images, labels[::-1]))
        >>> bool(jnp.allclose(mixed[:, 0, 0, 0], jnp.diag(weights)))
        True

    References:
        Zhang et al. 2018, arXiv:1710.09412, section 2.
    """
    if alpha <= 0:
        raise ValueError(
            f"mixup: alpha is no parameter of a Beta distribution; expected alpha > 0. "
            f"Got alpha={alpha}. Use alpha=0.2."
        )
    for name, array in zip(("images", "labels"), pair, strict=True):
        _parse.floating("mixup", name, array)
    weights = jax.vmap(lambda key: jax.random.beta(key, alpha, alpha))(keys)

    def mix(first: jax.Array, second: jax.Array) -> jax.Array:
        w = weights.astype(first.dtype).reshape((-1,) + (1,) * (first.ndim - 1))
        return w * first + (1 - w) * second

    return mix(pair[0], other[0]), mix(pair[1], other[1])
