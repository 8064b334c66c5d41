"""The layers of one session beside its image: kept in place, read, and shown as it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from napari_sam2.layers.markers import MarkerBook, PromptEdit
from napari_sam2.layers.prompt_layers import NO_OBJECT, PromptKey
from napari_sam2.layers.slips import Slips
from napari_sam2.layers.strokes import Stroke, Waiting, read_stroke, strays, touched
from napari_sam2.session.prompts import NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_sam2.session.masks import StoredMask
    from napari_sam2.session.session import Session

_TRANSFORM_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_RIGHT_BUTTON = 2
_FINISHED_EDITS = frozenset({ActionType.ADDED, ActionType.CHANGED, ActionType.REMOVED})


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
    painted = Signal(object)
    """A `Stroke`; `restore_stroke` brings the layer in line with what the session makes of it."""
    strayed = Signal()
    """Painted beside the plane of the session; `erase_strays` takes it away once it is written."""
    pressed = Signal(int, tuple)
    """Frame and pixel (y, x) at which a click was begun."""
    layer_made = Signal(object)
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
        self._strays: list[tuple[slice, ...]] = []
        self._points: Points | None = None
        self._shapes: Shapes | None = None
        self._labels: Labels | None = None
        self.book = MarkerBook(session, geometry, self._to_image)
        """What the markers say."""
        self._obj_id = NO_OBJECT
        self._polarity = POSITIVE
        self._next_polarity = POSITIVE  # of the click whose button is down
        self._picked = NO_OBJECT  # what the labels layer was last told to paint
        self._is_begun = False  # a shape was begun that is not finished yet
        self._postponed: set[PromptKey] = set()
        self._detached = False
        self._slips = Slips()
        self.mask_waiting: Waiting = _none
        """What strokes make of an object on a frame that the session has yet to hear of."""
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
            self._labels.events.paint.connect(self._on_paint)
        if self._shapes is None:
            layer = prompt_layers.new_shapes_layer(self.geometry, "SAM 2 shapes")
            self._shapes = self._insert(layer, below=self._points)
            self._shapes.events.data.connect(self._on_markers)
            self._shapes.selected_data.events.items_changed.connect(self._on_shapes_picked)
            self._shapes.mouse_drag_callbacks.append(self._slips.watch)
        if self._points is None:
            layer = prompt_layers.new_points_layer(self.geometry, "SAM 2 points")
            self._points = self._insert(layer)
            self._points.events.data.connect(self._on_markers)
            self._points.selected_data.events.items_changed.connect(self._on_points_picked)
            self._points.mouse_drag_callbacks.append(self._on_press)
        if all(missing):
            self.activate()
        else:
            self._viewer.layers.selection.active = before
        if missing[1] or missing[2]:
            self._is_begun = False
            self.book.redraw(self._points, self._shapes)
        self._show_hidden()
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
            self._points.selected_data.events.items_changed.disconnect(self._on_points_picked)
            self._points.mouse_drag_callbacks.remove(self._on_press)
            self._points.locked = False
        if self._shapes is not None:
            self._shapes.events.data.disconnect(self._on_markers)
            self._shapes.selected_data.events.items_changed.disconnect(self._on_shapes_picked)
            self._shapes.mouse_drag_callbacks.remove(self._slips.watch)
            self._shapes.locked = False
        if self._labels is not None:
            self._labels.events.selected_label.disconnect(self._on_label_picked)
            self._labels.events.paint.disconnect(self._on_paint)
            self._labels.locked = False
            # napari 0.9 may crash where a layer is deleted whose brush is over the canvas
            self._labels.mode = "pan_zoom"

    # From the person

    def collect(self, new_object: Callable[[], int]) -> list[PromptEdit]:
        """Read the markers and return what changed since they were last read or shown.

        Parameters
        ----------
        new_object
            Makes an object for markers that have none, and returns its id.
        """
        self.ensure()
        if self._is_shaping:
            return []  # its end is heard
        points, shapes = self.points, self.shapes
        slipped = self._slips.take(shapes)
        if slipped:
            with self.book.drawing():
                prompt_layers.remove_rows(shapes, slipped)
            self.refused.emit(self._slips.sentence)
        try:
            geo.require_plane_view(self._viewer.dims)
        except LayerRefusedError as error:
            if self.book.has_changed(points, shapes):
                self.show_all_prompts()
                self.refused.emit(str(error))
            return []
        self.book.polarity = self._polarity
        edits, refusal = self.book.collect(points, shapes, self._obj_id, new_object)
        if refusal:
            self.refused.emit(refusal)
        told = {(edit.obj_id, edit.frame_idx) for edit in edits}
        while self._postponed:
            key = self._postponed.pop()
            is_expected = key[0] in self.book.expected
            if key not in told and not is_expected and not self.book.is_waiting(key):
                self.book.show(points, shapes, key)
        self._show_names()
        self._dress()
        return edits

    def is_on_plane(self) -> bool:
        """Whether the viewer shows the plane of the session, where there are several."""
        return geo.is_on_plane(
            self.geometry, self.image, self._viewer.dims, world_units=self._world_units()
        )

    def current_frame(self) -> int | None:
        """Frame that the viewer shows, None if it shows no single one."""
        return geo.current_frame(
            self.geometry, self.image, self._viewer.dims, world_units=self._world_units()
        )

    def click_place(self, position: Sequence[float]) -> tuple[int, tuple[float, float]] | None:
        """Frame and pixel (y, x) of a click at a position in the world; None: it would be none."""
        points = self._points
        if points is None or points.mode != "add" or self._viewer.dims.ndisplay != 2:
            return None
        if not self._is_active(points):
            return None
        return prompt_layers.pressed_pixel(points, position, self.geometry, self._to_image)

    # From the session

    def choose(self, obj_id: int | None) -> None:
        """Give the next markers an object; None lets the next marker make one."""
        self._obj_id = NO_OBJECT if obj_id is None else obj_id
        self._dress()

    def expect(self, obj_id: int) -> None:
        """Keep the markers of an object that the session is about to make."""
        self.book.expected.add(obj_id)

    def set_polarity(self, positive: bool) -> None:
        """Make the next clicks positive or negative."""
        self._polarity = self._next_polarity = POSITIVE if positive else NEGATIVE
        self._dress()

    def show_prompts(self, obj_id: int, frame_idx: int) -> None:
        """Bring the markers of an object on a frame in line with the session."""
        self.ensure()
        if self._is_shaping:  # a shape that is being drawn must not move or change its row
            self._postponed.add((obj_id, frame_idx))
            return
        self.book.show(self.points, self.shapes, (obj_id, frame_idx))
        self._show_names()
        self._dress()

    def show_masks(self, frame_idx: int, obj_ids: tuple[int, ...] | None = None) -> None:
        """Bring the labels of a frame in line with the session."""
        self.ensure()
        shown = self.current_frame()
        refresh = shown is None or shown == frame_idx or self._viewer.dims.ndisplay == 3
        self._writer.write(self.labels, frame_idx, obj_ids, refresh=refresh)

    def show_preview(self, frame_idx: int, obj_id: int, mask: StoredMask) -> None:
        """Show how an object would look, until `show_masks` is called for the frame."""
        self.ensure()
        self._writer.preview(self.labels, frame_idx, obj_id, mask)

    def erase_strays(self) -> None:
        """Take away what was painted beside the plane of the session, where it has no masks."""
        if self._labels is not None and self._strays:
            for block in self._strays:
                self._labels.data[block] = 0
            self._labels.refresh(extent=False, highlight=False, thumbnail=False)
        self._strays.clear()

    def restore_stroke(self, stroke: Stroke) -> None:
        """Bring what a stroke touched in line with the session."""
        self._writer.spoil(stroke.frame_idx, stroke.region)
        self.show_masks(stroke.frame_idx, ())

    def show_objects(self) -> None:
        """Show which objects there are, and take away the markers of those that are gone."""
        present = set(self._session.document.objects)
        self.book.expected -= present
        marked = self.book.marked_objects | {self._obj_id}
        if marked - present - self.book.expected - {NO_OBJECT}:
            if self._obj_id not in present | self.book.expected:
                self._obj_id = NO_OBJECT
            self.show_all_prompts()
        self._show_hidden()

    def frames_to_show(self) -> list[int]:
        """Frames whose labels the layer shows or should show."""
        return sorted({*self._writer.frames_with_masks(), *self._writer.drawn_frames()})

    def show_all_prompts(self) -> None:
        """Bring all markers in line with the session."""
        self.ensure()
        if self._is_shaping:
            prompted = self._session.document.objects.items()
            self._postponed |= {(i, t) for i, state in prompted for t in state.prompts}
            self._postponed |= self.book.keys
            return
        self.book.show_all(self.points, self.shapes)
        self._show_names()
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
        self.layer_made.emit(layer)
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

    def _show_hidden(self) -> None:
        objects = self._session.document.objects
        hidden = frozenset(obj_id for obj_id, state in objects.items() if state.hidden)
        if self._labels is not None:
            self._writer.show_colours(self._labels, hidden)
            self._writer.show_names(self._labels)
        if self._points is not None and self._shapes is not None:
            with self.book.drawing():
                prompt_layers.show_some(self._points, self._shapes, hidden)
        self._show_names()

    def _show_names(self) -> None:
        if self._points is None or self._shapes is None or self._is_shaping:
            return
        objects = self._session.document.objects.values()
        names = {state.obj_id: state.name for state in objects if not state.hidden}
        prompt_layers.show_names(self._points, self._shapes, names, self.geometry)

    def _dress(self) -> None:
        # dressing lets go of markers that a person is about to move or to delete
        if self._points is not None and not self._is_in_hand(self._points):
            prompt_layers.dress_points(self._points, self._obj_id, self._next_polarity, self._name)
        if self._shapes is not None and not self._is_shaping and not self._is_in_hand(self._shapes):
            prompt_layers.dress_shapes(self._shapes, self._obj_id, self._name)
        if self._labels is not None and self._obj_id not in (NO_OBJECT, self._picked):
            self._writer.make_room(self._labels, self._obj_id)
            # once: a person may go on to paint another label, or erase
            self._picked = self._labels.selected_label = self._obj_id

    @property
    def _name(self) -> str:
        """What the markers of the chosen object are named."""
        state = self._session.document.objects.get(self._obj_id)
        return "" if state is None or state.hidden else state.name

    # Events of napari

    def _on_markers(self, event: Any) -> None:
        if self.book.is_drawing:
            return
        action = ActionType(event.action)
        if action in (ActionType.ADDING, ActionType.ADDED):
            self._is_begun = action is ActionType.ADDING and event.source is self._shapes
        if action in _FINISHED_EDITS:
            self._next_polarity = self._polarity
            self._dress()
            self.markers_changed.emit()

    def _on_label_picked(self, event: Any) -> None:
        label = int(event.source.selected_label)
        if label != self._obj_id and label in self._session.document.objects:
            self.object_picked.emit(label)

    def _on_points_picked(self, event: Any = None) -> None:
        self._choose_owner(self._points)

    def _on_shapes_picked(self, event: Any = None) -> None:
        self._choose_owner(self._shapes)

    def _choose_owner(self, layer: Points | Shapes | None) -> None:
        """Choose the object of the markers that a person has selected, if it is one."""
        if layer is None or self.book.is_drawing:
            return
        owners = prompt_layers.selected_owners(layer)
        if len(owners) == 1 and owners < {*self._session.document.objects, -1}:
            obj_id = owners.pop()
            if obj_id != self._obj_id:
                self.object_picked.emit(obj_id)

    @property
    def _is_shaping(self) -> bool:
        """Whether a person is in the middle of drawing a shape."""
        return self._is_begun and self._is_active(self._shapes)

    def _is_active(self, layer: Layer | None) -> bool:
        active = self._viewer.layers.selection.active  # may be a proxy of the layer
        return layer is not None and active is not None and active.unique_id == layer.unique_id

    def _is_in_hand(self, layer: Points | Shapes) -> bool:
        return prompt_layers.selected_owners(layer) == {self._obj_id}

    def _on_paint(self, event: Any) -> None:
        """Read what a stroke has made of the objects of each frame that it touched."""
        layer = self._labels
        if layer is None:
            return
        for frame_idx, region in touched(event.value, self.geometry).items():
            stroke = read_stroke(
                layer, event.value, frame_idx, region,
                session=self._session, writer=self._writer, geometry=self.geometry,
                waiting=self.mask_waiting,
            )  # fmt: skip
            if stroke is None:
                continue
            if stroke.refused:
                names = ", ".join(map(str, stroke.refused))
                self.refused.emit(
                    f"Object {names} is locked on frame {frame_idx}: unlock it to paint there."
                )
            self.painted.emit(stroke)
        stray = strays(event.value, self.geometry)
        if stray:
            self._strays += stray
            self.refused.emit(prompt_layers.off_plane(self.geometry))
            self.strayed.emit()

    def _on_press(self, layer: Points, event: Any) -> None:
        """Let the right button say the opposite; napari adds a point for either at the release."""
        self._is_begun = False  # a shape that was left unfinished counts as it is
        polarity = self._polarity
        if event.button == _RIGHT_BUTTON:
            polarity = NEGATIVE if polarity == POSITIVE else POSITIVE
        if layer.mode == "add":
            # an answer that arrives before the release must not change it back
            self._next_polarity = polarity
            prompt_layers.dress_points(layer, self._obj_id, polarity, self._name)
            place = self.click_place(event.position)
            if place is not None:
                self.pressed.emit(*place)

    def _on_layer_removed(self, event: Any) -> None:
        gone = event.value.unique_id
        if self._points is not None and self._points.unique_id == gone:
            self._points = None
        elif self._shapes is not None and self._shapes.unique_id == gone:
            self._shapes, self._is_begun = None, False
        elif self._labels is not None and self._labels.unique_id == gone:
            self._labels, self._picked = None, NO_OBJECT
        elif self.image.unique_id == gone:
            self.image_removed.emit()


def _none(obj_id: int, frame_idx: int) -> None:
    return None
