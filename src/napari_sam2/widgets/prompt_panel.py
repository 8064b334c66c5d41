"""Room: what is prompted: the image, its frame axis, the polarity of clicks, the objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
)

NO_IMAGE = "Open an image first: File, or drag it into the window."


@dataclass(frozen=True)
class ObjectRow:
    """What the list shows of an object; `colour` is red, green and blue in 0…1."""

    obj_id: int
    name: str
    colour: tuple[float, float, float]
    num_frames: int


class PromptPanel(QGroupBox):
    """Choices about the next prompt."""

    image_chosen = Signal(str)
    """The layer's `unique_id`."""
    frame_axis_chosen = Signal(int)
    positive_chosen = Signal(bool)
    new_object_asked = Signal()
    object_chosen = Signal(int)

    def __init__(self, *, polarity_key: str, new_object_key: str) -> None:
        super().__init__("Prompts")
        self._image = _narrow_box("The image layer that is segmented.")
        self._axis = _narrow_box("The axis along which objects are followed: time or depth.")
        self._positive = QPushButton("Positive")
        self._negative = QPushButton("Negative")
        self._polarity = QButtonGroup(self)
        for button, word in ((self._positive, "belongs"), (self._negative, "does not belong")):
            button.setCheckable(True)
            button.setToolTip(
                f"The next click says: this {word} to the object ({polarity_key}). "
                "A right click always says the opposite."
            )
            self._polarity.addButton(button)
        self._positive.setChecked(True)
        self._new_object = QPushButton(f"New object ({new_object_key})")
        self._objects = QListWidget()
        self._objects.setToolTip("Choose the object that the next click or box belongs to.")
        self._objects.setIconSize(QSize(12, 12))
        self._objects.setMinimumHeight(72)
        self._lay_out(polarity_key)
        self._image.activated.connect(self._on_image)
        self._axis.activated.connect(self._on_axis)
        self._positive.toggled.connect(self.positive_chosen)
        self._new_object.clicked.connect(self._on_new_object)
        self._objects.currentItemChanged.connect(self._on_object)
        self.show_ready(False)

    def _lay_out(self, polarity_key: str) -> None:
        form = QFormLayout()
        form.addRow("Image", self._image)
        form.addRow("Frames", self._axis)
        clicks = QHBoxLayout()
        clicks.addWidget(self._positive)
        clicks.addWidget(self._negative)
        form.addRow(f"Clicks ({polarity_key})", clicks)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self._objects, 1)
        column.addWidget(self._new_object)

    def show_images(self, images: Sequence[tuple[str, str]], chosen: str | None) -> None:
        """Show the images to choose from, as pairs of `unique_id` and name."""
        _fill(self._image, images)
        self._image.setEnabled(bool(images))
        self._image.setCurrentIndex(self._image.findData(chosen) if chosen is not None else -1)

    def show_axes(self, axes: Sequence[tuple[int, str]], chosen: int | None) -> None:
        """Show the axes that may be the frame axis, as pairs of axis and name."""
        _fill(self._axis, axes or [(-1, "single image")])
        self._axis.setEnabled(len(axes) > 1)
        self._axis.setCurrentIndex(0 if chosen is None else self._axis.findData(chosen))

    def show_polarity(self, positive: bool) -> None:
        """Show what the next click says."""
        (self._positive if positive else self._negative).setChecked(True)

    def show_ready(self, ready: bool) -> None:
        """Show whether there is an image to prompt."""
        for button in (self._positive, self._negative, self._new_object):
            button.setEnabled(ready)
        self._new_object.setToolTip(
            "The next click or box starts another object." if ready else NO_IMAGE
        )

    def show_objects(self, rows: Sequence[ObjectRow], chosen: int | None) -> None:
        """Show the objects and which of them is prompted next."""
        self._objects.blockSignals(True)
        while self._objects.count() > len(rows):
            self._objects.takeItem(self._objects.count() - 1)
        for position, row in enumerate(rows):
            item = self._objects.item(position)
            if item is None:
                item = QListWidgetItem()
                self._objects.addItem(item)
            if item.data(Qt.ItemDataRole.UserRole) != row.obj_id:
                item.setData(Qt.ItemDataRole.UserRole, row.obj_id)
                item.setIcon(_swatch(row.colour))
            frames = "1 frame" if row.num_frames == 1 else f"{row.num_frames} frames"
            item.setText(f"{row.name}  ({frames})")
            if row.obj_id == chosen:
                self._objects.setCurrentItem(item)
        if chosen is None:
            self._objects.setCurrentItem(None)
        self._objects.blockSignals(False)

    def _on_image(self, index: int) -> None:
        self.image_chosen.emit(str(self._image.itemData(index)))

    def _on_axis(self, index: int) -> None:
        self.frame_axis_chosen.emit(int(self._axis.itemData(index)))

    def _on_new_object(self) -> None:
        self.new_object_asked.emit()

    def _on_object(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self.object_chosen.emit(int(item.data(Qt.ItemDataRole.UserRole)))


def _narrow_box(tip: str) -> QComboBox:
    box = QComboBox()
    box.setToolTip(tip)
    # long layer names are cut off rather than widening the dock
    box.setMinimumContentsLength(8)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


def _fill(box: QComboBox, choices: Sequence[tuple[object, str]]) -> None:
    """Replace the choices of a box, unless they are the same: the person may have it open."""
    shown = [(box.itemData(index), box.itemText(index)) for index in range(box.count())]
    if shown != list(choices):
        box.clear()
        for data, name in choices:
            box.addItem(name, data)


def _swatch(colour: tuple[float, float, float]) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor.fromRgbF(*colour))
    return QIcon(pixmap)
