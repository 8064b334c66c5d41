"""How masks look in a Labels layer: which pixels of which frame are written, and when."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap

from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.session.masks import Box, Region, StoredMask, label_dtype
from napari_sam2.session.objects import ShownFrame, colour_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.session.session import Session

# larger label images are kept compressed, since nearly all of their pixels are background
_LARGEST_PLAIN_ARRAY = 2**30
# up to the first napari sends a byte per pixel to the graphics card; it takes no more than the last
_NUM_COLOURS = (254, 4094, 65534)
# lengths of a cycle that are tried for ids beyond that
_TRIES = 3000


class LabelWriter:
    """Writes a session's masks into a Labels layer, only where they changed.

    Parameters
    ----------
    session
        Whose masks are shown.
    geometry
        Which axes of the layer are frame, rows and columns.
    """

    def __init__(self, session: Session, geometry: FrameGeometry) -> None:
        self._session = session
        self._geometry = geometry
        # what the layer shows by frame; a stroke is what differs from it
        self._drawn: dict[int, ShownFrame] = {}
        self._spoilt: dict[int, Box] = {}
        self._hidden: frozenset[int] = frozenset()
        self._names: dict[int, str] = {}

    def new_layer(self, name: str) -> Labels:
        """Make a Labels layer with everything the session knows."""
        obj_ids = [record.obj_id for record in self._session.objects]
        data = label_array(self._geometry, label_dtype(obj_ids))
        self._hidden = frozenset(r.obj_id for r in self._session.objects if r.is_hidden)
        colormap = object_colormap(obj_ids, self._hidden)
        layer = Labels(data, name=name, colormap=colormap)
        self._names = {}
        self._drawn.clear()
        self._spoilt.clear()
        for frame_idx in self.frames_with_masks():
            self.write(layer, frame_idx, refresh=False)
        return layer

    def frames_with_masks(self) -> list[int]:
        """Frames on which some object has a mask, in order."""
        frames: set[int] = set()
        for record in self._session.objects:
            frames.update(record.mask_frames)
        return sorted(frames)

    def drawn_frames(self) -> list[int]:
        """Frames on which the layer shows a mask, in order."""
        return sorted(self._drawn)

    def fits(self, layer: Labels) -> bool:
        """Whether a layer still has the shape that masks are written into."""
        return tuple(layer.data.shape) == self._geometry.shape

    def write(
        self,
        layer: Labels,
        frame_idx: int,
        obj_ids: Iterable[int] | None = None,
        *,
        refresh: bool = True,
    ) -> None:
        """Show the masks of one frame as the session has them now.

        Parameters
        ----------
        layer
            A layer that `fits`.
        frame_idx
            The frame.
        obj_ids
            Objects that changed; None takes all.
        refresh
            Whether the viewer shows this frame and must read it again.
        """
        drawn = self._drawn.get(frame_idx, ShownFrame())
        now = self._session.document.shown(frame_idx)
        before, after = drawn.masks, now.masks
        changed = set(before) | set(after)
        if obj_ids is not None:
            # others may have changed too and be told of later: what is drawn is one moment
            unseen = {key for key in changed if before.get(key) is not after.get(key)}
            changed = unseen | (drawn.accepted ^ now.accepted) | set(obj_ids)
        boxes = [masks[key].box for masks in (before, after) for key in changed if key in masks]
        if frame_idx in self._spoilt:
            boxes.append(self._spoilt.pop(frame_idx))
        if after:
            self._drawn[frame_idx] = now
        else:
            self._drawn.pop(frame_idx, None)
        if boxes:
            self._put(layer, frame_idx, now, boxes, refresh=refresh)

    def drawn_labels(self, frame_idx: int, region: Region) -> NDArray[np.unsignedinteger]:
        """Return a region of a frame as it was written last, whatever a person has done to it."""
        return self._composed(self._drawn.get(frame_idx, ShownFrame()), region)

    def spoil(self, frame_idx: int, region: Region) -> None:
        """Have a region written anew with the next change of its frame."""
        rows, columns = region
        self._spoil(frame_idx, (rows.start, columns.start, rows.stop, columns.stop))

    def preview(self, layer: Labels, frame_idx: int, obj_id: int, mask: StoredMask) -> None:
        """Show an object as if `mask` were its mask, until the frame is written next."""
        drawn = self._drawn.get(frame_idx, ShownFrame())
        boxes = [known.box for known in (drawn.masks.get(obj_id), mask) if known is not None]
        box = _around(boxes)
        self._spoil(frame_idx, box)
        shown = replace(drawn, masks={**drawn.masks, obj_id: mask})
        self._put(layer, frame_idx, shown, [box], refresh=True)

    def show_colours(self, layer: Labels, hidden: frozenset[int]) -> None:
        """Show all objects but the hidden ones."""
        if hidden != self._hidden:
            self._hidden = hidden
            layer.colormap = object_colormap(self._session.document.objects, hidden)

    def make_room(self, layer: Labels, obj_id: int) -> None:
        """Give a layer numbers in which an object's id fits, if its own are too small."""
        self._hold(layer, label_dtype((obj_id,)))

    def show_names(self, layer: Labels) -> None:
        """Let napari name the object under the pointer."""
        names = {obj_id: state.name for obj_id, state in self._session.document.objects.items()}
        if names != self._names:
            self._names = names
            layer.features = {"index": list(names), "name": list(names.values())}

    def _spoil(self, frame_idx: int, box: Box) -> None:
        self._spoilt[frame_idx] = _around([box, self._spoilt.get(frame_idx, box)])

    def _put(
        self,
        layer: Labels,
        frame_idx: int,
        shown: ShownFrame,
        boxes: Sequence[Box],
        *,
        refresh: bool,
    ) -> None:
        top, left, bottom, right = _around(boxes)
        rows, columns = slice(top, bottom), slice(left, right)
        labels = self._composed(shown, (rows, columns))
        self._hold(layer, labels.dtype)
        if not _has_colours(layer.colormap, shown.masks):
            present = {*self._session.document.objects, *shown.masks}
            layer.colormap = object_colormap(present, self._hidden)
        layer.data[self._geometry.index(frame_idx, rows, columns)] = labels
        if refresh and layer.visible:
            layer.refresh(extent=False, highlight=False, thumbnail=False)

    def _hold(self, layer: Labels, dtype: np.dtype[Any]) -> None:
        if np.dtype(layer.data.dtype).itemsize < dtype.itemsize:
            widen(layer, dtype, self._geometry)

    def _composed(self, shown: ShownFrame, region: Region) -> NDArray[np.unsignedinteger]:
        dtype = label_dtype({*self._session.document.objects, *shown.masks})
        return shown.labels(self._session.height, self._session.width, dtype, region)


def _has_colours(colormap: CyclicLabelColormap, obj_ids: Collection[int]) -> bool:
    """Whether these objects are coloured as they should be."""
    count = len(colormap.colors) - 1
    beyond = [obj_id for obj_id in obj_ids if obj_id > count]
    if not beyond:
        return True
    wanted = [colour_of(obj_id) for obj_id in beyond]
    rows = [(obj_id - 1) % count + 1 for obj_id in beyond]
    return count == _NUM_COLOURS[-1] - _TRIES or np.allclose(
        colormap.colors[rows, :3], wanted, atol=1e-3
    )


def _around(boxes: Sequence[Box]) -> Box:
    filled = [box for box in boxes if box[0] < box[2] and box[1] < box[3]] or [(0, 0, 0, 0)]
    top, left = (min(box[axis] for box in filled) for axis in (0, 1))
    bottom, right = (max(box[axis] for box in filled) for axis in (2, 3))
    return top, left, bottom, right


def label_array(geometry: FrameGeometry, dtype: np.dtype[Any]) -> Any:
    """Make zeros in the shape of the image: plain while small, else compressed, a plane a chunk."""
    if int(np.prod(geometry.shape, dtype=np.int64)) * dtype.itemsize <= _LARGEST_PLAIN_ARRAY:
        return np.zeros(geometry.shape, dtype=dtype)
    import zarr

    chunks = tuple(
        length if axis in geometry.plane_axes else 1 for axis, length in enumerate(geometry.shape)
    )
    return zarr.create_array(
        zarr.storage.MemoryStore(), shape=geometry.shape, dtype=dtype, chunks=chunks
    )


def widen(layer: Labels, dtype: np.dtype[Any], geometry: FrameGeometry) -> None:
    """Give a layer numbers large enough for its labels, in the same colours and mode."""
    narrow = layer.data
    wide = label_array(geometry, dtype)
    for position in range(geometry.shape[0]):
        wide[position] = np.asarray(narrow[position])
    mode = layer.mode
    layer.data = wide
    # the old undo history holds pixels of the old array; this is the public way to drop it
    layer.editable = False
    layer.editable = True
    layer.mode = mode


def object_colormap(
    obj_ids: Collection[int], hidden: frozenset[int] = frozenset()
) -> CyclicLabelColormap:
    """Colour labels as their objects are coloured everywhere; hidden ones not at all.

    The graphics card counts no further than 65534. Beyond that colours come again, after so many
    that no two of these objects share one, unless there are thousands of scattered ids.
    """
    largest_id = max(obj_ids, default=1)
    count = next((n for n in _NUM_COLOURS if largest_id <= n), None) or _cycle(obj_ids)
    colours = np.zeros((count + 1, 4), dtype=np.float32)
    colours[1:, :3] = [colour_of(obj_id) for obj_id in range(1, count + 1)]
    colours[1:, 3] = 1.0
    for obj_id in (*obj_ids, *hidden):
        colours[(obj_id - 1) % count + 1] = (*colour_of(obj_id), float(obj_id not in hidden))
    return CyclicLabelColormap(colors=colours)


def _cycle(obj_ids: Collection[int]) -> int:
    """Return after how many colours the first may come again without two objects sharing one."""
    ids = np.fromiter(obj_ids, np.int64)
    most = _NUM_COLOURS[-1]
    lengths = range(most, most - _TRIES, -1)
    return next((n for n in lengths if len(np.unique(ids % n)) == len(ids)), most - _TRIES)
