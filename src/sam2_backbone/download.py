"""Fetches one file of known hash over HTTP, resuming where an earlier try broke off."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sam2_backbone.errors import DownloadError

__all__ = ["cache_folder", "download"]

Progress = Callable[[int, int | None], None]

CHUNK = 1 << 18  # bytes; what a broken connection may lose
TRIES = 4  # without a byte gained; each gain starts the count anew
PAUSE = 0.5  # seconds before the second try, doubled each time
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _BrokenOff(Exception):
    """The connection failed in a way that another try may mend."""


def cache_folder() -> Path:
    """Return the folder of downloaded model files; it may not exist yet.

    `NAPARI_SAM2_CACHE` if set, else the platform's cache folder for "napari-sam2".
    """
    override = os.environ.get("NAPARI_SAM2_CACHE")
    if override:
        return Path(override).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("napari-sam2")


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    progress: bool | Progress = True,
    timeout: float = 30,
) -> Path:
    """Download `url` to `target` unless the right file is there already.

    The bytes go to ``<target>.part``, which stays after a broken connection and is continued by
    the next call if the server allows it. Only a complete file of the right hash gets the final
    name, in one step.

    Parameters
    ----------
    url
        An http or https address.
    target
        Final path; its folder is made if missing.
    sha256
        Hash of the whole file, 64 hexadecimal digits.
    progress
        True: a bar on a terminal. A function gets (bytes so far, bytes in all or None).
    timeout
        Seconds without a byte after which the connection counts as broken.

    Raises
    ------
    DownloadError
        No connection, an answer other than the file, no space, or the wrong hash.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"Cannot download {url!r}: give an http or https address.")
    sha256 = sha256.lower()
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ValueError(f"{sha256!r} is not a SHA-256 hash: give 64 hexadecimal digits.")
    task = _Task(url=url, target=Path(target), sha256=sha256, timeout=timeout)
    with _writing(task):
        if task.target.is_file() and file_sha256(task.target) == sha256:
            return task.target
        task.target.parent.mkdir(parents=True, exist_ok=True)
    if not _has_hash(task):
        with _reporter(task.name, progress) as report:
            _fetch(task, report)
            if task.resumed and not _has_hash(task):
                # The start came from another version of the file: once more from nothing.
                task.discard()
                _fetch(task, report)
    if not _has_hash(task):
        task.discard()
        raise DownloadError(
            f"The file that {task.host} sent for {task.name} is not the expected one "
            "(its SHA-256 differs): try again later, or get it from another source."
        )
    with _writing(task):
        os.replace(task.part, task.target)
        task.validator.unlink(missing_ok=True)
    return task.target


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass
class _Task:
    url: str
    target: Path
    sha256: str
    timeout: float
    resumed: bool = False  # bytes of an earlier call are in the part file

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def host(self) -> str:
        return urllib.parse.urlsplit(self.url).netloc

    @property
    def part(self) -> Path:
        return self.target.with_name(self.name + ".part")

    @property
    def validator(self) -> Path:
        """File with the ETag or date of the version that the part file belongs to."""
        return self.target.with_name(self.name + ".part.etag")

    @property
    def part_size(self) -> int:
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)
        self.resumed = False


def _has_hash(task: _Task) -> bool:
    with _writing(task):
        return task.part.is_file() and file_sha256(task.part) == task.sha256


def _fetch(task: _Task, report: Progress) -> None:
    """Fill the part file, trying again as long as that brings bytes."""
    tries = 0
    while True:
        before = task.part_size
        try:
            return _fetch_once(task, report)
        except _BrokenOff as exc:
            tries = 1 if task.part_size > before else tries + 1
            if tries >= TRIES:
                kept = f" ({task.part_size:,} bytes are kept and continued next time)"
                raise DownloadError(
                    f"Could not download {task.name} from {task.host}: {exc}; check the network "
                    f"and try again{kept if task.part_size else ''}, or place the file at "
                    f"{task.target} yourself."
                ) from exc
            time.sleep(PAUSE * 2 ** (tries - 1))


def _fetch_once(task: _Task, report: Progress) -> None:
    with _open(task) as response, _writing(task):
        offset, total = _place(task, response)
        task.resumed = task.resumed or offset > 0
        _check_space(task, offset, total)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        # A weak tag (W/"…") does not promise equal bytes and is not allowed in If-Range.
        task.validator.write_text("" if tag.startswith("W/") else tag, encoding="utf-8")
        done = offset
        with task.part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            report(done, total)
            while chunk := _read(response):
                file.write(chunk)
                done += len(chunk)
                report(done, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and done < total:
        raise _BrokenOff(f"the connection ended after {done:,} of {total:,} bytes")


def _open(task: _Task) -> http.client.HTTPResponse:
    """Ask for the file, or for what is missing of it."""
    request = urllib.request.Request(task.url)
    request.add_header("User-Agent", "napari-sam2")
    request.add_header("Accept-Encoding", "identity")
    if size := task.part_size:
        request.add_header("Range", f"bytes={size}-")
        if task.validator.is_file() and (tag := task.validator.read_text(encoding="utf-8")):
            request.add_header("If-Range", tag)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=task.timeout)
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 416 and task.part_size:  # the part is longer than the file
            task.discard()
            raise _BrokenOff("the server does not have the missing part") from exc
        if exc.code in (408, 429) or exc.code >= 500:
            raise _BrokenOff(f"the server answered {exc.code} {exc.reason}") from exc
        raise DownloadError(
            f"Could not download {task.name}: {task.host} answered {exc.code} {exc.reason} for "
            f"{task.url}; get the file from another source and place it at {task.target}."
        ) from exc
    except urllib.error.URLError as exc:
        raise _BrokenOff(f"no connection ({_reason(exc.reason)})") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise _BrokenOff(f"no connection ({_reason(exc)})") from exc
    return response


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as exc:
        raise _BrokenOff(f"the connection broke off ({_reason(exc)})") from exc


def _place(task: _Task, response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return where the bytes of this answer go in the file, and the file's size if told."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        span = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
        )
        if span is None or int(span[1]) != task.part_size:
            task.discard()
            raise _BrokenOff("the server sent another part than it was asked for")
        return int(span[1]), None if span[2] == "*" else int(span[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _check_space(task: _Task, offset: int, total: int | None) -> None:
    free = shutil.disk_usage(task.target.parent).free
    # A part that is begun anew gives its own space back.
    needed = (total or 0) - (offset or task.part_size)
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed and {free:,} are free")


@contextlib.contextmanager
def _writing(task: _Task) -> Iterator[None]:
    """Turn a failure of the disk into one sentence; a full disk gets its space back."""
    try:
        yield
    except OSError as exc:
        folder = task.target.parent
        if exc.errno in NO_SPACE:
            with contextlib.suppress(OSError):
                task.discard()
            raise DownloadError(
                f"Not enough disk space in {folder} for {task.name} ({_reason(exc)}): free some "
                "space, or set NAPARI_SAM2_CACHE to a folder on another disk."
            ) from exc
        raise DownloadError(
            f"Could not write {task.name} in {folder} ({_reason(exc)}): make the folder writable, "
            "or set NAPARI_SAM2_CACHE to another one."
        ) from exc


@contextlib.contextmanager
def _reporter(name: str, progress: bool | Progress) -> Iterator[Progress]:
    if callable(progress):
        yield progress
        return
    from tqdm import tqdm

    # None: no bar where the error stream is not a terminal.
    with tqdm(
        desc=name, unit="B", unit_scale=True, disable=None if progress else True, leave=False
    ) as bar:

        def report(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


def _reason(exc: object) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or type(exc).__name__
