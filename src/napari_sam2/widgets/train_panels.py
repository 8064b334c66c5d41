"""What of a training run can be chosen, and what can be seen of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF, QResizeEvent
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QWidget,
)

LAYERS, FOLDER = "open layers", "a folder"
DEFAULT_MINUTES = 30.0
_FRAMES = {
    "auto": None,
    "a movie": True,
    "separate images": False,
}
_SMOOTHED = 5  # reports in a running mean


class PathField(QWidget):
    """A line with a path, and a button that looks for one."""

    changed = Signal()

    def __init__(self, title: str, *, file_filter: str | None = None, hint: str = "") -> None:
        super().__init__()
        self._title, self._filter = title, file_filter
        self._line = QLineEdit()
        self._line.setPlaceholderText(hint)
        self._line.textChanged.connect(self.changed)
        button = QPushButton("…")
        button.setToolTip(title)
        button.setMaximumWidth(32)
        button.clicked.connect(self._look)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._line)
        row.addWidget(button)

    @property
    def path(self) -> Path | None:
        """What is chosen; None where the line is empty."""
        text = self._line.text().strip()
        return Path(text).expanduser() if text else None

    def show_path(self, path: Path | str) -> None:
        """Put a path into the line."""
        self._line.setText(str(path))

    def _look(self) -> None:
        begin = self._line.text().strip()
        if self._filter is None:
            found = QFileDialog.getExistingDirectory(self, self._title, begin)
        else:
            found = QFileDialog.getOpenFileName(self, self._title, begin, self._filter)[0]
        if found:
            self._line.setText(found)


class TrainForm(QWidget):
    """What to learn from, for how long, from which weights, and where to."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._from = _short_combo()
        self._from.addItems((LAYERS, FOLDER))
        self._image, self._labels, self._frames = (_short_combo() for _ in range(3))
        for text, value in _FRAMES.items():
            self._frames.addItem(text, value)
        self._frames.setToolTip(
            "In a movie the same number is the same object on all frames, and the network learns "
            "to follow it; auto looks whether most numbers stay in their places. Frames without "
            "labels are left out."
        )
        for combo in (self._image, self._labels):  # a narrow panel shows the half of a name
            combo.currentTextChanged.connect(combo.setToolTip)
        self._data = PathField("Folder with images and masks", hint="images/ beside masks/")
        self._minutes = QDoubleSpinBox()
        self._minutes.setRange(0.1, 100_000)
        self._minutes.setDecimals(1)
        self._minutes.setValue(DEFAULT_MINUTES)
        self._minutes.setSuffix(" min")
        self._minutes.setToolTip("Length of the whole run, what was trained before included.")
        self._weights = PathField(
            "Weights to start from",
            file_filter="Weights (*.safetensors *.pt)",
            hint="the network's own",
        )
        self._out = PathField("Output folder", hint="a new folder")
        form = QFormLayout(self)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Learn from", self._from)
        self._rows: dict[str, list[QWidget]] = {LAYERS: [], FOLDER: []}
        for source, text, widget in (
            (LAYERS, "Image", self._image),
            (LAYERS, "Labels", self._labels),
            (LAYERS, "Frames are", self._frames),
            (FOLDER, "Folder", self._data),
        ):
            label = QLabel(text)
            form.addRow(label, widget)
            self._rows[source] += [label, widget]
        form.addRow("Train for", self._minutes)
        form.addRow("Start from", self._weights)
        form.addRow("Output", self._out)
        self._from.currentTextChanged.connect(self._show_rows)
        for signal in (
            self._image.currentIndexChanged,
            self._labels.currentIndexChanged,
            self._minutes.valueChanged,
            self._data.changed,
            self._weights.changed,
            self._out.changed,
        ):
            signal.connect(self._tell)
        self._show_rows()

    @property
    def from_layers(self) -> bool:
        """Whether layers are chosen, rather than a folder."""
        return self._from.currentText() == LAYERS

    @property
    def image(self) -> Any:
        """The chosen image layer, or None."""
        return self._image.currentData()

    @property
    def labels(self) -> Any:
        """The chosen labels layer, or None."""
        return self._labels.currentData()

    @property
    def is_movie(self) -> bool | None:
        """Whether a number stays with its object from frame to frame; None lets that be decided."""
        chosen: bool | None = self._frames.currentData()
        return chosen

    @property
    def data(self) -> Path | None:
        """The chosen folder of images and masks."""
        return self._data.path

    @property
    def out(self) -> Path | None:
        """The chosen output folder."""
        return self._out.path

    @property
    def weights(self) -> Path | None:
        """The chosen file to start from."""
        return self._weights.path

    @property
    def minutes(self) -> float:
        """The chosen length of the run."""
        return float(self._minutes.value())

    def show_layers(self, images: Sequence[Any], labels: Sequence[Any]) -> None:
        """List layers to choose from; what is chosen stays so."""
        for combo, layers in ((self._image, images), (self._labels, labels)):
            chosen = combo.currentData()
            combo.blockSignals(True)
            combo.clear()
            for layer in layers:
                combo.addItem(layer.name, layer)
            if layers:
                combo.setCurrentIndex(layers.index(chosen) if chosen in layers else len(layers) - 1)
            combo.blockSignals(False)
        self._tell()

    def choose(
        self,
        *,
        image: Any = None,
        labels: Any = None,
        data: Path | None = None,
        out: Path | None = None,
        weights: Path | str | None = None,
        minutes: float | None = None,
    ) -> None:
        """Choose as a hand does; what is None stays as it is."""
        for combo, layer in ((self._image, image), (self._labels, labels)):
            if layer is not None:
                combo.setCurrentText(layer.name)
        for field, path in ((self._data, data), (self._out, out), (self._weights, weights)):
            if path is not None:
                field.show_path(path)
        if data is not None or image is not None:
            self._from.setCurrentText(FOLDER if data is not None else LAYERS)
        if minutes is not None:
            self._minutes.setValue(minutes)

    def hindrance(self) -> str:
        """Say what is still to be chosen before a run can begin; empty if nothing is."""
        if self.from_layers and self.image is None:
            return "Open an image first, or learn from a folder."
        if self.from_layers and self.labels is None:
            return "Open or make labels of the image first, or learn from a folder."
        if not self.from_layers and self.data is None:
            return "Choose the folder that holds images and masks."
        return "" if self.out is not None else "Choose an output folder."

    def _tell(self, *_: object) -> None:
        self.changed.emit()

    def _show_rows(self, *_: object) -> None:
        for source, widgets in self._rows.items():
            for widget in widgets:
                widget.setVisible(source == self._from.currentText())
        self._tell()


class CurveView(QWidget):
    """Curves over the minutes of a run, each with its newest value."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._curve: tuple[Sequence[float], Sequence[float]] = ((), ())
        self._total: float | None = None
        self.setToolTip("The loss: what training makes smaller.")

    def show_curve(
        self, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], total: float | None
    ) -> None:
        """Show the loss over the minutes of a run, of which there are `total`."""
        self._curve, self._total = curves.get("loss", ((), ())), total
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw with the colours of the theme."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        faint = QColor(ink)
        faint.setAlphaF(0.25)
        line = painter.fontMetrics().height()
        left = painter.fontMetrics().horizontalAdvance("0.00") + 8
        place = QRectF(left, line + 2, self.width() - left - 6, self.height() - 2 * line - 6)
        painter.setPen(QPen(faint, 1))
        painter.drawRect(place)
        painter.setPen(ink)
        painter.drawText(QPointF(left, line - 3), "loss")
        minutes, values = _smoothed(*self._curve)
        total = max(self._total or 0.0, minutes[-1] if len(minutes) else 0.0)
        end = f"{total:.4g} min" if total else "minutes"
        width = painter.fontMetrics().horizontalAdvance(end)
        painter.drawText(QPointF(place.right() - width, self.height() - 4), end)
        painter.drawText(QPointF(left, self.height() - 4), "0")
        if not len(values):
            painter.setPen(faint)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, "no report yet")
            return
        low, high = float(values.min()), float(values.max())
        painter.drawText(QPointF(2, place.top() + line - 3), f"{high:.2f}")
        painter.drawText(QPointF(2, place.bottom()), f"{low:.2f}")
        x = place.left() + minutes / total * place.width()
        span = (high - low) or 1.0
        y = place.bottom() - 3 - (values - low) / span * (place.height() - 6)
        points = QPolygonF([QPointF(float(a), float(b)) for a, b in zip(x, y, strict=True)])
        painter.setPen(QPen(ink, 2))
        if len(values) > 1:
            painter.drawPolyline(points)
        painter.setBrush(ink)
        painter.drawEllipse(points[points.count() - 1], 2.5, 2.5)


class SheetView(QLabel):
    """The newest sheet of crops, as wide as the panel."""

    def __init__(self) -> None:
        super().__init__()
        self._path: Path | None = None
        self._sheet = QPixmap()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip("One click on each crop: truth green, answer magenta, click yellow.")
        self.hide()

    def show_sheet(self, path: Path | None) -> None:
        """Show a sheet, or none."""
        if path == self._path:
            return
        sheet = QPixmap() if path is None else QPixmap(str(path))
        self._path, self._sheet = path, sheet
        self.setVisible(not sheet.isNull())
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the sheet to the width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if not self._sheet.isNull() and self.width() > 10:
            fitted = self._sheet.scaledToWidth(
                min(self.width(), self._sheet.width()),
                Qt.TransformationMode.SmoothTransformation,
            )
            self.setPixmap(fitted)
            self.setFixedHeight(fitted.height())


def _short_combo() -> QComboBox:
    combo = QComboBox()
    combo.setMinimumContentsLength(8)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return combo


def _smoothed(minutes: Iterable[float], values: Iterable[float]) -> tuple[Any, Any]:
    """Return the mean of each report and those before it, of fewer where a run begins."""
    at, numbers = np.asarray(list(minutes)), np.asarray(list(values))
    sums = np.concatenate([[0.0], np.cumsum(numbers)])
    ends = np.arange(1, len(numbers) + 1)
    starts = np.maximum(ends - _SMOOTHED, 0)
    return at, (sums[ends] - sums[starts]) / (ends - starts)
