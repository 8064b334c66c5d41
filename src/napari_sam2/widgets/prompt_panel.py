"""What is prompted: the image, its frame axis, the polarity of clicks."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
)

NO_IMAGE = "Open an image first: File, or drag it into the window."


class PromptPanel(QGroupBox):
    """Choices about the next prompt."""

    image_chosen = Signal(str)
    """The layer's `unique_id`."""
    frame_axis_chosen = Signal(int)
    positive_chosen = Signal(bool)

    def __init__(self, *, polarity_key: str) -> None:
        super().__init__("Prompts")
        self._image = narrow_box("The image layer that is segmented.")
        self._axis = narrow_box("The axis along which objects are followed: time or depth.")
        self._clicks = QLabel()
        self._positive = QPushButton("Positive")
        self._negative = QPushButton("Negative")
        self._polarity = QButtonGroup(self)
        for button in (self._positive, self._negative):
            button.setCheckable(True)
            self._polarity.addButton(button)
        self._positive.setChecked(True)
        self._lay_out()
        self.name_key(polarity_key)
        self._image.activated.connect(self._on_image)
        self._axis.activated.connect(self._on_axis)
        self._positive.toggled.connect(self.positive_chosen)
        self.show_ready(False)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Image", self._image)
        form.addRow("Frames", self._axis)
        clicks = QHBoxLayout()
        clicks.addWidget(self._positive)
        clicks.addWidget(self._negative)
        form.addRow(self._clicks, clicks)
        self.setLayout(form)

    def show_images(self, images: Sequence[tuple[str, str]], chosen: str | None) -> None:
        """Show the images to choose from, as pairs of `unique_id` and name."""
        fill(self._image, images)
        self._image.setEnabled(bool(images))
        self._image.setCurrentIndex(self._image.findData(chosen) if chosen is not None else -1)

    def show_axes(self, axes: Sequence[tuple[int, str]], chosen: int | None) -> None:
        """Show the axes that may be the frame axis, as pairs of axis and name."""
        fill(self._axis, axes or [(-1, "single image")])
        self._axis.setEnabled(len(axes) > 1)
        self._axis.setCurrentIndex(0 if chosen is None else self._axis.findData(chosen))

    def show_polarity(self, positive: bool) -> None:
        """Show what the next click says."""
        (self._positive if positive else self._negative).setChecked(True)

    def show_ready(self, ready: bool) -> None:
        """Show whether there is an image to prompt."""
        for button, word in ((self._positive, "belongs"), (self._negative, "does not belong")):
            button.setEnabled(ready)
            says = (
                f"The next click or scribble says: this {word} to the object ({self._key}). "
                "A right click always says the opposite."
            )
            button.setToolTip(says if ready else NO_IMAGE)

    def name_key(self, polarity_key: str) -> None:
        """Show which key changes the polarity."""
        self._key = polarity_key
        self._clicks.setText(f"Clicks ({polarity_key})")

    def _on_image(self, index: int) -> None:
        self.image_chosen.emit(str(self._image.itemData(index)))

    def _on_axis(self, index: int) -> None:
        self.frame_axis_chosen.emit(int(self._axis.itemData(index)))


def narrow_box(tip: str) -> QComboBox:
    """Make a box of choices that does not grow with the longest of them."""
    box = QComboBox()
    box.setToolTip(tip)
    # long layer names are cut off rather than widening the dock
    box.setMinimumContentsLength(8)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


def fill(box: QComboBox, choices: Sequence[tuple[object, str]]) -> None:
    """Replace the choices of a box, unless they are the same: the person may have it open."""
    shown = [(box.itemData(index), box.itemText(index)) for index in range(box.count())]
    if shown != list(choices):
        box.clear()
        for data, name in choices:
            box.addItem(name, data)
