"""The actions of a session done again in order, without a window: the same masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from napari_sam2.session import files
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
from napari_sam2.session.model_hub import Environment, ModelHub
from napari_sam2.session.propagation import followed
from napari_sam2.session.reopening import has_other_weights
from napari_sam2.session.session import PredictorFactory, Session
from napari_sam2.session.settings import SessionSettings


def replaying(
    path: Path,
    image: Any = None,
    *,
    variant: str | None = None,
    device: str | None = None,
    models: ModelHub | None = None,
    predictor_factory: PredictorFactory | None = None,
) -> tuple[Session, Iterator[None], int]:
    """
    Return a new session, the steps in which all of the file `path` is done again, and their number.

    Parameters
    ----------
    image
        The image, where the one that the file names is no longer there.
    variant, device
        Another network or device than the session's.
    models, predictor_factory
        See `Session`.
    """
    saved = files.read(path)
    source, found = saved.open_image(image)
    contents = saved.contents
    if variant is None and predictor_factory is None and has_other_weights(contents):
        warnings.warn(
            f"The session {path.name} was made with other weights than those here: "
            "the masks may differ from those it holds.",
            UserWarning,
            stacklevel=3,
        )
    computed = _computed_settings(contents.settings, contents.environment)
    if device is not None:
        computed = replace(computed, device=device, dtype="auto")

    def adapted(settings: SessionSettings) -> SessionSettings:
        settings = replace(settings, device=computed.device, dtype=computed.dtype)
        if variant in (None, settings.variant):
            return settings
        return replace(settings, variant=variant, weights="default")  # which belong to a network

    again = Session(
        source,
        **vars(adapted(contents.settings)),
        path=found,
        models=models,
        predictor_factory=predictor_factory,
    )
    total = sum(
        1 + (action.num_steps if isinstance(action, Propagate) else 0) for action in contents.log
    )
    steps = repeat(again, contents.log, adapted)
    was = contents.environment if predictor_factory is None else None
    return again, _on_threads_of(was, steps), total


def _computed_settings(settings: SessionSettings, was: Environment | None) -> SessionSettings:
    """Return the settings with the device and dtype that were used, if they exist here."""
    if was is None:
        return settings
    from sam2_backbone.device import resolve_device

    try:
        resolve_device(was.device)
    except ValueError:
        warnings.warn(
            f"The session was computed on {was.device}, which is not here: masks may differ.",
            UserWarning,
            stacklevel=4,
        )
        return settings
    return replace(settings, device=was.device, dtype=was.dtype)


def _on_threads_of(was: Environment | None, steps: Iterator[None]) -> Iterator[None]:
    with _num_threads(was):
        yield from steps


@contextmanager
def _num_threads(was: Environment | None) -> Iterator[None]:
    if was is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(was.num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
            case LockObject(obj_id, locked, keeps_frames):
                if locked:
                    session.lock(obj_id)
                else:
                    session.unlock(obj_id, keep_frames=keeps_frames)
            case SetHidden(obj_id, hidden):
                (session.hide if hidden else session.show)(obj_id)
            case Group(title, actions):
                with session.one_step(title):
                    for _ in repeat(session, actions, adapted):
                        pass
            case Propagate(direction, obj_ids, frames, num_steps, is_finished):
                chosen = followed(session.document, obj_ids)
                if chosen:  # else all of them were removed or locked while the run went on
                    wanted = None if obj_ids is None else tuple(chosen)
                    results = session.propagate(direction, wanted, frames)
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
