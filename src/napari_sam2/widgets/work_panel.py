"""Keeping work: undo, redo, save, open, and what was found of an earlier run."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget


class WorkPanel(QWidget):
    """A row of buttons, and above it an offer where there is one."""

    undo_asked = Signal()
    redo_asked = Signal()
    save_asked = Signal()
    open_asked = Signal()
    taken_up = Signal()
    """The offer was accepted."""
    put_away = Signal()
    """The offer was declined."""

    def __init__(self, *, undo_key: str, redo_key: str) -> None:
        super().__init__()
        self._keys = {"Undo": undo_key, "Redo": redo_key}
        self._buttons: dict[str, QToolButton] = {}
        row = QHBoxLayout()
        row.setSpacing(2)
        for text, signal in (
            ("Undo", self.undo_asked),
            ("Redo", self.redo_asked),
            ("Save …", self.save_asked),
            ("Open …", self.open_asked),
        ):
            button = QToolButton()
            button.setText(text)
            button.clicked.connect(signal)
            self._buttons[text] = button
            row.addWidget(button)
        row.addStretch(1)
        self._offer, self._found = QWidget(), QLabel()
        self._found.setWordWrap(True)
        offer = QVBoxLayout(self._offer)
        offer.setContentsMargins(0, 0, 0, 0)
        answers = QHBoxLayout()
        for text, tip, signal in (
            ("Take it up", "Go on where that work ended.", self.taken_up),
            ("Discard", "Delete that work for good.", self.put_away),
        ):
            button = QToolButton()
            button.setText(text)
            button.setToolTip(tip)
            button.clicked.connect(signal)
            answers.addWidget(button)
        answers.addStretch(1)
        offer.addWidget(self._found)
        offer.addLayout(answers)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._offer)
        column.addLayout(row)
        self.offer("")
        self.show_steps(None, None, hindrance="")

    def name_keys(self, *, undo_key: str, redo_key: str) -> None:
        """Say other keys in the tips."""
        self._keys = {"Undo": undo_key, "Redo": redo_key}

    def show_steps(self, undo: str | None, redo: str | None, *, hindrance: str) -> None:
        """Show what would be undone and done again; `hindrance` says why nothing can be saved."""
        for text, title in (("Undo", undo), ("Redo", redo)):
            button = self._buttons[text]
            button.setEnabled(title is not None)
            nothing = f"There is nothing to {text.lower()}."
            button.setToolTip(f"{text}: {title} ({self._keys[text]})" if title else nothing)
        save, load = self._buttons["Save …"], self._buttons["Open …"]
        save.setEnabled(not hindrance)
        save.setToolTip(hindrance or "Write prompts, masks and settings to a session file.")
        load.setEnabled(not hindrance)
        load.setToolTip(hindrance or "Go on with a session file of this image.")

    def offer(self, found: str) -> None:
        """Offer what was found of an earlier run; empty takes the offer away."""
        self._found.setText(found)
        self._offer.setVisible(bool(found))
