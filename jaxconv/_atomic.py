"""Files that appear whole or not at all."""

import os
import pathlib
from collections.abc import Callable


def replace(path: str | os.PathLike, write: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Writes a file beside its place, flushes it to the disk, then renames it there.

    Whoever looks at `path` sees the old file or the new one, after a crash too.

    Args:
        path: where the file goes; its folder must exist.
        write: fills the temporary path that it is given.

    Returns:
        The path.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)
    return path


def _flush_folder(folder: pathlib.Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and renames are journaled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
