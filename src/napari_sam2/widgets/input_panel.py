"""What the network sees: up to three channels, between which limits, and a look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_sam2.layers.composition import Origin
from napari_sam2.session.intensities import MOST_CHANNELS, Channel
from napari_sam2.widgets.prompt_panel import fill, narrow_box

_NONE = "none"
_FOLLOWS = "Follows the contrast limits and the gamma of the layer, from the next prompt on."
_OWN = "This channel has no layer of its own: {} Counts from the next prompt on."
_COLOUR = "The image is in colour and fills the three inputs of the network."
_CHANNEL = "A layer of the same shape, or another channel of the image."
_WORDS = ("black", "white", "gamma")
_LARGEST = 1e12


@dataclass(frozen=True)
class InputView:
    """What the panel shows.

    Attributes
    ----------
    offered
        Channels with their names.
    chosen
        What the network sees, with the limits; None where it is shown as it is stored.
    hindrance
        Why nothing can be chosen; empty where it can.
    """

    offered: Sequence[tuple[Origin, str]] = ()
    chosen: Sequence[tuple[Origin, Channel | None]] = ()
    hindrance: str = ""


class _Number(QDoubleSpinBox):
    """A number with as many digits as it has."""

    def textFromValue(self, value: float) -> str:
        return f"{value:.6g}"


class InputPanel(QWidget):
    """A row for each input of the network."""

    channels_chosen = Signal(object)
    """A tuple of `Origin`."""
    limits_chosen = Signal(object, float, float, float)
    """An `Origin`, low, high, gamma."""
    preview_toggled = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._view = InputView()
        self._boxes: list[QComboBox] = []
        self._limits: list[tuple[QDoubleSpinBox, ...]] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(3)
        for row in range(MOST_CHANNELS):
            box = narrow_box(_CHANNEL)
            box.activated.connect(self._on_channel)
            self._boxes.append(box)
            self._limits.append(tuple(self._number(row, word) for word in _WORDS))
            numbers = QHBoxLayout()
            for number in self._limits[-1]:
                numbers.addWidget(number)
            column.addWidget(box)
            column.addLayout(numbers)
        self._preview = QCheckBox("show what the network sees")
        self._seen = QLabel()
        self._seen.setWordWrap(True)
        column.addWidget(self._preview)
        column.addWidget(self._seen)
        column.addStretch(1)
        self._preview.toggled.connect(self.preview_toggled)
        self.show_view(InputView())

    def _number(self, row: int, word: str) -> QDoubleSpinBox:
        number = _Number()
        number.setPrefix(f"{word} ")
        number.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        is_gamma = word == "gamma"
        number.setRange(0.01 if is_gamma else -_LARGEST, 100.0 if is_gamma else _LARGEST)
        number.setDecimals(9)
        number.setKeyboardTracking(False)
        number.valueChanged.connect(partial(self._on_limits, row))
        return number

    def show_view(self, view: InputView) -> None:
        """Show what can be chosen and what is."""
        self._view = view
        hindrance = view.hindrance or ("" if view.offered else _COLOUR)
        for row, box in enumerate(self._boxes):
            nothing = [(None, _NONE)] if row else []
            fill(box, [*nothing, *view.offered])
            origin = view.chosen[row][0] if row < len(view.chosen) else None
            known = [box.itemData(index) for index in range(box.count())]
            box.setCurrentIndex(known.index(origin) if origin in known else -1)
            box.setEnabled(not hindrance and row <= len(view.chosen))
            box.setToolTip(
                hindrance
                or ("" if row <= len(view.chosen) else "Choose the channel above first.")
                or _CHANNEL
            )
            self._show_limits(row, hindrance)
        self._preview.setEnabled(not view.hindrance)
        self._preview.setToolTip(
            view.hindrance
            or "Lay what the network is given of the chosen object on this frame over the image: "
            "cut out, mapped, at the network's size."
        )

    def show_preview(self, on: bool, text: str) -> None:
        """Show whether the preview is on, and what it shows in words."""
        with QSignalBlocker(self._preview):
            self._preview.setChecked(on)
        self._seen.setText(text)
        self._seen.setVisible(bool(text))

    def _show_limits(self, row: int, hindrance: str) -> None:
        chosen = self._view.chosen[row] if row < len(self._view.chosen) else None
        channel = None if chosen is None else chosen[1]
        for number, place, word in zip(
            self._limits[row],
            ("low", "high", "gamma"),
            ("the value that is black.", "the value that is white.", "the exponent of brightness."),
            strict=True,
        ):
            number.setVisible(channel is not None)
            if chosen is None or channel is None:
                continue
            own = chosen[0].place is not None
            number.setEnabled(own and not hindrance)
            number.setToolTip(hindrance or (_OWN.format(word) if own else _FOLLOWS))
            with QSignalBlocker(number):
                number.setValue(getattr(channel, place))

    def _on_channel(self, _: int) -> None:
        chosen = [box.currentData() for box in self._boxes]
        self.channels_chosen.emit(tuple(origin for origin in chosen if origin is not None))

    def _on_limits(self, row: int, _: float) -> None:
        if row < len(self._view.chosen):
            low, high, gamma = (number.value() for number in self._limits[row])
            self.limits_chosen.emit(self._view.chosen[row][0], low, high, gamma)
