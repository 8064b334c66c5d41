"""Results: tracks, measurements, files for other programs."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QGridLayout, QMenu, QPushButton, QWidget

from napari_sam2.session.exchange import FORMATS


class ResultsPanel(QWidget):
    """A button for each kind of result."""

    tracks_asked = Signal()
    measure_asked = Signal()
    labels_asked = Signal()
    table_asked = Signal()
    exchange_asked = Signal(str)
    """The name of the format of another program."""

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
        button = QPushButton("Export for other programs")
        button.setMenu(self._formats_menu(button))
        grid.addWidget(button, 2, 0, 1, 2)
        self._does.append((button, "Tracks and masks in formats that other programs read."))
        grid.setRowStretch(3, 1)
        self.show_ready("")

    def show_ready(self, hindrance: str) -> None:
        """Show whether there are masks; `hindrance` says why there is nothing to show."""
        for button, does in self._does:
            button.setEnabled(not hindrance)
            button.setToolTip(hindrance or does)

    def _formats_menu(self, button: QPushButton) -> QMenu:
        menu = QMenu(button)
        for chosen in FORMATS.values():
            kind = "file" if chosen.suffix == ".json" else "folder"
            action = menu.addAction(f"{chosen.title} ({kind}) …")
            assert action is not None
            action.triggered.connect(partial(self._ask, chosen.name))
        return menu

    def _ask(self, name: str, *_: object) -> None:
        self.exchange_asked.emit(name)
