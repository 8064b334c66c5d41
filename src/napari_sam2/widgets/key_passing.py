"""Keys typed while a table, a box of choices or a number has the focus: which go to the viewer."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QAbstractSpinBox, QComboBox, QWidget

_COMMANDS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
_SIDEWAYS = (Qt.Key.Key_Left, Qt.Key.Key_Right)


class KeyPassing(QObject):
    """Lets letters through to the viewer, whose keys they are.

    Qt's tables and boxes of choices take them for the beginning of a row's name, and numbers for a
    slip: the key would do nothing, or choose another image.
    """

    def pass_from(self, panel: QWidget) -> None:
        """Let keys through from all tables, boxes and numbers of a panel."""
        for kind in (QAbstractItemView, QComboBox, QAbstractSpinBox):
            for widget in [panel, *panel.findChildren(kind)]:
                if isinstance(widget, kind):
                    widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep a key from the widget; Qt offers what is not accepted to its parents."""
        if not isinstance(event, QKeyEvent) or event.type() != QEvent.Type.KeyPress:
            return False
        is_for_viewer = _is_for_viewer(watched, event)
        if is_for_viewer:
            event.ignore()
        return is_for_viewer


def _is_for_viewer(watched: QObject | None, event: QKeyEvent) -> bool:
    if event.modifiers() & _COMMANDS:
        return False
    if isinstance(watched, QAbstractSpinBox):
        return event.text().isalpha()
    if isinstance(watched, QAbstractItemView) and event.key() in _SIDEWAYS:
        # rows are chosen whole: where nothing can be scrolled, it means frames in the viewer
        bar = watched.horizontalScrollBar()
        return bar is None or bar.maximum() == 0
    return event.text().isprintable() and bool(event.text().strip())
