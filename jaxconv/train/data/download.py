"""Files from the network and from archives, trusted only once their content is checked.

https only, also behind redirects; a cap on the bytes read; to a temporary file beside the target,
which takes the target's name only after `verify` has passed. Archive members are read from the
stream by exact name, so no name in an archive ever becomes a path.
"""

import gzip
import hashlib
import os
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

from jaxconv._extras import need

BLOCK = 1 << 20
TIMEOUT = 60  # seconds without a byte


def download(
    url: str,
    path: Path,
    *,
    limit: int,
    verify: Callable[[Path], Any],
    open_url: Callable[[str], Any] | None = None,
) -> Path:
    """Fetches a file; `path` exists afterwards only with content that passed `verify`.

    Args:
        url: where from; https.
        path: where to; its folder is made when missing.
        limit: most bytes to accept.
        verify: given the temporary file, raises when the content is not what was wanted.
        open_url: opens a url as a context manager with `read` and `headers`; for tests.

    Returns:
        `path`.

    Raises:
        ValueError: for a url or a redirect that is not https, for more than `limit` bytes, for
            fewer than announced, and whatever `verify` raises.
        OSError: when the network or the disk fails.

    Example:
        >>> download("http://example.org/a.gz", Path("a.gz"), limit=9, verify=print)
        Traceback (most recent call last):
        ValueError: download: the url is not https; expected https://. Got
        url='http://example.org/a.gz'. Use https://example.org/a.gz.
    """
    require_https(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, (open_url or open_https)(url) as response:
            _copy(response, file, url, limit)
        verify(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def require_https(url: str, argument: str = "url") -> None:
    """Refuses every scheme but https."""
    scheme, _, rest = url.partition("://")
    if urlsplit(url).scheme != "https":
        raise ValueError(
            f"download: the {argument} is not https; expected https://. "
            f"Got {argument}={url!r}. Use https://{rest or scheme}."
        )


class HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https and refuses all others."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """The request that follows, as the base class makes it, for an https `newurl` only."""
        try:
            require_https(newurl, "redirect")
        except ValueError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_https(url: str) -> Any:
    """The response to a request, by way of https only; `TimeoutError` after a minute of silence."""
    opener = urllib.request.build_opener(HttpsRedirects)
    return opener.open(url, timeout=TIMEOUT)


def _copy(response: Any, file: IO[bytes], url: str, limit: int) -> None:
    announced = int(response.headers.get("Content-Length") or 0)
    received = 0
    bar = need("download", "tqdm", "train").tqdm(
        total=announced or None, unit="B", unit_scale=True, desc=Path(url).name, disable=None
    )
    with bar:
        while max(announced, received) <= limit:
            block = response.read(BLOCK)
            if not block:
                break
            file.write(block)
            received += len(block)
            bar.update(len(block))
    if max(announced, received) > limit:
        raise ValueError(
            f"download: the file has at least {max(announced, received)} bytes; expected at most "
            f"{limit}. Got url={url!r}. Fetch it by hand and pass data_dir."
        )
    if announced and received != announced:
        raise ValueError(
            f"download: {received} of {announced} bytes arrived; expected all of them. "
            f"Got url={url!r}. Try again."
        )


def cache_dir(name: str) -> Path:
    """Where a data set is kept when no `data_dir` is given: ~/.cache/jaxconv/name."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "jaxconv" / name


def require_sha256(where: str, path: Path, sha256: str, content: bytes | None = None) -> None:
    """Compares the sha256 of a file, or of the content read from it, with the official one."""
    if content is None:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{where}: the content of {path.name} has sha256 {found}; expected {sha256}. "
            f"Got {path}. Fetch it anew, or pass verify=False for a file of your own."
        )


class CappedReader:
    """A stream that raises once more than `limit` bytes came out of it: no bomb gets further."""

    def __init__(self, where: str, path: Path, stream: BinaryIO | gzip.GzipFile, limit: int):
        """Reads `stream`; `where` and `path` are for the error."""
        self.where, self.path, self.stream = where, path, stream
        self.limit, self.count = limit, 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes, and never more than one byte past the limit."""
        block = self.stream.read(min(size, self.limit + 1 - self.count))
        self.count += len(block)
        if self.count > self.limit:
            raise ValueError(
                f"{self.where}: {self.path.name} unpacks to more than {self.limit} bytes; expected "
                f"no more. Got {self.path}. Fetch it anew: this is not the official file."
            )
        return block


def read_members(where: str, path: Path, names: Collection[str], *, limit: int) -> dict[str, bytes]:
    """Contents of the regular files with exactly these names in a .tar.gz; nothing is extracted.

    Args:
        where: the caller, for errors.
        path: the archive.
        names: full names of the members wanted; all others are skipped, whatever they are called.
        limit: most bytes that the whole archive may unpack to, headers included.

    Returns:
        The content of every name.

    Raises:
        ValueError: when the archive is corrupt, too large, lacks a name, holds one twice, or holds
            under such a name anything but a regular file.
    """
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(path) as unpacked:
            reader: Any = CappedReader(where, path, unpacked, limit)
            with tarfile.open(fileobj=reader, mode="r|") as archive:
                for member in archive:
                    if member.name in names:
                        _require_plain(where, path, member, contents)
                        stream = archive.extractfile(member)
                        contents[member.name] = stream.read() if stream else b""
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{where}: {path.name} cannot be read ({error}); expected a whole .tar.gz. "
            f"Got {path}. Fetch it anew."
        ) from error
    missing = sorted(set(names) - set(contents))
    if missing:
        raise ValueError(
            f"{where}: {path.name} lacks {len(missing)} of {len(names)} members, first "
            f"{missing[0]!r}; expected all of them. Got {path}. Fetch it anew."
        )
    return contents


def _require_plain(
    where: str, path: Path, member: tarfile.TarInfo, contents: Collection[str]
) -> None:
    plain = member.isreg() and not member.issparse()  # a sparse file is a bomb without bytes
    if plain and member.name not in contents:
        return
    fault = "stands twice in it" if member.name in contents else "is no plain file"
    raise ValueError(
        f"{where}: the member {member.name!r} of {path.name} {fault}; expected one regular file. "
        f"Got {path}. Fetch it anew: this is not the official file."
    )
