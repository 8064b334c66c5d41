"""A `ViewerModel` with an image, a session that answers with discs, and its layers; no window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel

from fakes import FakePredictor, moving_discs
from napari_sam2.layers.annotation import AnnotationLayers
from napari_sam2.layers.frame_source import layer_channel, layer_frame_source
from napari_sam2.layers.geometry import choose_geometry
from napari_sam2.session.session import Session


class Bench:
    """What a main widget does, in one thread."""

    def __init__(self, data=None, **options) -> None:
        self.viewer = ViewerModel()
        self.image = self.viewer.add_image(moving_discs() if data is None else data, **options)
        self.geometry = choose_geometry(
            self.image, self.viewer.dims, world_units=self.viewer.layers.units
        )
        seen = layer_channel(self.image)
        self.session = Session(
            layer_frame_source(self.image, self.geometry),
            channels=() if seen is None else (seen,),
            predictor_factory=FakePredictor,
        )
        self.layers = AnnotationLayers(self.viewer, self.image, self.geometry, self.session)
        self.layers.ensure()
        self.refusals: list[str] = []
        self.layers.refused.connect(self._on_refused)
        self.layers.painted.connect(self._on_painted)
        self.session.events.masks_changed.connect(self._on_masks)

    def _on_refused(self, sentence: str) -> None:
        self.refusals.append(sentence)

    def _on_masks(self, frame_idx: int, obj_ids: tuple[int, ...]) -> None:
        self.layers.show_masks(frame_idx, obj_ids)

    def _on_painted(self, stroke) -> None:
        if stroke.masks:
            self.session.set_masks(stroke.frame_idx, stroke.masks)
        self.layers.restore_stroke(stroke)

    def undo(self) -> None:
        self.session.undo()
        self.show()

    def redo(self) -> None:
        self.session.redo()
        self.show()

    def show(self) -> None:
        """Show everything the session says."""
        self.layers.show_objects()
        self.layers.show_all_prompts()
        for frame_idx in self.layers.frames_to_show():
            self.layers.show_masks(frame_idx)

    def ask(self) -> int:
        """Give the session what the markers say anew; returns how many edits that were."""
        edits = self.layers.collect(self._new_object)
        for edit in edits:
            prompts = edit.prompts
            self.session.set_prompts(
                edit.obj_id,
                edit.frame_idx,
                points=prompts.points,
                point_labels=prompts.point_labels,
                box=prompts.box,
                mask=prompts.mask,
                candidate=prompts.candidate,
            )
        return len(edits)

    def _new_object(self) -> int:
        obj_id = self.session.new_object()
        self.layers.choose(obj_id)
        return obj_id

    def assert_shown(self) -> None:
        labels = np.asarray(self.layers.labels.data)
        for frame_idx in range(self.session.num_frames):
            np.testing.assert_array_equal(
                labels[self.geometry.index(frame_idx)], self.session.labels(frame_idx)
            )


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench
