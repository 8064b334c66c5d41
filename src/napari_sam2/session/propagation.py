"""Following objects through a movie: frame by frame, stoppable, giving way to edits in between."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import get_args

from napari_sam2.session.errors import SessionError
from napari_sam2.session.history import Direction, Propagate
from napari_sam2.session.ledger import Ledger
from napari_sam2.session.objects import Document, ObjectState
from napari_sam2.session.predictor import FrameResultLike
from napari_sam2.session.segmentation import stored_masks


def checked_propagation(
    ledger: Ledger,
    direction: Direction,
    obj_ids: Iterable[int] | None,
    frames: Iterable[int] | None,
) -> Propagate:
    """
    Return the propagation asked for, with no step done.

    Raises
    ------
    ValueError
        An unknown direction, object or frame, or nothing to follow.
    """
    if direction not in get_args(Direction):
        raise ValueError(
            f"The direction must be 'forward', 'backward' or 'both', got {direction!r}."
        )
    chosen = None if obj_ids is None else [ledger.object(obj_id) for obj_id in obj_ids]
    if chosen is not None and not chosen:
        raise ValueError("No object is chosen to be followed: choose at least one.")
    wanted = None if frames is None else {ledger.frame(frame_idx) for frame_idx in frames}
    without = [state.obj_id for state in chosen or () if not state.prompts]
    if without:
        raise ValueError(f"Object {without[0]} has no prompt: click on it first.")
    followed = ledger.document.objects.values() if chosen is None else chosen
    prompted = [state for state in followed if state.prompts]
    if not prompted:
        raise ValueError("There is nothing to follow: give an object a prompt first.")
    if all(state.accepted for state in prompted):
        raise ValueError("Every object to be followed is locked: unlock one first.")
    return Propagate(
        direction=direction,
        obj_ids=None if chosen is None else tuple(dict.fromkeys(state.obj_id for state in chosen)),
        frames=None if wanted is None else tuple(sorted(wanted)),
        num_steps=0,
    )


def reachable_frames(
    document: Document,
    num_frames: int,
    direction: Direction,
    obj_ids: Iterable[int] | None,
    frames: Iterable[int] | None,
) -> list[int]:
    """Return the frames that a run comes to at most, in its order; both ways some come twice."""
    prompted = [state.prompts for state in followed(document, obj_ids).values()]
    if not prompted:
        return []
    wanted = range(num_frames) if frames is None else sorted(set(frames))
    found: list[int] = []
    if direction != "backward":
        first = min(map(min, prompted))
        found += [frame_idx for frame_idx in wanted if frame_idx >= first]
    if direction != "forward":
        # both ways: backward from the anchors, where forward has not been
        last = max(map(max, prompted)) if direction == "backward" else max(map(min, prompted)) - 1
        found += [frame_idx for frame_idx in reversed(wanted) if frame_idx <= last]
    return found


def run(ledger: Ledger, request: Propagate) -> Generator[int, None, None]:
    """
    Yield frames as they are stored; the ledger's lock is free at each ``yield``.

    A prompt given meanwhile makes the predictor start over from what it now knows, which for the
    frames that the prompt cannot change costs nothing. All frames stored without an edit
    in between are one step.
    """
    token = object()
    results: Iterator[FrameResultLike] | None = None
    seen_edits = -1
    num_steps = 0
    try:
        with ledger.turn():
            ledger.propagation = token
        while True:
            with ledger.turn():
                if ledger.propagation is not token:
                    raise SessionError("Another propagation was started: this one has ended.")
                if results is None or seen_edits != ledger.edits:
                    _close(results)
                    results, seen_edits = _start(ledger, request), ledger.edits
                result = _next_result(ledger, results)
                if result is None:
                    _finish(ledger, request, num_steps if ledger.open_step is token else 0)
                    return
                num_steps = num_steps + 1 if ledger.open_step is token else 1
                _store(ledger, result, request, num_steps)
                ledger.open_step = token
                seen_edits = ledger.edits
            yield result.frame_idx
    finally:
        with ledger.turn():
            _close(results)
            if ledger.propagation is token:
                ledger.propagation = None


def followed(document: Document, obj_ids: Iterable[int] | None) -> dict[int, ObjectState]:
    """Return those of the objects asked for, all for ``None``, that a run can still follow."""
    objects = document.objects
    return {
        obj_id: objects[obj_id]
        for obj_id in (objects if obj_ids is None else obj_ids)
        if obj_id in objects and objects[obj_id].prompts and not objects[obj_id].accepted
    }


def _start(ledger: Ledger, request: Propagate) -> Iterator[FrameResultLike]:
    targets = followed(ledger.document, request.obj_ids)
    if not targets:
        return iter(())
    return ledger.segmentation.propagate(targets, request.direction, request.frames)


def _finish(ledger: Ledger, request: Propagate, num_steps: int) -> None:
    """Log the end; no mask is out of date any more where the run has been."""
    action = replace(request, num_steps=num_steps, is_finished=True)
    if num_steps:
        ledger.history.extend_last(action)
    else:
        ledger.history.log.append(action)
    objects = dict(ledger.document.objects)
    ledger.later(ledger.events.objects_changed.emit)
    for obj_id in objects if request.obj_ids is None else request.obj_ids:
        if obj_id in objects and not objects[obj_id].accepted:  # those were not followed
            state = objects[obj_id]
            left = {t for t in state.outdated if not _covers(request, state, t)}
            objects[obj_id] = replace(state, outdated=frozenset(left))
    ledger.document = Document(objects)


def _covers(request: Propagate, state: ObjectState, frame_idx: int) -> bool:
    """Whether a whole run goes through a frame of an object."""
    if not state.prompts or (request.frames is not None and frame_idx not in request.frames):
        return False
    if request.direction == "forward":
        return frame_idx >= min(state.prompts)
    return request.direction == "both" or frame_idx <= max(state.prompts)


def _next_result(ledger: Ledger, results: Iterator[FrameResultLike]) -> FrameResultLike | None:
    try:
        return next(results, None)
    except BaseException:
        # Stopped in the middle of a frame, by an interrupt too: it must hear everything again.
        for obj_id in ledger.document.objects:
            ledger.segmentation.mark_stale(obj_id)
        ledger.touch()
        raise


def _store(ledger: Ledger, result: FrameResultLike, request: Propagate, num_steps: int) -> None:
    objects, frame_idx = dict(ledger.document.objects), result.frame_idx
    stored = []
    for obj_id, mask in stored_masks(result).items():
        state = objects.get(obj_id)
        if state is None or state.protects(frame_idx) or frame_idx in state.prompts:
            continue
        objects[obj_id] = state.with_mask(frame_idx, mask)
        stored.append(obj_id)
    document = Document(objects)
    action = replace(request, num_steps=num_steps)
    if num_steps > 1:
        ledger.history.extend_last(action)
        ledger.document = document
    else:
        ledger.commit("Propagate", document, action)
    if stored:
        ledger.later(ledger.events.masks_changed.emit, frame_idx, tuple(stored))


def _close(results: Iterator[FrameResultLike] | None) -> None:
    close = getattr(results, "close", None)
    if close is not None:
        close()
