"""Following objects through the frames: which way, how far it is, pause and cancel."""

from __future__ import annotations

import math

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)


class PropagatePanel(QWidget):
    """Which frames and objects, buttons and progress of a propagation."""

    propagate_asked = Signal(str)
    pause_asked = Signal(bool)
    """True pauses, False goes on."""
    cancel_asked = Signal()

    def __init__(self, *, propagate_key: str, cancel_key: str) -> None:
        super().__init__()
        self._cancel_key = cancel_key
        self._directions = {
            "backward": QPushButton("◀ Backward"),
            "both": QPushButton(f"Both ({propagate_key})"),
            "forward": QPushButton("Forward ▶"),
        }
        self._does = {
            "backward": "Follow the objects from their prompts to the first frame.",
            "both": "Follow the objects from their prompts to the last and to the first frame.",
            "forward": "Follow the objects from their prompts to the last frame.",
        }
        self._progress = QProgressBar()
        self._progress.setTextVisible(True)
        self._pause = QPushButton("Pause")
        self._pause.setCheckable(True)
        self._cancel = QPushButton(f"Cancel ({cancel_key})")
        self._first, self._last = QSpinBox(), QSpinBox()
        self._selected = QCheckBox("selected objects only")
        self._selected.setToolTip("Follow the objects that are selected in the table, not all.")
        self._live = QCheckBox("live")
        self._live.setToolTip("Follow as soon as a prompt was answered.")
        row, second_row = QHBoxLayout(), QHBoxLayout()
        for direction, button in self._directions.items():
            row.addWidget(button)
            button.setMinimumWidth(40)
            # a bound method of this panel, not a lambda, so that Qt drops it with the panel
            button.setProperty("direction", direction)
            button.clicked.connect(self._on_direction)
        second_row.addWidget(self._progress, 1)
        second_row.addWidget(self._pause)
        second_row.addWidget(self._cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addLayout(self._choices())
        column.addLayout(row)
        column.addLayout(second_row)
        column.addStretch(1)
        self._pause.clicked.connect(self._on_pause)
        self._cancel.clicked.connect(self._on_cancel)
        self.show_idle("")

    def _choices(self) -> QVBoxLayout:
        frames, objects = QHBoxLayout(), QHBoxLayout()
        frames.addWidget(QLabel("Frames"))
        for box, tip in ((self._first, "First frame to fill in."), (self._last, "Last frame.")):
            box.setToolTip(tip)
            box.setRange(0, 0)
            frames.addWidget(box)
        frames.insertWidget(2, QLabel("to"))
        frames.addStretch(1)
        objects.addWidget(self._selected)
        objects.addWidget(self._live)
        objects.addStretch(1)
        column = QVBoxLayout()
        column.addLayout(frames)
        column.addLayout(objects)
        return column

    @property
    def frames(self) -> range | None:
        """The frames to fill in, None for all."""
        whole = (self._first.value(), self._last.value()) == (0, self._last.maximum())
        first, last = sorted((self._first.value(), self._last.value()))
        return None if whole else range(first, last + 1)

    @property
    def selected_only(self) -> bool:
        """Whether only the selected objects are followed."""
        return self._selected.isChecked()

    @property
    def is_live(self) -> bool:
        """Whether objects are followed as soon as a prompt was answered."""
        return self._live.isChecked()

    def show_live(self, live: bool) -> None:
        """Show whether objects are followed as soon as a prompt was answered."""
        self._live.setChecked(live)

    def set_frames(self, first: int, last: int) -> None:
        """Choose the first and last frame to fill in."""
        self._first.setValue(first)
        self._last.setValue(last)

    def show_frames(self, num_frames: int) -> None:
        """Show how many frames there are; a range of all of them stays one."""
        if num_frames - 1 != self._last.maximum():
            self._first.setMaximum(num_frames - 1)
            self._last.setMaximum(num_frames - 1)
            self.set_frames(0, num_frames - 1)

    def name_keys(self, *, propagate_key: str, cancel_key: str) -> None:
        """Show the keys on the buttons."""
        self._cancel_key = cancel_key
        self._directions["both"].setText(f"Both ({propagate_key})")
        self._cancel.setText(f"Cancel ({cancel_key})")

    def show_idle(self, hindrance: str) -> None:
        """Show that nothing is running; `hindrance` says why nothing can be started, if so."""
        self.show_startable(hindrance)
        for button in (self._pause, self._cancel):
            button.setEnabled(False)
            button.setToolTip("Nothing is being propagated.")
        self._show_paused(False)
        self._progress.setRange(0, 1)
        self._progress.setValue(0)
        self._progress.setFormat("")

    def show_startable(self, hindrance: str) -> None:
        """Show that following can be asked for, unless there is a hindrance."""
        for direction, button in self._directions.items():
            button.setEnabled(not hindrance)
            button.setToolTip(hindrance or self._does[direction])

    def show_running(self, done: int, total: int, elapsed_s: float, *, paused: bool) -> None:
        """Show how far a propagation is; seconds so far tell the time left."""
        for button in self._directions.values():
            button.setEnabled(False)
            button.setToolTip("A propagation is under way; pause or cancel it first.")
        self._pause.setEnabled(True)
        self._pause.setToolTip("Go on." if paused else "Hold on after this frame.")
        self._cancel.setEnabled(True)
        self._cancel.setToolTip(f"Stop ({self._cancel_key}); the frames done so far are kept.")
        self._show_paused(paused)
        self._progress.setRange(0, max(total, done, 1))
        self._progress.setValue(done)
        self._progress.setFormat(progress_text(done, total, elapsed_s, paused=paused))

    def _show_paused(self, paused: bool) -> None:
        self._pause.setChecked(paused)
        self._pause.setText("Resume" if paused else "Pause")

    def _on_direction(self) -> None:
        button = self.sender()
        if button is not None:
            self.propagate_asked.emit(str(button.property("direction")))

    def _on_pause(self, checked: bool) -> None:
        self.pause_asked.emit(checked)

    def _on_cancel(self) -> None:
        self.cancel_asked.emit()


def progress_text(done: int, total: int, elapsed_s: float, *, paused: bool) -> str:
    """Say how far it is, and how long it will take once three frames tell the speed."""
    if not done:
        return "paused" if paused else "starting …"
    text = f"{done}/{total}" if total else f"{done}"
    if paused:
        return f"{text}, paused"
    if done < 3 or done >= total:
        return text
    left_s = elapsed_s / done * (total - done)
    if left_s < 60:
        return f"{text}, {math.ceil(left_s)} s left"
    return f"{text}, {math.ceil(left_s / 60)} min left"
