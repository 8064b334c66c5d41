"""When a session saves itself: into a journal, at most a second behind, gone when it is filed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.session.codec import Contents
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.images import signature_of
from napari_sam2.session.journal import Recovered
from napari_sam2.session.journal_places import JournalPlaces, OpenJournal
from napari_sam2.session.model_hub import weights_sha256
from napari_sam2.session.objects import Document
from napari_sam2.session.planes import PlaneSource, first_plane, plane_of

if TYPE_CHECKING:
    from napari_sam2.session.session import Session
    from napari_sam2.session.settings import SessionSettings
    from sam2_backbone.inference.frames import FrameSource

_INTERVAL_S = 0.4
# before something is written, so that all of a click is written at once, and not while it is drawn
_GRACE_S = 0.15


class Autosave:
    """
    Saves a session while it changes, from a thread of its own.

    Parameters
    ----------
    session
        Watched until `stop`.
    folder
        Where journals lie that cannot lie beside the image; `autosave_folder()` if ``None``.
    on_found
        Called, in a thread, with earlier work on the same image, if there is some.
    interval_s
        At most how often changes are written.
    elsewhere
        Whether work on another plane of the image counts as found.
    """

    def __init__(
        self,
        session: Session,
        folder: Path | None = None,
        *,
        on_found: Callable[[Recovered], object] | None = None,
        interval_s: float = _INTERVAL_S,
        elsewhere: bool = True,
    ) -> None:
        self._session = session
        # channels that are added later do not make it another image
        self._source = session.source
        self._folder = folder
        self._on_found = on_found
        self._interval_s = interval_s
        self._elsewhere = elsewhere
        self._known_places: JournalPlaces | None = None
        self._journal: OpenJournal | None = None
        self._written: Document | None = None
        self._filed: Document | None = None
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
        """The journal, ``None`` while there is nothing that is in no file."""
        return None if self._journal is None else self._journal.path

    def save_now(self) -> None:
        """Write what has changed, in the calling thread."""
        with self._lock:
            self._write()

    def filed(self, document: Document) -> None:
        """Keep no journal of `document` any more: a session file holds it."""
        with self._lock:
            self._filed, path = document, self.path
            self._leave()
            # what has changed in the meantime is in no file yet
            if self._write() and path is not None:
                path.unlink(missing_ok=True)

    def begin_anew(self) -> None:
        """
        Put the journal away, to be offered later, and go on in another one.

        Raises
        ------
        SessionFileError
            What is at hand cannot be written, and would be lost.
        """
        with self._lock:
            if not self._write():
                raise SessionFileError(
                    "What is at hand cannot be saved automatically and would be lost: save the "
                    "session to a file first."
                )
            self._end()

    def stop(self, *, discard: bool = False) -> None:
        """
        Watch no more, and leave nothing beside the image.

        What is in no session file is kept in the cache folder, to be offered when the image is
        opened again; `discard` deletes it.
        """
        with suppress(ValueError):
            self._session.events.disconnect(self._on_change)
        self._stopped = True
        self._wake.set()
        with self._lock:
            self._write()
            if discard:
                self._filed = self._written
            self._end()

    def _on_change(self, *_: object) -> None:
        self._wake.set()

    def _run(self) -> None:
        if self._on_found is not None:
            try:
                found = find_work(self._session, self._folder, elsewhere=self._elsewhere)
                if found is not None and not self._stopped:
                    self._on_found(found)
            except Exception as error:  # noqa: BLE001 (frames fail in any way; saving goes on)
                self._tell(error, "Earlier work on this image cannot be looked for")
        while not self._stopped:
            self._wake.wait()
            time.sleep(min(_GRACE_S, self._interval_s))
            self._wake.clear()
            with self._lock:
                if not self._stopped:
                    self._write()
            time.sleep(max(self._interval_s - _GRACE_S, 0.0))

    def _write(self) -> bool:
        """Write what has changed; whether all there is is now in a journal or a file."""
        contents = self._session.contents(with_hash=False)
        document = contents.document
        if document is self._written:
            return True
        if self._journal is None and (document is self._filed or not document.objects):
            return True
        try:
            self._append(self._with_hash(contents))
        except Exception as error:  # noqa: BLE001 (frames fail in any way; the thread has to live)
            self._tell(error, "Nothing can be saved automatically")
            return False
        return True

    def _tell(self, error: Exception, what: str) -> None:
        """Say once what does not work."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        said = f"{what}: {reason or type(error).__name__}."
        if said != self.problem:
            self.problem = said
            self._session.events.noticed.emit(f"{said} Save the session to a file now and then.")

    def _append(self, contents: Contents) -> None:
        """Write to the journal; where the image's disk fails, to one in the cache folder."""
        try:
            self._append_here(contents)
        except OSError:
            if self._places.image is None:
                raise
            path = self.path
            self._leave()
            self._known_places = replace(self._places, image=None)
            self._append_here(contents)
            if path is not None:
                with suppress(OSError):
                    path.unlink()

    def _append_here(self, contents: Contents) -> None:
        if self._journal is None:
            self._journal = self._places.open_new()
        self._journal.writer.write(contents)
        self._written, self.problem = contents.document, ""

    @property
    def _places(self) -> JournalPlaces:
        if self._known_places is None:
            self._known_places = places_of(self._session, self._source, self._folder)
        return self._known_places

    def _leave(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal = self._written = None

    def _end(self) -> None:
        """Close the journal: delete it if a file holds all of it, else put it away."""
        path, written = self.path, self._written
        self._leave()
        if path is None:
            return
        if written is not None and (written is self._filed or not written.objects):
            path.unlink(missing_ok=True)
        else:
            self._places.put_away(path)

    def _with_hash(self, contents: Contents) -> Contents:
        """Add the hash of the weights, computed once for the same settings."""
        if not self._session.uses_models:
            return contents
        if self._hashed is None or self._hashed[0] != contents.settings:
            self._hashed = contents.settings, weights_sha256(contents.settings)
        return replace(contents, weights_sha256=self._hashed[1])


def places_of(
    session: Session, source: FrameSource | None = None, folder: Path | None = None
) -> JournalPlaces:
    """Return where journals of the image of `session` lie; reads a few of its frames."""
    source = session.source if source is None else source
    plane, signature = plane_of(source), signature_of(source)
    home = signature_of(first_plane(source)) if plane else ""
    return JournalPlaces(signature, session.path, folder, home, plane)


def find_work(
    session: Session, folder: Path | None = None, *, elsewhere: bool = True
) -> Recovered | None:
    """Return the latest work on the image of `session` that no running process is writing.

    Parameters
    ----------
    elsewhere
        Where there is none on its plane, return that on another plane which shows the same still.
    """
    places = places_of(session, folder=folder)
    for found in places.unclaimed():
        is_here = (found.plane, found.plane_mark) == (places.plane, places.plane_mark)
        if is_here or (elsewhere and _shows(session.source, found)):
            return found
    return None


def _shows(source: FrameSource, found: Recovered) -> bool:
    """Whether a plane of an image is the one that work was done on."""
    if not isinstance(source, PlaneSource):
        return False
    try:
        frames = source.on_plane(found.plane)
    except (IndexError, ValueError):
        return False
    return signature_of(frames).startswith(found.plane_mark)
