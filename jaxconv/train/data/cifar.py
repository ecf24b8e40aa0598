"""CIFAR-10 and CIFAR-100, from their binary versions only.

The python version of the same images is a pickle, and to load a pickle is to run whatever it says.
The binary version is fixed records of bytes: labels, then 32 x 32 red, green and blue values.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxconv import _parse
from jaxconv.train.data import _names
from jaxconv.train.data._dataset import Dataset, checked
from jaxconv.train.data.download import (
    cache_dir,
    read_members,
    require_sha256,
)
from jaxconv.train.data.download import (
    download as fetch,
)

IMAGE_BYTES = 3 * 32 * 32
LARGEST = 1 << 28  # bytes; both archives unpack to 184 million


class _Source(NamedTuple):
    """An archive, the folder inside it, and the sha256 of the archive and of its files."""

    url: str
    archive_sha256: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    labels: int  # bytes before each image
    pickles: tuple[str, ...]  # what the python version looks like on disk


# The authors publish md5 (c32a1d4ab5d03f1284b67883e8d87530, 03b5dce01913d631647c71ecec9e9cb8); the
# sha256 of the archives and of the files in them are those that other libraries check at each
# download of the same archives.
CIFAR_10 = _Source(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-10-batches-bin",
    {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    {"test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"},
    1,
    ("cifar-10-python.tar.gz", "cifar-10-batches-py", "data_batch_1"),
)
CIFAR_100 = _Source(
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    "cifar-100-binary",
    {"train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"},
    {"test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"},
    2,
    ("cifar-100-python.tar.gz", "cifar-100-python", "train"),
)


def cifar10(
    data_dir: str | os.PathLike[str] | None = None, *, download: bool = False, verify: bool = True
) -> Dataset:
    """Loads CIFAR-10: 50,000 + 10,000 photos of 32 x 32 pixels in ten classes.

    Shapes: images (N, 32, 32, 3) of uint8, labels (N,) of int32.

    Args:
        data_dir: folder with cifar-10-binary.tar.gz, or with its .bin files, or with its folder
            cifar-10-batches-bin; ~/.cache/jaxconv/cifar10 when None.
        download: whether to fetch the archive when it is missing (170 MB). Nothing is fetched
            otherwise.
        verify: whether the content must be the official one, by sha256.

    Returns:
        A `Dataset` with the classes "airplane" … "truck".

    Raises:
        FileNotFoundError: when the files are missing and `download` is false.
        ValueError: when a file is corrupt, or not the official one and `verify` is true, or when
            there is only the python version.

    Example:
        >>> cifar10("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: cifar10: there is neither cifar-10-binary.tar.gz nor data_batch_1.bin;
        expected the binary version in data_dir. Got data_dir='nowhere'. Pass download=True to
        fetch it.

    References:
        Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """
    contents = _contents("cifar10", CIFAR_10, data_dir, download=download, verify=verify)
    return _dataset("cifar10", CIFAR_10, contents, 0, _names.CIFAR_10)


def cifar100(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    labels: str = "fine",
    download: bool = False,
    verify: bool = True,
) -> Dataset:
    """Loads CIFAR-100: 50,000 + 10,000 photos of 32 x 32 pixels in 100 classes, or 20 groups.

    Shapes: images (N, 32, 32, 3) of uint8, labels (N,) of int32.

    Args:
        data_dir: folder with cifar-100-binary.tar.gz, or with its .bin files, or with its folder
            cifar-100-binary; ~/.cache/jaxconv/cifar100 when None.
        labels: "fine" for the 100 classes, "coarse" for the 20 groups of five.
        download: whether to fetch the archive when it is missing (169 MB). Nothing is fetched
            otherwise.
        verify: whether the content must be the official one, by sha256.

    Returns:
        A `Dataset` with the classes "apple" … "worm", or "aquatic_mammals" … "vehicles_2".

    Raises:
        FileNotFoundError: when the files are missing and `download` is false.
        ValueError: when a file is corrupt, or not the official one and `verify` is true, or when
            there is only the python version, or when `labels` is neither word.

    Example:
        >>> cifar100("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: cifar100: there is neither cifar-100-binary.tar.gz nor train.bin;
        expected the binary version in data_dir. Got data_dir='nowhere'. Pass download=True to
        fetch it.

    References:
        Krizhevsky 2009, "Learning multiple layers of features from tiny images".
    """
    fine = _parse.choice("cifar100", "labels", labels, ("fine", "coarse")) == "fine"
    contents = _contents("cifar100", CIFAR_100, data_dir, download=download, verify=verify)
    classes = _names.CIFAR_100 if fine else _names.CIFAR_100_COARSE
    return _dataset("cifar100", CIFAR_100, contents, int(fine), classes)


def _contents(
    where: str,
    source: _Source,
    data_dir: str | os.PathLike[str] | None,
    *,
    download: bool,
    verify: bool,
) -> dict[str, bytes]:
    """The content of every .bin file, from a folder or from the archive, checked."""
    folder = cache_dir(where) if data_dir is None else Path(data_dir).expanduser()
    pins = source.train | source.test
    archive = folder / source.url.rpartition("/")[2]
    plain = next((f for f in (folder, folder / source.folder) if (f / [*pins][0]).is_file()), None)
    if plain is None and not archive.is_file():
        if not download:
            _refuse_pickles(where, source, folder)
            raise FileNotFoundError(
                f"{where}: there is neither {archive.name} nor {[*pins][0]}; expected the binary "
                f"version in data_dir. Got data_dir={str(folder)!r}. "
                f"Pass download=True to fetch it."
            )
        check = lambda path: require_sha256(where, path, source.archive_sha256)
        fetch(source.url, archive, limit=LARGEST, verify=check)
    if plain is not None:
        contents = {name: _read(where, plain / name) for name in pins}
    else:
        inside = {f"{source.folder}/{name}": name for name in pins}
        members = read_members(where, archive, inside, limit=LARGEST)
        contents = {inside[member]: content for member, content in members.items()}
    if verify:
        for name, sha256 in pins.items():
            require_sha256(where, (plain or archive) / name, sha256, contents[name])
    return contents


def _refuse_pickles(where: str, source: _Source, folder: Path) -> None:
    found = next((name for name in source.pickles if (folder / name).exists()), None)
    if found is not None:
        raise ValueError(
            f"{where}: {found} is the python version, a pickle, which runs code when it is loaded; "
            f"expected the binary version, {source.url.rpartition('/')[2]}. "
            f"Got data_dir={str(folder)!r}. Pass download=True, or fetch {source.url}."
        )


def _read(where: str, path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"{where}: there is no {path.name}; expected all .bin files of the binary version. "
            f"Got data_dir={str(path.parent)!r}. Unpack the archive anew."
        )
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(
            f"{where}: {path.name} has {size} bytes; expected at most {LARGEST}. "
            f"Got {path}. Unpack the archive anew."
        )
    return path.read_bytes()


def _dataset(
    where: str,
    source: _Source,
    contents: dict[str, bytes],
    label: int,
    classes: tuple[str, ...],
) -> Dataset:
    def split(names: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
        files = [_records(where, name, contents.pop(name), source.labels) for name in names]
        records = files[0] if len(files) == 1 else np.concatenate(files)
        images = records[:, source.labels :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images), records[:, label].astype(np.int32)

    return checked(where, Dataset(*split(source.train), *split(source.test), classes, where))


def _records(where: str, name: str, content: bytes, labels: int) -> np.ndarray:
    """The rows of a .bin file: `labels` bytes, then the three color planes."""
    if content[:1] == b"\x80":  # how every pickle since protocol 2 begins; no label is 128
        raise ValueError(
            f"{where}: {name} starts like a pickle, which runs code when it is loaded; expected "
            f"records of bytes. Got {name} of {len(content)} bytes. Use the binary version."
        )
    size = labels + IMAGE_BYTES
    if not content or len(content) % size:
        raise ValueError(
            f"{where}: {name} has {len(content)} bytes; expected whole records of {size}. "
            f"Got {len(content) % size} bytes too many. Fetch it anew."
        )
    return np.frombuffer(content, np.uint8).reshape(-1, size)
