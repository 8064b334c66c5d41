"""Where journals lie: beside the image where its folder may be written to, else in the cache."""

from __future__ import annotations

import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.images import is_zarr
from napari_sam2.session.journal import JournalWriter, Recovered, read_journal
from napari_sam2.session.planes import Plane, named, read_name

_SUFFIX = ".journal"
#: Characters of a signature that tell images apart in the names of folders and files.
_IN_FOLDER_NAME, _IN_FILE_NAME = 24, 12
#: Journals of one image that are kept, and for how long.
_MOST_KEPT = 5
_LONGEST_KEPT_S = 60 * 24 * 3600.0


def autosave_folder() -> Path:
    """Return the folder of journals in the cache folder."""
    from sam2_backbone.download import cache_folder

    return cache_folder() / "autosave"


@dataclass(frozen=True)
class OpenJournal:
    """A journal that is being written, and the claim that keeps others from taking it up."""

    writer: JournalWriter
    claim: IO[bytes] | None

    @property
    def path(self) -> Path:
        """The file."""
        return self.writer.path

    def close(self) -> None:
        """Write no more, and let others have it."""
        self.writer.close()
        if self.claim is not None:
            self.claim.close()


@dataclass(frozen=True)
class JournalPlaces:
    """
    The journals of one image.

    Attributes
    ----------
    signature
        Of the frames that are looked at.
    image
        The file or folder it was read from, if there is one.
    folder
        Where journals lie that cannot lie beside the image; `autosave_folder()` if ``None``.
    home
        Signature that all planes of the image have in common; that of the frames if empty.
    plane
        Of the image, if it has further axes.
    """

    signature: str
    image: Path | None = None
    folder: Path | None = None
    home: str = ""
    plane: Plane = ()

    @property
    def kept(self) -> Path:
        """The folder of this image's journals in `folder`."""
        folder = autosave_folder() if self.folder is None else self.folder
        return folder / (self.home or self.signature)[:_IN_FOLDER_NAME]

    @property
    def may_lie_beside(self) -> bool:
        """Whether the image and its own folder may be written to."""
        image = self.image
        if image is None or not image.exists() or is_zarr(image.parent):
            return False
        return os.access(image, os.W_OK) and os.access(image.parent, os.W_OK)

    def open_new(self) -> OpenJournal:
        """Begin a journal; OSError where there is no place for one."""
        self.remove_old()
        moment = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
        name = f"{moment}{named(self.plane_mark, self.plane)}{_SUFFIX}"
        if self.image is not None and self.may_lie_beside:
            with suppress(OSError):
                path = self.image.with_name(f"{self.image.name}{self._mark}{name}")
                journal = OpenJournal(JournalWriter(path), claimed(path))
                if journal.claim is not None:
                    return journal
                # without locks, as on some network drives, others could take up what is in use
                journal.close()
                path.unlink()
        path = self.kept / name
        return OpenJournal(JournalWriter(path), claimed(path))

    def found(self) -> list[Path]:
        """Return all journals of the image, the newest first."""
        paths = list(self.kept.glob(f"*{_SUFFIX}"))
        if self.image is not None:
            # by what the image holds, not by its name: both may have been renamed or moved
            paths += self.image.parent.glob(f"*{self._mark}*{_SUFFIX}")
        return sorted(paths, key=_time_of, reverse=True)

    def unclaimed(self) -> Iterator[Recovered]:
        """Read the journals with objects in them that no process is writing.

        Those of this plane, then those of other planes, which have to be checked; the newest first.
        """
        for path in sorted(self.found(), key=self._is_of_other_plane):
            claim = claimed(path)
            if claim is None:
                continue
            claim.close()
            with suppress(SessionFileError):
                found = read_journal(path)
                if found.contents.document.objects:
                    mark, plane = read_name(path.stem)
                    yield replace(found, plane=plane, plane_mark=mark)

    def put_away(self, path: Path) -> None:
        """Take a journal that nobody writes any more out of the image's folder."""
        if path.parent != self.kept:
            # if that fails it stays where it is: better there than nowhere
            with suppress(OSError):
                self.kept.mkdir(parents=True, exist_ok=True)
                shutil.move(path, self.kept / path.name.rpartition(self._mark)[-1])

    def remove_old(self) -> None:
        """Delete journals beyond the newest few of the plane, and those of long ago."""
        of_plane = [path for path in self.found() if not self._is_of_other_plane(path)]
        for rank, path in enumerate(of_plane):
            if rank >= _MOST_KEPT - 1 or time.time() - _time_of(path) > _LONGEST_KEPT_S:
                claim = claimed(path)
                if claim is not None:
                    claim.close()
                    with suppress(OSError):
                        path.unlink()

    @property
    def plane_mark(self) -> str:
        """What tells in a journal's name which pixels the plane had; empty without one."""
        return self.signature[:_IN_FILE_NAME] if self.plane else ""

    def _is_of_other_plane(self, path: Path) -> bool:
        return bool(self.plane) and read_name(path.stem) != (self.plane_mark, self.plane)

    @property
    def _mark(self) -> str:
        """What tells whose a journal beside images is, between the image's name and the time."""
        return f".{(self.home or self.signature)[:_IN_FILE_NAME]}-"


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def claimed(path: Path) -> IO[bytes] | None:
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
