"""What is asked of several objects at once, those that are selected: each is one step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2.session.objects import ObjectState
    from napari_sam2.session.session import Session


def remove_objects(session: Session, obj_ids: Iterable[int]) -> None:
    """Remove those of several objects that are still there, as one step."""
    with session.one_step("Remove objects"):
        for state in _present(session, obj_ids):
            session.remove_object(state.obj_id)


def lock_frame(session: Session, obj_ids: Iterable[int], frame_idx: int) -> None:
    """Lock the masks of objects on a frame; unlock them if all of them are locked already."""
    here = [state for state in _present(session, obj_ids) if frame_idx in state.masks]
    if not here:
        raise ValueError(f"None of these objects has a mask on frame {frame_idx} to be locked.")
    unlock = all(state.protects(frame_idx) for state in here)
    with session.one_step("Unlock" if unlock else "Lock"):
        for state in here:
            (session.unlock if unlock else session.lock)(state.obj_id, frame_idx)


def clear_frame(session: Session, obj_ids: Iterable[int], frame_idx: int) -> None:
    """Take back what was said of objects on a frame, as one step."""
    with session.one_step("Clear prompts"):
        for state in _present(session, obj_ids):
            session.set_prompts(state.obj_id, frame_idx)


def _present(session: Session, obj_ids: Iterable[int]) -> list[ObjectState]:
    """Return the objects that are still there: what a person asks for waits for its turn."""
    objects = session.document.objects
    return [objects[obj_id] for obj_id in obj_ids if obj_id in objects]
