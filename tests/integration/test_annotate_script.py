"""The widget as a script drives it: the calls of the public contract, in a real viewer."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import moving_discs

import napari_sam2
from napari_sam2.widgets.main_widget import annotate


def test_points_propagation_and_objects(viewer, fake_model) -> None:
    layer = viewer.add_image(moving_discs(), scale=(1, 0.3, 0.3))
    annotator = annotate(viewer, layer, variant="micro")
    assert annotator.session.num_frames == 8
    assert annotator.image_layer == layer
    annotator.points_layer.add((2, 12, 14))
    annotator.wait(timeout=20)
    assert [record.obj_id for record in annotator.session.objects] == [1]
    labels = annotator.labels_layer
    assert labels.data.dtype == np.uint16
    assert labels.data[2, 12, 14] == 1
    assert not labels.data[3].any()
    np.testing.assert_array_equal(labels.data[2] == 1, annotator.session.mask(1, 2))

    annotator.new_object()
    annotator.points_layer.add((0, 30, 20))
    annotator.propagate(direction="both")
    annotator.wait(timeout=20)
    for frame_idx in range(8):
        np.testing.assert_array_equal(labels.data[frame_idx], annotator.session.labels(frame_idx))
        assert set(np.unique(labels.data[frame_idx])) == {0, 1, 2}
