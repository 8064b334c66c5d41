"""What the panel says below its buttons, while things are done by mouse and keys."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from fakes import moving_discs
from napari_sam2.session.session import Session
from napari_sam2.widgets.main_widget import annotate

STACK = moving_discs(num_frames=40)


@pytest.fixture
def annotator(viewer, slow_model, hand, monkeypatch):
    loaded = SimpleNamespace(device="cpu", dtype="float32")
    monkeypatch.setattr(Session, "environment", property(lambda session: loaded))
    opened = annotate(viewer, viewer.add_image(STACK))
    viewer.dims.set_point(0, 0)
    opened.wait(timeout=20)
    assert said(opened) == (
        "Click an object on the layer SAM 2 points, or draw around it on SAM 2 shapes."
    )
    hand.click((12, 12))
    opened.wait(timeout=20)
    return opened


def said(annotator) -> str:
    return annotator._panels._status.text()


def has_begun(annotator) -> bool:
    return len(annotator.session.objects[0].mask_frames) > 4


def test_what_can_be_done_next_is_said_with_its_keys(viewer, hand, annotator, qtbot) -> None:
    assert said(annotator) == (
        "Click again to correct Object 1; Q begins another object, "
        "G follows all through the frames."
    )
    hand.key(Qt.Key.Key_Q)
    annotator.wait(timeout=20)
    qtbot.waitUntil(lambda: said(annotator).startswith("Click Object 2 on the"), timeout=5000)
    hand.click((30, 20))
    annotator.wait(timeout=20)
    annotator.session.lock(2)
    annotator.wait(timeout=20)
    qtbot.waitUntil(lambda: said(annotator).startswith("Object 2 is locked; Q"), timeout=5000)


def test_a_run_is_followed_in_words(viewer, hand, annotator, qtbot) -> None:
    hand.key(Qt.Key.Key_G)
    assert said(annotator) == "Propagating …"  # at once, whatever was said before
    qtbot.waitUntil(partial(has_begun, annotator), timeout=20_000)
    hand.key(Qt.Key.Key_G)
    qtbot.waitUntil(lambda: said(annotator).startswith("Paused: correct"), timeout=5000)
    hand.key(Qt.Key.Key_G)
    qtbot.waitUntil(lambda: said(annotator) == "Propagating …", timeout=5000)
    hand.key(Qt.Key.Key_Escape)
    annotator.wait(timeout=20)
    assert said(annotator).startswith("Cancelled; ")
    assert "frames are done and kept. Click again" in said(annotator)
    hand.key(Qt.Key.Key_G)
    assert said(annotator) == "Propagating …"


def test_what_an_undo_ends_is_not_said_to_be_kept(viewer, hand, annotator, qtbot) -> None:
    hand.key(Qt.Key.Key_G)
    qtbot.waitUntil(partial(has_begun, annotator), timeout=20_000)
    hand.undo()
    annotator.wait(timeout=20)
    qtbot.wait(100)
    assert len(annotator.session.objects[0].mask_frames) == 1
    assert said(annotator).startswith("Undone: Propagate. Click again")


def test_another_image_that_is_selected_is_not_the_one_in_hand(viewer, annotator) -> None:
    viewer.add_image(STACK, name="other")  # napari selects it
    assert said(annotator) == "'other' is selected; to annotate it, choose it at Image, above."
    viewer.layers.selection.active = annotator.points_layer
    assert said(annotator).startswith("Click again")
    viewer.layers.selection.active = annotator.image_layer
    assert said(annotator).startswith("Click again")


def test_another_plane_is_not_the_one_in_hand(viewer, fake_model, qtbot) -> None:
    annotator = annotate(viewer, viewer.add_image(np.stack([STACK[:5]] * 3, axis=1)))
    viewer.dims.set_point(1, 1)
    annotator.wait(timeout=20)
    assert annotator._panels.prompts._axis.currentText() == "axis -4 (5 frames)"  # as its slider
    qtbot.waitUntil(lambda: said(annotator).startswith("Click an object"), timeout=5000)
    viewer.dims.set_point(1, 2)
    expected = "You annotate at axis -3 1: move that slider back"
    qtbot.waitUntil(lambda: said(annotator).startswith(expected), timeout=5000)
