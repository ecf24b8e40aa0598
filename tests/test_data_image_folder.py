"""Image folders: what is taken, in which order, and files that are not what they say."""

import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
from helpers import assert_close, raises
from PIL import Image

from jaxconv.train.data import image_folder


def save(root, name, image, **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(image, np.uint8)).save(path, **options)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (6, 4, 5, 3)).astype(np.uint8)


@pytest.fixture
def root(tmp_path, images):
    """Two classes; one has images in a folder within."""
    root = tmp_path / "pets"
    names = ("train/dog/b.png", "train/dog/a.png", "train/cat/z/1.png", "train/cat/y.PNG")
    names += ("test/dog/1.png", "test/cat/1.png")
    for name, image in zip(names, images, strict=True):
        save(root, name, image)
    return root


def test_images_labels_and_order(root, images):
    dataset = image_folder(str(root))
    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    np.testing.assert_array_equal(dataset.train_images, images[[3, 2, 1, 0]])
    np.testing.assert_array_equal(dataset.train_labels, np.asarray([0, 0, 1, 1], np.int32))
    np.testing.assert_array_equal(dataset.test_images, images[[5, 4]])
    np.testing.assert_array_equal(dataset.test_labels, np.asarray([0, 1], np.int32))
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int32


def test_val_serves_as_test(root, images):
    (root / "test").rename(root / "val")
    np.testing.assert_array_equal(image_folder(root).test_images, images[[5, 4]])


def test_many_images_over_several_threads(tmp_path):
    for index in range(600):
        save(tmp_path, f"train/a/{index:03}.png", np.full((2, 2, 3), index % 251))
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    dataset = image_folder(tmp_path)
    expected = np.arange(600) % 251
    np.testing.assert_array_equal(dataset.train_images[:, 0, 0, 0], expected)
    limited = image_folder(tmp_path, limit_per_class=7)
    np.testing.assert_array_equal(limited.train_images, dataset.train_images[:7])


def test_other_files_are_left_alone(root, images):
    (root / "train" / "cat" / "notes.txt").write_text("hello")
    (root / "train" / "cat" / "._y.png").write_text("what a file system leaves behind")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "list.csv").write_text("hello")
    np.testing.assert_array_equal(image_folder(root).train_images, images[[3, 2, 1, 0]])


def test_gray_and_color(tmp_path, images):
    gray = images[0, :, :, 0]
    save(tmp_path, "train/a/gray.png", gray)
    save(tmp_path, "train/a/red.png", images[1])
    save(tmp_path, "test/a/alpha.png", np.concatenate([images[2], images[3, :, :, :1]], -1))
    color = image_folder(tmp_path)
    np.testing.assert_array_equal(color.train_images[0], np.stack([gray] * 3, -1))
    np.testing.assert_array_equal(color.train_images[1], images[1])
    np.testing.assert_array_equal(color.test_images[0], images[2])
    plain = image_folder(tmp_path, channels=1)
    np.testing.assert_array_equal(plain.train_images[0], gray[..., None])
    luma = images[1].astype(np.float64) @ np.asarray([0.299, 0.587, 0.114])
    assert plain.train_images.shape == (2, 4, 5, 1)
    np.testing.assert_allclose(plain.train_images[1, :, :, 0], luma, atol=1)


def test_jpeg(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 256, 8)[:, None, None], (32, 32, 3))
    for name in ("train/a/1.jpg", "train/a/2.jpeg", "test/a/3.JPG"):
        save(tmp_path, name, ramp, format="JPEG", quality=95)
    dataset = image_folder(tmp_path)
    np.testing.assert_allclose(dataset.train_images[1], ramp, atol=4)


@pytest.mark.parametrize("size", [6, (6, 3)])
def test_resizing(tmp_path, size):
    save(tmp_path, "train/a/1.png", np.full((4, 9, 3), 100))
    save(tmp_path, "train/a/2.png", np.full((12, 5, 3), 200))
    save(tmp_path, "test/a/1.png", np.full((6, 3, 3), 50))
    dataset = image_folder(tmp_path, size=size)
    shape = (6, 6, 3) if size == 6 else (6, 3, 3)
    expected = np.stack([np.full(shape, 100), np.full(shape, 200)]).astype(np.uint8)
    assert_close(dataset.train_images, expected)
    assert dataset.test_images.shape == (1, *shape)


def test_sizes_must_agree(root):
    save(root, "train/dog/c.png", np.zeros((4, 6, 3)))
    path = root / "train" / "dog" / "c.png"
    with raises(
        ValueError,
        f"image_folder: {path} has shape (4, 6, 3); expected (4, 5, 3), as y.PNG has. "
        f"Got size=None. Use size=(4, 5) to resize all images.",
    ):
        image_folder(root)
    path.unlink()
    for name in ("cat", "dog"):
        save(root, f"test/{name}/1.png", np.zeros((6, 6, 3)))
    with raises(
        ValueError,
        "image_folder: train images have shape (4, 5, 3) and test images (6, 6, 3); expected one "
        "shape. Got size=None. Use size=(4, 5) to resize all images.",
    ):
        image_folder(root)


def test_folders_must_be_there(root):
    with raises(
        FileNotFoundError,
        f"image_folder: there is no folder train; expected train/<class>/*.png or *.jpg. "
        f"Got data_dir='{root / 'train'}'. Make the folder, with one folder a class.",
    ):
        image_folder(root / "train")
    shutil.rmtree(root / "test")
    with raises(
        FileNotFoundError,
        f"image_folder: there is no folder test or val; expected test/<class>/*.png or *.jpg. "
        f"Got data_dir='{root}'. Make the folder, with one folder a class.",
    ):
        image_folder(root)


def test_classes_must_be_there(root):
    train = root / "train"
    (train / "bird").mkdir()
    with raises(
        ValueError,
        f"image_folder: {train / 'bird'} has no images; expected at least one .png, .jpg or "
        f".jpeg. Got an empty class. Add an image, or remove the folder.",
    ):
        image_folder(root)
    (train / "bird").rmdir()
    save(root, "test/fish/1.png", np.zeros((4, 5, 3)))
    save(root, "test/ant/1.png", np.zeros((4, 5, 3)))
    with raises(
        ValueError,
        f"image_folder: {root / 'test'} has the class 'ant', which train has not; expected only "
        f"the 2 classes of train. Got 2 others. Rename or remove the folder.",
    ):
        image_folder(root)
    shutil.rmtree(train)
    save(root, "train/1.png", np.zeros((4, 5, 3)))
    with raises(
        ValueError,
        f"image_folder: {train} has no folders; expected one a class. Got 1 entries. "
        f"Move the images of a class into a folder.",
    ):
        image_folder(root)


def test_test_may_lack_a_class(root, images):
    shutil.rmtree(root / "test" / "cat")
    dataset = image_folder(root)
    np.testing.assert_array_equal(dataset.test_images, images[[4]])
    assert dataset.test_labels.tolist() == [1]


def png(width, height, *chunks):
    """A PNG that may claim any size, with what `chunks` hold."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in (header, *chunks):
        check = zlib.crc32(kind + body)
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    return content


BROKEN = {
    "text": (b"hello", "cannot identify image file"),
    "empty": (b"", "cannot identify image file"),
    "gif": (b"GIF89a" + bytes(20), "cannot identify image file"),
    "header only": (png(4, 5), ""),
    "cut": (None, ""),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_corrupt_file_is_named(root, fault, suffix):
    content, reason = BROKEN[fault]
    path = root / "train" / "dog" / f"broken.{suffix}"
    if content is None:
        save(root, "whole", np.arange(30000).reshape(100, 100, 3) % 251, format=FORMATS[suffix])
        content = (root / "whole").read_bytes()[:-1000]
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        image_folder(root, size=(4, 5))
    start, _, end = str(caught.value).partition(" cannot be read (")
    assert start == f"image_folder: {path}"
    assert reason in end
    assert end.endswith(
        "); expected a whole 8-bit PNG or JPEG. Got " + path.name + ". Remove or replace it."
    )


FORMATS = {"png": "PNG", "jpg": "JPEG"}


def test_deep_colors_are_refused(root):
    path = root / "train" / "dog" / "deep.png"
    Image.fromarray(np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000).save(path)
    with raises(
        ValueError,
        f"image_folder: {path} cannot be read (its mode is I;16, not 8 bits a channel); expected a "
        f"whole 8-bit PNG or JPEG. Got deep.png. Remove or replace it.",
    ):
        image_folder(root)


@pytest.mark.parametrize("side", [8_000, 10_000, 100_000])  # of which Pillow warns of the second
def test_bombs_are_refused_before_decoding(root, side):
    path = root / "train" / "dog" / "bomb.png"
    path.write_bytes(png(side, side, (b"IDAT", zlib.compress(bytes(1000)))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError) as caught:
            image_folder(root)
    message = str(caught.value)
    assert message.startswith(f"image_folder: {path} declares too many pixels (")
    assert message.endswith(
        "); expected at most 50000000. Got max_pixels=50000000. Shrink or remove the file."
    )


def test_max_pixels(root):
    image_folder(root, max_pixels=20)
    path = root / "train" / "cat" / "y.PNG"
    with raises(
        ValueError,
        f"image_folder: {path} declares too many pixels (5 x 4 pixels); expected at most 19. "
        f"Got max_pixels=19. Shrink or remove the file.",
    ):
        image_folder(root, max_pixels=19)


def test_max_bytes(root):
    image_folder(root, max_bytes=240)
    with raises(
        ValueError,
        "image_folder: 4 images of shape (4, 5, 3) take 240 bytes; expected at most 239. "
        "Got max_bytes=239. Use a smaller size or limit_per_class, or raise max_bytes.",
    ):
        image_folder(root, max_bytes=239)


def test_arguments(root):
    with raises(
        ValueError,
        "image_folder: there is no image of 2 channels; expected 1 or 3. Got channels=2. "
        "Use channels=3.",
    ):
        image_folder(root, channels=2)
    with raises(
        ValueError,
        "image_folder: size has 3 entries for 2 spatial axes; expected one per spatial axis or a "
        "single int. Got size=(4, 5, 6). Use size=4 for all axes.",
    ):
        image_folder(root, size=(4, 5, 6))
    with raises(
        ValueError,
        "image_folder: limit_per_class is too small; expected at least 1. "
        "Got limit_per_class=0. Use limit_per_class=1 or more.",
    ):
        image_folder(root, limit_per_class=0)
