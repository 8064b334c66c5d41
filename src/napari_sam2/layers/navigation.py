"""Where the viewer looks: at which frame, at which pixel, and how it is brought there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers import geometry as geo

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam2.session.session import Session


def show_frame(
    viewer: Any,
    image: Image,
    frames: geo.FrameGeometry,
    frame_idx: int,
    *,
    yx: tuple[float, float] | None = None,
    world_units: geo.Units | None = None,
) -> None:
    """Move the sliders to a frame, and the camera to a pixel of it unless it is in sight."""
    here = (frames.height / 2, frames.width / 2) if yx is None else yx
    data = frames.to_data(frame_idx, np.array([here]))[0]
    world = geo.data_to_world(image, data, world_units=world_units)
    first = viewer.dims.ndim - len(world)
    shown = set(viewer.dims.displayed)
    for axis, place in enumerate(world):
        if axis + first not in shown:
            viewer.dims.set_point(axis + first, float(place))
    if yx is not None and viewer.dims.ndisplay == 2:
        _bring_into_sight(viewer, [float(world[axis - first]) for axis in viewer.dims.displayed])


def _bring_into_sight(viewer: Any, place: list[float]) -> None:
    camera = viewer.scene.camera
    zoom = max(float(camera.zoom), 1e-9)
    center = np.array(camera.center[-2:], dtype=float)
    half = np.array(viewer.canvas.size, dtype=float) / zoom / 2
    if (np.abs(np.array(place) - center) > 0.8 * half).any():
        camera.center = (0.0, *place)


def neighbouring_prompt(
    session: Session, obj_id: int | None, frame_idx: int, *, forward: bool
) -> int | None:
    """Return the next or previous frame with a prompt, of one object or of any; None if none is."""
    frames = sorted(
        {
            frame
            for record in session.objects
            if obj_id in (None, record.obj_id)
            for frame in record.prompted_frames
        }
    )
    beyond = [frame for frame in frames if (frame > frame_idx if forward else frame < frame_idx)]
    if not beyond:
        return None
    return beyond[0] if forward else beyond[-1]


def neighbouring_object(session: Session, obj_id: int | None, *, forward: bool) -> int | None:
    """Return the object after or before one, round and round; None if there is none at all."""
    ids = sorted(record.obj_id for record in session.objects)
    if not ids:
        return None
    if obj_id is None:
        return ids[0 if forward else -1]
    beyond = [i for i in ids if (i > obj_id if forward else i < obj_id)]
    if forward:
        return beyond[0] if beyond else ids[0]
    return beyond[-1] if beyond else ids[-1]


def place_of(session: Session, obj_id: int) -> tuple[int, tuple[float, float] | None] | None:
    """Return where an object is prompted first, else known first: the frame, and y, x in it.

    None if it has neither prompt nor mask, no pixel where it is absent.
    """
    state = session.document.objects.get(obj_id)
    frames = () if state is None else state.prompts or state.masks
    if state is None or not frames:
        return None
    frame_idx = min(frames)
    mask = state.masks.get(frame_idx)
    if mask is None or mask.is_empty:
        return frame_idx, None
    top, left, bottom, right = mask.box
    return frame_idx, ((top + bottom) / 2, (left + right) / 2)


def pixel_under(
    image: Image,
    frames: geo.FrameGeometry,
    position: Any,
    *,
    world_units: geo.Units | None = None,
) -> tuple[int, tuple[float, float]] | None:
    """Return the frame and pixel (y, x) at a position in the world; None outside of the image."""
    data = geo.world_to_data(image, position, world_units=world_units)
    found = frames.to_pixel(data)
    if not (found.inside[0] and found.on_plane[0]):
        return None
    y, x = found.yx[0]
    return int(found.frame_idx[0]), (float(y), float(x))
