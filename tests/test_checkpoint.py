"""Checkpoints: what is saved comes back, what is wrong is refused and named, nothing is half."""

import json
import os
import struct
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, raises

from jaxconv import _atomic, _extras
from jaxconv.train import checkpoint


class Pair(NamedTuple):
    left: object
    right: object


def tree():
    return {
        "conv_1": {"kernel": jnp.arange(18.0).reshape(3, 3, 1, 2), "bias": jnp.zeros(2)},
        "half": jnp.asarray([1.5, -2.0], jnp.bfloat16),
        "bytes": np.arange(5, dtype=np.uint8),
        "flag": jnp.asarray([True, False]),
        "list": [jnp.float16(3.0), (jnp.int32(-7), np.empty((0, 3), np.float32))],
        "pair": Pair(jnp.int8(-3), {}),
    }


def entries(path):
    """The header as the format defines it: 8 bytes of length, then JSON."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + size])


def test_what_is_saved_comes_back(tmp_path):
    path = checkpoint.save(tmp_path / "tree.safetensors", tree(), metadata={"step": "3"})
    back = checkpoint.load(path, tree())
    assert_close(back, tree(), tolerance=0.0)
    assert back["pair"].right == {}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(back))


def test_names_are_paths_and_the_format_is_safetensors(tmp_path):
    found = entries(checkpoint.save(tmp_path / "t", tree(), metadata={"step": "3"}))
    assert found.pop("__metadata__") == {"step": "3"}
    assert {name: (entry["dtype"], entry["shape"]) for name, entry in found.items()} == {
        "conv_1/kernel": ("F32", [3, 3, 1, 2]),
        "conv_1/bias": ("F32", [2]),
        "half": ("BF16", [2]),
        "bytes": ("U8", [5]),
        "flag": ("BOOL", [2]),
        "list/0": ("F16", []),
        "list/1/0": ("I32", []),
        "list/1/1": ("F32", [0, 3]),
        "pair/left": ("I8", []),
    }


def test_shapes_alone_are_enough_to_load(tmp_path):
    params = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)}
    path = checkpoint.save(tmp_path / "t", params)
    like = jax.eval_shape(lambda: {"kernel": jnp.zeros((3, 4))})
    assert_close(checkpoint.load(path, like), params, tolerance=0.0)


def test_arrays_of_any_memory_order_come_back(tmp_path):
    rows = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    path = checkpoint.save(tmp_path / "t", {"columns": rows.T, "every": rows[:, ::2]})
    back = checkpoint.load(path, {"columns": rows.T, "every": rows[:, ::2]})
    np.testing.assert_array_equal(back["columns"], rows.T)
    np.testing.assert_array_equal(back["every"], rows[:, ::2])


def test_every_difference_is_listed(tmp_path):
    path = checkpoint.save(tmp_path / "t", {"a": jnp.zeros(3), "b": jnp.zeros(2), "c": jnp.ones(1)})
    like = {"a": jnp.zeros((3, 1)), "b": jnp.zeros(2, jnp.int32), "d": jnp.zeros(1)}
    message = (
        "checkpoint.load: 4 entries differ from `like` ('a' is float32 (3,), expected float32 "
        "(3, 1); 'b' is float32 (2,), expected int32 (2,); 'd' is missing; 'c' is unknown); "
        "expected the same paths, shapes and dtypes. "
        f"Got path={str(path)!r}. Load it with the model that it was saved from."
    )
    with raises(ValueError, message):
        checkpoint.load(path, like)


def test_a_long_list_of_differences_is_cut(tmp_path):
    path = checkpoint.save(tmp_path / "t", {"a": jnp.zeros(1)})
    like = {f"layer_{number}": jnp.zeros(1) for number in range(20)}
    with pytest.raises(
        ValueError, match=r"21 entries differ .* is missing and 13 more\); expected"
    ):
        checkpoint.load(path, like)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, bad, dtype):
    params = {"kernel": jnp.asarray([1.0, bad, 2.0], dtype), "count": jnp.arange(3)}
    path = checkpoint.save(tmp_path / "t", params)
    message = (
        "checkpoint.load: 'kernel' holds 1 of 3 numbers that are not finite; expected finite ones. "
        f"Got path={str(path)!r}. Pass check_finite=False to load it all the same."
    )
    with raises(ValueError, message):
        checkpoint.load(path, params)
    assert_close(checkpoint.load(path, params, check_finite=False), params, tolerance=0.0)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.safetensors"
    message = (
        "checkpoint.load: there is no such file; expected one that checkpoint.save wrote. "
        f"Got path={str(path)!r}. Check the path."
    )
    with raises(FileNotFoundError, message):
        checkpoint.load(path, {})


def _header(entry, data=b"", name="a"):
    text = json.dumps({name: entry}).encode()
    return struct.pack("<Q", len(text)) + text + data


SOUND = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DAMAGED = {
    "empty": b"",
    "shorter than its length field": b"\x01\x02\x03",
    "header longer than the file": struct.pack("<Q", 2**40) + b"{}",
    "not JSON": struct.pack("<Q", 4) + b"nope",
    "not UTF-8": struct.pack("<Q", 2) + b"\xff\xfe",
    "half of the data": _header(SOUND, b"\0" * 4),
    "more data than the header says": _header(SOUND, b"\0" * 12),
    "shape and size differ": _header({**SOUND, "shape": [3]}, b"\0" * 8),
    "offsets beyond the end": _header({**SOUND, "data_offsets": [0, 80]}, b"\0" * 8),
    "unknown dtype": _header({**SOUND, "dtype": "F33"}, b"\0" * 8),
    "shape that overflows": _header({**SOUND, "shape": [2**62, 2**62]}, b"\0" * 8),
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_files_are_refused(tmp_path, fault):
    path = tmp_path / "t.safetensors"
    path.write_bytes(DAMAGED[fault])
    with pytest.raises(ValueError, match=r"checkpoint.load: the file is damaged \(.*\); expected"):
        checkpoint.load(path, {"a": jnp.zeros(2)})


def test_the_damaged_files_differ_from_a_sound_one_only_in_their_damage(tmp_path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(_header(SOUND, np.asarray([1.0, 2.0], np.float32).tobytes()))
    assert checkpoint.load(path, {"a": jnp.zeros(2)})["a"].tolist() == [1.0, 2.0]


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = checkpoint.save(tmp_path / "t", {"a": jnp.arange(40.0)})
    raw = path.read_bytes()
    for eighth in range(8):
        path.write_bytes(raw[: len(raw) * eighth // 8])
        with pytest.raises(ValueError, match="damaged"):
            checkpoint.load(path, {"a": jnp.zeros(40)})


def test_paths_that_coincide_are_refused(tmp_path):
    message = (
        "checkpoint.save: two leaves have one path; expected a path for each. "
        "Got path='a/b' twice. Use names without '/'."
    )
    with raises(ValueError, message):
        checkpoint.save(tmp_path / "t", {"a": {"b": jnp.zeros(1)}, "a/b": jnp.zeros(1)})


def test_what_is_no_array_is_refused(tmp_path):
    message = (
        "checkpoint.save: leaf 'key' cannot be stored; expected an array of numbers. "
        "Got leaf of dtype a random key. Save jax.random.key_data(key) instead."
    )
    with raises(TypeError, message):
        checkpoint.save(tmp_path / "t", {"key": jax.random.key(0)})
    message = (
        "checkpoint.save: leaf 'name' cannot be stored; expected an array of numbers. "
        "Got leaf of dtype <U5. Save numbers instead."
    )
    with raises(TypeError, message):
        checkpoint.save(tmp_path / "t", {"name": "words"})
    assert not list(tmp_path.iterdir())


def test_64_bits_are_never_shortened_in_silence(tmp_path):
    path = checkpoint.save(tmp_path / "t", {"a": np.arange(3.0)})
    message = (
        "checkpoint.load: 'a' is float64, which JAX would shorten; expected 64-bit types to be "
        f"enabled. Got path={str(path)!r}. Use jax.config.update('jax_enable_x64', True)."
    )
    with raises(ValueError, message):
        checkpoint.load(path, {"a": np.arange(3.0)})
    with jax.enable_x64(True):
        assert checkpoint.load(path, {"a": np.arange(3.0)})["a"].dtype == jnp.float64


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = checkpoint.save(tmp_path / "t", {"a": jnp.ones(2)})

    def broken(temporary):
        temporary.write_bytes(b"half a fi")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        _atomic.replace(path, broken)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]
    assert checkpoint.load(path, {"a": jnp.ones(2)})["a"].tolist() == [1.0, 1.0]


def test_the_new_file_is_whole_before_it_takes_the_name(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path / "t", {"a": jnp.ones(2)})
    flushed = []
    real = os.fsync

    def fsync(descriptor):
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)
        if len(flushed) == 1:  # the new file is on disk, the name still holds the old one
            assert checkpoint.load(path, {"a": jnp.ones(2)})["a"].tolist() == [1.0, 1.0]

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to see which file a descriptor is")
    monkeypatch.setattr(os, "fsync", fsync)
    checkpoint.save(path, {"a": jnp.zeros(2)})
    assert [os.path.basename(name) for name in flushed] == [
        f".t.{os.getpid()}.tmp",
        tmp_path.name,
    ]
    assert checkpoint.load(path, {"a": jnp.ones(2)})["a"].tolist() == [0.0, 0.0]


def test_a_missing_extra_is_named():
    message = (
        "checkpoint.save: no_such_package is not installed; expected the extra [train]. "
        "Got no module 'no_such_package.numpy'. Run: pip install 'jaxconv[train]'."
    )
    with raises(ModuleNotFoundError, message):
        _extras.need("checkpoint.save", "no_such_package.numpy", "train")


def test_a_package_that_is_broken_inside_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "installed_but_broken.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with raises(ModuleNotFoundError, "No module named 'no_such_package'"):
        _extras.need("here", "installed_but_broken", "train")
