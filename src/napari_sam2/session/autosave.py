"""Where and when a session saves itself: a journal in the cache folder, at most a second behind."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from napari_sam2.session.codec import Contents
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.images import signature_of
from napari_sam2.session.journal import JournalWriter, Recovered, read_journal
from napari_sam2.session.model_hub import weights_sha256

if TYPE_CHECKING:
    from napari_sam2.session.session import Session
    from napari_sam2.session.settings import SessionSettings

_SUFFIX = ".journal"
_INTERVAL_S = 0.4
#: Journals of one image that are kept, and for how long.
_MOST_KEPT = 5
_LONGEST_KEPT_S = 60 * 24 * 3600.0


def autosave_folder() -> Path:
    """Return the folder of journals, in the cache folder."""
    from sam2_backbone.download import cache_folder

    return cache_folder() / "autosave"


class Autosave:
    """
    Saves a session while it changes, from a thread of its own.

    Parameters
    ----------
    session
        Watched until `stop`.
    folder
        Where journals are kept, one folder an image; `autosave_folder()` if ``None``.
    on_found
        Called, in a thread, with earlier work on the same image, if there is some.
    """

    def __init__(
        self,
        session: Session,
        folder: Path | None = None,
        *,
        on_found: Callable[[Recovered], object] | None = None,
    ) -> None:
        self._session = session
        self._folder = folder
        self._on_found = on_found
        self._journal: JournalWriter | None = None
        self._claim: IO[bytes] | None = None
        self._saved: object = None
        self._hashed: tuple[SessionSettings, str | None] | None = None
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._stopped = False
        self.problem = ""
        """Why nothing can be saved; empty where all is well."""
        session.events.connect(self._on_change)
        self._thread = threading.Thread(target=self._run, name="napari-sam2 autosave", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path | None:
        """The journal, ``None`` before there is anything to save."""
        return None if self._journal is None else self._journal.path

    def save_now(self) -> None:
        """Write what has changed, in the calling thread."""
        with self._lock:
            self._write()

    def begin_anew(self) -> None:
        """Leave the journal as it is, to be offered later, and go on in another one."""
        with self._lock:
            self._leave()

    def stop(self, *, discard: bool = False) -> None:
        """Write the last changes and watch no more; `discard` deletes the journal."""
        with suppress(ValueError):
            self._session.events.disconnect(self._on_change)
        self._stopped = True
        self._wake.set()
        with self._lock:
            self._write()
            path = self.path
            self._leave()
            if discard and path is not None:
                path.unlink(missing_ok=True)

    def _on_change(self, *_: object) -> None:
        self._wake.set()

    def _run(self) -> None:
        if self._on_found is not None:
            with suppress(OSError):
                found = find_work(self._session, self._folder)
                if found is not None and not self._stopped:
                    self._on_found(found)
        while not self._stopped:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                if not self._stopped:
                    self._write()
            time.sleep(_INTERVAL_S)

    def _write(self) -> None:
        contents = self._session.contents(with_hash=False)
        if contents.document is self._saved:
            return
        if self._journal is None and not contents.document.objects:
            return
        try:
            if self._journal is None:
                self._open()
            assert self._journal is not None
            self._journal.write(self._with_hash(contents))
            self._saved, self.problem = contents.document, ""
        except OSError as error:
            self.problem = f"Nothing can be saved automatically: {error.strerror or error}."

    def _open(self) -> None:
        folder = journals_of(signature_of(self._session.source), self._folder)
        remove_old(folder)
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}{_SUFFIX}"
        self._journal = JournalWriter(folder / name)
        self._claim = _claimed(self._journal.path)

    def _leave(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._claim is not None:
            self._claim.close()
        self._journal = self._claim = self._saved = None

    def _with_hash(self, contents: Contents) -> Contents:
        """Add the hash of the weights, computed once for the same settings."""
        if not self._session.uses_models:
            return contents
        if self._hashed is None or self._hashed[0] != contents.settings:
            self._hashed = contents.settings, weights_sha256(contents.settings)
        return Contents(**{**vars(contents), "weights_sha256": self._hashed[1]})


def journals_of(signature: str, folder: Path | None = None) -> Path:
    """Return the folder of the journals of an image."""
    return (autosave_folder() if folder is None else folder) / signature[:24]


def find_work(session: Session, folder: Path | None = None) -> Recovered | None:
    """Return the latest work on the image of `session` that no running process is writing."""
    place = journals_of(signature_of(session.source), folder)
    for path in sorted(place.glob(f"*{_SUFFIX}"), key=_time_of, reverse=True):
        claim = _claimed(path)
        if claim is None:
            continue
        claim.close()
        with suppress(SessionFileError):
            found = read_journal(path)
            if found.contents.document.objects:
                return found
    return None


def remove_old(place: Path) -> None:
    """Delete journals of an image beyond the newest few, and those of long ago."""
    paths = sorted(place.glob(f"*{_SUFFIX}"), key=_time_of, reverse=True)
    for rank, path in enumerate(paths):
        if rank >= _MOST_KEPT - 1 or time.time() - _time_of(path) > _LONGEST_KEPT_S:
            claim = _claimed(path)
            if claim is not None:
                claim.close()
                with suppress(OSError):
                    path.unlink()


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _claimed(path: Path) -> IO[bytes] | None:
    """Hold a journal until the file returned is closed; ``None`` if another process holds it.

    The operating system lets go of it when the process ends, however that happens.
    """
    try:
        file = path.open("rb+")
    except OSError:
        return None
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 40)  # beyond all data: reading stays possible
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
