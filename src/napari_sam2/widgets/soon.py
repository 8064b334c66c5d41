"""Once for all that happens meanwhile: as soon as Qt comes round, before it paints."""

from __future__ import annotations

import time
from collections.abc import Callable

from qtpy.QtCore import QObject, Qt, QTimer, Signal  # type: ignore[attr-defined]


class Soon(QObject):
    """Calls something in the next turn of the event loop, however often it was asked to.

    The call comes before the window is painted, so that what it changes is painted together with
    what it was asked for: where no graphics card helps, each painting takes as long as the network
    does.

    Parameters
    ----------
    call
        What is done.
    rest_ms
        How long it is not done again afterwards; what is asked meanwhile is done at the end.
    """

    _asked = Signal()

    def __init__(self, parent: QObject, call: Callable[[], object], *, rest_ms: int = 0) -> None:
        super().__init__(parent)
        self._call = call
        self._rest_s = rest_ms / 1000
        self._called_s = -self._rest_s
        self._is_waiting = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_turn)
        # a posted event: a timer of no time would come after the painting
        self._asked.connect(self._on_turn, Qt.ConnectionType.QueuedConnection)

    @property
    def is_waiting(self) -> bool:
        """Whether it was asked for and is not done yet."""
        return self._is_waiting

    def ask(self) -> None:
        """Have it done."""
        if self._is_waiting:
            return
        self._is_waiting = True
        left_s = self._called_s + self._rest_s - time.monotonic()
        if left_s > 0:
            self._timer.start(round(1000 * left_s))
        else:
            self._asked.emit()

    def drop(self) -> None:
        """Leave it undone."""
        self._is_waiting = False
        self._timer.stop()

    def _on_turn(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._timer.stop()
            self._called_s = time.monotonic()
            self._call()
