"""The objects: their table, and what can be done to the chosen ones."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_sam2.widgets.object_table import ObjectTable, TableView
from napari_sam2.widgets.prompt_panel import NO_IMAGE

_NO_OBJECT = "There is no object yet: click one, or draw a box."


class ObjectsPanel(QWidget):
    """The table and the buttons below it."""

    new_object_asked = Signal()
    remove_asked = Signal(object)
    """Ids of objects, a tuple."""
    jump_asked = Signal(int)
    lock_frame_asked = Signal(object)
    """Ids of objects whose mask on the frame on display is to be locked or unlocked."""
    clear_frame_asked = Signal(object)
    """Ids of objects whose prompts on the frame on display are to go."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ObjectTable()
        self._new = QToolButton()
        self._others = {
            "Remove": ("Remove the selected objects; undo brings them back.", self.remove_asked),
            "Go to": ("Show the first prompt of the chosen object.", None),
            "Lock frame": (
                "Accept the masks of the selected objects on this frame, or let them change again.",
                self.lock_frame_asked,
            ),
            "Clear": ("Take the prompts of the selected objects on this frame back.",
                      self.clear_frame_asked),
        }  # fmt: skip
        self._buttons: dict[str, QToolButton] = {}
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(self._new)
        for text, (_, signal) in self._others.items():
            button = QToolButton()
            button.setText(text)
            self._buttons[text] = button
            row.addWidget(button)
            if signal is not None:
                button.clicked.connect(partial(self._ask_for_selected, signal))
        row.addStretch(1)
        self._new.clicked.connect(self._on_new)
        self._buttons["Go to"].clicked.connect(self._on_go)
        self.table.jump_asked.connect(self.jump_asked)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table, 1)
        column.addLayout(row)
        self.name_key("Q")
        self.show_ready(False)

    def name_key(self, key: str) -> None:
        """Show which key makes an object."""
        self._new.setText(f"New ({key})")

    def show_ready(self, ready: bool) -> None:
        """Show whether there is an image to prompt."""
        self._new.setEnabled(ready)
        self._new.setToolTip(
            "The next click or shape starts another object." if ready else NO_IMAGE
        )

    def show_objects(self, view: TableView, chosen: int | None) -> None:
        """Show the objects and which of them is prompted next."""
        self.table.show_view(view, chosen)
        any_object = bool(view.document.objects)
        for text, button in self._buttons.items():
            button.setEnabled(any_object)
            button.setToolTip(self._others[text][0] if any_object else _NO_OBJECT)

    def _on_new(self) -> None:
        self.new_object_asked.emit()

    def _on_go(self) -> None:
        index = self.table.currentIndex()
        if index.isValid():
            self.jump_asked.emit(self.table.cells.obj_id(index.row()))

    def _ask_for_selected(self, signal: object, *_: object) -> None:
        if self.table.selected:
            signal.emit(self.table.selected)  # type: ignore[attr-defined]
