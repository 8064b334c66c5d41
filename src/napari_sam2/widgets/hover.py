"""Where the pointer rests: there a preview is shown, or a click is expected."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]


class RestingPointer(QObject):
    """Tells where the pointer rests while it is watched.

    Parameters
    ----------
    viewer
        Whose pointer is watched, between `begin` and `end` only.
    rest_ms
        How long it has to be still.
    """

    rested = Signal(object)
    """Position in the world."""
    moved = Signal()
    """It moves again, or is not watched any more."""

    def __init__(self, viewer: Any, rest_ms: int) -> None:
        super().__init__()
        self._viewer = viewer
        self._watching = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(rest_ms)
        self._timer.timeout.connect(self._on_rest)

    def begin(self, *, moves_first: bool = False) -> None:
        """Watch the pointer: where it is now may be where it rests, unless it `moves_first`."""
        if not self._watching:
            self._watching = True
            self._viewer.mouse_move_callbacks.append(self._on_move)
            if not moves_first:
                self._timer.start()

    def end(self) -> None:
        """Watch it no more."""
        if self._watching:
            self._watching = False
            self._viewer.mouse_move_callbacks.remove(self._on_move)
            self._timer.stop()
            self.moved.emit()

    def _on_move(self, viewer: Any, event: Any) -> None:
        self.moved.emit()
        self._timer.start()

    def _on_rest(self) -> None:
        self.rested.emit(tuple(self._viewer.cursor.position))
