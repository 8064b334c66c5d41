"""Which network answers, and where it computes."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QFormLayout, QGroupBox, QLabel

_WEIGHT = {"micro": "micro (built in)"}


class ModelPanel(QGroupBox):
    """Choice of the network."""

    variant_chosen = Signal(str)

    def __init__(self, variants: Sequence[str]) -> None:
        super().__init__("Model")
        self._variant = QComboBox()
        for name in variants:
            self._variant.addItem(_WEIGHT.get(name, name), name)
        self._variant.setToolTip(
            "micro answers fastest and needs no download; the others are downloaded once, "
            "and want a graphics card."
        )
        self._variant.setMinimumContentsLength(8)
        self._variant.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._where = QLabel()
        self._where.setWordWrap(True)
        self._where.setToolTip("Device and number format, chosen when the network is loaded.")
        form = QFormLayout(self)
        form.addRow("Network", self._variant)
        form.addRow("Runs on", self._where)
        self.show_environment(None, None)
        self._variant.activated.connect(self._on_activated)

    def show_variant(self, variant: str) -> None:
        """Show which network is in use."""
        self._variant.setCurrentIndex(self._variant.findData(variant))

    def show_environment(self, device: str | None, dtype: str | None) -> None:
        """Show where the network computes; None while that is not known."""
        if device is None or dtype is None:
            self._where.setText("known once it is loaded")
            return
        slow = device == "cpu" and self._variant.currentData() != "micro"
        hint = ": slow for this network, micro answers sooner" if slow else ""
        self._where.setText(f"{device}, {dtype}{hint}")

    def _on_activated(self, index: int) -> None:
        self.variant_chosen.emit(str(self._variant.itemData(index)))
