"""CIFAR's binary version: records, archives that lie, and pickles that are never loaded."""

import gzip
import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
from helpers import raises

from jaxconv.train.data import cifar, cifar10, cifar100
from jaxconv.train.data import download as downloads
from jaxconv.train.data._names import CIFAR_10, CIFAR_100, CIFAR_100_COARSE

FILES = [*cifar.CIFAR_10.train, *cifar.CIFAR_10.test]
FOLDER = cifar.CIFAR_10.folder


def record(rng, *labels):
    """One record and the image that it stands for."""
    image = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    return bytes(labels) + b"".join(image[:, :, c].tobytes() for c in range(3)), image


@pytest.fixture
def ten(rng):
    """Contents of the six files of CIFAR-10, two records each, and their images and labels."""
    contents, images, labels = {}, [], []
    for number, name in enumerate(FILES):
        pairs = [record(rng, (number + k) % 10) for k in range(2)]
        contents[name] = b"".join(content for content, _ in pairs)
        images += [image for _, image in pairs]
        labels += [number % 10, (number + 1) % 10]
    return contents, np.stack(images), labels


@pytest.fixture
def official(ten, monkeypatch):
    """Makes the small files the official ones."""
    for name, content in ten[0].items():
        pins = cifar.CIFAR_10.train if name in cifar.CIFAR_10.train else cifar.CIFAR_10.test
        monkeypatch.setitem(pins, name, hashlib.sha256(content).hexdigest())


def archive(members):
    """A .tar.gz of (name, content) pairs; a `TarInfo` in place of a name is taken as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def official_members(contents):
    return [(f"{FOLDER}/{name}", content) for name, content in contents.items()]


def assert_ten(dataset, ten):
    _, images, labels = ten
    np.testing.assert_array_equal(dataset.train_images, images[:10])
    np.testing.assert_array_equal(dataset.test_images, images[10:])
    assert [*dataset.train_labels, *dataset.test_labels] == labels
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int32
    assert dataset.train_images.flags["C_CONTIGUOUS"]
    assert dataset.classes == CIFAR_10


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("layout", ["folder", "plain", "archive"])
def test_cifar10_reads_every_layout(tmp_path, ten, layout):
    if layout == "archive":
        (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive(official_members(ten[0])))
    else:
        folder = tmp_path / FOLDER if layout == "folder" else tmp_path
        folder.mkdir(exist_ok=True)
        for name, content in ten[0].items():
            (folder / name).write_bytes(content)
    assert_ten(cifar10(tmp_path), ten)


def test_cifar100_reads_both_labels(tmp_path, rng):
    first, image = record(rng, 3, 99)
    second, other = record(rng, 19, 0)
    (tmp_path / "train.bin").write_bytes(first + second)
    (tmp_path / "test.bin").write_bytes(second)
    fine = cifar100(tmp_path, verify=False)
    assert fine.train_labels.tolist() == [99, 0]
    assert fine.classes == CIFAR_100
    np.testing.assert_array_equal(fine.train_images, np.stack([image, other]))
    coarse = cifar100(tmp_path, labels="coarse", verify=False)
    assert coarse.train_labels.tolist() == [3, 19]
    assert coarse.classes == CIFAR_100_COARSE
    with raises(
        ValueError,
        'cifar100: labels is unknown; expected one of "fine", "coarse". Got labels=\'all\'. '
        "Use labels='fine', say.",
    ):
        cifar100(tmp_path, labels="all")


def test_names():
    assert [len(names) for names in (CIFAR_10, CIFAR_100, CIFAR_100_COARSE)] == [10, 100, 20]
    for names in (CIFAR_10, CIFAR_100, CIFAR_100_COARSE):
        assert list(names) == sorted(set(names))


def test_verify_tells_other_content(tmp_path, ten):
    for name, content in ten[0].items():
        (tmp_path / name).write_bytes(content)
    found = hashlib.sha256(ten[0]["data_batch_1.bin"]).hexdigest()
    with raises(
        ValueError,
        f"cifar10: the content of data_batch_1.bin has sha256 {found}; expected "
        f"cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5. "
        f"Got {tmp_path / 'data_batch_1.bin'}. "
        f"Fetch it anew, or pass verify=False for a file of your own.",
    ):
        cifar10(tmp_path)
    assert_ten(cifar10(tmp_path, verify=False), ten)


def test_missing(tmp_path, ten):
    with raises(
        FileNotFoundError,
        f"cifar10: there is neither cifar-10-binary.tar.gz nor data_batch_1.bin; expected the "
        f"binary version in data_dir. Got data_dir='{tmp_path}'. Pass download=True to fetch it.",
    ):
        cifar10(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(ten[0]["data_batch_1.bin"])
    with raises(
        FileNotFoundError,
        f"cifar10: there is no data_batch_2.bin; expected all .bin files of the binary version. "
        f"Got data_dir='{tmp_path}'. Unpack the archive anew.",
    ):
        cifar10(tmp_path)


class Bomb:
    """Raises when it is unpickled, as an evil pickle would do worse."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        (cifar10, "cifar-10-python.tar.gz"),
        (cifar10, "cifar-10-batches-py"),
        (cifar10, "data_batch_1"),
        (cifar100, "cifar-100-python.tar.gz"),
        (cifar100, "cifar-100-python"),
        (cifar100, "train"),
    ],
)
def test_the_python_version_is_refused(tmp_path, loader, name):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    where = loader.__name__
    url = f"https://www.cs.toronto.edu/~kriz/cifar-{where[5:]}-binary.tar.gz"
    with raises(
        ValueError,
        f"{where}: {name} is the python version, a pickle, which runs code when it is loaded; "
        f"expected the binary version, cifar-{where[5:]}-binary.tar.gz. Got data_dir='{tmp_path}'. "
        f"Pass download=True, or fetch {url}.",
    ):
        loader(tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_in_disguise_is_refused(tmp_path, ten, protocol):
    evil = pickle.dumps(Bomb(), protocol).ljust(3073, b"\0")
    with pytest.raises(SystemExit, match="unpickled"):
        pickle.loads(evil)  # so it does run when it is loaded
    for name in ten[0]:
        (tmp_path / name).write_bytes(evil)
    with raises(
        ValueError,
        "cifar10: data_batch_1.bin starts like a pickle, which runs code when it is loaded; "
        "expected records of bytes. Got data_batch_1.bin of 3073 bytes. Use the binary version.",
    ):
        cifar10(tmp_path, verify=False)


@pytest.mark.parametrize(("length", "rest"), [(0, 0), (3072, 3072), (3074, 1), (6145, 3072)])
def test_records_must_be_whole(tmp_path, ten, length, rest):
    for name, content in ten[0].items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "data_batch_2.bin").write_bytes(bytes(length))
    with raises(
        ValueError,
        f"cifar10: data_batch_2.bin has {length} bytes; expected whole records of 3073. "
        f"Got {rest} bytes too many. Fetch it anew.",
    ):
        cifar10(tmp_path, verify=False)


def test_labels_must_have_names(tmp_path, ten):
    for name, content in ten[0].items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with raises(
        ValueError,
        "cifar10: test labels run from 10 to 10; expected 0 to 9. Got test_labels of shape (1,). "
        "Use the labels that belong to these images.",
    ):
        cifar10(tmp_path, verify=False)


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_strange_members_are_never_written(tmp_path, ten):
    outside = tmp_path / "outside"
    folder = tmp_path / "inside"
    folder.mkdir()
    evil = [
        ("../outside", b"evil"),
        (str(outside), b"evil"),
        (f"{FOLDER}/../../outside", b"evil"),
        (link(f"{FOLDER}/link", "/etc/passwd"), b""),
        (link(f"{FOLDER}/hard", "../outside", tarfile.LNKTYPE), b""),
        (link(f"{FOLDER}/device", "", tarfile.CHRTYPE), b""),
    ]
    content = archive(evil + official_members(ten[0]) + evil)
    (folder / "cifar-10-binary.tar.gz").write_bytes(content)
    assert_ten(cifar10(folder, verify=False), ten)
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_wanted_name_must_be_a_plain_file(tmp_path, kind):
    path = tmp_path / "cifar-10-binary.tar.gz"
    name = f"{FOLDER}/data_batch_1.bin"
    path.write_bytes(archive([(link(name, "/etc/passwd", kind), b"")]))
    with raises(
        ValueError,
        f"cifar10: the member '{name}' of {path.name} is no plain file; expected one regular file. "
        f"Got {path}. Fetch it anew: this is not the official file.",
    ):
        cifar10(tmp_path, verify=False)


def test_a_sparse_member_is_refused(tmp_path):
    # Says that it is 2⁴⁰ bytes long, all of them holes, and takes none in the archive.
    member = tarfile.TarInfo(f"{FOLDER}/data_batch_1.bin")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.map": f"{1 << 40},0",
    }
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(archive([(member, b"")]))
    with raises(
        ValueError,
        f"cifar10: the member '{member.name}' of {path.name} is no plain file; expected one "
        f"regular file. Got {path}. Fetch it anew: this is not the official file.",
    ):
        cifar10(tmp_path, verify=False)


def test_a_name_may_not_stand_twice(tmp_path, ten):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(archive(official_members(ten[0]) * 2))
    with raises(
        ValueError,
        f"cifar10: the member '{FOLDER}/data_batch_1.bin' of {path.name} stands twice in it; "
        f"expected one regular file. Got {path}. Fetch it anew: this is not the official file.",
    ):
        cifar10(tmp_path, verify=False)


def test_an_archive_must_be_complete(tmp_path, ten):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(archive(official_members(ten[0])[:4]))
    with raises(
        ValueError,
        f"cifar10: {path.name} lacks 2 of 6 members, first '{FOLDER}/data_batch_5.bin'; expected "
        f"all of them. Got {path}. Fetch it anew.",
    ):
        cifar10(tmp_path, verify=False)


@pytest.mark.parametrize("fault", ["cut", "no gzip", "no tar", "empty"])
def test_a_broken_archive_is_named(tmp_path, ten, fault):
    good = archive(official_members(ten[0]))
    content, reason = {
        "cut": (good[: len(good) // 2], "Compressed file ended before the end-of-stream marker"),
        "no gzip": (b"hello" * 300, "Not a gzipped file (b'he')"),
        "no tar": (gzip.compress(b"hello" * 300), "invalid header"),
        "empty": (b"", "empty file"),
    }[fault]
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        cifar10(tmp_path, verify=False)
    start, _, end = str(caught.value).partition(reason)
    assert start == f"cifar10: {path.name} cannot be read ("
    assert end.endswith(f"); expected a whole .tar.gz. Got {path}. Fetch it anew.")


@pytest.mark.parametrize("place", ["member", "header"])
def test_an_archive_may_not_be_a_bomb(tmp_path, ten, monkeypatch, place):
    monkeypatch.setattr(cifar, "LARGEST", 1 << 20)
    if place == "member":
        members = [("zeros", bytes(1 << 22)), *official_members(ten[0])]
    else:  # a header that tarfile would read into memory whole
        long = tarfile.TarInfo("x" * (1 << 22))
        members = [(long, b""), *official_members(ten[0])]
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(archive(members))
    assert path.stat().st_size < 1 << 19
    with raises(
        ValueError,
        f"cifar10: {path.name} unpacks to more than {1 << 20} bytes; expected no more. "
        f"Got {path}. Fetch it anew: this is not the official file.",
    ):
        cifar10(tmp_path, verify=False)


def test_a_huge_file_is_not_read(tmp_path):
    with open(tmp_path / "data_batch_1.bin", "wb") as file:
        file.truncate(1 << 33)  # a sparse file: 8 GiB that take no room
    with raises(
        ValueError,
        f"cifar10: data_batch_1.bin has {1 << 33} bytes; expected at most {1 << 28}. "
        f"Got {tmp_path / 'data_batch_1.bin'}. Unpack the archive anew.",
    ):
        cifar10(tmp_path, verify=False)


@pytest.mark.usefixtures("official")
def test_download(tmp_path, ten, monkeypatch):
    content = archive(official_members(ten[0]))
    asked = []

    def open_url(url):
        asked.append(url)
        response = io.BytesIO(content)
        response.headers = {"Content-Length": str(len(content))}
        return response

    monkeypatch.setattr(downloads, "open_https", open_url)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(ValueError, match=f"^cifar10: the content of cifar-10.* has sha256 {found}"):
        cifar10(tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []
    source = cifar.CIFAR_10._replace(archive_sha256=found)
    monkeypatch.setattr(cifar, "CIFAR_10", source)
    assert_ten(cifar10(tmp_path, download=True), ten)
    assert_ten(cifar10(tmp_path, download=True), ten)
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"] * 2
