"""The table of keys: shown, and changed by typing another one."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.layers.keymap import KEYS, KeyAction, KeyTable, as_written


class KeysPanel(QWidget):
    """What every key does."""

    key_chosen = Signal(object, str)
    """The `KeyAction`, and what was typed."""
    defaults_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._table = QTableWidget(len(KEYS), 2)
        self._table.setHorizontalHeaderLabels(["Key", "Does"])
        self._table.setWordWrap(False)
        self._table.setToolTip("Double-click a key to change it.")
        rows, header = self._table.verticalHeader(), self._table.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self._table.setColumnWidth(0, 84)
        for row, key in enumerate(KEYS):
            does = QTableWidgetItem(key.does)
            does.setToolTip(key.does)
            does.setFlags(does.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self._table.setItem(row, 0, QTableWidgetItem())
            self._table.setItem(row, 1, does)
        self._table.setMinimumHeight(96)
        defaults = QPushButton("Default keys")
        defaults.setToolTip("Take all changes of keys back.")
        defaults.clicked.connect(self._on_defaults)
        self._table.cellChanged.connect(self._on_changed)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self._table, 1)
        column.addWidget(defaults)

    def show_keys(self, keys: KeyTable) -> None:
        """Show the key of every action."""
        self._table.blockSignals(True)
        for row, key in enumerate(KEYS):
            item = self._table.item(row, 0)
            assert item is not None
            item.setText(as_written(keys[key.action]))
        self._table.blockSignals(False)

    def _on_changed(self, row: int, column: int) -> None:
        item = self._table.item(row, 0)
        if column == 0 and item is not None:
            action: KeyAction = KEYS[row].action
            self.key_chosen.emit(action, item.text())

    def _on_defaults(self) -> None:
        self.defaults_asked.emit()
