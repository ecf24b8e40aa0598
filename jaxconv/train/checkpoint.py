"""Trees of arrays on disk, as safetensors: no code in the file, every entry checked.

A leaf is stored under its path, "conv_1/kernel". Writing is atomic; reading compares names, shapes
and dtypes with a tree that has the structure wanted before any array is read, and refuses what is
missing, what is unknown, and numbers that are not finite.
"""

import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _atomic
from jaxconv._extras import need

# The format's own names of the dtypes that arrays here can have.
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


def save(
    path: str | os.PathLike, tree: Any, *, metadata: dict[str, str] | None = None
) -> pathlib.Path:
    """Writes a tree of arrays to one safetensors file, whole or not at all.

    Args:
        path: the file; an older one is replaced only once the new one is complete on disk.
        tree: nested dicts, tuples and lists of arrays and numbers.
        metadata: words to keep in the file's header.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: without the extra [train].
        ValueError: when two leaves have one path, as {"a/b": ...} and {"a": {"b": ...}} do.
        TypeError: for a leaf that is no array of numbers, such as a typed random key.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> tree = {"conv": {"kernel": jnp.ones((3, 3, 1, 8)), "bias": jnp.zeros(8)}}
        >>> path = save(folder.name + "/params.safetensors", tree)
        >>> load(path, tree)["conv"]["kernel"].shape
        (3, 3, 1, 8)
        >>> folder.cleanup()
    """
    numpy_format = need("checkpoint.save", "safetensors.numpy", "train")
    arrays = {name: _to_numpy(name, leaf) for name, leaf in _named_leaves("save", tree).items()}

    def write(temporary):
        numpy_format.save_file(arrays, temporary, metadata=metadata)

    return _atomic.replace(path, write)


def load(path: str | os.PathLike, like: Any, *, check_finite: bool = True) -> Any:
    """Reads a tree of arrays that has the structure, shapes and dtypes of `like`.

    Args:
        path: a file that `save` wrote.
        like: a tree of arrays, or of `jax.ShapeDtypeStruct`, as `model.init` under
            `jax.eval_shape` makes one without allocating.
        check_finite: refuse NaNs and infinities.

    Returns:
        The tree, of `jax.Array`.

    Raises:
        ModuleNotFoundError: without the extra [train].
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is damaged or differs from `like`; every difference is listed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = save(folder.name + "/one.safetensors", {"bias": jnp.arange(3.0)})
        >>> load(path, {"bias": jax.ShapeDtypeStruct((3,), jnp.float32)})["bias"].tolist()
        [0.0, 1.0, 2.0]
        >>> folder.cleanup()
    """
    library = need("checkpoint.load", "safetensors", "train")
    path = pathlib.Path(path)
    wanted = _named_leaves("load", like)
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint.load: there is no such file; expected one that checkpoint.save wrote. "
            f"Got path={str(path)!r}. Check the path."
        )
    try:
        with library.safe_open(path, framework="np") as file:
            _compare(path, wanted, _header(file))
            arrays = [file.get_tensor(name) for name in wanted]
    except library.SafetensorError as error:
        raise ValueError(
            f"checkpoint.load: the file is damaged ({error}); expected safetensors. "
            f"Got path={str(path)!r}. Restore it from a copy."
        ) from error
    leaves = [
        _to_jax(path, name, array, check_finite=check_finite)
        for name, array in zip(wanted, arrays, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _named_leaves(where: str, tree: Any) -> dict[str, Any]:
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in named:
            raise ValueError(
                f"checkpoint.{where}: two leaves have one path; expected a path for each. "
                f"Got path={name!r} twice. Use names without '/'."
            )
        named[name] = leaf
    return named


def _to_numpy(name: str, leaf: Any) -> np.ndarray:
    key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    array = np.asarray(None if key else leaf)
    if array.dtype.name not in DTYPES.values():
        what, fix = (
            ("a random key", "jax.random.key_data(key)") if key else (array.dtype, "numbers")
        )
        raise TypeError(
            f"checkpoint.save: leaf {name!r} cannot be stored; expected an array of numbers. "
            f"Got leaf of dtype {what}. Save {fix} instead."
        )
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes () into (1,)


def _header(file: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    found = {}
    for name in file.keys():  # noqa: SIM118, it is no dict and cannot be iterated over
        entry = file.get_slice(name)
        word = entry.get_dtype()
        found[name] = tuple(entry.get_shape()), DTYPES.get(word, word)
    return found


def _compare(path: pathlib.Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Lists every difference, not the first alone."""
    faults = []
    for name, leaf in wanted.items():
        array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        expected = (tuple(array.shape), jnp.dtype(array.dtype).name)
        if name not in found:
            faults.append(f"{name!r} is missing")
        elif found[name] != expected:
            faults.append(f"{name!r} is {_words(found[name])}, expected {_words(expected)}")
    faults += [f"{name!r} is unknown" for name in found if name not in wanted]
    if faults:
        more = f" and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise ValueError(
            f"checkpoint.load: {len(faults)} entries differ from `like` "
            f"({'; '.join(faults[:8])}{more}); expected the same paths, shapes and dtypes. "
            f"Got path={str(path)!r}. Load it with the model that it was saved from."
        )


def _words(entry: tuple[tuple[int, ...], str]) -> str:
    return f"{entry[1]} {entry[0]}"


def _to_jax(path: pathlib.Path, name: str, array: np.ndarray, *, check_finite: bool) -> jax.Array:
    if check_finite and jnp.issubdtype(array.dtype, jnp.inexact):
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            raise ValueError(
                f"checkpoint.load: {name!r} holds {bad} of {array.size} numbers that are not "
                f"finite; expected finite ones. Got path={str(path)!r}. "
                f"Pass check_finite=False to load it all the same."
            )
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(
            f"checkpoint.load: {name!r} is {array.dtype}, which JAX would shorten; expected "
            f"64-bit types to be enabled. Got path={str(path)!r}. "
            f"Use jax.config.update('jax_enable_x64', True)."
        )
    return jnp.asarray(array)
