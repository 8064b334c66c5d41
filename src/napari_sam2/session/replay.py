"""The actions of a session done again in order, without a window: the same masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from napari_sam2.session.history import (
    Action,
    ChangeSettings,
    Group,
    LockObject,
    NewObject,
    Propagate,
    Redo,
    Reload,
    RemoveObject,
    RenameObject,
    SetHidden,
    SetLocks,
    SetPrompts,
    Undo,
)
from napari_sam2.session.session import Session
from napari_sam2.session.settings import SessionSettings


def repeat(
    session: Session,
    log: Iterable[Action],
    adapted: Callable[[SessionSettings], SessionSettings],
) -> Iterator[None]:
    """
    Do the actions of `log` again, yielding after each action and each propagated frame.

    Parameters
    ----------
    session
        A new session on the same image.
    log
        What was done.
    adapted
        Names the device and dtype where the log says "auto".
    """
    for action in log:
        match action:
            case NewObject(obj_id, name):
                session.new_object(name, obj_id=obj_id)
            case RenameObject(obj_id, name):
                session.rename_object(obj_id, name)
            case RemoveObject(obj_id):
                session.remove_object(obj_id)
            case SetPrompts(obj_id, frame_idx, prompts):
                session.set_prompts(
                    obj_id,
                    frame_idx,
                    points=prompts.points,
                    point_labels=prompts.point_labels,
                    box=prompts.box,
                    mask=prompts.mask,
                    candidate=prompts.candidate,
                )
            case SetLocks(obj_id, frames, locked):
                (session.lock if locked else session.unlock)(obj_id, frames)
            case LockObject(obj_id, locked):
                (session.lock if locked else session.unlock)(obj_id)
            case SetHidden(obj_id, hidden):
                (session.hide if hidden else session.show)(obj_id)
            case Group(title, actions):
                with session.one_step(title):
                    for _ in repeat(session, actions, adapted):
                        pass
            case Propagate(direction, obj_ids, frames, num_steps, is_finished):
                results = session.propagate(direction, obj_ids, frames)
                for _ in results if is_finished else islice(results, num_steps):
                    yield
                results.close()
            case ChangeSettings(settings):
                session.change_settings(adapted(settings))
            case Undo():
                session.undo()
            case Redo():
                session.redo()
            case Reload():
                session.start_anew()
        yield
