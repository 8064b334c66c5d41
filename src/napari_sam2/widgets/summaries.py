"""What the panels say about an open session, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.layers import geometry as geo
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.keymap import KeyAction, KeyTable, as_written
from napari_sam2.layers.results import WORLD, calibration_of
from napari_sam2.session.objects import Document
from napari_sam2.widgets.object_table import TableView
from napari_sam2.widgets.prompt_panel import NO_IMAGE

if TYPE_CHECKING:
    from napari.components import Dims

    from napari_sam2.session.planes import Plane
    from napari_sam2.session.session import Session
    from napari_sam2.widgets.open_session import OpenSession


def _axis_names(opened: OpenSession) -> list[str]:
    return [
        f"axis {label}" if str(label).lstrip("-").isdigit() else str(label)
        for label in opened.image.axis_labels
    ]


def place_text(opened: OpenSession, plane: Plane) -> str:
    """Say where another plane of an image is; empty for the one that is open."""
    if plane in ((), opened.geometry.fixed):
        return ""
    names = _axis_names(opened)
    return " at " + ", ".join(f"{names[axis]} {index}" for axis, index in plane)


def axis_choices(opened: OpenSession | None) -> tuple[Sequence[tuple[int, str]], int | None]:
    """Name the axes that may be the frame axis, and say which one is."""
    if opened is None or opened.geometry.ndim == 2:
        return (), None
    names = _axis_names(opened)
    axes = [
        (axis, f"{name} ({length} frames)")
        for axis, (name, length) in enumerate(zip(names, opened.geometry.shape, strict=True))
    ]
    axes.append((geo.NO_FRAMES, "none: one image"))
    chosen = opened.geometry.frame_axis
    return axes, geo.NO_FRAMES if chosen is None else chosen


def table_view(opened: OpenSession | None) -> TableView:
    """Return what the table of objects shows."""
    if opened is None:
        return TableView(Document(), None)
    document, calibration = opened.session.document, calibration_of(opened.image, opened.geometry)
    if calibration.unit in ("pixel", WORLD):
        return TableView(document, opened.frame_idx)
    height, width = calibration.pixel_size
    return TableView(document, opened.frame_idx, height * width, calibration.unit)


def candidate_text(session: Session, obj_id: int, frame_idx: int) -> str:
    """Say which answer to a first click is shown, and how good the model finds it."""
    prompts = session.prompts(obj_id, frame_idx)
    candidates = session.candidates(obj_id, frame_idx)
    if prompts is None or not candidates:
        return "This click has one answer only. "
    candidate = candidates[prompts.candidate % len(candidates)]
    area = int(np.count_nonzero(candidate.mask.logits > 0))
    return (
        f"Answer {prompts.candidate % len(candidates) + 1} of {len(candidates)}, the best first: "
        f"predicted IoU {candidate.mask.iou:.2f}, stability {candidate.stability:.2f}, "
        f"{area} pixels. "
    )


def hindrance(opened: OpenSession | None) -> str:
    """Say why nothing can be propagated; empty if it can."""
    if opened is None:
        return NO_IMAGE
    if opened.geometry.num_frames == 1:
        return "This image has one frame only, there is nothing to follow."
    prompted = [state for state in opened.session.document.objects.values() if state.prompts]
    if not prompted:
        return "Click an object or draw a box first."
    if all(state.accepted for state in prompted):
        return "All objects with prompts are locked: unlock one to follow it."
    return ""


def advice(opened: OpenSession | None, dims: Dims, keys: KeyTable, other: str = "") -> str:
    """Say what a person can or must do next while nothing is computed.

    Parameters
    ----------
    other
        Name of another image that is selected in the list of layers.
    """
    if opened is None:
        return NO_IMAGE
    if other:
        return f"{other!r} is selected; to annotate it, choose it at Image, above."
    try:
        geo.require_plane_view(dims)
    except LayerRefusedError as error:
        return str(error)
    if geo.frame_axis_is_shown(opened.geometry, dims):
        return "The axis of the frames is on display; roll the axes back, or choose another."
    if not opened.layers.is_on_plane():
        names = _axis_names(opened)
        where = ", ".join(f"{names[axis]} {index}" for axis, index in opened.geometry.fixed)
        return f"You annotate at {where}: move that slider back, or choose Frames anew."
    chosen = opened.session.document.objects.get(opened.obj_id or 0)
    if chosen is None or not (chosen.prompts or chosen.masks):
        what = "an object" if chosen is None else chosen.name
        return f"Click {what} on the layer SAM 2 points, or draw around it on SAM 2 shapes."
    new, follow = (as_written(keys[key]) for key in (KeyAction.NEW_OBJECT, KeyAction.PROPAGATE))
    text = f"Click again to correct {chosen.name}; {new} begins another object"
    if chosen.accepted:
        text = f"{chosen.name} is locked; {new} begins another object"
    if opened.geometry.num_frames == 1:
        return f"{text}."
    return f"{text}, {follow} follows all through the frames."


def pause_text(keys: KeyTable) -> str:
    """Say what can be done while a run is held."""
    go_on, cancel = (as_written(keys[key]) for key in (KeyAction.PROPAGATE, KeyAction.CANCEL))
    return f"Paused: correct what is wrong, then {go_on} goes on; {cancel} ends it."


def activity(opened: OpenSession, *, doing: str) -> str:
    """Say what is being computed; `doing` is the long run's word for it, empty where none runs."""
    if opened.session.environment is None:
        return "Loading the network …"
    return f"{doing or 'Thinking'} …"
