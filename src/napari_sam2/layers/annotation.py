"""Room: the layers of one session beside its image: kept in place, read, and shown as it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Points, Shapes
from napari.layers.base import ActionType
from psygnal import Signal

from napari_sam2.layers import geometry as geo
from napari_sam2.layers import prompt_layers
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.layers.label_writer import LabelWriter
from napari_sam2.layers.prompt_layers import NO_OBJECT, PromptKey
from napari_sam2.session.prompts import NEGATIVE, POSITIVE, FramePrompts

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_sam2.session.session import Session

_TRANSFORM_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_RIGHT_BUTTON = 2
_FINISHED_EDITS = frozenset({ActionType.ADDED, ActionType.CHANGED, ActionType.REMOVED})


@dataclass(frozen=True)
class PromptEdit:
    """What a person now says of one object on one frame; empty prompts take everything back."""

    obj_id: int
    frame_idx: int
    prompts: FramePrompts


class AnnotationLayers:
    """Points, Shapes and Labels layers of one session.

    A layer that was deleted is made again from the session by `ensure`, which every action calls.

    Parameters
    ----------
    viewer
        A napari viewer, its proxy, or a `ViewerModel`.
    image
        The layer whose pixels are prompted.
    geometry
        Which axes of the image are frame, rows and columns.
    session
        Whose prompts and masks the layers show.
    """

    markers_changed = Signal()
    object_picked = Signal(int)
    refused = Signal(str)
    image_removed = Signal()

    def __init__(
        self, viewer: Any, image: Image, geometry: FrameGeometry, session: Session
    ) -> None:
        self._viewer = viewer
        self.image = image
        self.geometry = geometry
        self._session = session
        self._writer = LabelWriter(session, geometry)
        self._points: Points | None = None
        self._shapes: Shapes | None = None
        self._labels: Labels | None = None
        self._known: dict[PromptKey, FramePrompts] = {}
        self._expected: set[int] = set()
        self.is_waiting: Callable[[PromptKey], bool] = _never
        """Whether markers were read that the session has not heard of yet; they are left alone."""
        self._drawing = False
        self._obj_id = NO_OBJECT
        self._polarity = POSITIVE
        self._detached = False
        viewer.layers.events.removed.connect(self._on_layer_removed)
        viewer.layers.events.removed.connect(self._lay_over_image)
        viewer.layers.events.inserted.connect(self._lay_over_image)
        for name in _TRANSFORM_EVENTS:
            getattr(image.events, name).connect(self._lay_over_image)

    # The layers

    @property
    def points(self) -> Points:
        """The layer of clicks."""
        self.ensure()
        assert self._points is not None
        return self._points

    @property
    def shapes(self) -> Shapes:
        """The layer of boxes."""
        self.ensure()
        assert self._shapes is not None
        return self._shapes

    @property
    def labels(self) -> Labels:
        """The layer of masks."""
        self.ensure()
        assert self._labels is not None
        return self._labels

    def ensure(self) -> None:
        """Make the layers that are missing, from what the session knows."""
        if self._detached:
            return
        if self._labels is not None and not self._writer.fits(self._labels):
            self._labels.locked = False
            self._viewer.layers.remove(self._labels)
        missing = [self._labels is None, self._points is None, self._shapes is None]
        if not any(missing):
            return
        before = self._viewer.layers.selection.active
        if self._labels is None:
            self._labels = self._insert(self._writer.new_layer("SAM 2 labels"), below=self._points)
            self._labels.events.selected_label.connect(self._on_label_picked)
        if self._shapes is None:
            layer = prompt_layers.new_shapes_layer(self.geometry, "SAM 2 boxes")
            self._shapes = self._insert(layer, below=self._points)
            self._shapes.events.data.connect(self._on_markers)
        if self._points is None:
            layer = prompt_layers.new_points_layer(self.geometry, "SAM 2 points")
            self._points = self._insert(layer)
            self._points.events.data.connect(self._on_markers)
            self._points.mouse_drag_callbacks.append(self._on_press)
        if all(missing):
            self.activate()
        else:
            self._viewer.layers.selection.active = before
        if missing[1] or missing[2]:
            self._redraw_markers()
        self._dress()

    def activate(self) -> None:
        """Make the next click of a person a prompt."""
        self._viewer.layers.selection.active = self._points
        if self._points is not None:
            self._points.mode = "add"
        if self._shapes is not None:
            self._shapes.mode = "add_rectangle"

    def owns(self, layer: Layer) -> bool:
        """Whether a layer is one of ours."""
        return any(
            mine is not None and mine.unique_id == layer.unique_id
            for mine in (self._points, self._shapes, self._labels)
        )

    def detach(self) -> None:
        """Leave the layers to the person, unlocked, and listen no more."""
        if self._detached:
            return
        self._detached = True
        for event in (self._viewer.layers.events.removed, self._viewer.layers.events.inserted):
            event.disconnect(self._lay_over_image)
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        for name in _TRANSFORM_EVENTS:
            getattr(self.image.events, name).disconnect(self._lay_over_image)
        if self._points is not None:
            self._points.events.data.disconnect(self._on_markers)
            self._points.mouse_drag_callbacks.remove(self._on_press)
            self._points.locked = False
        if self._shapes is not None:
            self._shapes.events.data.disconnect(self._on_markers)
            self._shapes.locked = False
        if self._labels is not None:
            self._labels.events.selected_label.disconnect(self._on_label_picked)
            self._labels.locked = False

    # From the person

    def collect(self, new_object: Callable[[], int]) -> list[PromptEdit]:
        """Read the markers and return what changed since they were last read or shown.

        Parameters
        ----------
        new_object
            Makes an object for markers that have none, and returns its id.
        """
        self.ensure()
        points, shapes = self.points, self.shapes
        try:
            geo.require_plane_view(self._viewer.dims)
        except LayerRefusedError as error:
            if self._differences(self._read().prompts):
                self.show_all_prompts()
                self.refused.emit(str(error))
            return []
        self._drawing = True
        try:
            markers = self._read()
            prompt_layers.remove_rows(points, markers.refused_points)
            prompt_layers.remove_rows(shapes, markers.refused_shapes)
            self._assign_objects(new_object)
            prompts = self._read().prompts
        finally:
            self._drawing = False
        if markers.reason:
            self.refused.emit(markers.reason)
        edits = self._differences(prompts)
        for edit in edits:
            self._remember((edit.obj_id, edit.frame_idx), edit.prompts)
        self._dress()
        return edits

    def current_frame(self) -> int | None:
        """Frame that the viewer shows, None if it shows no single one."""
        return geo.current_frame(
            self.geometry, self.image, self._viewer.dims, world_units=self._world_units()
        )

    # From the session

    def choose(self, obj_id: int | None) -> None:
        """Give the next markers an object; None lets the next marker make one."""
        self._obj_id = NO_OBJECT if obj_id is None else obj_id
        self._dress()

    def expect(self, obj_id: int) -> None:
        """Keep the markers of an object that the session is about to make."""
        self._expected.add(obj_id)

    def set_polarity(self, positive: bool) -> None:
        """Make the next clicks positive or negative."""
        self._polarity = POSITIVE if positive else NEGATIVE
        self._dress()

    def show_prompts(self, obj_id: int, frame_idx: int) -> None:
        """Bring the markers of an object on a frame in line with the session."""
        self.ensure()
        key = (obj_id, frame_idx)
        wanted = self._session_prompts(key) or FramePrompts()
        self._replace_markers(key, self._read().prompts.get(key), wanted)
        self._remember(key, wanted)

    def show_masks(self, frame_idx: int, obj_ids: tuple[int, ...] | None = None) -> None:
        """Bring the labels of a frame in line with the session."""
        self.ensure()
        shown = self.current_frame()
        refresh = shown is None or shown == frame_idx or self._viewer.dims.ndisplay == 3
        self._writer.write(self.labels, frame_idx, obj_ids, refresh=refresh)

    def show_objects(self) -> None:
        """Take away the markers of objects that are gone."""
        present = set(self._session.document.objects)
        self._expected -= present
        marked = {key[0] for key in self._known} | {self._obj_id}
        if marked - present - self._expected - {NO_OBJECT}:
            if self._obj_id not in present | self._expected:
                self._obj_id = NO_OBJECT
            self.show_all_prompts()

    def frames_to_show(self) -> list[int]:
        """Frames whose labels the layer shows or should show."""
        return sorted({*self._writer.frames_with_masks(), *self._writer.drawn_frames()})

    def show_all_prompts(self) -> None:
        """Bring all markers in line with the session."""
        self.ensure()
        marked = self._read().prompts
        prompted = {
            (record.obj_id, frame_idx)
            for record in self._session.objects
            for frame_idx in record.prompted_frames
        }
        for key in sorted({*marked, *self._known, *prompted}):
            if not self.is_waiting(key):
                wanted = self._session_prompts(key) or FramePrompts()
                self._replace_markers(key, marked.get(key), wanted)
                self._remember(key, wanted)
        self._dress()

    # Inside

    def _insert(self, layer: Any, below: Layer | None = None) -> Any:
        geo.copy_transform(self.image, layer, world_units=self._world_units())
        index = len(self._viewer.layers)
        if below is not None:
            index = self._viewer.layers.index(below)
        self._viewer.layers.insert(index, layer)
        # a slip of the delete key must not cost an afternoon; removing by script stays possible
        layer.locked = True
        return layer

    def _world_units(self) -> geo.Units | None:
        others = [layer for layer in self._viewer.layers if not self.owns(layer)]
        if not others:
            return tuple(self.image.units)
        units: geo.Units | None = self._viewer.layers.get_extent(others).units
        return units

    def _to_image(self, layer: Layer, coords: NDArray[np.float64]) -> NDArray[np.float64]:
        return geo.layer_to_layer(layer, self.image, coords, world_units=self._world_units())

    def _lay_over_image(self, event: Any = None) -> None:
        mine = [layer for layer in (self._points, self._shapes, self._labels) if layer is not None]
        world_units = self._world_units()
        for layer in mine:
            geo.copy_transform(self.image, layer, world_units=world_units)

    def _read(self) -> prompt_layers.Markers:
        return prompt_layers.read_markers(self.points, self.shapes, self.geometry, self._to_image)

    def _differences(self, marked: dict[PromptKey, FramePrompts]) -> list[PromptEdit]:
        edits = []
        for key in sorted({*marked, *self._known}):
            known = self._known.get(key, FramePrompts())
            now = marked.get(key, FramePrompts())
            if now.box is None and known.mask is not None:
                now = replace(now, mask=known.mask)
            if not prompt_layers.same_prompts(now, known):
                edits.append(PromptEdit(*key, now))
        return edits

    def _assign_objects(self, new_object: Callable[[], int]) -> None:
        points, shapes = self.points, self.shapes
        present = {*self._session.document.objects, *self._expected, self._obj_id} - {NO_OBJECT}
        orphans = [
            [
                row
                for row, owner in enumerate(prompt_layers.object_ids(layer))
                if owner not in present
            ]
            for layer in (points, shapes)
        ]
        if any(orphans):
            obj_id = self._obj_id or new_object()
            self._obj_id = obj_id
            prompt_layers.assign_points(points, orphans[0], obj_id)
            for row in orphans[1]:
                prompt_layers.assign_shape(shapes, row, obj_id)
        for row in prompt_layers.crowded_boxes(shapes, self.geometry, self._to_image):
            self._obj_id = new_object()
            prompt_layers.assign_shape(shapes, row, self._obj_id)

    def _replace_markers(
        self, key: PromptKey, marked: FramePrompts | None, wanted: FramePrompts
    ) -> None:
        if prompt_layers.same_prompts(marked, replace(wanted, mask=None)):
            return
        self._drawing = True
        try:
            for layer in (self.points, self.shapes):
                rows = prompt_layers.rows_of_key(layer, key, self.geometry, self._to_image)
                prompt_layers.remove_rows(layer, rows)
            prompt_layers.append_markers(self.points, self.shapes, key, wanted, self.geometry)
        finally:
            self._drawing = False
        self._dress()

    def _redraw_markers(self) -> None:
        self._drawing = True
        try:
            for layer in (self._points, self._shapes):
                if layer is not None:
                    prompt_layers.remove_rows(layer, range(len(layer.data)))
            self._known.clear()
            if self._points is None or self._shapes is None:
                return
            for record in self._session.objects:
                for frame_idx in record.prompted_frames:
                    key = (record.obj_id, frame_idx)
                    prompts = self._session_prompts(key) or FramePrompts()
                    prompt_layers.append_markers(
                        self._points, self._shapes, key, prompts, self.geometry
                    )
                    self._remember(key, prompts)
        finally:
            self._drawing = False
        self._dress()

    def _session_prompts(self, key: PromptKey) -> FramePrompts | None:
        state = self._session.document.objects.get(key[0])
        return None if state is None else state.prompts.get(key[1])

    def _remember(self, key: PromptKey, prompts: FramePrompts) -> None:
        if prompts.is_empty:
            self._known.pop(key, None)
        else:
            self._known[key] = prompts

    def _dress(self) -> None:
        if self._points is not None:
            prompt_layers.dress_points(self._points, self._obj_id, self._polarity)
        if self._shapes is not None:
            prompt_layers.dress_shapes(self._shapes, self._obj_id)
        if self._labels is not None and self._obj_id != NO_OBJECT:
            self._labels.selected_label = self._obj_id

    # Events of napari

    def _on_markers(self, event: Any) -> None:
        if not self._drawing and ActionType(event.action) in _FINISHED_EDITS:
            self._dress()
            self.markers_changed.emit()

    def _on_label_picked(self, event: Any) -> None:
        label = int(event.source.selected_label)
        if label != self._obj_id and label in self._session.document.objects:
            self.object_picked.emit(label)

    def _on_press(self, layer: Points, event: Any) -> None:
        """Let the right button say the opposite; napari adds a point for either at the release."""
        polarity = self._polarity
        if event.button == _RIGHT_BUTTON:
            polarity = NEGATIVE if polarity == POSITIVE else POSITIVE
        if layer.mode == "add":
            prompt_layers.dress_points(layer, self._obj_id, polarity)

    def _on_layer_removed(self, event: Any) -> None:
        gone = event.value.unique_id
        if self._points is not None and self._points.unique_id == gone:
            self._points = None
        elif self._shapes is not None and self._shapes.unique_id == gone:
            self._shapes = None
        elif self._labels is not None and self._labels.unique_id == gone:
            self._labels = None
        elif self.image.unique_id == gone:
            self.image_removed.emit()


def _never(key: PromptKey) -> bool:
    return False
