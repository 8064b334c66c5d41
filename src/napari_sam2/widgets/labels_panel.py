"""Labels that are there already: which layer, which frames, and that they become objects."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QFormLayout, QPushButton, QWidget

from napari_sam2.widgets.prompt_panel import fill, narrow_box

_NO_LABELS = "There is no other Labels layer: segment with another plugin, or open a label image."


class LabelsPanel(QWidget):
    """Choice of a Labels layer whose labels are tracked."""

    take_asked = Signal(str, bool)
    """The layer's `unique_id`, and whether to take all frames."""

    def __init__(self) -> None:
        super().__init__()
        self._layer = narrow_box("Labels of any origin: by hand, Cellpose, StarDist …")
        self._frames = QComboBox()
        self._frames.setToolTip("On which frames labels say where objects are.")
        self._frames.addItem("on this frame", False)
        self._frames.addItem("on all frames that have some", True)
        self._take = QPushButton("Track these labels")
        form = QFormLayout(self)
        form.setContentsMargins(4, 4, 4, 4)
        form.addRow("Labels", self._layer)
        form.addRow("Taken", self._frames)
        form.addRow(self._take)
        self._take.clicked.connect(self._on_take)
        self.show_layers((), "")

    def show_layers(self, layers: Sequence[tuple[str, str]], hindrance: str) -> None:
        """Show the layers to choose from, as pairs of `unique_id` and name."""
        fill(self._layer, layers)
        self._layer.setEnabled(bool(layers))
        hindrance = hindrance or ("" if layers else _NO_LABELS)
        self._take.setEnabled(not hindrance)
        self._take.setToolTip(
            hindrance or "Make an object of every label; propagate afterwards to follow them."
        )

    def _on_take(self) -> None:
        self.take_asked.emit(str(self._layer.currentData()), bool(self._frames.currentData()))
