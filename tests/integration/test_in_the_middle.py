"""Answers that arrive while a person is in the middle of something else."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from fakes import FakePredictor, moving_discs
from napari_sam2.widgets.main_widget import annotate

STACK = moving_discs()
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class Drag:
    """A drag of the left button that a test can do something in the middle of."""

    def __init__(self, hand, first, last) -> None:
        self._canvas = hand.canvas
        self._start, self._end = hand.at(first), hand.at(last)

    def begin(self) -> None:
        QTest.mouseMove(self._canvas, self._start)
        QTest.mousePress(self._canvas, LEFT, NONE, self._start)
        self._move(0.3)

    def finish(self) -> None:
        for step in (0.7, 1.0):
            self._move(step)
        QTest.mouseRelease(self._canvas, LEFT, NONE, self._end)
        QTest.qWait(10)

    def _move(self, step: float) -> None:
        place = self._start + (self._end - self._start) * step
        there = QPointF(self._canvas.mapToGlobal(place))
        event = QMouseEvent(QEvent.Type.MouseMove, QPointF(place), there, LEFT, LEFT, NONE)
        QApplication.sendEvent(self._canvas, event)
        QTest.qWait(10)


@pytest.fixture
def annotator(viewer, fake_model):
    opened = annotate(viewer, viewer.add_image(STACK))
    viewer.dims.set_point(0, 0)
    return opened


def test_a_box_is_drawn_to_its_end_while_the_one_before_is_answered(
    viewer, hand, annotator, thinking
) -> None:
    shapes = annotator.shapes_layer
    viewer.layers.selection.active = shapes
    shapes.mode = "add_rectangle"
    hand.drag((4, 4), (16, 20))
    second = Drag(hand, (24, 30), (40, 56))
    second.begin()
    annotator.wait(timeout=20)  # the first box is answered, the second still has a corner to go
    assert len(annotator.session.objects) == 1
    assert len(shapes.data) == 2
    second.finish()
    annotator.wait(timeout=20)
    first, other = annotator.session.objects
    assert first.obj_id != other.obj_id
    box = annotator.session.prompts(other.obj_id, 0).box
    np.testing.assert_allclose(box, (24.5, 30.5, 40.5, 56.5), atol=1)
    assert len(shapes.data) == 2


def test_the_sign_of_a_right_click_outlives_an_answer(viewer, hand, annotator, thinking) -> None:
    hand.click((12, 12))
    right = Qt.MouseButton.RightButton
    place = hand.at((14, 16))
    QTest.mouseMove(hand.canvas, place)
    QTest.mousePress(hand.canvas, right, NONE, place)
    annotator.wait(timeout=20)
    QTest.mouseRelease(hand.canvas, right, NONE, place)
    QTest.qWait(10)
    annotator.wait(timeout=20)
    assert list(annotator.points_layer.features["polarity"]) == ["positive", "negative"]
    hand.click((12, 14))
    annotator.wait(timeout=20)
    assert list(annotator.points_layer.features["polarity"])[-1] == "positive"


def test_a_second_stroke_is_of_the_label_that_the_first_was(viewer, hand, annotator) -> None:
    hand.click((12, 12))
    annotator.wait(timeout=20)
    labels = annotator.labels_layer
    viewer.layers.selection.active = labels
    labels.mode, labels.brush_size, labels.selected_label = "paint", 3, 2
    hand.drag((30, 30), (34, 30))
    annotator.wait(timeout=20)
    assert labels.selected_label == 2
    hand.drag((30, 40), (34, 40))
    annotator.wait(timeout=20)
    assert annotator.session.mask(2, 0)[32, 40]
    assert not annotator.session.mask(1, 0)[32, 40]
    labels.selected_label = 0
    for column in (30, 40):
        hand.drag((29, column), (35, column))
        annotator.wait(timeout=20)
        assert labels.selected_label == 0
    assert not annotator.session.mask(2, 0).any()


def test_a_run_asked_for_behind_a_cancelled_one_is_run(viewer, annotator, slow_model) -> None:
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    annotator.propagate("forward")
    QTest.qWait(60)
    (forward,) = (b for b in annotator.findChildren(QPushButton) if b.text() == "Forward ▶")
    assert not forward.isEnabled()
    annotator.cancel()
    assert forward.isEnabled()
    forward.click()
    annotator.wait(timeout=20)
    assert annotator.session.objects[0].mask_frames == tuple(range(len(STACK)))


@pytest.fixture
def answers(fake_model, monkeypatch) -> threading.Event:
    """Answers are told as they look at first, and come once this is set."""
    event = threading.Event()
    monkeypatch.setattr(FakePredictor, "looks_twice", True)
    monkeypatch.setattr(FakePredictor, "after_first_look", lambda _: event.wait(60))
    yield event
    event.set()


def _area_when_there_is_a_mask(annotator, qtbot) -> int:
    labels = annotator.labels_layer
    qtbot.waitUntil(lambda: bool(np.any(labels.data[0])), timeout=20_000)
    return int(np.count_nonzero(labels.data[0]))


def test_a_first_look_is_shown_until_the_answer_is_there(hand, annotator, answers, qtbot) -> None:
    hand.click((12, 12))
    seen_first = _area_when_there_is_a_mask(annotator, qtbot)
    assert annotator.session.mask(1, 0) is None  # it is no mask yet
    answers.set()
    annotator.wait(timeout=20)
    answer = annotator.session.mask(1, 0)
    assert answer is not None
    assert answer.sum() < seen_first
    np.testing.assert_array_equal(annotator.labels_layer.data[0] == 1, answer)


def test_of_an_answer_that_fails_the_first_look_goes(
    hand, annotator, answers, fake_model, qtbot, messages
) -> None:
    answers.set()
    hand.click((30, 20))
    annotator.wait(timeout=20)
    (predictor,) = fake_model
    before = annotator.labels_layer.data.copy()
    annotator.new_object()
    annotator.wait(timeout=20)
    answers.clear()
    predictor.fail_next = ValueError("the lamp has gone out")
    hand.click((12, 12))
    qtbot.waitUntil(lambda: bool(np.any(annotator.labels_layer.data != before)), timeout=20_000)
    answers.set()
    annotator.wait(timeout=20)
    assert any("the lamp has gone out" in told for told in messages)
    np.testing.assert_array_equal(annotator.labels_layer.data, before)
