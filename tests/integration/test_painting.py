"""How often the window is painted for a click: without a graphics card that is dear."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from fakes import moving_discs
from napari_sam2.widgets.main_widget import annotate


class Paintings(QObject):
    """Counts how often widgets of a kind are painted, and what was so at the first time."""

    def __init__(self, kind: str, is_so) -> None:
        super().__init__()
        self.first = None
        self.count = 0
        self._kind, self._is_so = kind, is_so
        QApplication.instance().installEventFilter(self)

    def eventFilter(self, receiver, event) -> bool:
        if event.type() == QEvent.Type.Paint and type(receiver).__name__ == self._kind:
            self.first = self._is_so() if not self.count else self.first
            self.count += 1
        return False

    def end(self) -> None:
        QApplication.instance().removeEventFilter(self)


def test_a_click_is_asked_before_it_is_painted_and_painted_once(
    viewer, hand, may_answer, qtbot
) -> None:
    annotator = annotate(viewer, viewer.add_image(moving_discs()))
    viewer.dims.set_point(0, 0)
    annotator.wait(20)
    place = hand.at((30, 20))
    canvas = hand.canvas
    QTest.mouseMove(canvas, place)
    qtbot.wait(200)
    paintings = Paintings("CanvasBackendDesktop", lambda: annotator.is_settled)
    none = Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, none, place)
    qtbot.waitUntil(lambda: paintings.count > 0)
    qtbot.wait(200)
    asked = [annotator.is_settled, paintings.first]
    count = paintings.count
    may_answer.set()
    annotator.wait(20)
    paintings.end()
    assert annotator.session.document.objects[1].masks
    assert asked == [False, False]
    assert count == 1
