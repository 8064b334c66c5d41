"""Results: tracks, measurements, files for other programs."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QWidget,
)

from napari_sam2.session.exchange import FORMATS, MOVIE
from napari_sam2.session.overlay import TINT, MovieStyle


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
        button = QPushButton("Export movie …")
        button.clicked.connect(partial(self._ask, MOVIE))
        self._does.append((button, "The image with outlines and numbers of the objects, as MP4."))
        self._rate, self._fill = QDoubleSpinBox(), QCheckBox("fill")
        grid.addLayout(self._movie_row(button), 3, 0, 1, 2)
        grid.setRowStretch(4, 1)
        self.show_ready("")

    @property
    def movie_style(self) -> MovieStyle:
        """How a movie is to look."""
        return MovieStyle(self._rate.value() or None, TINT if self._fill.isChecked() else 0.0)

    def show_ready(self, hindrance: str) -> None:
        """Show whether there are masks; `hindrance` says why there is nothing to show."""
        for button, does in self._does:
            button.setEnabled(not hindrance)
            button.setToolTip(hindrance or does)

    def _movie_row(self, button: QPushButton) -> QHBoxLayout:
        self._rate.setRange(0, 120)
        self._rate.setDecimals(0)
        self._rate.setSuffix(" frames/s")
        self._rate.setSpecialValueText("usual speed")
        self._rate.setToolTip(
            "How fast the movie is shown; the usual is 10 frames a second, or the speed of the "
            "recording where that is 5 to 60."
        )
        self._fill.setToolTip("Tint the objects inside their outlines.")
        row = QHBoxLayout()
        row.addWidget(button, 1)
        row.addWidget(self._rate, 1)
        row.addWidget(self._fill)
        return row

    def _formats_menu(self, button: QPushButton) -> QMenu:
        menu = QMenu(button)
        for chosen in FORMATS.values():
            if chosen.name == MOVIE:
                continue  # has a button of its own
            kind = "file" if chosen.is_file else "folder"
            action = menu.addAction(f"{chosen.title} ({kind}) …")
            assert action is not None
            action.triggered.connect(partial(self._ask, chosen.name))
        return menu

    def _ask(self, name: str, *_: object) -> None:
        self.exchange_asked.emit(name)
