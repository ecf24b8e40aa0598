"""Images in folders, one folder a class, read with Pillow."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxconv import _parse
from jaxconv._extras import need
from jaxconv.train.data._dataset import Dataset, checked

SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = {1: "L", 3: "RGB"}
# Others lose values on the way to 8 bits ("I;16"), or are not what a photo is stored as.
READABLE = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
TASK = 256  # images that one thread takes at a time; handing over each alone costs a tenth more


class _Format(NamedTuple):
    size: tuple[int, int] | None  # height, width
    channels: int
    max_pixels: int


def image_folder(
    data_dir: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    limit_per_class: int | None = None,
    max_pixels: int = 50_000_000,
    max_bytes: int = 1 << 33,
) -> Dataset:
    """Loads train/<class>/*.png|jpg and test/<class>/*.png|jpg (or val/) into memory.

    Classes are the names of the folders in train/, sorted. Images may lie in folders within a
    class's; they are taken in the order of their sorted paths, so the arrays are the same on every
    machine. Other files, and names that begin with a dot, are left alone.

    Shapes: images (N, H, W, channels) of uint8, labels (N,) of int32.

    Args:
        data_dir: the folder that holds train/ and test/ or val/.
        size: height and width to resize to, one int for both; None when all images have one size.
        channels: 3 for red, green and blue, 1 for gray; files of the other kind are converted.
        limit_per_class: most images of a class to take in each split, the first ones; None for all.
        max_pixels: most pixels a file may hold before it is resized; a file that declares more is
            refused before it is decoded.
        max_bytes: most bytes that a split may take in memory.

    Returns:
        A `Dataset` with the names of the folders as classes.

    Raises:
        FileNotFoundError: when train/, or both test/ and val/, are missing.
        ValueError: for an empty class, a class that only one split has, a file that is no whole
            image (the message names it), sizes that differ without `size`, and too large images.
        ModuleNotFoundError: when Pillow is not installed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("train/cat/0.png", "train/dog/0.png", "test/cat/0.png"):
        ...         Path(folder, name).parent.mkdir(parents=True)
        ...         Image.new("RGB", (6, 4)).save(Path(folder, name))
        ...     dataset = image_folder(folder)
        >>> dataset.train_images.shape, dataset.classes
        ((2, 4, 6, 3), ('cat', 'dog'))
    """
    wanted = _Format(
        None if size is None else _height_width(size),
        _parse.integer("image_folder", "channels", channels),
        _parse.integer("image_folder", "max_pixels", max_pixels),
    )
    if channels not in MODES:
        raise ValueError(
            f"image_folder: there is no image of {channels} channels; expected 1 or 3. "
            f"Got channels={channels}. Use channels=3."
        )
    if limit_per_class is not None:
        _parse.integer("image_folder", "limit_per_class", limit_per_class)
    root = Path(data_dir).expanduser()
    train = _split(root, "train")
    test = _split(root, "test", "val")
    classes = _classes(train)

    def read(split: Path) -> tuple[np.ndarray, np.ndarray]:
        found = _listing(split, classes, limit_per_class)
        labels = np.asarray([label for _, label in found], np.int32)
        return _read_all([path for path, _ in found], wanted, max_bytes), labels

    dataset = Dataset(*read(train), *read(test), classes, root.resolve().name)
    _require_one_size(dataset.train_images, dataset.test_images)
    return checked("image_folder", dataset)


def _height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = _parse.per_axis("image_folder", "size", size, 2)
    return height, width


def _split(root: Path, *names: str) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(
        f"image_folder: there is no folder {' or '.join(names)}; expected {names[0]}/<class>/*.png "
        f"or *.jpg. Got data_dir={str(root)!r}. Make the folder, with one folder a class."
    )


def _classes(train: Path) -> tuple[str, ...]:
    classes = tuple(sorted(_folders(train)))
    if not classes:
        raise ValueError(
            f"image_folder: {train} has no folders; expected one a class. "
            f"Got {len(list(train.iterdir()))} entries. Move the images of a class into a folder."
        )
    return classes


def _listing(
    split: Path, classes: tuple[str, ...], limit_per_class: int | None
) -> list[tuple[Path, int]]:
    """All images of a split with their labels, in an order that depends on names only.

    Every class of train/ needs an image; test/ may lack classes, but has no others.
    """
    strange = sorted(_folders(split) - set(classes))
    if strange:
        raise ValueError(
            f"image_folder: {split} has the class {strange[0]!r}, which train has not; expected "
            f"only the {len(classes)} classes of train. Got {len(strange)} others. "
            f"Rename or remove the folder."
        )
    found = []
    for label, name in enumerate(classes):
        folder = split / name
        images = sorted(_images(folder), key=lambda path: path.relative_to(folder).as_posix())
        if not images and (folder.is_dir() or split.name == "train"):
            raise ValueError(
                f"image_folder: {folder} has no images; expected at least one .png, .jpg or .jpeg. "
                f"Got an empty class. Add an image, or remove the folder."
            )
        found += [(path, label) for path in images[:limit_per_class]]
    return found


def _folders(split: Path) -> set[str]:
    return {
        entry.name for entry in split.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    }


def _images(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def _read_all(paths: list[Path], wanted: _Format, max_bytes: int) -> np.ndarray:
    """Decodes all files, in threads: Pillow lets go of the interpreter while it decodes."""
    module = need("image_folder", "PIL.Image", "train")
    if not paths:
        return np.zeros((0, *(wanted.size or (0, 0)), wanted.channels), np.uint8)
    first = _read(module, paths[0], wanted)
    if first.nbytes * len(paths) > max_bytes:
        raise ValueError(
            f"image_folder: {len(paths)} images of shape {first.shape} take "
            f"{first.nbytes * len(paths)} bytes; expected at most {max_bytes}. "
            f"Got max_bytes={max_bytes}. Use a smaller size or limit_per_class, or raise max_bytes."
        )
    images = np.empty((len(paths), *first.shape), np.uint8)

    def fill(start: int) -> None:
        for index in range(start, min(start + TASK, len(paths))):
            image = _read(module, paths[index], wanted)
            if image.shape != first.shape:
                raise ValueError(
                    f"image_folder: {paths[index]} has shape {image.shape}; expected "
                    f"{first.shape}, as {paths[0].name} has. Got size=None. "
                    f"Use size={first.shape[:2]} to resize all images."
                )
            images[index] = image

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, range(0, len(paths), TASK)):  # raises what a thread raised
            pass
    return images


def _read(module: Any, path: Path, wanted: _Format) -> np.ndarray:
    """One file as (H, W, channels) of uint8; every failure names the file."""
    bombs = (module.DecompressionBombError, module.DecompressionBombWarning)
    try:
        with module.open(path, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > wanted.max_pixels:
                raise module.DecompressionBombError(f"{image.width} x {image.height} pixels")
            if image.mode not in READABLE:
                raise ValueError(f"its mode is {image.mode}, not 8 bits a channel")
            if image.mode != MODES[wanted.channels]:
                image = image.convert(MODES[wanted.channels])
            if wanted.size is not None and wanted.size != (image.height, image.width):
                image = image.resize(wanted.size[::-1], module.Resampling.BILINEAR)
            return np.asarray(image).reshape(image.height, image.width, wanted.channels)
    except bombs as error:
        raise ValueError(
            f"image_folder: {path} declares too many pixels ({error}); expected at most "
            f"{wanted.max_pixels}. Got max_pixels={wanted.max_pixels}. "
            f"Shrink or remove the file."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"image_folder: {path} cannot be read ({error}); expected a whole 8-bit PNG or JPEG. "
            f"Got {path.name}. Remove or replace it."
        ) from error


def _require_one_size(train: np.ndarray, test: np.ndarray) -> None:
    if len(test) and train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"image_folder: train images have shape {train.shape[1:]} and test images "
            f"{test.shape[1:]}; expected one shape. Got size=None. "
            f"Use size={train.shape[1:3]} to resize all images."
        )
