"""The table of objects: what its cells say on the frame on display, and what is edited."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (  # type: ignore[attr-defined]
    QAbstractTableModel,
    QModelIndex,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_sam2.session.objects import Document, ObjectState, colour_of
from napari_sam2.session.wording import counted, figures

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME, _STATE, _SCORE, _AREA, _SHOWN, _LOCKED = range(6)
_HEADERS = ("Object", "State", "Score", "Area", "See", "Lock")
_TIPS = (
    "Name; double-click to change it.",
    "On the frame on display: prompted, tracked, locked, absent, or not reached yet; outdated "
    "where a later prompt may change the mask: propagate again.",
    "Predicted overlap (IoU) of the mask on the frame on display with the object, 0 to 1.",
    "Area of the mask on the frame on display: pixels, or the square of the image's unit.",
    "Whether the object is drawn; a hidden one stays in the labels.",
    "A locked object is never overwritten, on no frame.",
)
_WIDTHS = (0, 66, 40, 48, 28, 34)
_SWATCH = 12
_Role = Qt.ItemDataRole


@dataclass(frozen=True, eq=False)
class TableView:
    """What the table shows.

    Attributes
    ----------
    document
        The objects.
    frame_idx
        The frame on display, None where there is no single one.
    pixel_area, unit
        Area of a pixel in the square of a unit.
    """

    document: Document
    frame_idx: int | None
    pixel_area: float = 1.0
    unit: str = "px"

    def is_like(self, other: TableView) -> bool:
        """Whether the same is shown; documents are told apart by identity, not mask by mask."""
        return self.document is other.document and (
            (self.frame_idx, self.pixel_area, self.unit)
            == (other.frame_idx, other.pixel_area, other.unit)
        )


class ObjectTableModel(QAbstractTableModel):
    """Cells are made when they are drawn, so that hundreds of objects cost nothing."""

    renamed = Signal(int, str)
    shown_changed = Signal(int, bool)
    locked_changed = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__()
        self._view = TableView(Document(), None)
        self._ids: list[int] = []

    def show_view(self, view: TableView) -> None:
        """Show objects and a frame."""
        ids = list(view.document.objects)
        if ids != self._ids:
            self.layoutAboutToBeChanged.emit()
            known = self.persistentIndexList()
            kept = [self._ids[index.row()] for index in known]
            places = {obj_id: row for row, obj_id in enumerate(ids)}
            self._view, self._ids = view, ids
            for index, obj_id in zip(known, kept, strict=True):
                row = places.get(obj_id)
                new = QModelIndex() if row is None else self.index(row, index.column())
                self.changePersistentIndex(index, new)
            self.layoutChanged.emit()
        elif not view.is_like(self._view):
            before, self._view = self._view, view
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, _AREA, _AREA)
            # names only where one is new: a name that is being typed would be lost
            first = _NAME if _names(before.document) != _names(view.document) else _NAME + 1
            if ids:
                last = self.index(len(ids) - 1, len(_HEADERS) - 1)
                self.dataChanged.emit(self.index(0, first), last)

    def obj_id(self, row: int) -> int:
        """The object of a row."""
        return self._ids[row]

    def row_of(self, obj_id: int | None) -> int | None:
        """The row of an object."""
        return self._ids.index(obj_id) if obj_id in self._ids else None

    # What Qt calls

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Count the objects."""
        return 0 if parent is not None and parent.isValid() else len(self._ids)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Count the columns."""
        return 0 if parent is not None and parent.isValid() else len(_HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Name a column."""
        if orientation == Qt.Orientation.Horizontal:
            if role == _Role.DisplayRole:
                has_unit = section == _AREA and self._view.unit != "px"
                return f"{self._view.unit}²" if has_unit else _HEADERS[section]
            if role == _Role.ToolTipRole:
                return _TIPS[section]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Say what can be done to a cell."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == _NAME:
            flags |= Qt.ItemFlag.ItemIsEditable
        elif index.column() in (_SHOWN, _LOCKED):
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows."""
        obj_id, column = self._ids[index.row()], index.column()
        state = self._view.document.objects[obj_id]
        if column == _NAME:
            if role in (_Role.DisplayRole, _Role.EditRole):
                return state.name
            if role == _Role.DecorationRole:
                return QColor.fromRgbF(*colour_of(obj_id))
        if column in (_SHOWN, _LOCKED) and role == _Role.CheckStateRole:
            checked = not state.hidden if column == _SHOWN else state.accepted
            return Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked
        if role == _Role.DisplayRole and column in (_STATE, _SCORE, _AREA):
            return self._text(state, column)
        if role == _Role.TextAlignmentRole and column in (_SCORE, _AREA):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == _Role.ToolTipRole:
            return self._tip(state) if column not in (_SHOWN, _LOCKED) else _TIPS[column]
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        """Ask for a change; the cell changes when the session has changed."""
        obj_id = self._ids[index.row()]
        if index.column() == _NAME and role == _Role.EditRole and str(value).strip():
            self.renamed.emit(obj_id, str(value).strip())
            return True
        if role == _Role.CheckStateRole and index.column() in (_SHOWN, _LOCKED):
            checked = Qt.CheckState(value) == Qt.CheckState.Checked
            asked = self.shown_changed if index.column() == _SHOWN else self.locked_changed
            asked.emit(obj_id, checked)
            return True
        return False

    # Inside

    def _text(self, state: ObjectState, column: int) -> str:
        frame_idx = self._view.frame_idx
        mask = None if frame_idx is None else state.masks.get(frame_idx)
        if column == _STATE:
            return state_on(state, frame_idx)
        if mask is None:
            return "–"
        if column == _SCORE:
            return "–" if np.isnan(mask.iou) else f"{mask.iou:.2f}"
        area = int(np.count_nonzero(mask.logits > 0)) * self._view.pixel_area
        return figures(area)

    def _tip(self, state: ObjectState) -> str:
        prompts = len(state.prompts)
        frames = len(state.masks)
        locked = frames if state.accepted else len(state.locked)
        text = (
            f"{state.name}, label {state.obj_id}: masks on {counted(frames, 'frame')}, "
            f"prompts on {prompts}, {locked} locked."
        )
        mask = None if self._view.frame_idx is None else state.masks.get(self._view.frame_idx)
        if mask is not None and not np.isnan(mask.object_score):
            text += f" Object score here {mask.object_score:+.1f} (above 0: present)."
        return text


def _names(document: Document) -> list[str]:
    return [state.name for state in document.objects.values()]


def state_on(state: ObjectState, frame_idx: int | None) -> str:
    """Say in a word what is known of an object on a frame."""
    if frame_idx is None:
        return "–"
    mask = state.masks.get(frame_idx)
    if mask is None:
        return "–" if state.prompts else "new"
    if state.protects(frame_idx):
        return "locked"
    if frame_idx in state.prompts:
        return "prompted"
    if frame_idx in state.outdated:
        return "outdated"
    return "absent" if mask.is_empty else "tracked"


class ObjectTable(QTableView):
    """The table; the current row is the object that the next prompt belongs to."""

    object_chosen = Signal(int)
    jump_asked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.cells = ObjectTableModel()
        self.setModel(self.cells)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setShowGrid(False)
        # what tells names apart is mostly at their end
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setIconSize(QSize(_SWATCH, _SWATCH))
        self.setMinimumHeight(96)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.hide()
        # one height for all, so that Qt need not ask every row for it
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        header.setMinimumSectionSize(24)
        for column, width in enumerate(_WIDTHS):
            mode = QHeaderView.ResizeMode.Interactive if width else QHeaderView.ResizeMode.Stretch
            header.setSectionResizeMode(column, mode)
            if width:
                self.setColumnWidth(column, width)
        self._showing = False
        selection = self.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._on_row)
        self.doubleClicked.connect(self._on_double_click)

    @property
    def selected(self) -> tuple[int, ...]:
        """The selected objects."""
        selection = self.selectionModel()
        rows: Iterable[QModelIndex] = () if selection is None else selection.selectedRows()
        return tuple(sorted(self.cells.obj_id(index.row()) for index in rows))

    def show_view(self, view: TableView, chosen: int | None) -> None:
        """Show objects and which of them is prompted next."""
        self._showing = True
        self.cells.show_view(view)
        row, now = self.cells.row_of(chosen), self.currentIndex().row()
        if row is None:
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())
        elif chosen in self.selected:
            selection = self.selectionModel()
            assert selection is not None
            if row != now:
                index = self.cells.index(row, _NAME)
                selection.setCurrentIndex(index, selection.SelectionFlag.NoUpdate)
        else:
            self.selectRow(row)
            self.scrollTo(self.cells.index(row, _NAME))
        self._showing = False

    def select(self, obj_ids: Sequence[int]) -> None:
        """Select several objects."""
        selection = self.selectionModel()
        assert selection is not None
        self.clearSelection()
        for obj_id in obj_ids:
            row = self.cells.row_of(obj_id)
            if row is not None:
                selection.select(
                    self.cells.index(row, 0),
                    selection.SelectionFlag.Select | selection.SelectionFlag.Rows,
                )

    def _on_row(self, index: QModelIndex, before: QModelIndex) -> None:
        if index.isValid() and not self._showing:
            self.object_chosen.emit(self.cells.obj_id(index.row()))

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() not in (_NAME, _SHOWN, _LOCKED):
            self.jump_asked.emit(self.cells.obj_id(index.row()))
