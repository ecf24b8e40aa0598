"""IDX files: what is read, and every way in which a file can be wrong."""

import gzip
import hashlib
import io
import struct

import numpy as np
import pytest
from helpers import raises

from jaxconv.train.data import download as downloads
from jaxconv.train.data import fashion_mnist, idx, mnist, read_idx

NAMES = tuple(idx.MNIST_SHA256)


def encode(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def arrays(rng):
    shapes = ((6, 3, 4), (6,), (2, 3, 4), (2,))
    tops = (256, 10, 256, 10)
    return [rng.integers(0, top, shape) for top, shape in zip(tops, shapes, strict=True)]


@pytest.fixture
def official(arrays, monkeypatch):
    """Makes the small arrays the official ones."""
    for name, array in zip(NAMES, arrays, strict=True):
        digest = hashlib.sha256(encode(array)).hexdigest()
        monkeypatch.setitem(idx.MNIST_SHA256, name, digest)


def write(folder, arrays, *, dot=False, zipped=False):
    for name, array in zip(NAMES, arrays, strict=True):
        spelling = name.replace("-idx", ".idx") if dot else name
        content = encode(array)
        path = folder / (spelling + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)


def assert_dataset(dataset, arrays):
    found = (dataset.train_images[..., 0], dataset.train_labels)
    found += (dataset.test_images[..., 0], dataset.test_labels)
    for one, other in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    assert dataset.train_images.dtype == dataset.test_images.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int32


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_reads_every_spelling(tmp_path, arrays, dot, zipped):
    write(tmp_path, arrays, dot=dot, zipped=zipped)
    dataset = mnist(str(tmp_path))
    assert_dataset(dataset, arrays)
    assert dataset.name == "mnist"
    assert dataset.classes == tuple("0123456789")


def test_verify_tells_other_content(tmp_path, arrays):
    write(tmp_path, arrays)
    path = tmp_path / NAMES[0]
    found = hashlib.sha256(encode(arrays[0])).hexdigest()
    with raises(
        ValueError,
        f"mnist: the content of {NAMES[0]} has sha256 {found}; expected "
        f"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db. Got {path}. "
        f"Fetch it anew, or pass verify=False for a file of your own.",
    ):
        mnist(tmp_path)
    assert_dataset(mnist(tmp_path, verify=False), arrays)
    dataset = fashion_mnist(tmp_path, verify=False)
    assert dataset.classes[0] == "T-shirt/top"
    assert len(dataset.classes) == 10


@pytest.mark.usefixtures("official")
def test_mnist_is_not_taken_for_fashion(tmp_path, arrays):
    write(tmp_path, arrays)
    found = hashlib.sha256(encode(arrays[0])).hexdigest()
    with raises(
        ValueError,
        f"fashion_mnist: the content of {NAMES[0]} has sha256 {found}; expected "
        f"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888. "
        f"Got {tmp_path / NAMES[0]}. "
        f"Fetch it anew, or pass verify=False for a file of your own.",
    ):
        fashion_mnist(tmp_path)


def test_missing_files(tmp_path, arrays, monkeypatch):
    write(tmp_path, arrays)
    (tmp_path / NAMES[3]).unlink()
    with raises(
        FileNotFoundError,
        f"mnist: there is no {NAMES[3]}, plain or .gz; expected the four IDX files in data_dir. "
        f"Got data_dir='{tmp_path}'. Pass download=True to fetch them.",
    ):
        mnist(tmp_path, verify=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with raises(
        FileNotFoundError,
        f"fashion_mnist: there is no {NAMES[0]}, plain or .gz; expected the four IDX files in "
        f"data_dir. Got data_dir='{tmp_path / 'cache' / 'jaxconv' / 'fashion_mnist'}'. "
        f"Pass download=True to fetch them.",
    ):
        fashion_mnist()


@pytest.mark.usefixtures("official")
def test_download_fetches_what_is_missing(tmp_path, arrays, monkeypatch):
    write(tmp_path, arrays)
    for name in NAMES[1:3]:
        (tmp_path / name).unlink()
    asked = serve(monkeypatch, dict(zip(NAMES, arrays, strict=True)))
    assert_dataset(mnist(tmp_path, download=True), arrays)
    assert asked == [f"{idx.MNIST.url}{name}.gz" for name in NAMES[1:3]]
    assert_dataset(mnist(tmp_path, download=True), arrays)
    assert len(asked) == 2  # the second time nothing is missing
    names = {NAMES[0], NAMES[3], f"{NAMES[1]}.gz", f"{NAMES[2]}.gz"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_download_of_other_content_leaves_nothing(tmp_path, arrays, monkeypatch):
    serve(monkeypatch, dict(zip(NAMES, arrays, strict=True)))
    folder = tmp_path / "new"
    with pytest.raises(ValueError, match="^mnist: the content of train-images.* has sha256 "):
        mnist(folder, download=True)
    assert list(folder.iterdir()) == []


def serve(monkeypatch, arrays):
    """Replaces the network by gzipped arrays; returns the list of the urls asked for."""
    asked = []

    def open_url(url):
        asked.append(url)
        response = io.BytesIO(gzip.compress(encode(arrays[url.rpartition("/")[2][:-3]])))
        response.headers = {}
        return response

    monkeypatch.setattr(downloads, "open_https", open_url)
    return asked


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), (2, 3, 4), (2, 1, 3, 2)])
@pytest.mark.parametrize("zipped", [False, True])
def test_read_idx(tmp_path, rng, shape, zipped):
    array = rng.integers(0, 256, shape)
    path = tmp_path / ("x.gz" if zipped else "x")
    path.write_bytes(gzip.compress(encode(array)) if zipped else encode(array))
    result = read_idx(path)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array)


GOOD = encode(np.arange(6).reshape(2, 3))
MAGIC = "expected 00 00 08 and the number of axes"
LENGTH = "bytes after its header; expected"
WRONG = {
    "empty": (b"", f"starts with nothing; {MAGIC}", "Use an IDX file of bytes"),
    "short magic": (GOOD[:3], f"starts with 00 00 08; {MAGIC}", "Use an IDX file of bytes"),
    "png": (b"\x89PNG\r\n", f"starts with 89 50 4e 47; {MAGIC}", "Use an IDX file of bytes"),
    "gzip inside": (
        gzip.compress(GOOD, mtime=0),
        f"starts with 1f 8b 08 00; {MAGIC}",
        "Use an IDX file of bytes",
    ),
    "floats": (
        b"\0\0\x0d\1" + GOOD[4:],
        f"starts with 00 00 0d 01; {MAGIC}",
        "Use an IDX file of bytes",
    ),
    "no axes": (b"\0\0\x08\0", f"starts with 00 00 08 00; {MAGIC}", "Use an IDX file of bytes"),
    "short sizes": (GOOD[:10], f"holds 0 {LENGTH} 2, as the header says", "Fetch it anew"),
    "truncated": (GOOD[:-1], f"holds 5 {LENGTH} 6, as the header says", "Fetch it anew"),
    "too long": (GOOD + b"x", f"holds more than 6 {LENGTH} 6, as the header says", "Fetch it anew"),
    "huge": (
        b"\0\0\x08\2" + b"\xff" * 8,
        f"promises {(2**32 - 1) ** 2} bytes; expected at most {2**30}",
        "Fetch it anew",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("zipped", [False, True])
def test_read_idx_refuses(tmp_path, fault, zipped):
    content, message, fix = WRONG[fault]
    path = tmp_path / ("x.gz" if zipped else "x")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with raises(ValueError, f"read_idx: {path.name} {message}. Got {path}. {fix}."):
        read_idx(path)


def test_read_idx_stops_a_bomb(tmp_path):
    path = tmp_path / "bomb.gz"
    bomb = gzip.compress(GOOD + bytes(1 << 26))  # 64 MiB of zeros in 65 kB
    path.write_bytes(bomb)
    assert len(bomb) < 100_000
    with raises(
        ValueError,
        f"read_idx: bomb.gz holds more than 6 bytes after its header; expected 6, as the header "
        f"says. Got {path}. Fetch it anew.",
    ):
        read_idx(path)


@pytest.mark.parametrize("fault", ["cut", "flipped", "no gzip"])
def test_read_idx_refuses_broken_gzip(tmp_path, fault):
    good = gzip.compress(encode(np.arange(4000) % 256), mtime=0)
    flipped = good[:-6] + bytes([good[-6] ^ 1]) + good[-5:]
    content, reason = {
        "cut": (good[:-9], "Compressed file ended before the end-of-stream marker was reached"),
        "flipped": (flipped, None),
        "no gzip": (GOOD, f"Not a gzipped file ({GOOD[:2]!r})"),
    }[fault]
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    if reason is None:
        with pytest.raises(ValueError, match=r"^read_idx: x.gz cannot be unpacked \(CRC check"):
            read_idx(path)
        return
    with raises(
        ValueError,
        f"read_idx: x.gz cannot be unpacked ({reason}); expected a whole gzip file. "
        f"Got {path}. Fetch it anew.",
    ):
        read_idx(path)


def test_axes_and_counts_are_checked(tmp_path, arrays):
    write(tmp_path, [arrays[0], arrays[1][:5], arrays[2], arrays[3]])
    with raises(
        ValueError,
        "mnist: 6 train images have 5 labels; expected as many labels as images. Got train_labels "
        "of shape (5,). Use the two files of one download.",
    ):
        mnist(tmp_path, verify=False)
    write(tmp_path, [arrays[1], arrays[1], arrays[2], arrays[3]])
    with raises(
        ValueError,
        f"mnist: {NAMES[0]} holds 1 axes; expected 3. Got {tmp_path / NAMES[0]}. "
        f"Use the official file {NAMES[0]}.",
    ):
        mnist(tmp_path, verify=False)
    write(tmp_path, [arrays[0], np.full(6, 10), arrays[2], arrays[3]])
    with raises(
        ValueError,
        "mnist: train labels run from 10 to 10; expected 0 to 9. Got train_labels of shape (6,). "
        "Use the labels that belong to these images.",
    ):
        mnist(tmp_path, verify=False)
