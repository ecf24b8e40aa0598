"""Downloads: https only, capped, checked before the file gets its name; all on this machine."""

import hashlib
import http.server
import io
import threading
import urllib.request

import pytest
from helpers import raises

from jaxconv.train.data import download as downloads

CONTENT = bytes(range(256)) * 5000  # more than one block
URL = "https://example.org/file.gz"


def opener(content, headers=None):
    def open_url(url):
        assert url == URL
        response = io.BytesIO(content)
        response.headers = {"Content-Length": str(len(content))} if headers is None else headers
        return response

    return open_url


def fetch(path, open_url, *, limit=1 << 21, verify=lambda path: None):
    return downloads.download(URL, path, limit=limit, verify=verify, open_url=open_url)


@pytest.mark.parametrize("headers", [None, {}])
def test_download(tmp_path, headers):
    seen = []

    def verify(path):
        seen.append((path, path.read_bytes()))

    path = tmp_path / "new" / "folder" / "file.gz"
    assert fetch(path, opener(CONTENT, headers), verify=verify) == path
    assert path.read_bytes() == CONTENT
    [(temporary, content)] = seen
    assert content == CONTENT
    assert temporary.parent == path.parent  # one file system, so that the renaming is atomic
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_fails_its_check_is_removed(tmp_path):
    def verify(path):
        downloads.require_sha256("mnist", path, "0" * 64)

    path = tmp_path / "file.gz"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=f"sha256 {hashlib.sha256(CONTENT).hexdigest()};"):
        fetch(path, opener(CONTENT), verify=verify)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError("network down"), KeyboardInterrupt()])
def test_an_interrupted_download_leaves_nothing(tmp_path, failure):
    class Response(io.BytesIO):
        headers = {}

        def read(self, size):
            if self.tell():
                raise failure
            return super().read(size)

    with pytest.raises(type(failure)):
        fetch(tmp_path / "file.gz", lambda _: Response(CONTENT))
    assert list(tmp_path.iterdir()) == []


def test_a_short_answer_is_refused(tmp_path):
    headers = {"Content-Length": str(len(CONTENT) + 1)}
    with raises(
        ValueError,
        f"download: 1280000 of 1280001 bytes arrived; expected all of them. Got url='{URL}'. "
        f"Try again.",
    ):
        fetch(tmp_path / "file.gz", opener(CONTENT, headers))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("headers", "least"), [(None, 1280000), ({}, 1280000)])
def test_a_long_answer_is_refused(tmp_path, headers, least):
    with raises(
        ValueError,
        f"download: the file has at least {least} bytes; expected at most 1279999. "
        f"Got url='{URL}'. Fetch it by hand and pass data_dir.",
    ):
        fetch(tmp_path / "file.gz", opener(CONTENT, headers), limit=len(CONTENT) - 1)
    assert list(tmp_path.iterdir()) == []
    fetch(tmp_path / "file.gz", opener(CONTENT, headers), limit=len(CONTENT))


def test_an_endless_answer_is_cut(tmp_path):
    class Endless(io.BytesIO):
        headers = {}
        count = 0

        def read(self, size):
            Endless.count += size
            return bytes(size)

    with pytest.raises(ValueError, match=r"^download: the file has at least 3145728 bytes;"):
        fetch(tmp_path / "file.gz", lambda _: Endless())
    assert Endless.count <= (1 << 21) + downloads.BLOCK


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("http://example.org/a", "https://example.org/a"),
        ("ftp://example.org/a", "https://example.org/a"),
        ("file:///etc/passwd", "https:///etc/passwd"),
        ("example.org/a", "https://example.org/a"),
    ],
)
def test_only_https(tmp_path, url, fix):
    with raises(
        ValueError,
        f"download: the url is not https; expected https://. Got url='{url}'. Use {fix}.",
    ):
        downloads.download(url, tmp_path / "a", limit=9, verify=print)
    assert list(tmp_path.iterdir()) == []


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends /away elsewhere, and answers anything else."""

    def do_GET(self):
        away = self.path == "/away"
        self.send_response(302 if away else 200)
        if away:
            self.send_header("Location", "/plain")
        self.send_header("Content-Length", "0" if away else "5")
        self.end_headers()
        self.wfile.write(b"" if away else b"plain")

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    """The address of a server on this machine that speaks http."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as instance:
        thread = threading.Thread(target=instance.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{instance.server_port}"
        instance.shutdown()
        thread.join()


def test_a_redirect_to_http_is_refused(server):
    direct = urllib.request.ProxyHandler({})
    lax = urllib.request.build_opener(direct)
    with lax.open(f"{server}/away", timeout=10) as response:
        assert response.read() == b"plain"  # what happens without the check
    strict = urllib.request.build_opener(direct, downloads.HttpsRedirects)
    with strict.open(f"{server}/there", timeout=10) as response:
        assert response.read() == b"plain"
    with raises(
        ValueError,
        f"download: the redirect is not https; expected https://. Got redirect='{server}/plain'. "
        f"Use https://{server[7:]}/plain.",
    ):
        strict.open(f"{server}/away", timeout=10)


def test_a_redirect_to_https_is_followed():
    request = urllib.request.Request("https://example.org/a")
    follow = downloads.HttpsRedirects().redirect_request
    new = follow(request, io.BytesIO(), 302, "Found", {}, "https://example.com/b")
    assert new.full_url == "https://example.com/b"


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert downloads.cache_dir("mnist") == tmp_path / "jaxconv" / "mnist"
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("XDG_CACHE_HOME")
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert downloads.cache_dir("mnist") == tmp_path / ".cache" / "jaxconv" / "mnist"


def test_urls_of_the_data_sets_are_https():
    from jaxconv.train.data import cifar, idx

    for source in (idx.MNIST, idx.FASHION_MNIST, cifar.CIFAR_10, cifar.CIFAR_100):
        downloads.require_https(source.url)
