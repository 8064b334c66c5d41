"""What a person sees is what the network sees, in a real viewer."""

from __future__ import annotations

import numpy as np
import pytest

from fakes import FakePredictor, moving_discs
from napari_sam2.api import replay
from napari_sam2.session.intensities import Channel
from napari_sam2.widgets.main_widget import annotate

STACK = moving_discs()


def opened(model) -> list:
    """With which frames and range each predictor was opened."""
    return [call for call in model.calls if call[0] == "init_state"]


def test_contrast_is_followed_in_mid_session(viewer, fake_model, messages, tmp_path) -> None:
    layer = viewer.add_image(STACK, contrast_limits=(0, 255))
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    annotator.wait(timeout=20)
    first = np.array(annotator.labels_layer.data)
    for high in (50, 70, 90):  # a drag asks nothing
        layer.contrast_limits = (10, high)
    annotator.wait(timeout=20)
    assert len(fake_model) == 1
    layer.gamma = 0.5
    annotator.new_object()
    annotator.points_layer.add((3, 30, 24))
    annotator.wait(timeout=20)
    assert len(fake_model) == 2  # nothing encoded before is used again
    seen = (Channel(0, 10, 90, 0.5),)
    assert annotator.session.settings.channels == seen
    np.testing.assert_array_equal(annotator.labels_layer.data == 1, first == 1)
    annotator.propagate()
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(annotator.labels_layer.data == 1, first == 1)
    assert set(np.unique(annotator.labels_layer.data[7])) == {0, 1, 2}

    annotator.save(tmp_path / "session.json")
    annotator.wait(timeout=20)
    again = replay(tmp_path / "session.json", progress=False, predictor_factory=FakePredictor)
    np.testing.assert_array_equal(again, annotator.labels_layer.data)
    layer.contrast_limits = (0, 255)
    layer.gamma = 1.0
    annotator.load(tmp_path / "session.json")
    annotator.wait(timeout=20)
    assert tuple(layer.contrast_limits) == (10, 90)
    assert layer.gamma == 0.5
    assert annotator.session.settings.channels == seen
    assert messages == []


def test_two_layers_are_composed(viewer, fake_model, messages, tmp_path, qtbot) -> None:
    layer = viewer.add_image(STACK, contrast_limits=(0, 200), name="cells")
    second = viewer.add_image(STACK[::-1], contrast_limits=(0, 100), name="nuclei")
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    panel = annotator._panels.input
    boxes = panel._boxes
    assert [boxes[1].itemText(i) for i in range(boxes[1].count())] == ["none", "cells", "nuclei"]
    assert not boxes[2].isEnabled()
    boxes[1].setCurrentIndex(2)
    boxes[1].activated.emit(2)
    assert boxes[2].isEnabled()
    annotator.points_layer.add((0, 30, 20))
    annotator.wait(timeout=20)
    assert annotator.session.settings.channels == (Channel(0, 0, 200), Channel(1, 0, 100))
    assert annotator.session.source.num_channels == 2
    annotator.propagate()
    annotator.wait(timeout=20)
    annotator.save(tmp_path / "session.json")
    annotator.wait(timeout=20)
    again = replay(tmp_path / "session.json", progress=False, predictor_factory=FakePredictor)
    np.testing.assert_array_equal(again, annotator.labels_layer.data)
    # the same twice is refused, and the panel shows what holds
    boxes[1].setCurrentIndex(1)
    boxes[1].activated.emit(1)
    assert messages == ["Choose one to three different channels for the network."]
    assert boxes[1].currentText() == "nuclei"
    viewer.layers.remove(second)
    qtbot.wait(60)
    assert boxes[1].currentText() == "nuclei"


def test_a_look_at_what_the_network_sees(viewer, fake_model, messages, qtbot) -> None:
    layer = viewer.add_image(STACK, contrast_limits=(0, 200), scale=(1, 0.5, 0.5))
    annotator = annotate(viewer, layer)
    panel = annotator._panels.input
    panel._preview.setChecked(True)
    annotator.wait(timeout=20)
    name = "SAM 2 model input"
    assert viewer.layers.index(viewer.layers[name]) == 1
    assert "whole frame, frame" in panel._seen.text().lower()
    annotator.points_layer.add((0, 20, 30))
    viewer.dims.set_point(0, 0)
    annotator.wait(timeout=20)
    qtbot.waitUntil(lambda: "Object 1, frame 0" in panel._seen.text(), timeout=5000)
    corner = viewer.layers[name].data_to_world((0, -0.5, -0.5))
    np.testing.assert_allclose(corner, layer.data_to_world((0, 11.5, 21.5)))
    before = np.array(viewer.layers[name].data)
    layer.contrast_limits = (0, 400)
    annotator.wait(timeout=20)
    qtbot.waitUntil(lambda: not np.array_equal(before, viewer.layers[name].data), timeout=5000)
    viewer.dims.set_point(0, 5)
    qtbot.waitUntil(lambda: "frame 5" in panel._seen.text(), timeout=5000)
    assert [image.name for image in annotator._images.images] == [layer.name]
    viewer.layers.remove(viewer.layers[name])
    qtbot.waitUntil(lambda: not panel._preview.isChecked(), timeout=5000)
    panel._preview.setChecked(True)
    annotator.wait(timeout=20)
    assert name in viewer.layers
    panel._preview.setChecked(False)
    assert name not in viewer.layers
    assert messages == []


@pytest.mark.parametrize("frame_axis", [-1, 0])
def test_channel_first_image_as_one_image_or_as_frames(viewer, fake_model, frame_axis) -> None:
    layer = viewer.add_image(STACK[:2], contrast_limits=(0, 255))
    annotator = annotate(viewer, layer)
    annotator._panels.prompts.frame_axis_chosen.emit(frame_axis)
    assert annotator.session.num_frames == (1 if frame_axis == -1 else 2)
    frame = int(viewer.dims.point[0])
    annotator.points_layer.add((frame, 12, 12))
    annotator.wait(timeout=20)
    assert annotator.labels_layer.data[frame, 12, 12] == 1
