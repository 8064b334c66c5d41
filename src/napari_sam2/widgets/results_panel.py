"""Room: results: tracks, measurements, files for other programs."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget


class ResultsPanel(QWidget):
    """A button for each kind of result."""

    tracks_asked = Signal()
    measure_asked = Signal()
    labels_asked = Signal()
    table_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 4, 4, 4)
        self._does: list[tuple[QPushButton, str]] = []
        for place, (text, does, signal) in enumerate(
            (
                ("Tracks layer", "Show where the objects went.", self.tracks_asked),
                ("Measure", "Areas, intensities and speeds in a table.", self.measure_asked),
                (
                    "Export labels …",
                    "Write the labels as OME-TIFF or OME-Zarr, with sizes and units.",
                    self.labels_asked,
                ),
                ("Export table …", "Measure, and write the table as CSV.", self.table_asked),
            )
        ):
            button = QPushButton(text)
            button.clicked.connect(signal)
            grid.addWidget(button, place // 2, place % 2)
            self._does.append((button, does))
        grid.setRowStretch(2, 1)
        self.show_ready("")

    def show_ready(self, hindrance: str) -> None:
        """Show whether there are masks; `hindrance` says why there is nothing to show."""
        for button, does in self._does:
            button.setEnabled(not hindrance)
            button.setToolTip(hindrance or does)
