"""The downloader against a local server that misbehaves in the ways real ones do."""

from __future__ import annotations

import errno
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from sam2_backbone import download as download_module
from sam2_backbone.download import cache_folder, download
from sam2_backbone.errors import DownloadError

CONTENT = np.random.default_rng(0).bytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` and can be told to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = CONTENT
        self.etag: str | None = '"version-1"'
        self.ranges = True
        self.statuses: list[int] = []  # answered once each before anything else
        self.break_after: list[int] = []  # bytes after which each next answer breaks off
        self.tells_length = True
        self.asked: list[str | None] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when the client hangs up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pt"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = 0
        if asked and server.ranges and self.headers.get("If-Range") in (None, server.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(server.content):
                self.send_error(416)
                return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
        if server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        if server.break_after:
            body = body[: server.break_after.pop(0)]
        self.wfile.write(body)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "PAUSE", 0.0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "weights.pt"


def only_file(target: Path) -> bool:
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_whole_file_with_progress(server: Server, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    got = download(
        server.url, target, sha256=SHA256, progress=lambda done, total: seen.append((done, total))
    )
    assert got == target
    assert target.read_bytes() == CONTENT
    assert only_file(target)
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_progress_bar_is_silent_off_a_terminal(
    server: Server, target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    download(server.url, target, sha256=SHA256)
    assert capfd.readouterr() == ("", "")


def test_right_file_is_not_fetched_again(server: Server, target: Path) -> None:
    download(server.url, target, sha256=SHA256)
    download(server.url, target, sha256=SHA256.upper())
    assert len(server.asked) == 1


def test_wrong_file_under_the_final_name_is_replaced(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"old")
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_break_in_the_middle_is_continued(server: Server, target: Path) -> None:
    server.break_after = [600_000, 300_000]
    seen: list[int] = []
    download(server.url, target, sha256=SHA256, progress=lambda done, _: seen.append(done))
    assert server.asked == [None, "bytes=600000-", "bytes=900000-"]
    assert target.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert only_file(target)


def test_a_later_call_continues(server: Server, target: Path) -> None:
    server.break_after = [500_000]
    server.statuses = []
    real_open = download_module._open

    def offline_after_first(task: object) -> object:
        if server.asked:
            raise download_module._BrokenOff("no connection (cable cut)")
        return real_open(task)

    download_module._open = offline_after_first
    try:
        with pytest.raises(DownloadError, match=r"cable cut.*500,000 bytes are kept"):
            download(server.url, target, sha256=SHA256)
    finally:
        download_module._open = real_open
    assert not target.exists()
    download(server.url, target, sha256=SHA256)
    assert server.asked == [None, "bytes=500000-"]
    assert target.read_bytes() == CONTENT


def test_server_without_ranges_starts_over(server: Server, target: Path) -> None:
    server.ranges = False
    server.break_after = [700_000]
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert only_file(target)


def test_new_version_on_the_server_is_fetched_from_its_start(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "weights.pt.part").write_bytes(b"x" * 1000)
    (target.parent / "weights.pt.part.etag").write_text('"version-0"')
    download(server.url, target, sha256=SHA256)
    assert server.asked == ["bytes=1000-"]
    assert target.read_bytes() == CONTENT


def test_foreign_part_without_etag_is_thrown_away(server: Server, target: Path) -> None:
    server.etag = None
    target.parent.mkdir()
    (target.parent / "weights.pt.part").write_bytes(b"x" * 1000)
    download(server.url, target, sha256=SHA256)
    assert server.asked == ["bytes=1000-", None]
    assert target.read_bytes() == CONTENT


def test_part_longer_than_the_file(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "weights.pt.part").write_bytes(CONTENT + b"more")
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_complete_part_needs_no_network(target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "weights.pt.part").write_bytes(CONTENT)
    download("http://127.0.0.1:9/weights.pt", target, sha256=SHA256)
    assert only_file(target)


def test_wrong_content_leaves_nothing(server: Server, target: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=r"not the expected one \(its SHA-256 differs\)"):
        download(server.url, target, sha256=SHA256)
    assert list(target.parent.iterdir()) == []


def test_break_off_of_unknown_length_leaves_nothing(server: Server, target: Path) -> None:
    server.tells_length = False
    server.break_after = [400_000]
    with pytest.raises(DownloadError, match="SHA-256"):
        download(server.url, target, sha256=SHA256)
    assert list(target.parent.iterdir()) == []


def test_not_found(server: Server, target: Path) -> None:
    server.statuses = [404]
    with pytest.raises(DownloadError, match="answered 404 Not Found"):
        download(server.url, target, sha256=SHA256)
    assert list(target.parent.iterdir()) == []
    assert len(server.asked) == 1


def test_busy_server_is_asked_again(server: Server, target: Path) -> None:
    server.statuses = [503, 500]
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_server_that_stays_busy(server: Server, target: Path) -> None:
    server.statuses = [503] * 20
    with pytest.raises(DownloadError, match="503 Service Unavailable"):
        download(server.url, target, sha256=SHA256)
    assert len(server.asked) == download_module.TRIES


def test_refused_connection(target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match=r"no connection \(Connection refused\)") as caught:
        download(f"http://127.0.0.1:{port}/weights.pt", target, sha256=SHA256)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_silent_server(target: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pt"
        with pytest.raises(DownloadError, match="no answer in time"):
            download(url, target, sha256=SHA256, timeout=0.05)
    assert not target.exists()


def test_disk_known_to_be_too_small(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda folder: Usage)
    with pytest.raises(DownloadError, match=r"disk space .*1,500,000 bytes are needed"):
        download(server.url, target, sha256=SHA256)
    assert list(target.parent.iterdir()) == []


def test_disk_full_while_writing(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module.os, "fsync", no_sync)
    with pytest.raises(DownloadError, match="Not enough disk space"):
        download(server.url, target, sha256=SHA256)
    assert list(target.parent.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_device_that_is_really_full(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "weights.pt.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="Not enough disk space"):
        download(server.url, target, sha256=SHA256)
    assert list(target.parent.iterdir()) == []


def test_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"make the folder writable"):
        download(server.url, tmp_path / "file" / "weights.pt", sha256=SHA256)


@pytest.mark.parametrize(
    ("url", "sha256", "message"),
    [
        ("file:///etc/passwd", SHA256, "http or https"),
        ("weights.pt", SHA256, "http or https"),
        ("http://127.0.0.1/x", "abc", "SHA-256"),
    ],
)
def test_wrong_arguments(target: Path, url: str, sha256: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        download(url, target, sha256=sha256)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAPARI_SAM2_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("NAPARI_SAM2_CACHE", "~/models")
    assert cache_folder() == Path.home() / "models"
    monkeypatch.delenv("NAPARI_SAM2_CACHE")
    assert cache_folder().name == "napari-sam2"
