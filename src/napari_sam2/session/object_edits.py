"""Changes of whole objects: made, renamed, removed, hidden, locked, each one step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam2.session.given_numbers import whole_number
from napari_sam2.session.history import (
    LockObject,
    NewObject,
    RemoveObject,
    RenameObject,
    SetHidden,
    SetLocks,
)
from napari_sam2.session.objects import ObjectState

if TYPE_CHECKING:
    from napari_sam2.session.ledger import Ledger

_LARGEST_ID = 0xFFFFFFFF


def checked_id(obj_id: int) -> int:
    """Return an id that an object may have, or say why none may have it."""
    obj_id = whole_number(obj_id, "obj_id")
    if not 1 <= obj_id <= _LARGEST_ID:
        raise ValueError(f"An object's id is a number from 1 to {_LARGEST_ID}, got {obj_id}.")
    return obj_id


def new_object(ledger: Ledger, name: str | None = None, obj_id: int | None = None) -> int:
    """Make an object with a free id, the next one unless it is given, and return the id."""
    with ledger.turn():
        obj_id = checked_id(ledger.next_obj_id if obj_id is None else obj_id)
        if obj_id in ledger.document.objects:
            raise ValueError(f"There is an object {obj_id} already.")
        state = ObjectState(obj_id, f"Object {obj_id}" if name is None else str(name))
        ledger.next_obj_id = max(ledger.next_obj_id, obj_id + 1)
        ledger.commit(
            "New object", ledger.document.with_object(state), NewObject(obj_id, state.name)
        )
        ledger.later(ledger.events.objects_changed.emit)
        return obj_id


def rename_object(ledger: Ledger, obj_id: int, name: str) -> None:
    """Give an object another name."""
    with ledger.turn():
        state = replace(ledger.object(obj_id), name=str(name))
        ledger.commit(
            "Rename", ledger.document.with_object(state), RenameObject(state.obj_id, state.name)
        )
        ledger.later(ledger.events.objects_changed.emit)


def remove_object(ledger: Ledger, obj_id: int) -> None:
    """Remove an object that is not locked."""
    with ledger.turn():
        state = ledger.object(obj_id)
        if state.accepted:
            raise ValueError(f"Object {state.obj_id} is locked: unlock it to remove it.")
        ledger.segmentation.forget(state.obj_id)
        ledger.commit(
            "Remove object",
            ledger.document.without_object(state.obj_id),
            RemoveObject(state.obj_id),
        )
        ledger.later(ledger.events.objects_changed.emit)
        for frame_idx in sorted(state.masks):
            ledger.later(ledger.events.masks_changed.emit, frame_idx, (state.obj_id,))


def set_hidden(ledger: Ledger, obj_id: int, *, hidden: bool) -> None:
    """Take an object out of sight, or show it again; its masks stay in the labels."""
    with ledger.turn():
        state = ledger.object(obj_id)
        if state.hidden == hidden:
            return
        ledger.commit(
            "Hide" if hidden else "Show",
            ledger.document.with_object(replace(state, hidden=hidden)),
            SetHidden(state.obj_id, hidden),
        )
        ledger.later(ledger.events.objects_changed.emit)


def lock_object(ledger: Ledger, obj_id: int, *, locked: bool, keeps_frames: bool = True) -> None:
    """Accept an object as it is on all frames, or take that back.

    Frames that were accepted one by one stay so, unless a session of an earlier version is
    repeated (`keeps_frames`).
    """
    with ledger.turn():
        state = ledger.object(obj_id)
        after = replace(state, accepted=locked)
        if not (locked or keeps_frames):
            freed = state.locked & (state.masks.keys() - state.prompts.keys())
            after = replace(after, locked=frozenset(), outdated=state.outdated | freed)
        if after == state:
            return
        if not locked:
            ledger.segmentation.mark_stale(state.obj_id)
        ledger.commit(
            "Lock" if locked else "Unlock",
            ledger.document.with_object(after),
            LockObject(state.obj_id, locked, keeps_frames),
        )
        _tell_of_locks(ledger, state.obj_id, state.masks)


def set_locks(ledger: Ledger, obj_id: int, frame_idx: int | Iterable[int], *, locked: bool) -> None:
    """Lock or unlock frames of an object, as one step."""
    with ledger.turn():
        state = ledger.object(obj_id)
        if isinstance(frame_idx, Iterable):
            chosen = tuple(sorted({ledger.frame(index) for index in frame_idx}))
        else:
            chosen = (ledger.frame(frame_idx),)
        without = [index for index in chosen if locked and index not in state.masks]
        if without:
            raise ValueError(
                f"Object {state.obj_id} has no mask on frame {without[0]} to be locked."
            )
        if state.accepted and not locked:
            raise ValueError(f"Object {state.obj_id} is locked as a whole: unlock the object.")
        after = state.locked.union(chosen) if locked else state.locked.difference(chosen)
        if after == state.locked:
            return
        # what is accepted is right, whatever was said since; what is given free may be computed
        tracked = state.masks.keys() - state.prompts.keys()
        outdated = state.outdated - after if locked else state.outdated | (tracked & set(chosen))
        if not locked:
            ledger.segmentation.mark_stale(state.obj_id)
        ledger.commit(
            "Lock" if locked else "Unlock",
            ledger.document.with_object(replace(state, locked=after, outdated=outdated)),
            SetLocks(state.obj_id, chosen, locked),
        )
        _tell_of_locks(ledger, state.obj_id, chosen)


def _tell_of_locks(ledger: Ledger, obj_id: int, frames: Iterable[int]) -> None:
    """Say that locks have changed, and the labels where the object meets another."""
    ledger.later(ledger.events.objects_changed.emit)
    for frame_idx in ledger.document.contested_frames(obj_id, frames):
        ledger.later(ledger.events.masks_changed.emit, frame_idx, (obj_id,))
