"""Downloads and archives: whole and checked, or an error in words and nothing left behind."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import socket
import stat
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jko import download


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; a path under /short/ announces twice the bytes that it sends."""

    def do_GET(self) -> None:
        if not self.path.startswith("/short/"):
            return super().do_GET()
        body = (Path(self.directory) / self.path.removeprefix("/short/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(2 * len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve ``folder`` on the loopback device; yields the address without a slash at its end."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def closed_port() -> int:
    """A port of the loopback device that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


BODY = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(BODY).hexdigest()


def test_fetch_writes_the_served_bytes_and_reports_the_share(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file.bin").write_bytes(BODY)
    lines: list[str] = []
    target = tmp_path / "new" / "file.bin"
    with serve(tmp_path / "www") as address:
        download.fetch(f"{address}/file.bin", target, DIGEST.upper(), lines.append)
    assert target.read_bytes() == BODY
    assert download.sha256_of(target) == DIGEST
    assert any(f"{len(BODY)} bytes of {len(BODY)} (100%)" in line for line in lines)
    assert everything_in(tmp_path / "new") == ["file.bin"]


def test_fetch_reports_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_CHUNK", 1000)
    monkeypatch.setattr(download, "_REPORT_EVERY", len(BODY) // 4)
    (tmp_path / "file.bin").write_bytes(BODY)
    lines: list[str] = []
    with serve(tmp_path) as address:
        download.fetch(f"{address}/file.bin", tmp_path / "copy", None, lines.append)
    shares = [int(line.split("(")[1].split("%")[0]) for line in lines if "(" in line]
    assert len(shares) >= 4 and shares == sorted(shares) and shares[-1] == 100


def _reject(path: Path) -> None:
    raise ValueError(f"{path.stat().st_size} bytes are not what this dataset is made of")


@pytest.mark.parametrize(
    ("path", "sha256", "check", "named"),
    [
        ("file.bin", "0" * 64, None, [DIGEST, "0" * 64]),
        ("absent.bin", None, None, ["absent.bin", "404"]),
        ("short/file.bin", None, None, [str(len(BODY)), str(2 * len(BODY))]),
        ("file.bin", DIGEST, _reject, [f"{len(BODY)} bytes are not", "file.bin"]),
    ],
    ids=["other digest", "404", "stops early", "other content"],
)
def test_fetch_names_what_is_wrong_and_keeps_nothing(
    tmp_path: Path,
    path: str,
    sha256: str | None,
    check: Callable[[Path], None] | None,
    named: list[str],
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file.bin").write_bytes(BODY)
    target = tmp_path / "out" / "file.bin"
    target.parent.mkdir()
    with serve(tmp_path / "www") as address, pytest.raises(ValueError) as caught:
        download.fetch(f"{address}/{path}", target, sha256, lambda line: None, check)
    for part in named:
        assert part in str(caught.value)
    assert everything_in(target.parent) == []


def test_a_failed_fetch_leaves_an_older_file_as_it_was(tmp_path: Path, closed_port: int) -> None:
    target = tmp_path / "file.bin"
    target.write_text("older")
    url = f"http://127.0.0.1:{closed_port}/file.bin"
    with pytest.raises(ValueError, match="cannot be reached") as caught:
        download.fetch(url, target, None, lambda line: None)
    assert url in str(caught.value)
    assert target.read_text() == "older"
    assert everything_in(tmp_path) == ["file.bin"]


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'file:///etc/hostname' is not a web address.*https://"):
        download.fetch("file:///etc/hostname", tmp_path / "x", None, lambda line: None)
    assert everything_in(tmp_path) == []


def test_reachable_asks_the_host_and_not_the_file(tmp_path: Path, closed_port: int) -> None:
    with serve(tmp_path) as address:
        assert download.reachable(f"{address}/absent")
    assert not download.reachable(f"http://127.0.0.1:{closed_port}/")


def test_reachable_gives_up_on_a_silent_host() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        assert not download.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2)
        assert time.monotonic() - started < 5


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def test_unzip_gives_the_members_back(tmp_path: Path) -> None:
    members = {"scRNAseq/a/one.txt": b"one", "scRNAseq/two.bin": BODY}
    archive = write_zip(tmp_path / "x.zip", members)
    download.unzip(archive, tmp_path / "out" / "folder")
    folder = tmp_path / "out" / "folder"
    assert {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    } == members
    assert everything_in(tmp_path / "out")[0] == "folder"
    with pytest.raises(ValueError, match="already holds files"):
        download.unzip(archive, folder)


def _truncated(path: Path) -> None:
    write_zip(path, {"a.bin": BODY})
    path.write_bytes(path.read_bytes()[:-40])


def _damaged(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.bin", BODY)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def _link(path: Path) -> None:
    member = zipfile.ZipInfo("way/out")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "/etc")


BAD_ARCHIVES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "truncated": (_truncated, ["not a whole zip file"]),
    "damaged": (_damaged, ["not a whole zip file", "a.bin"]),
    "no zip": (lambda path: path.write_text("<html>sorry</html>"), ["not a whole zip file"]),
    "empty": (lambda path: path.write_bytes(b""), ["not a whole zip file"]),
    "absent": (lambda path: None, ["there is no such file"]),
    "parent": (
        lambda path: write_zip(path, {"ok.txt": b"", "a/../../evil.txt": b"x"}),
        ["'a/../../evil.txt'", "outside its folder"],
    ),
    "absolute": (
        lambda path: write_zip(path, {"/tmp/jko-evil.txt": b"x"}),
        ["'/tmp/jko-evil.txt'", "outside its folder"],
    ),
    "backslash": (
        lambda path: write_zip(path, {"..\\evil.txt": b"x"}),
        ["evil.txt", "outside its folder"],
    ),
    "drive": (lambda path: write_zip(path, {"C:evil.txt": b"x"}), ["'C:evil.txt'", "outside"]),
    "link": (_link, ["'way/out'", "is a link"]),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_unzip_names_what_is_wrong_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    make, named = BAD_ARCHIVES[case]
    archive = tmp_path / "counts.zip"
    make(archive)
    before = everything_in(tmp_path)
    with pytest.raises(ValueError) as caught:
        download.unzip(archive, tmp_path / "out")
    for part in ["counts.zip", *named]:
        assert part in str(caught.value)
    assert everything_in(tmp_path) == before
    assert not Path("/tmp/jko-evil.txt").exists()
