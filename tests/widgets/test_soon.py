"""What is done soon is done once, in the next turn, before the window is painted."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_sam2.widgets.soon import Soon


@pytest.fixture
def parent(qtbot):
    return QObject()


def test_once_for_all_that_asked(parent, qtbot) -> None:
    done = []
    soon = Soon(parent, lambda: done.append("call"))
    for _ in range(5):
        soon.ask()
    assert soon.is_waiting
    assert done == []
    QTimer.singleShot(0, lambda: done.append("timer"))
    qtbot.waitUntil(lambda: "timer" in done)
    assert done == ["call", "timer"]
    assert not soon.is_waiting
    soon.ask()
    qtbot.waitUntil(lambda: len(done) == 3)


def test_before_the_painting_that_was_asked_for_earlier(parent, qtbot) -> None:
    happened = []

    class Painted(QWidget):
        def paintEvent(self, event) -> None:
            happened.append("painted")

    widget = Painted()
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)
    qtbot.wait(50)
    happened.clear()
    soon = Soon(parent, lambda: (happened.append("call"), widget.update()))
    widget.update()
    soon.ask()
    qtbot.waitUntil(lambda: "painted" in happened)
    qtbot.wait(50)
    assert happened == ["call", "painted"]


def test_dropped(parent, qtbot) -> None:
    done = []
    soon = Soon(parent, lambda: done.append(1))
    soon.ask()
    soon.drop()
    assert not soon.is_waiting
    qtbot.wait(20)
    assert done == []


def test_rests_but_forgets_nothing(parent, qtbot) -> None:
    done = []
    soon = Soon(parent, lambda: done.append(1), rest_ms=400)
    soon.ask()
    qtbot.waitUntil(lambda: len(done) == 1)
    soon.ask()
    soon.ask()
    qtbot.wait(20)
    assert len(done) == 1
    assert soon.is_waiting
    qtbot.waitUntil(lambda: len(done) == 2, timeout=5000)
    assert not soon.is_waiting
