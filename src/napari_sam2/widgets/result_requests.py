"""How results are asked for: what is measured, where a file goes, which layer is made."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.results import calibration_of
from napari_sam2.layers.track_layer import new_tracks_layer, tracks_layers_of
from napari_sam2.session.exchange import MOVIE, export_results, format_named
from napari_sam2.session.export import export_labels
from napari_sam2.session.measurements import Calibration, Measurement, measure, write_csv
from napari_sam2.session.overlay import MovieStyle
from napari_sam2.session.result_masks import SessionMasks
from napari_sam2.widgets.measurement_table import MeasurementTable
from napari_sam2.widgets.run_control import BUSY, LongRun, RunControl
from napari_sam2.widgets.work_requests import beside_image, with_suffix

if TYPE_CHECKING:
    from napari.layers import Tracks

    from napari_sam2.session.session import Session
    from napari_sam2.widgets.open_images import OpenImages
    from napari_sam2.widgets.open_session import OpenSession
    from napari_sam2.widgets.results_panel import ResultsPanel

_NOTHING = "There is no mask yet: click an object first."


class ResultRequests(QObject):
    """Makes layers, tables and files of what the session in hand knows."""

    refused = Signal(str)
    """Why there is no result."""
    told = Signal(str)
    """What was made."""

    def __init__(
        self, viewer: Any, panel: ResultsPanel, images: OpenImages, run: RunControl
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._panel = panel
        self._images = images
        self._run = run
        self._table: MeasurementTable | None = None
        self._measured: OpenSession | None = None
        panel.tracks_asked.connect(self.show_tracks)
        panel.measure_asked.connect(self.measure)
        panel.labels_asked.connect(self.ask_where_to_export_labels)
        panel.table_asked.connect(self.ask_where_to_export_table)
        panel.exchange_asked.connect(self.ask_where_to_export_results)

    @property
    def table(self) -> MeasurementTable | None:
        """The table of measurements, None before there is one."""
        return self._table

    @property
    def hindrance(self) -> str:
        """Why there is no result; empty where there is."""
        current = self._images.current
        objects = () if current is None else current.session.document.objects.values()
        return "" if any(state.masks for state in objects) else _NOTHING

    def show_ready(self) -> None:
        """Show whether there are masks, and keep the table at what is chosen."""
        current = self._images.current
        self._panel.show_ready(self.hindrance)
        if self._table is not None and current is not None and current is self._measured:
            self._table.show_current(current.obj_id, current.frame_idx)

    def show_tracks(self) -> Tracks | None:
        """Add a Tracks layer, or bring the one that is there up to date."""
        current = self._images.current
        if current is None:
            return None
        try:
            layer = new_tracks_layer(
                current.session,
                current.image,
                current.geometry,
                world_units=self._viewer.layers.units,
            )
        except LayerRefusedError as error:
            self.refused.emit(str(error))
            return None
        active = self._viewer.layers.selection.active
        for old in tracks_layers_of(self._viewer, current.image):
            self._viewer.layers.remove(old)
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = active
        return layer

    def measure(self) -> None:
        """Measure all objects and show the table."""
        self._measure(None)

    def export_table(self, path: str | Path) -> None:
        """Measure all objects and write the table as CSV."""
        self._measure(Path(path))

    def export_labels(self, path: str | Path) -> None:
        """Write the labels of all frames to .tif or .zarr, replacing what is there."""
        current = self._images.current
        if current is not None and self._may_run():
            session = current.session
            steps = partial(
                export_labels, session, path, self._calibration(current), overwrite=True
            )
            done = partial(self._tell, f"The labels are in {Path(path).name}. ")
            run = LongRun(
                steps, lambda: session.num_frames, "Exporting", "frame", done, is_kept=False
            )
            self._run.start(current, run)

    def export_results(
        self, path: str | Path, format_name: str, style: MovieStyle | None = None
    ) -> None:
        """Write all results for another program, replacing only what was written here."""
        current = self._images.current
        if current is not None and self._may_run():
            session, name = current.session, Path(path).name
            calibration = self._calibration(current)
            steps = partial(_exchanged, session, path, format_name, calibration, style)
            done = partial(self._tell, f"{format_named(format_name).title}: written to {name}. ")
            run = LongRun(
                steps, lambda: session.num_frames, "Exporting", "frame", done, is_kept=False
            )
            self._run.start(current, run)

    def results_of(self, labels: str) -> tuple[SessionMasks, Calibration] | None:
        """Return the masks behind a labels layer of an open session, known by its name."""
        opened = self._images.with_layer(labels)
        if opened is None:
            return None
        return SessionMasks(opened.session), self._calibration(opened)

    def _measure(self, path: Path | None) -> None:
        current = self._images.current
        if current is not None and self._may_run():
            rows: list[Measurement] = []
            calibration = self._calibration(current)
            steps = partial(_measured, current.session, calibration, rows, path)
            done = partial(self._on_measured, current, rows, calibration, path)
            count = partial(_frames_with_masks, current.session)
            run = LongRun(steps, count, "Measuring", "frame", done, is_kept=False)
            self._run.start(current, run)

    def _may_run(self) -> bool:
        """Whether nothing is under way; where something is, say so."""
        if self._run.is_active:
            self.refused.emit(BUSY)
        return not self._run.is_active

    def _on_measured(
        self,
        opened: OpenSession,
        rows: list[Measurement],
        calibration: Calibration,
        path: Path | None,
    ) -> None:
        if path is not None:
            self._tell(f"The table is in {path.name}. ")
            return
        if self._table is None:
            self._table = MeasurementTable()
            self._table.row_chosen.connect(self._on_row_chosen)
            self._table.destroyed.connect(self._on_table_gone)
        dock = self._table.parent()
        if isinstance(dock, QWidget):
            dock.show()
        else:  # a dock that is closed lets go of what it holds
            self._viewer.window.add_dock_widget(
                self._table, name="SAM 2 measurements", area="bottom"
            )
        self._measured = opened
        self._table.show_rows(rows, calibration)
        self.show_ready()

    def _on_table_gone(self) -> None:
        self._table = None

    def _on_row_chosen(self, obj_id: int, frame_idx: int) -> None:
        measured = self._measured
        if measured is None or obj_id not in measured.session.document.objects:
            return
        if self._images.take_in_hand(measured):
            measured.choose(obj_id)
            measured.show_frame(frame_idx)

    def ask_where_to_export_labels(self) -> None:
        """Write the labels to a file that the person chooses."""
        current = self._images.current
        if current is None or not self._may_run():
            return
        kinds = "OME-TIFF (*.ome.tif *.tif);;OME-Zarr (*.ome.zarr *.zarr)"
        proposed = beside_image(current.session, "_labels.ome.tif")
        path, _ = QFileDialog.getSaveFileName(self._panel, "Export labels", proposed, kinds)
        if path:
            self.export_labels(path)

    def ask_where_to_export_table(self) -> None:
        """Write the table to a file that the person chooses."""
        current = self._images.current
        if current is None or not self._may_run():
            return
        proposed = beside_image(current.session, "_measurements.csv")
        path, _ = QFileDialog.getSaveFileName(self._panel, "Export table", proposed, "CSV (*.csv)")
        if path:
            self.export_table(with_suffix(path, ".csv"))

    def ask_where_to_export_results(self, format_name: str) -> None:
        """Write all results for another program, under a name that the person chooses."""
        current = self._images.current
        if current is None or not self._may_run():
            return
        chosen = format_named(format_name)
        source = current.session.path
        proposed = chosen.name_for(source)
        if source is not None:
            proposed = str(source.with_name(proposed))
        kinds = " ".join(f"*{suffix}" for suffix in chosen.suffixes or ("",))
        path, _ = QFileDialog.getSaveFileName(
            self._panel, f"Export: {chosen.title}", proposed, f"{chosen.title} ({kinds})"
        )
        if path:
            named = with_suffix(path, chosen.suffix) if chosen.suffix else path
            style = self._panel.movie_style if format_name == MOVIE else None
            self.export_results(named, format_name, style)

    def _calibration(self, opened: OpenSession) -> Calibration:
        return calibration_of(opened.image, opened.geometry)

    def _tell(self, news: str) -> None:
        self.told.emit(news)


def _measured(
    session: Session, calibration: Calibration, rows: list[Measurement], path: Path | None
) -> Iterator[int]:
    """Gather measurements frame by frame in the worker, and write them at the end."""
    for frame_idx, measurements in measure(session, calibration):
        rows.extend(measurements)
        yield frame_idx
    if path is not None:
        write_csv(path, rows, calibration)


def _exchanged(
    session: Session,
    path: str | Path,
    format_name: str,
    calibration: Calibration,
    style: MovieStyle | None,
) -> Iterator[int]:
    """Begin in the worker: names are checked and masks are taken when it is this one's turn."""
    results = SessionMasks(session)
    yield from export_results(results, path, format_name, calibration, overwrite=True, style=style)


def _frames_with_masks(session: Session) -> int:
    return len({t for state in session.document.objects.values() for t in state.masks})
