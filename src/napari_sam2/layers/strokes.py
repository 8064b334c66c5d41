"""What a person painted into the labels: which objects gained and lost which pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.session.masks import DRAWN

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_sam2.layers.label_writer import LabelWriter
    from napari_sam2.session.session import Session

Region = tuple[slice, slice]
Waiting = Callable[[int, int], "NDArray[np.bool_] | None"]
"""Of an object and a frame."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """What a stroke made of the objects of one frame.

    Attributes
    ----------
    frame_idx
        The frame.
    masks
        The new mask (H, W) of every object that gained or lost pixels.
    region
        Rows and columns that the stroke touched.
    refused
        Locked objects that keep their pixels.
    """

    frame_idx: int
    masks: dict[int, NDArray[np.bool_]]
    region: Region
    refused: tuple[int, ...] = ()


def touched(atoms: Any, geometry: FrameGeometry) -> dict[int, Region]:
    """Return which rows and columns of which frames an item of napari's paint history touched."""
    boxes: dict[int, tuple[int, int, int, int]] = {}
    for atom in atoms if isinstance(atoms, list) else [atoms]:
        for frame_idx, box in _boxes_of(atom, geometry):
            old = boxes.get(frame_idx, box)
            boxes[frame_idx] = (
                min(old[0], box[0]),
                min(old[1], box[1]),
                max(old[2], box[2]),
                max(old[3], box[3]),
            )
    return {
        frame_idx: (slice(top, bottom), slice(left, right))
        for frame_idx, (top, left, bottom, right) in boxes.items()
    }


def _boxes_of(
    atom: Any, geometry: FrameGeometry
) -> Iterable[tuple[int, tuple[int, int, int, int]]]:
    """Yield frames and boxes of one atom, which is of one of two forms."""
    spans = _spans(atom, geometry)
    if not spans or any(
        not spans[axis][0] <= position < spans[axis][1] for axis, position in geometry.fixed
    ):
        return
    (top, bottom), (left, right) = (spans[axis] for axis in geometry.plane_axes)
    first, last = (0, 1) if geometry.frame_axis is None else spans[geometry.frame_axis]
    for frame_idx in range(first, last):
        yield frame_idx, (top, left, bottom, right)


def strays(atoms: Any, geometry: FrameGeometry) -> list[tuple[slice, ...]]:
    """Return which blocks of the layer, beside the plane of the session, were painted on."""
    blocks = []
    for atom in atoms if isinstance(atoms, list) else [atoms]:
        spans = _spans(atom, geometry)
        if not spans:
            continue
        ranges = [range(*spans[axis]) for axis, _ in geometry.fixed]
        for places in product(*ranges):
            if places != tuple(position for _, position in geometry.fixed):
                block = [slice(*span) for span in spans]
                for (axis, _), place in zip(geometry.fixed, places, strict=True):
                    block[axis] = slice(place, place + 1)
                blocks.append(tuple(block))
    return blocks


def _spans(atom: Any, geometry: FrameGeometry) -> list[tuple[int, int]]:
    """Return first and end of what an atom touches along each axis; nothing for an empty one."""
    spans = []
    slice_key = getattr(atom, "slice_key", None)
    for axis, length in enumerate(geometry.shape):
        if slice_key is not None:
            start, stop, _ = slice_key[axis].indices(length)
        else:
            places = np.asarray(atom[0][axis])
            if places.size == 0:
                return []
            start, stop = int(places.min()), int(places.max()) + 1
        if stop <= start:
            return []
        spans.append((start, stop))
    return spans


def _apply(
    painted: NDArray[Any], atoms: Any, frame_idx: int, region: Region, geometry: FrameGeometry
) -> None:
    """Paint atoms over a region (h, w): napari tells of some before it has written them."""
    top, left = region[0].start, region[1].start
    for atom in atoms if isinstance(atoms, list) else [atoms]:
        slice_key = getattr(atom, "slice_key", None)
        places = geometry.index(frame_idx)
        if slice_key is None:
            indices = np.broadcast_arrays(*(np.asarray(index) for index in atom[0]))
            new = np.broadcast_to(np.asarray(atom[2]), indices[0].shape)
            here = np.ones(indices[0].shape, dtype=bool)
            for index, place in zip(indices, places, strict=True):
                here &= True if isinstance(place, slice) else index == place
            y_axis, x_axis = geometry.plane_axes
            painted[indices[y_axis][here] - top, indices[x_axis][here] - left] = new[here]
            continue
        starts = [entry.start for entry in slice_key]
        inner = tuple(
            place if isinstance(place, slice) else place - start
            for place, start in zip(places, starts, strict=True)
        )
        if any(
            not isinstance(place, slice) and not entry.start <= place < entry.stop
            for place, entry in zip(places, slice_key, strict=True)
        ):
            continue
        (y0, y1), (x0, x1) = (
            (slice_key[axis].start, slice_key[axis].stop) for axis in geometry.plane_axes
        )
        target = painted[y0 - top : y1 - top, x0 - left : x1 - left]
        target[slice(None) if atom.mask is None else atom.mask[inner]] = atom.new_value


def read_stroke(
    layer: Labels,
    atoms: Any,
    frame_idx: int,
    region: Region,
    *,
    session: Session,
    writer: LabelWriter,
    geometry: FrameGeometry,
    waiting: Waiting,
) -> Stroke | None:
    """Compare what the layer shows with what was drawn there; None if nothing has changed.

    Parameters
    ----------
    waiting
        Gives the mask of an object on a frame after the strokes that the session has yet to hear
        of, None where there is no such stroke.
    """
    painted = np.array(layer.data[geometry.index(frame_idx, *region)])
    _apply(painted, atoms, frame_idx, region, geometry)
    drawn = writer.drawn_labels(frame_idx, region)
    differs = painted != drawn
    if not differs.any():
        return None
    objects = session.document.objects
    changed = {int(v) for v in np.unique(painted[differs])} | {
        int(v) for v in np.unique(drawn[differs])
    }
    locked = {
        obj_id for obj_id in changed if obj_id in objects and objects[obj_id].protects(frame_idx)
    }
    keep = np.isin(drawn, list(locked)) | np.isin(painted, list(locked))
    differs &= ~keep
    masks = {}
    for obj_id in sorted(changed - locked - {0}):
        mask = _mask(session, obj_id, frame_idx, waiting)
        mask[region][differs & (drawn == obj_id)] = False
        mask[region][differs & (painted == obj_id)] = True
        masks[obj_id] = mask
    gained = differs & (painted != 0)
    for obj_id in _covering(session, frame_idx, region, gained) - set(masks) - locked:
        mask = _mask(session, obj_id, frame_idx, waiting)
        mask[region][gained] = False
        masks[obj_id] = mask
    return Stroke(frame_idx, masks if differs.any() else {}, region, tuple(sorted(locked)))


def _mask(session: Session, obj_id: int, frame_idx: int, waiting: Waiting) -> NDArray[np.bool_]:
    known = waiting(obj_id, frame_idx)
    if known is not None:
        return known.copy()
    if obj_id in session.document.objects:
        known = session.mask(obj_id, frame_idx)
    return np.zeros((session.height, session.width), dtype=bool) if known is None else known


def _covering(
    session: Session, frame_idx: int, region: Region, gained: NDArray[np.bool_]
) -> set[int]:
    """Objects below that are so sure of painted pixels that they would come up there."""
    found = set()
    top, left = region[0].start, region[1].start
    for obj_id, state in session.document.objects.items():
        mask = state.masks.get(frame_idx)
        if mask is None or mask.is_empty:
            continue
        height, width = mask.logits.shape
        y0, x0 = max(mask.top, top), max(mask.left, left)
        y1 = min(mask.top + height, region[0].stop)
        x1 = min(mask.left + width, region[1].stop)
        if y0 >= y1 or x0 >= x1:
            continue
        logits = mask.logits[y0 - mask.top : y1 - mask.top, x0 - mask.left : x1 - mask.left]
        below = gained[y0 - top : y1 - top, x0 - left : x1 - left]
        if (below & (logits >= DRAWN)).any():
            found.add(obj_id)
    return found
