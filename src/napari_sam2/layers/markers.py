"""What the markers said when they were last read or drawn, and what has changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points, Shapes

from napari_sam2.layers import prompt_layers
from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.layers.outlines import Outline, OutlineMemory, OutlineReader, scribble_points
from napari_sam2.layers.prompt_layers import NO_OBJECT, Markers, PromptKey, ToImage
from napari_sam2.session.prompts import POSITIVE, FramePrompts

if TYPE_CHECKING:
    from napari_sam2.session.session import Session


@dataclass(frozen=True)
class PromptEdit:
    """What a person now says of one object on one frame; empty prompts take everything back."""

    obj_id: int
    frame_idx: int
    prompts: FramePrompts


class MarkerBook:
    """Reads markers as prompts and draws prompts as markers, without hearing itself.

    Parameters
    ----------
    session
        Whose prompts the markers show.
    geometry
        Which axes are frame, rows and columns.
    to_image
        Turns data coordinates of a marker layer into those of the image layer.
    """

    def __init__(self, session: Session, geometry: FrameGeometry, to_image: ToImage) -> None:
        self._session = session
        self._geometry = geometry
        self._to_image = to_image
        self._known: dict[PromptKey, FramePrompts] = {}
        self._outlined: set[PromptKey] = set()
        self._reader = OutlineReader()
        self._memory = OutlineMemory()
        self.is_drawing = False
        """Whether changes of the layers are the book's own."""
        self.polarity = POSITIVE
        """What scribbles say."""
        self.expected: set[int] = set()
        """Objects that the session is about to make, whose markers are kept."""
        self.is_waiting: Callable[[PromptKey], bool] = _never
        """Whether markers were read that the session has not heard of yet; they are left alone."""

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let changes of the layers go unheard."""
        outer, self.is_drawing = self.is_drawing, True
        try:
            yield
        finally:
            self.is_drawing = outer

    @property
    def marked_objects(self) -> set[int]:
        """Objects that have markers."""
        return {key[0] for key in self._known}

    @property
    def keys(self) -> set[PromptKey]:
        """Objects and frames that have markers."""
        return set(self._known)

    def known(self, key: PromptKey) -> FramePrompts | None:
        """What the markers of an object on a frame said last."""
        return self._known.get(key)

    def choose_candidate(self, key: PromptKey, candidate: int) -> None:
        """Note which answer a person wants, so that clicks before it is there build on it."""
        if key in self._known:
            self._known[key] = replace(self._known[key], candidate=candidate)

    def read(self, points: Points, shapes: Shapes) -> Markers:
        """Read all markers."""
        return prompt_layers.read_markers(
            points, shapes, self._geometry, self._to_image, self._reader
        )

    def has_changed(self, points: Points, shapes: Shapes) -> bool:
        """Whether the markers say something new."""
        return bool(prompt_layers.scribbles(shapes) or self._edits(points, shapes))

    def collect(
        self, points: Points, shapes: Shapes, chosen: int, new_object: Callable[[], int]
    ) -> tuple[list[PromptEdit], str]:
        """Bring the markers in order, and return what is new and why markers were taken away.

        Parameters
        ----------
        chosen
            The object of markers that have none; `NO_OBJECT` makes one.
        """
        with self.drawing():
            refusal = self._turn_scribbles(points, shapes)
            markers = self.read(points, shapes)
            prompt_layers.remove_rows(points, markers.refused_points)
            prompt_layers.remove_rows(shapes, markers.refused_shapes)
            self._assign_objects(points, shapes, chosen, new_object)
            outdated = prompt_layers.outdated_shapes(shapes, self._geometry, self._to_image)
            prompt_layers.remove_rows(shapes, outdated)
        edits = self._edits(points, shapes)
        for edit in edits:
            key = (edit.obj_id, edit.frame_idx)
            self._remember(key, edit.prompts)
            self._keep_outlines(shapes, key, edit.prompts)
        return edits, refusal or markers.reason

    def show(self, points: Points, shapes: Shapes, key: PromptKey) -> None:
        """Bring the markers of an object on a frame in line with the session."""
        self._show(points, shapes, key, self.read(points, shapes).prompts.get(key))

    def show_all(self, points: Points, shapes: Shapes) -> None:
        """Bring all markers in line with the session."""
        marked = self.read(points, shapes).prompts
        prompted = {
            (record.obj_id, frame_idx)
            for record in self._session.objects
            for frame_idx in record.prompted_frames
        }
        for key in sorted({*marked, *self._known, *prompted}):
            if not self.is_waiting(key):
                self._show(points, shapes, key, marked.get(key))

    def redraw(self, points: Points, shapes: Shapes) -> None:
        """Draw all markers from the session, on layers that were made again."""
        with self.drawing():
            for layer in (points, shapes):
                prompt_layers.remove_rows(layer, range(len(layer.data)))
        self._known.clear()
        self._outlined.clear()
        self.show_all(points, shapes)

    # Inside

    def _show(
        self, points: Points, shapes: Shapes, key: PromptKey, marked: FramePrompts | None
    ) -> None:
        now, wanted = marked or FramePrompts(), self._wanted(key) or FramePrompts()
        with self.drawing():
            if not prompt_layers.same_points(now, wanted):
                rows = prompt_layers.rows_of_key(points, key, self._geometry, self._to_image)
                prompt_layers.remove_rows(points, rows)
                prompt_layers.append_points(points, key, wanted, self._geometry)
            drawn = () if wanted.mask is None else self._memory.recall(key, wanted.mask)
            as_marked = replace(now, mask=None) if not drawn and now.mask is None else now
            as_wanted = wanted if drawn or now.mask is not None else replace(wanted, mask=None)
            if not prompt_layers.same_shapes(as_marked, as_wanted):
                rows = prompt_layers.rows_of_key(shapes, key, self._geometry, self._to_image)
                prompt_layers.remove_rows(shapes, rows)
                prompt_layers.append_box(shapes, key, wanted, self._geometry)
                prompt_layers.append_outlines(shapes, key[0], drawn)
                self._mark_outlined(key, bool(drawn))
        self._remember(key, wanted)

    def _edits(self, points: Points, shapes: Shapes) -> list[PromptEdit]:
        marked = self.read(points, shapes).prompts
        edits = []
        for key in sorted({*marked, *self._known}):
            known = self._known.get(key, FramePrompts())
            now = _with_what_has_no_marker(
                marked.get(key, FramePrompts()), known, was_outlined=key in self._outlined
            )
            if not prompt_layers.same_prompts(now, known):
                edits.append(PromptEdit(*key, now))
        return edits

    def _turn_scribbles(self, points: Points, shapes: Shapes) -> str:
        """Turn paths and lines into clicks along them; says why one cannot be."""
        rows, refusal = prompt_layers.scribbles(shapes), ""
        owners = prompt_layers.object_ids(shapes)
        for row in rows:
            coords = self._to_image(shapes, np.asarray(shapes.data[row], dtype=np.float64))
            path, frame_idx, reason = prompt_layers.read_corners(coords, self._geometry)
            if path is None:
                refusal = refusal or reason
                continue
            spacing = 2 * prompt_layers.marker_size(self._geometry)
            places = scribble_points(path, spacing)
            prompts = FramePrompts(places, np.full(len(places), self.polarity, np.int64))
            key = (int(owners[row]), frame_idx)
            prompt_layers.append_points(points, key, prompts, self._geometry)
        prompt_layers.remove_rows(shapes, rows)
        return refusal

    def _assign_objects(
        self, points: Points, shapes: Shapes, chosen: int, new_object: Callable[[], int]
    ) -> None:
        present = {*self._session.document.objects, *self.expected, chosen} - {NO_OBJECT}
        orphans = [
            [
                row
                for row, owner in enumerate(prompt_layers.object_ids(layer))
                if owner not in present
            ]
            for layer in (points, shapes)
        ]
        if any(orphans):
            obj_id = chosen or new_object()
            prompt_layers.assign_points(points, orphans[0], obj_id)
            for row in orphans[1]:
                prompt_layers.assign_shape(shapes, row, obj_id)
        for row in prompt_layers.crowded_boxes(shapes, self._geometry, self._to_image):
            prompt_layers.assign_shape(shapes, row, new_object())

    def _keep_outlines(self, shapes: Shapes, key: PromptKey, prompts: FramePrompts) -> None:
        drawn: tuple[Outline, ...] = ()
        if prompts.mask is not None:
            drawn = prompt_layers.outlines_of(shapes, key, self._geometry, self._to_image)
            if drawn:
                self._memory.keep(key, prompts.mask, drawn)
        self._mark_outlined(key, bool(drawn))

    def _mark_outlined(self, key: PromptKey, outlined: bool) -> None:
        (self._outlined.add if outlined else self._outlined.discard)(key)

    def _wanted(self, key: PromptKey) -> FramePrompts | None:
        state = self._session.document.objects.get(key[0])
        return None if state is None else state.prompts.get(key[1])

    def _remember(self, key: PromptKey, prompts: FramePrompts) -> None:
        if prompts.is_empty:
            self._known.pop(key, None)
        else:
            self._known[key] = prompts


def _with_what_has_no_marker(
    now: FramePrompts, known: FramePrompts, *, was_outlined: bool
) -> FramePrompts:
    """Add a painted mask and the chosen candidate, which markers do not show."""
    if now.mask is None and now.box is None and known.mask is not None and not was_outlined:
        now = replace(now, mask=known.mask)
    same_start = (
        known.candidate > 0
        and now.box is None
        and now.mask is None
        and len(now.points) > 0
        and prompt_layers.same_points(_first_point(now), _first_point(known))
    )
    return replace(now, candidate=known.candidate) if same_start else now


def _first_point(prompts: FramePrompts) -> FramePrompts:
    return FramePrompts(prompts.points[:1], prompts.point_labels[:1])


def _never(key: PromptKey) -> bool:
    return False
