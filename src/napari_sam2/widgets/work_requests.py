"""How work is kept and found again: saved to a file, opened from one, taken up."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_sam2.layers.session_layers import placement_of
from napari_sam2.session import files
from napari_sam2.session.codec import num_channels_in
from napari_sam2.session.errors import SessionFileError
from napari_sam2.widgets.summaries import place_text

if TYPE_CHECKING:
    from napari_sam2.session.autosave import Autosave
    from napari_sam2.session.journal import Recovered
    from napari_sam2.session.session import Session
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.run_control import RunControl
    from napari_sam2.widgets.work_panel import WorkPanel

_SESSIONS = "Session (*.json)"


def with_suffix(path: str, suffix: str) -> str:
    """Return a name that a person typed with its kind, unless that would replace another file."""
    typed = Path(path)
    named = typed.with_name(typed.name + suffix)
    return path if typed.suffix or named.exists() else str(named)


def beside_image(session: Session, ending: str) -> str:
    """Propose a file beside the image's, so that those of several images stay apart."""
    source = session.path
    if source is None:
        return ending.lstrip("_")
    return str(source.with_name((source.name.split(".")[0] or source.stem) + ending))


class WorkRequests(QObject):
    """Carries requests of the work panel to the session in hand."""

    told = Signal(str)
    """What was done, or was not."""
    refused = Signal(str)
    """Why work cannot be taken up."""

    def __init__(self, panel: WorkPanel, images: OpenImages, run: RunControl) -> None:
        super().__init__()
        self._panel = panel
        self._images = images
        self._run = run
        self._awaited: Path | None = None
        panel.save_asked.connect(self.ask_where_to_save)
        panel.open_asked.connect(self.ask_what_to_open)
        panel.taken_up.connect(self.take_up)
        panel.put_away.connect(self.ask_to_put_away)

    def show_offer(self) -> None:
        """Offer what was found of earlier work on the image in hand."""
        current = self._images.current
        found = None if current is None else current.found_work
        if current is None or found is None:
            self._panel.offer("")
            return
        if found.path == self._awaited:
            self.take_up()
            return
        at = _date_of(found)
        where = place_text(current, found.plane)
        self._panel.offer(f"Work on this image from {at} was found{where}: {found.summary}.")

    def save(self, path: str | Path) -> None:
        """Write the session to a file, after all that was asked before."""
        current = self._images.current
        if current is not None:
            current.session.placement = placement_of(current.image, current.geometry)
            save = partial(_save, current.session, current.autosave, Path(path))
            current.edit(save, owed=True)

    def save_now(self, path: str | Path, *, labels: str | None = None) -> bool:
        """Write the session in hand, or that of a labels layer, before anything else is done."""
        opened = self._images.current if labels is None else self._images.with_layer(labels)
        if opened is None:
            return False
        opened.session.placement = placement_of(opened.image, opened.geometry)
        _save(opened.session, opened.autosave, Path(path))
        return True

    def load(self, path: str | Path) -> None:
        """Go on with a session file of this image; what is at hand is kept as found work."""
        current = self._images.current
        if current is not None:
            self._run.let_go(current)
            current.use_intensities()
            current.restore(partial(_load, current.session, current.autosave, Path(path)))

    def take_up(self) -> None:
        """Go on where the work that was found ended."""
        current = self._images.current
        self._awaited = None
        if current is None or current.found_work is None:
            return
        found = current.found_work
        if found.plane not in ((), current.geometry.fixed):
            self._awaited = found.path  # it will be found again there
            self._images.go_to_plane(current, found.plane)
            return
        needed = num_channels_in(found.contents)
        if needed > current.composition.num_channels:
            self.refused.emit(
                f"This work was done on {needed} channels: choose the same ones in the tab "
                "Input, then take it up."
            )
            return
        current.found_work = None
        self._run.let_go(current)
        current.use_intensities()
        take_up = partial(_take_up, current.session, current.autosave, found, current.offer)
        current.restore(take_up)
        self.show_offer()

    def ask_to_put_away(self) -> None:
        """Delete the work that was found, if the person means it."""
        current = self._images.current
        found = None if current is None else current.found_work
        if found is None:
            return
        answer = QMessageBox.question(
            self._panel,
            "Discard work",
            f"Delete the work from {_date_of(found)} for good? It holds {found.summary}.",
        )
        if answer == QMessageBox.StandardButton.Yes:
            self.put_away()

    def put_away(self) -> None:
        """Delete the work that was found."""
        current = self._images.current
        if current is not None and current.found_work is not None:
            found, current.found_work = current.found_work, None
            try:
                found.path.unlink(missing_ok=True)
            except OSError as error:
                self.told.emit(f"{found.path} cannot be deleted: {error.strerror}. ")
            self.show_offer()

    def ask_where_to_save(self) -> None:
        """Save to a file that the person chooses."""
        current = self._images.current
        if current is None:
            return
        proposed = beside_image(current.session, "_session.json")
        path, _ = QFileDialog.getSaveFileName(self._panel, "Save the session", proposed, _SESSIONS)
        if path:
            self.save(with_suffix(path, ".json"))

    def ask_what_to_open(self) -> None:
        """Go on with a session file that the person chooses."""
        path, _ = QFileDialog.getOpenFileName(self._panel, "Open a session", "", _SESSIONS)
        if path:
            self.load(path)


def _date_of(found: Recovered) -> str:
    return time.strftime("%d %B %H:%M", time.localtime(found.saved_at))


def _save(session: Session, autosave: Autosave, path: Path) -> str:
    """Write the session, and return what is to be told of it."""
    document = session.document  # what is done meanwhile stays in the journal
    session.save(path)
    autosave.filed(document)
    return f"Saved to {path.name}. "


def _load(session: Session, autosave: Autosave, path: Path) -> None:
    saved = files.read(path)
    saved.open_image(session.source)  # refuses another image
    autosave.begin_anew()
    session.restore(saved.contents, f"the session {path.name}")
    autosave.filed(saved.contents.document)


def _take_up(
    session: Session,
    autosave: Autosave,
    found: Recovered,
    offer: Callable[[Recovered], object],
) -> None:
    if session.document.objects:
        try:
            autosave.begin_anew()
        except SessionFileError:
            offer(found)
            raise
    session.restore(found.contents, "the work that was found")
    autosave.save_now()
    if not autosave.problem:
        with suppress(OSError):  # of another person: it will be offered again
            found.path.unlink()
