"""Room: what the panels say about an open session, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_sam2.layers import geometry as geo
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.widgets.prompt_panel import NO_IMAGE, ObjectRow

if TYPE_CHECKING:
    from napari.components import Dims

    from napari_sam2.session.session import Session
    from napari_sam2.widgets.open_session import OpenSession


def axis_choices(opened: OpenSession | None) -> tuple[Sequence[tuple[int, str]], int | None]:
    """Name the axes that may be the frame axis, and say which one is."""
    if opened is None or opened.geometry.frame_axis is None:
        return (), None
    names = [
        f"axis {axis}" if str(label).lstrip("-").isdigit() else str(label)
        for axis, label in enumerate(opened.image.axis_labels)
    ]
    axes = [
        (axis, f"{name} ({length} frames)")
        for axis, (name, length) in enumerate(zip(names, opened.geometry.shape, strict=True))
    ]
    return axes, opened.geometry.frame_axis


def object_rows(session: Session) -> list[ObjectRow]:
    """List the objects."""
    return [
        ObjectRow(record.obj_id, record.name, record.colour, len(record.mask_frames))
        for record in session.objects
    ]


def hindrance(opened: OpenSession | None) -> str:
    """Say why nothing can be propagated; empty if it can."""
    if opened is None:
        return NO_IMAGE
    if opened.geometry.num_frames == 1:
        return "This image has one frame only, there is nothing to follow."
    if not any(record.prompted_frames for record in opened.session.objects):
        return "Click an object or draw a box first."
    return ""


def advice(opened: OpenSession | None, dims: Dims) -> str:
    """Say what a person can or must do next while nothing is computed."""
    if opened is None:
        return NO_IMAGE
    try:
        geo.require_plane_view(dims)
    except LayerRefusedError as error:
        return str(error)
    if geo.frame_axis_is_shown(opened.geometry, dims):
        return "The axis of the frames is on display; roll the axes back, or choose another."
    if not opened.session.objects:
        return "Click an object on the Points layer, or draw a box on the Shapes layer."
    if opened.geometry.num_frames == 1:
        return "Click again to correct the object, or start another one."
    return "Click again to correct the object, start another one, or go on to the other frames."


def activity(opened: OpenSession, *, doing: str) -> str:
    """Say what is being computed; `doing` is the long run's word for it, empty where none runs."""
    if opened.session.environment is None:
        return "Loading the network …"
    return f"{doing or 'Thinking'} …"
