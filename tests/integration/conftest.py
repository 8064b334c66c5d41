"""A real viewer with the plugin's widget, discs for a network, a hand for mouse and keys."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from fakes import FakePredictor
from napari_sam2.session.session import Session
from napari_sam2.widgets import open_images


class PacedPredictor(FakePredictor):
    """Discs that take their time, so that a test can act in the middle."""

    delay_s = 0.0
    may_answer: threading.Event | None = None

    def answer(self, state, frame_idx, obj_id, **prompts):
        time.sleep(self.delay_s)
        if self.may_answer is not None:
            assert self.may_answer.wait(60)
        return super().answer(state, frame_idx, obj_id, **prompts)

    def propagate(self, state, direction="both", obj_ids=None, frames=None):
        for result in super().propagate(state, direction, obj_ids, frames):
            time.sleep(self.delay_s)
            yield result


@pytest.fixture
def fake_model(monkeypatch) -> list[PacedPredictor]:
    """Every session answers with discs; the predictors that were made are listed."""
    made: list[PacedPredictor] = []

    def make(settings) -> PacedPredictor:
        made.append(PacedPredictor(settings))
        return made[-1]

    monkeypatch.setattr(open_images, "Session", partial(Session, predictor_factory=make))
    return made


@pytest.fixture
def slow_model(fake_model, monkeypatch) -> list[PacedPredictor]:
    """As `fake_model`, 30 ms a frame."""
    monkeypatch.setattr(PacedPredictor, "delay_s", 0.03)
    return fake_model


@pytest.fixture
def thinking(fake_model, monkeypatch) -> None:
    """As `fake_model`, with answers that take long enough to begin something else."""
    monkeypatch.setattr(PacedPredictor, "delay_s", 0.4)


@pytest.fixture
def may_answer(fake_model, monkeypatch) -> threading.Event:
    """As `fake_model`, with answers that come once this is set."""
    event = threading.Event()
    monkeypatch.setattr(PacedPredictor, "may_answer", event)
    yield event
    event.set()


@pytest.fixture
def messages() -> list[str]:
    """What napari told the person, warnings and errors alike."""
    told: list[str] = []

    def note(notification) -> None:
        told.append(notification.message)

    notification_manager.notification_ready.connect(note)
    yield told
    notification_manager.notification_ready.disconnect(note)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


class Hand:
    """Mouse and keyboard on the canvas of a viewer, aimed in world coordinates (y, x)."""

    def __init__(self, viewer, qtbot) -> None:
        self._viewer = viewer
        self._qtbot = qtbot
        (self.canvas,) = (
            widget
            for widget in QApplication.allWidgets()
            if type(widget).__name__ == "CanvasBackendDesktop" and widget.isVisible()
        )

    def at(self, world_yx: tuple[float, float]) -> QPoint:
        self._qtbot.wait(30)  # the dock may still be taking its width from the canvas
        camera = self._viewer.scene.camera
        size = np.array([self.canvas.height(), self.canvas.width()])
        center = np.array(camera.center[-2:])
        y, x = (np.array(world_yx) - center) * camera.zoom + size / 2
        return QPoint(round(x), round(y))

    def click(self, world_yx, button=Qt.MouseButton.LeftButton) -> None:
        place = self.at(world_yx)
        QTest.mouseMove(self.canvas, place)
        self._qtbot.wait(10)
        QTest.mouseClick(self.canvas, button, Qt.KeyboardModifier.NoModifier, place)
        self._qtbot.wait(10)

    def move(self, world_yx) -> None:
        """Move the pointer with no button down."""
        self._move(self.at(world_yx), Qt.MouseButton.NoButton)

    def drag(self, first, last) -> None:
        button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        start, end = self.at(first), self.at(last)
        QTest.mouseMove(self.canvas, start)
        QTest.mousePress(self.canvas, button, none, start)
        for step in (0.3, 0.7, 1.0):
            self._move(start + (end - start) * step, button)
            self._qtbot.wait(10)
        QTest.mouseRelease(self.canvas, button, none, end)
        self._qtbot.wait(10)

    def _move(self, place: QPoint, button: Qt.MouseButton) -> None:
        none = Qt.KeyboardModifier.NoModifier
        there = QPointF(self.canvas.mapToGlobal(place))
        event = QMouseEvent(QEvent.Type.MouseMove, QPointF(place), there, button, button, none)
        QApplication.sendEvent(self.canvas, event)

    def key(self, key, modifier=Qt.KeyboardModifier.NoModifier) -> None:
        QTest.keyClick(self.canvas, key, modifier)
        self._qtbot.wait(10)

    def undo(self) -> None:
        self.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)

    def redo(self) -> None:
        both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        self.key(Qt.Key.Key_Z, both)

    def hold(self, key, world_yx) -> None:
        QTest.mouseMove(self.canvas, self.at(world_yx))
        self._qtbot.wait(10)
        QTest.keyPress(self.canvas, key)

    def release(self, key) -> None:
        QTest.keyRelease(self.canvas, key)
        self._qtbot.wait(10)


@pytest.fixture
def hand(viewer, qtbot) -> Hand:
    qtbot.wait(50)
    return Hand(viewer, qtbot)
