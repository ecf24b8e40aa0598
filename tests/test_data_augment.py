"""Random changes: what each one does, and that a sample's fate depends on no batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, raises

from jaxconv.train import data

CHANGES = (
    data.flip,
    partial(data.pad_and_crop, padding=2),
    data.circular_shift,
    partial(data.cutout, window=3),
)


def run(key, images, indices, epoch=0, changes=CHANGES):
    return jax.jit(data.augment, static_argnums=4)(key, epoch, indices, images, changes)


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.integers(1, 255, (12, 5, 7, 2)), jnp.uint8)


def test_independent_of_batch(key, images):
    indices = jnp.arange(100, 112)
    whole = run(key, images, indices)
    assert whole.shape == images.shape
    assert whole.dtype == images.dtype
    assert not jnp.array_equal(whole, images)
    parts = [run(key, images[k : k + 4], indices[k : k + 4]) for k in (0, 4, 8)]
    np.testing.assert_array_equal(jnp.concatenate(parts), whole)
    backwards = run(key, images[::-1], indices[::-1])
    np.testing.assert_array_equal(backwards[::-1], whole)


def test_jit_changes_nothing(key, images):
    indices = jnp.arange(2)
    changes = (data.flip, data.circular_shift)
    eager = data.augment(key, 0, indices, images[:2], changes)
    np.testing.assert_array_equal(run(key, images[:2], indices, changes=changes), eager)


def test_epoch_and_index_and_key_matter(key, images):
    same = jnp.broadcast_to(images[:1], images.shape)
    indices = jnp.arange(12)
    first = run(key, same, indices)
    np.testing.assert_array_equal(run(key, same, indices), first)
    assert not jnp.array_equal(run(key, same, indices, epoch=1), first)
    assert not jnp.array_equal(run(jax.random.key(1), same, indices), first)
    assert len({np.asarray(image).tobytes() for image in first}) > 9


def test_keys_are_folded_epoch_first(key):
    keys = data.sample_keys(key, 3, jnp.asarray([8]))
    assert keys[0] == jax.random.fold_in(jax.random.fold_in(key, 3), 8)
    assert keys[0] != jax.random.fold_in(jax.random.fold_in(key, 8), 3)


def one_change(change, image, count=200):
    """What `change` makes of one image under `count` keys."""
    keys = jax.random.split(jax.random.key(5), count)
    return np.asarray(jax.jit(jax.vmap(change, (0, None)))(keys, image))


def test_flip_mirrors_half_of_the_time(images):
    image = np.asarray(images[0])
    changed = one_change(data.flip, images[0])
    mirrored = [np.array_equal(one, image[:, ::-1]) for one in changed]
    kept = [np.array_equal(one, image) for one in changed]
    assert all(np.logical_xor(mirrored, kept))
    assert 70 < sum(mirrored) < 130  # 100 expected, deviation 7


def test_pad_and_crop_gives_every_window(images):
    image = np.asarray(images[0])
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    windows = {padded[a : a + 5, b : b + 7].tobytes() for a in range(3) for b in range(3)}
    changed = one_change(partial(data.pad_and_crop, padding=1), images[0])
    assert {one.tobytes() for one in changed} == windows
    still = one_change(partial(data.pad_and_crop, padding=0), images[0], 3)
    np.testing.assert_array_equal(still, np.stack([image] * 3))


@pytest.mark.parametrize("pixels", [None, 0, 1])
def test_circular_shift_gives_every_shift(images, pixels):
    image = np.asarray(images[0])
    rows, columns = (range(5), range(7)) if pixels is None else (range(-pixels, pixels + 1),) * 2
    rolls = {np.roll(image, (a, b), (0, 1)).tobytes() for a in rows for b in columns}
    changed = one_change(partial(data.circular_shift, pixels=pixels), images[0], 400)
    assert {one.tobytes() for one in changed} == rolls


@pytest.mark.parametrize("window", [1, 2, 3])
def test_cutout_gives_every_square(images, window):
    image = np.asarray(images[0])
    expected = set()
    for a in range(5):
        for b in range(7):
            cut = image.copy()
            top, left = a - window // 2, b - window // 2
            cut[max(top, 0) : top + window, max(left, 0) : left + window] = 0
            expected.add(cut.tobytes())
    changed = one_change(partial(data.cutout, window=window), images[0], 400)
    assert {one.tobytes() for one in changed} == expected


def test_mixup_mixes_images_and_labels_alike(key, rng):
    images = jnp.asarray(rng.normal(size=(64, 3, 4, 1)), jnp.float32)
    labels = jax.nn.one_hot(jnp.arange(64) % 10, 10)
    other = (jnp.roll(images, 1, 0), jnp.roll(labels, 1, 0))
    keys = data.sample_keys(key, 0, jnp.arange(64))
    mix = jax.jit(partial(data.mixup, alpha=0.4))
    mixed, weights = mix(keys, (images, labels), other)
    w = np.asarray(weights)[np.arange(64), np.arange(64) % 10]
    assert 0 <= w.min() < 0.1
    assert 0.9 < w.max() <= 1
    assert 0.35 < w.mean() < 0.65
    shape = (64, 1, 1, 1)
    expected = w.reshape(shape) * images + (1 - w.reshape(shape)) * np.roll(images, 1, 0)
    assert_close(mixed, jnp.asarray(expected))
    np.testing.assert_allclose(weights.sum(1), np.ones(64), rtol=1e-6)
    backwards, _ = mix(keys[::-1], (images[::-1], labels[::-1]), (other[0][::-1], other[1][::-1]))
    assert_close(backwards[::-1], mixed, tolerance=0)


def test_partners_depend_on_no_batch(key):
    indices = jnp.arange(500)
    whole = data.partners(key, 2, indices, 7)
    assert set(whole.tolist()) == set(range(7))
    np.testing.assert_array_equal(data.partners(key, 2, indices[100:101], 7), whole[100:101])


def test_refusals(key):
    image = jnp.zeros((4, 4, 1))
    with raises(
        ValueError,
        "pad_and_crop: padding is too small; expected at least 0. Got padding=-1. "
        "Use padding=0 or more.",
    ):
        data.pad_and_crop(key, image, padding=-1)
    with raises(
        ValueError,
        "circular_shift: pixels is too small; expected at least 0. Got pixels=-2. "
        "Use pixels=0 or more.",
    ):
        data.circular_shift(key, image, pixels=-2)
    with raises(
        ValueError,
        "cutout: window is too small; expected at least 1. Got window=0. Use window=1 or more.",
    ):
        data.cutout(key, image, window=0)
    with raises(
        ValueError,
        "partners: count is too small; expected at least 1. Got count=0. Use count=1 or more.",
    ):
        data.partners(key, 0, jnp.arange(2), 0)
    with raises(
        ValueError,
        "mixup: alpha is no parameter of a Beta distribution; expected alpha > 0. Got alpha=0. "
        "Use alpha=0.2.",
    ):
        data.mixup(key, (image, image), (image, image), alpha=0)
    with raises(
        TypeError,
        "mixup: labels holds integers; expected a floating dtype. Got labels of dtype int32. "
        "Use labels.astype('float32').",
    ):
        pair = (image, jnp.zeros((4, 2), jnp.int32))
        data.mixup(key, pair, pair)
