"""MNIST and Fashion-MNIST, from their IDX files, plain or gzipped."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxconv.train.data._dataset import Dataset, checked
from jaxconv.train.data._names import FASHION
from jaxconv.train.data.download import cache_dir, require_sha256
from jaxconv.train.data.download import download as fetch

UNSIGNED_BYTE = 0x08
LARGEST = 1 << 30  # bytes; MNIST's largest file has 47 million


class _Source(NamedTuple):
    """Where the four files are, and the sha256 of each once unpacked.

    The wrapping is not part of it: mirrors gzip the same bytes differently.
    """

    url: str
    sha256: dict[str, str]


# The sha256 of what the files unpack to. MNIST's were computed from streams with the published md5
# (6bbc9ace898e…, a25bea736e30…, 2646ac647ad5…, 27ae3e4e0951…). Fashion-MNIST's labels were computed
# from the authors' repository; its images' are those that others published for the archives with
# the authors' md5 (8d4fb7e6c68d…, bef4ecab320f…).
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
MNIST = _Source("https://storage.googleapis.com/cvdf-datasets/mnist/", MNIST_SHA256)
FASHION_MNIST = _Source(
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/", FASHION_SHA256
)


def mnist(
    data_dir: str | os.PathLike[str] | None = None, *, download: bool = False, verify: bool = True
) -> Dataset:
    """Loads MNIST: 60,000 + 10,000 handwritten digits of 28 x 28 pixels.

    Shapes: images (N, 28, 28, 1) of uint8, labels (N,) of int32.

    Args:
        data_dir: folder with the four IDX files, plain or .gz, named train-images-idx3-ubyte or
            train-images.idx3-ubyte and so on; ~/.cache/jaxconv/mnist when None.
        download: whether to fetch files that are missing (11 MB). Nothing is fetched otherwise.
        verify: whether the content must be the official one, by sha256.

    Returns:
        A `Dataset` with the classes "0" … "9".

    Raises:
        FileNotFoundError: when a file is missing and `download` is false.
        ValueError: when a file is corrupt, or not the official one and `verify` is true.

    Example:
        >>> mnist("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: mnist: there is no train-images-idx3-ubyte, plain or .gz; expected the
        four IDX files in data_dir. Got data_dir='nowhere'. Pass download=True to fetch them.

    References:
        LeCun, Cortes and Burges 1998, "The MNIST database of handwritten digits".
    """
    classes = tuple(str(label) for label in range(10))
    return _load("mnist", MNIST, classes, data_dir, download=download, verify=verify)


def fashion_mnist(
    data_dir: str | os.PathLike[str] | None = None, *, download: bool = False, verify: bool = True
) -> Dataset:
    """Loads Fashion-MNIST: 60,000 + 10,000 photos of clothing of 28 x 28 gray pixels.

    Shapes: images (N, 28, 28, 1) of uint8, labels (N,) of int32.

    Args:
        data_dir: as for `mnist`; ~/.cache/jaxconv/fashion_mnist when None.
        download: whether to fetch files that are missing (30 MB). Nothing is fetched otherwise.
        verify: whether the content must be the official one, by sha256.

    Returns:
        A `Dataset` with the classes "T-shirt/top" … "Ankle boot".

    Raises:
        FileNotFoundError: when a file is missing and `download` is false.
        ValueError: when a file is corrupt, or not the official one and `verify` is true. MNIST's
            files have the same names, and are refused here.

    Example:
        >>> fashion_mnist("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: fashion_mnist: there is no train-images-idx3-ubyte, plain or .gz;
        expected the four IDX files in data_dir. Got data_dir='nowhere'. Pass download=True to
        fetch them.

    References:
        Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747.
    """
    source = FASHION_MNIST
    return _load("fashion_mnist", source, FASHION, data_dir, download=download, verify=verify)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads one IDX file of unsigned bytes, plain or (with a name that ends in .gz) gzipped.

    The format: two zero bytes, the type (8: unsigned byte), the number of axes, the size of each
    axis as a big-endian 32-bit integer, then the elements, the last axis fastest, and nothing more.

    Shapes: -> the sizes that the header states, uint8.

    Args:
        path: the file.

    Returns:
        The array.

    Raises:
        ValueError: when the header is not that of such a file, or the length not what it promises.
            No more is unpacked than the header promises, and no header may promise over 1 GiB.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "labels")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + b"abc")
        ...     read_idx(path)
        array([97, 98, 99], dtype=uint8)
    """
    path = Path(path)
    return _parse_idx("read_idx", path, _content("read_idx", path))


def _load(
    where: str,
    source: _Source,
    classes: tuple[str, ...],
    data_dir: str | os.PathLike[str] | None,
    *,
    download: bool,
    verify: bool,
) -> Dataset:
    folder = cache_dir(where) if data_dir is None else Path(data_dir).expanduser()
    arrays = []
    for name, sha256 in source.sha256.items():
        path = _find(folder, name)
        if path is None and download:
            path = _fetch(where, source, folder, name)
        if path is None:
            raise FileNotFoundError(
                f"{where}: there is no {name}, plain or .gz; expected the four IDX files in "
                f"data_dir. Got data_dir={str(folder)!r}. Pass download=True to fetch them."
            )
        content = _content(where, path)
        array = _parse_idx(where, path, content)
        if verify:
            require_sha256(where, path, sha256, content)
        axes = 3 if "images" in name else 1
        if array.ndim != axes:
            raise ValueError(
                f"{where}: {path.name} holds {array.ndim} axes; expected {axes}. "
                f"Got {path}. Use the official file {name}."
            )
        arrays.append(array)
    dataset = Dataset(
        train_images=arrays[0][..., None],
        train_labels=arrays[1].astype(np.int32),
        test_images=arrays[2][..., None],
        test_labels=arrays[3].astype(np.int32),
        classes=classes,
        name=where,
    )
    return checked(where, dataset)


def _find(folder: Path, name: str) -> Path | None:
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelling, folder / f"{spelling}.gz"):
            if path.is_file():
                return path
    return None


def _fetch(where: str, source: _Source, folder: Path, name: str) -> Path:
    def verify(path: Path) -> None:
        content = _content(where, path, zipped=True)
        require_sha256(where, path, source.sha256[name], content)

    return fetch(f"{source.url}{name}.gz", folder / f"{name}.gz", limit=1 << 26, verify=verify)


def _content(where: str, path: Path, *, zipped: bool | None = None) -> bytes:
    """The whole file, unpacked, when it is as long as its own header says."""
    zipped = path.suffix == ".gz" if zipped is None else zipped
    try:
        with gzip.open(path) if zipped else open(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != bytes([0, 0, UNSIGNED_BYTE]) or not start[3]:
                raise ValueError(
                    f"{where}: {path.name} starts with {start.hex(' ') or 'nothing'}; expected "
                    f"00 00 08 and the number of axes. Got {path}. Use an IDX file of bytes."
                )
            sizes = file.read(4 * start[3])
            payload = math.prod(np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist())
            if payload > LARGEST:
                raise ValueError(
                    f"{where}: {path.name} promises {payload} bytes; expected at most {LARGEST}. "
                    f"Got {path}. Fetch it anew."
                )
            elements = file.read(payload + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{where}: {path.name} cannot be unpacked ({error}); expected a whole gzip file. "
            f"Got {path}. Fetch it anew."
        ) from error
    if len(sizes) < 4 * start[3] or len(elements) != payload:
        found = f"more than {payload}" if len(elements) > payload else str(len(elements))
        raise ValueError(
            f"{where}: {path.name} holds {found} bytes after its header; expected {payload}, as "
            f"the header says. Got {path}. Fetch it anew."
        )
    return start + sizes + elements


def _parse_idx(where: str, path: Path, content: bytes) -> np.ndarray:
    """The array in the content of an IDX file, as `_content` has checked it."""
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).tolist()
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
