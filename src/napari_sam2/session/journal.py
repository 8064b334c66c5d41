"""How a session is kept while it grows: changes are appended to a file, and read again."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast
from zipfile import BadZipFile

import numpy as np

from napari_sam2.session.codec import Contents, decode, encode
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.history import Action
from napari_sam2.session.masks import StoredMask
from napari_sam2.session.objects import Document, ObjectState
from napari_sam2.session.planes import Plane
from napari_sam2.session.wording import counted

_MAGIC = b"napari-sam2 journal 2\n"
#: Of one record: length and CRC-32 of what follows.
_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Recovered:
    """What a journal holds, up to its last whole record.

    Attributes
    ----------
    plane, plane_mark
        Of which plane of an image with further axes, and the beginning of its frames' signature.
    """

    path: Path
    contents: Contents
    saved_at: float
    plane: Plane = ()
    plane_mark: str = ""

    @property
    def summary(self) -> str:
        """Say what it is in a few words."""
        objects = self.contents.document.objects.values()
        masks = sum(len(state.masks) for state in objects)
        return f"{counted(len(objects), 'object')} with {counted(masks, 'mask')}"


class JournalWriter:
    """
    Appends what has changed since the last call.

    A record that was cut off by a crash is recognised by its checksum and left out.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # without a buffer, so that what failed to be written is not tried again later
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._end = 0
        self._append(_MAGIC)
        self._document = Document()
        self._log: tuple[Action, ...] = ()

    def write(self, contents: Contents) -> None:
        """Append the changes; OSError where they cannot be written."""
        tree, arrays = encode(_changes(contents, self._document, self._log))
        tree["order"] = list(contents.document.objects)
        tree["log_kept"] = _common(self._log, contents.log)
        tree["changed"] = [
            [obj_id, _gone(self._document.objects.get(obj_id), state), list(state.prompts)]
            for obj_id, state in contents.document.objects.items()
            if self._document.objects.get(obj_id) is not state
        ]
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(tree).encode(), np.uint8)
        np.savez(buffer, allow_pickle=False, tree=text, **arrays)
        payload = zlib.compress(buffer.getvalue(), 1)
        self._append(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
        self._document, self._log = contents.document, contents.log

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _append(self, record: bytes) -> None:
        """Write a record whole; a torn one would hide all that follow it."""
        rest = memoryview(record)
        self._file.seek(self._end)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise
        self._end += len(record)


def read_journal(path: Path) -> Recovered:
    """
    Read a journal up to its last whole record.

    Raises
    ------
    SessionFileError
        It is missing, no journal, or has no whole record.
    """
    contents: Contents | None = None
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise SessionFileError(f"{path} is not a journal of napari-sam2.")
            for payload in _records(file):
                contents = _applied(contents, payload)
        saved_at = path.stat().st_mtime
    except OSError as error:
        raise SessionFileError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, IndexError, zlib.error, BadZipFile) as error:
        raise SessionFileError(f"The journal {path} is damaged and cannot be read.") from error
    if contents is None:
        raise SessionFileError(f"The journal {path} ends before its first change.")
    return Recovered(path, contents, saved_at)


def _records(file: BinaryIO) -> Iterator[bytes]:
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload


def _changes(contents: Contents, before: Document, log: tuple[Action, ...]) -> Contents:
    """Keep the objects, masks and prompts that are new, by identity: they are never changed."""
    objects = {}
    for obj_id, state in contents.document.objects.items():
        old = before.objects.get(obj_id)
        if old is state:
            continue
        objects[obj_id] = replace(
            state,
            masks=_new(state.masks, None if old is None else old.masks),
            prompts=_new(state.prompts, None if old is None else old.prompts),
        )
    new_log = contents.log[_common(log, contents.log) :]
    return replace(contents, document=Document(objects), log=new_log)


def _new(now: Any, before: Any) -> dict[int, Any]:
    return {k: v for k, v in now.items() if before is None or before.get(k) is not v}


def _gone(before: ObjectState | None, now: ObjectState) -> list[int]:
    """Frames whose masks are no more."""
    return [] if before is None else sorted(before.masks.keys() - now.masks.keys())


def _common(first: tuple[Action, ...], second: tuple[Action, ...]) -> int:
    """Count the actions that both logs begin with."""
    count = min(len(first), len(second))
    # only the end of a log changes, so this looks at a few actions
    while count and first[count - 1] is not second[count - 1]:
        count -= 1
    return count


def _applied(before: Contents | None, payload: bytes) -> Contents:
    with np.load(io.BytesIO(zlib.decompress(payload)), allow_pickle=False) as file:
        arrays = dict(file)
    tree = json.loads(arrays.pop("tree").tobytes().decode())
    changes = decode(tree, arrays)
    old = {} if before is None else dict(before.document.objects)
    for obj_id, gone, prompt_frames in tree["changed"]:
        state, was = changes.document.objects[obj_id], old.get(obj_id)
        old[obj_id] = _merged(state, was, gone, prompt_frames)
    return replace(
        changes,
        document=Document({obj_id: old[obj_id] for obj_id in tree["order"]}),
        log=(() if before is None else before.log)[: tree["log_kept"]] + changes.log,
    )


def _merged(
    state: ObjectState, was: ObjectState | None, gone: list[int], prompt_frames: list[int]
) -> ObjectState:
    # one table grows from record to record: a copy for each would take long for long movies
    masks = dict(state.masks) if was is None else cast("dict[int, StoredMask]", was.masks)
    masks.update(state.masks)
    for frame_idx in gone:
        del masks[frame_idx]
    prompts = {**({} if was is None else was.prompts), **state.prompts}
    return replace(
        state, masks=masks, prompts={frame_idx: prompts[frame_idx] for frame_idx in prompt_frames}
    )
