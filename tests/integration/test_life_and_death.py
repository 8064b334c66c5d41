"""Opening from the menu, closing in the middle, images that come and go: nothing raises."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton

from fakes import moving_discs
from napari_sam2.session.session import Session
from napari_sam2.widgets import jobs
from napari_sam2.widgets.main_widget import annotate


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "napari-sam2"]


def test_opened_from_the_menu_before_there_is_an_image(viewer, fake_model, hand) -> None:
    _, annotator = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 annotate")
    annotator.wait(timeout=20)
    assert annotator.session is None
    assert annotator.points_layer is None
    assert annotator._panels._status.text().startswith("Open an image first")
    for text in ("Remove", "Both (G)", "Save …"):
        (button,) = (b for b in annotator.findChildren(QAbstractButton) if b.text() == text)
        assert not button.isEnabled(), text
    annotator.propagate()
    assert annotator.new_object() is None
    viewer.add_image(moving_discs())
    annotator.wait(timeout=20)
    assert annotator.session.num_frames == 8
    assert viewer.layers.selection.active == annotator.points_layer
    viewer.dims.set_point(0, 0)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    assert annotator.labels_layer.data[0, 12, 12] == 1


def test_the_viewer_is_closed_in_the_middle(viewer, slow_model, qtbot, capsys) -> None:
    annotator = annotate(viewer, viewer.add_image(moving_discs(num_frames=60)))
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    qtbot.waitUntil(lambda: annotator.labels_layer.data[3].any(), timeout=20_000)
    assert len(workers()) == 1
    viewer.close()
    qtbot.waitUntil(lambda: not workers(), timeout=10_000)
    assert "Traceback" not in capsys.readouterr().err


def test_the_window_is_closed_while_the_network_is_loaded(
    viewer, fake_model, monkeypatch, qtbot, capsys
) -> None:
    loading, loaded = threading.Event(), threading.Event()
    monkeypatch.setattr(jobs, "_PATIENCE", 30.0)  # longer than it loads

    def load(session) -> None:
        loading.set()
        loaded.wait(20)

    monkeypatch.setattr(Session, "load_network", load)
    annotator = annotate(viewer, viewer.add_image(moving_discs()))
    annotator.points_layer.add((0, 12, 12))
    qtbot.waitUntil(loading.is_set, timeout=20_000)
    session = annotator.session
    viewer.close()
    assert len(workers()) == 1  # it was not waited for
    loaded.set()
    qtbot.waitUntil(lambda: not workers(), timeout=10_000)
    assert not session.document.objects[1].masks
    assert "Traceback" not in capsys.readouterr().err


def test_the_dock_is_closed_in_the_middle(viewer, slow_model, qtbot, hand) -> None:
    layer = viewer.add_image(moving_discs(num_frames=60))
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    qtbot.waitUntil(lambda: annotator.labels_layer.data[3].any(), timeout=20_000)
    masks = annotator.labels_layer
    viewer.window.remove_dock_widget(annotator)
    qtbot.waitUntil(lambda: not workers(), timeout=10_000)
    assert len(viewer.layers) == 4
    assert not masks.locked
    hand.key(Qt.Key.Key_G)  # the keys are free again
    viewer.layers.remove(masks)
    again = annotate(viewer, layer)
    assert again is not annotator
    again.points_layer.add((0, 12, 12))
    again.wait(timeout=20)
    assert again.labels_layer.data[0, 12, 12] == 1


def test_images_come_and_go(viewer, slow_model, qtbot, messages) -> None:
    first = viewer.add_image(moving_discs(num_frames=60), name="first")
    annotator = annotate(viewer, first)
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    qtbot.waitUntil(lambda: annotator.labels_layer.data[3].any(), timeout=20_000)
    first.name = "renamed"
    viewer.layers.remove(first)
    annotator.wait(timeout=20)
    assert annotator.session is None
    second = viewer.add_image(moving_discs(), name="second")
    annotator.wait(timeout=20)
    assert annotator.image_layer == second
    viewer.layers.clear()
    annotator.wait(timeout=20)
    assert annotator.session is None
    assert messages == []


@pytest.mark.parametrize("removed", ["first", "second"])
def test_a_run_ends_with_its_own_image_only(viewer, slow_model, qtbot, removed) -> None:
    layers = {"first": viewer.add_image(moving_discs(num_frames=60), name="first")}
    annotator = annotate(viewer, layers["first"])
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    labels = annotator.labels_layer
    qtbot.waitUntil(lambda: labels.data[3].any(), timeout=20_000)
    layers["second"] = viewer.add_image(moving_discs(), name="second")
    annotate(viewer, layers["second"])
    viewer.layers.remove(layers[removed])
    qtbot.wait(100)
    qtbot.waitUntil(lambda: annotator.is_settled, timeout=60_000)
    assert bool(labels.data[50].any()) == (removed == "second")


def test_the_image_is_moved_under_its_markers(viewer, fake_model) -> None:
    layer = viewer.add_image(moving_discs())
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    layer.scale, layer.translate, layer.rotate = (1, 0.5, 0.5), (0, 7, 9), (0, 0, 45)
    layer.units = ("s", "um", "um")
    for mine in (annotator.points_layer, annotator.shapes_layer, annotator.labels_layer):
        np.testing.assert_allclose(mine.data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))
        assert mine.units == layer.units
    annotator.wait(timeout=20)
    assert len(annotator.session.prompts(1, 0).points) == 1
