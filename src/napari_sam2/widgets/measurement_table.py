"""The table of measurements: one row for each object and frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QTableView

from napari_sam2.session.measurements import Calibration, Measurement, headers
from napari_sam2.session.objects import colour_of
from napari_sam2.session.wording import figures
from napari_sam2.widgets.key_passing import KeyPassing

_Role = Qt.ItemDataRole


class MeasurementModel(QAbstractTableModel):
    """Cells of measurements; sorted by any column."""

    def __init__(self) -> None:
        super().__init__()
        self._headers: tuple[str, ...] = ()
        self.rows: list[Measurement] = []

    def show_rows(self, rows: Sequence[Measurement], calibration: Calibration) -> None:
        """Show other measurements."""
        self.beginResetModel()
        self.rows, self._headers = list(rows), headers(calibration)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Count the measurements."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Count the columns."""
        return 0 if parent is not None and parent.isValid() else len(self._headers)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Name a column, with its unit."""
        if orientation == Qt.Orientation.Horizontal and role == _Role.DisplayRole:
            return self._headers[section]
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        row, column = self.rows[index.row()], index.column()
        if role == _Role.DecorationRole and column == 0:
            return QColor.fromRgbF(*colour_of(row.obj_id))
        if role == _Role.DisplayRole:
            value = astuple(row)[column]
            if isinstance(value, float):
                return "–" if math.isnan(value) else figures(value)
            return str(value)
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, unknown values last; −1 leaves the order of frames."""
        if column < 0:
            return
        self.layoutAboutToBeChanged.emit()
        values = [astuple(row)[column] for row in self.rows]
        unknown = [n for n, v in enumerate(values) if isinstance(v, float) and math.isnan(v)]
        known = sorted(
            set(range(len(values))).difference(unknown),
            key=values.__getitem__,
            reverse=order == Qt.SortOrder.DescendingOrder,
        )
        places = {before: now for now, before in enumerate([*known, *unknown])}
        self.rows = [self.rows[before] for before in places]
        for index in self.persistentIndexList():
            self.changePersistentIndex(index, self.index(places[index.row()], index.column()))
        self.layoutChanged.emit()


class MeasurementTable(QTableView):
    """The table; the current row is the object and frame in the viewer."""

    row_chosen = Signal(int, int)
    """Object and frame."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = MeasurementModel()
        self.setModel(self.cells)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        rows = self.verticalHeader()
        assert rows is not None
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self._passing = KeyPassing()
        self._passing.pass_from(self)
        self._showing = False
        selection = self.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._on_row)

    def show_rows(self, rows: Sequence[Measurement], calibration: Calibration) -> None:
        """Show other measurements."""
        self.setSortingEnabled(False)
        self.cells.show_rows(rows, calibration)
        header = self.horizontalHeader()
        assert header is not None
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self.resizeColumnsToContents()

    def show_current(self, obj_id: int | None, frame_idx: int | None) -> None:
        """Select the row of an object on a frame, if there is one."""
        here = self.currentIndex().row()
        if 0 <= here < len(self.cells.rows):
            row = self.cells.rows[here]
            if (row.obj_id, row.frame_idx) == (obj_id, frame_idx):
                return
        for number, row in enumerate(self.cells.rows):
            if (row.obj_id, row.frame_idx) == (obj_id, frame_idx):
                self._showing = True
                self.selectRow(number)
                self._showing = False
                return
        self._showing = True
        self.clearSelection()
        self.setCurrentIndex(QModelIndex())  # so that the same row can be chosen again
        self._showing = False

    def _on_row(self, index: QModelIndex, before: QModelIndex) -> None:
        if index.isValid() and not self._showing:
            row = self.cells.rows[index.row()]
            self.row_chosen.emit(row.obj_id, row.frame_idx)
