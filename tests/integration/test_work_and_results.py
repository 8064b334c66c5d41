"""Work that is found again, saved and opened, and results, in a real viewer."""

from __future__ import annotations

import csv
import json

import numpy as np
import tifffile
from napari.layers import Tracks
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.layers.frame_source import LayerFrameSource
from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.session.autosave import Autosave
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.measurements import Calibration, headers, measure
from napari_sam2.session.session import Session
from napari_sam2.widgets.main_widget import annotate
from napari_sam2.widgets.measurement_table import MeasurementTable
from napari_sam2.widgets.run_control import BUSY

STACK = moving_discs()


def test_work_of_a_process_that_died_is_offered_and_taken_up(
    viewer, fake_model, messages, qtbot
) -> None:
    earlier = Session(FakeFrames(STACK), predictor_factory=FakePredictor)
    saving = Autosave(earlier)
    earlier.add_point(earlier.new_object("cell"), 0, (12, 12))
    list(earlier.propagate())
    saving.stop()
    annotator = annotate(viewer, viewer.add_image(STACK))
    work = annotator._panels.work
    qtbot.waitUntil(lambda: work._offer.isVisibleTo(work), timeout=10_000)
    assert "1 object with 8 masks" in work._found.text()
    work.taken_up.emit()
    annotator.wait(timeout=20)
    assert annotator.session.document == earlier.document
    assert len(annotator.points_layer.data) == 1
    np.testing.assert_array_equal(annotator.labels_layer.data[7], earlier.labels(7))
    assert not work._offer.isVisibleTo(work)
    annotator.points_layer.add((4, 30, 24))
    annotator.wait(timeout=20)
    assert annotator.session.objects[0].prompted_frames == (0, 4)
    assert annotator._images.current.autosave.path.exists()
    assert messages == []


def test_work_on_another_plane_is_offered_and_taken_up_there(
    viewer, fake_model, messages, qtbot
) -> None:
    volume = np.random.default_rng(1).integers(0, 50, (len(STACK), 5, *STACK.shape[1:]))
    volume = volume.astype(np.uint8)
    volume[:, 3] = STACK
    geometry = FrameGeometry(volume.shape, 0, ((1, 3),))
    earlier = Session(LayerFrameSource(volume, geometry), predictor_factory=FakePredictor)
    saving = Autosave(earlier)
    earlier.add_point(earlier.new_object("cell"), 0, (12, 12))
    list(earlier.propagate())
    saving.stop()
    layer = viewer.add_image(volume, axis_labels=("t", "z", "y", "x"))
    viewer.dims.set_point(1, 0)
    annotator = annotate(viewer, layer)
    work = annotator._panels.work
    qtbot.waitUntil(lambda: work._offer.isVisibleTo(work), timeout=10_000)
    assert "was found at z 3: 1 object with 8 masks" in work._found.text()
    assert annotator._images.current.geometry.fixed == ((1, 0),)
    work.taken_up.emit()
    qtbot.waitUntil(lambda: bool(annotator.session.document.objects), timeout=20_000)
    annotator.wait(timeout=20)
    assert annotator._images.current.geometry.fixed == ((1, 3),)
    assert viewer.dims.point[1] == 3
    assert annotator.session.document == earlier.document
    np.testing.assert_array_equal(annotator.labels_layer.data[7, 3], earlier.labels(7))
    assert not work._offer.isVisibleTo(work)
    assert messages == []
    # who moves on to another plane is not offered what was just left
    viewer.dims.set_point(1, 1)
    annotator.open_image(layer, frame_axis=0)
    annotator.wait(timeout=20)
    qtbot.wait(500)
    assert annotator._images.current.geometry.fixed == ((1, 1),)
    assert annotator._images.current.found_work is None


def test_work_stays_offered_where_what_is_at_hand_would_be_lost(
    viewer, fake_model, messages, qtbot, monkeypatch
) -> None:
    earlier = Session(FakeFrames(STACK), predictor_factory=FakePredictor)
    saving = Autosave(earlier)
    earlier.add_point(earlier.new_object("cell"), 0, (12, 12))
    saving.stop()
    annotator = annotate(viewer, viewer.add_image(STACK))
    work = annotator._panels.work
    qtbot.waitUntil(lambda: work._offer.isVisibleTo(work), timeout=10_000)
    annotator.points_layer.add((0, 40, 50))
    annotator.wait(timeout=20)
    here = annotator.session.document

    def full(autosave: Autosave) -> None:
        raise SessionFileError("The disk is full.")

    monkeypatch.setattr(Autosave, "begin_anew", full)
    work.taken_up.emit()
    annotator.wait(timeout=20)
    assert messages == ["The disk is full."]
    assert annotator.session.document is here
    qtbot.waitUntil(lambda: work._offer.isVisibleTo(work), timeout=5000)


def test_a_file_is_neither_copied_nor_littered(
    viewer, fake_model, messages, qtbot, tmp_path
) -> None:
    file = tmp_path / "data" / "cells.tif"
    file.parent.mkdir()
    tifffile.imwrite(file, STACK)
    annotator = annotate(viewer, viewer.open(file, plugin="napari")[0])
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    current = annotator._images.current
    current.autosave.save_now()
    journal = current.autosave.path
    assert journal.parent == file.parent
    annotator.save(tmp_path / "cells.json")
    annotator.wait(timeout=20)
    status = annotator._panels._status
    qtbot.waitUntil(lambda: status.text().startswith("Saved to cells.json."), timeout=5_000)
    assert not journal.exists()
    assert not (tmp_path / "cells.zarr").exists()
    assert Session.load(tmp_path / "cells.json").document == annotator.session.document
    annotator.points_layer.add((0, 40, 50))
    annotator.wait(timeout=20)
    current.autosave.save_now()
    assert current.autosave.path.parent == file.parent
    viewer.layers.remove(annotator.image_layer)
    annotator.wait(timeout=20)
    assert [*file.parent.iterdir()] == [file]
    assert len([*(tmp_path / "cache").rglob("*.journal")]) == 1
    annotator.load(tmp_path / "cells.json")  # nothing is open
    assert messages == []


def test_tracks_of_frames_along_another_axis(viewer, hand, fake_model, messages) -> None:
    layer = viewer.add_image(np.moveaxis(STACK, 0, 1), scale=(0.5, 2, 0.5))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 0)
    annotator = annotate(viewer, layer)
    session = annotator.session
    hand.click((6, 6))
    annotator.wait(timeout=20)
    annotator.propagate()
    annotator.wait(timeout=20)
    tracks = annotator.show_tracks()
    assert viewer.dims.ndim == 4
    assert viewer.dims.displayed == (1, 3)
    np.testing.assert_allclose(
        tracks.data_to_world(tracks.data[5, 1:])[1:],
        annotator.labels_layer.data_to_world((12, 5, 12 + 5)),
        atol=0.3,
    )
    viewer.dims.set_current_step(2, 3)
    hand.click((20, 28))
    annotator.wait(timeout=20)
    assert session.objects[0].prompted_frames == (0, 3)
    assert session.labels(3)[40, 56] == 1
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    annotator.show_tracks()
    assert [known.name for known in viewer.layers].count("SAM 2 tracks") == 1
    assert messages == []


def test_what_differs_in_a_session_file_is_explained(
    viewer, fake_model, messages, tmp_path, monkeypatch
) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    session, path = annotator.session, tmp_path / "cells.json"
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    annotator.wait(timeout=20)
    annotator.save(path)
    annotator.wait(timeout=20)
    saved = session.document
    annotator.points_layer.add((0, 40, 50))
    annotator.wait(timeout=20)

    tree = json.loads(path.read_text())
    tree["weights_sha256"] = "0" * 64
    path.write_text(json.dumps(tree))
    # discs stand for the network, so that no weights are loaded
    with monkeypatch.context() as patch:
        patch.setattr(session, "uses_models", True)
        annotator.load(path)
        annotator.wait(timeout=20)
    assert len(messages) == 1
    assert "cells.json was made with other weights of micro" in messages[0]
    assert "napari-sam2 replay" in messages[0]
    assert session.document == saved
    np.testing.assert_array_equal(annotator.labels_layer.data[7], session.labels(7))

    annotator.points_layer.add((3, 40, 50))
    annotator.wait(timeout=20)
    here = session.document
    for wrong, name, says in (
        (255 - STACK, "inverted", "other pixels: open"),
        (STACK[:5], "short", "short.zarr with 5 frames"),
    ):
        path = tmp_path / f"{name}.json"
        Session(wrong, predictor_factory=FakePredictor).save(path)
        annotator.load(path)
        annotator.wait(timeout=20)
        assert f"{name}.json was made on another image, {name}.zarr" in messages[-1]
        assert says in messages[-1]
    assert len(messages) == 3
    assert session.document is here


def test_save_open_and_results(viewer, fake_model, messages, tmp_path) -> None:
    layer = viewer.add_image(STACK, scale=(2, 0.5, 0.5), units=("s", "um", "um"))
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    annotator.wait(timeout=20)
    session = annotator.session
    annotator.save(tmp_path / "session.json")
    saved = session.document
    annotator.points_layer.add((0, 40, 50))
    annotator.wait(timeout=20)
    assert session.document != saved
    annotator.load(tmp_path / "session.json")
    annotator.wait(timeout=20)
    assert session.document == saved
    assert len(annotator.points_layer.data) == 1

    tracks = annotator.show_tracks()
    np.testing.assert_allclose(tracks.data[0], [1, 0, 12, 12], atol=0.1)
    np.testing.assert_allclose(tracks.scale, (2, 0.5, 0.5))
    annotator.show_tracks()
    assert [known.name for known in viewer.layers].count("SAM 2 tracks") == 1
    annotator.measure()
    annotator.wait(timeout=20)
    table = annotator._results.table
    assert table.cells.rowCount() == 8
    assert table.cells.headerData(6, Qt.Orientation.Horizontal) == "area [µm²]"
    table.selectRow(5)
    assert viewer.dims.current_step[0] == 5
    annotator.export_table(tmp_path / "table.csv")
    annotator.wait(timeout=20)
    annotator.export_labels(tmp_path / "labels.ome.tif")
    annotator.wait(timeout=20)
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[3]["at [s]"]) == 6
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "labels.ome.tif"), annotator.labels_layer.data
    )
    assert messages == []


def test_results_wait_for_what_runs_and_say_so(viewer, slow_model, messages, tmp_path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    annotator = annotate(viewer, viewer.add_image(STACK))
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    annotator.propagate()
    annotator.export_labels(folder / "labels.tif")
    annotator.export_table(folder / "table.csv")
    assert messages == [BUSY, BUSY]
    annotator.wait(timeout=20)
    assert list(folder.iterdir()) == []
    ended: list[str] = []
    annotator._run.ended.connect(ended.append)
    annotator.export_labels(folder / "labels.tif")
    annotator._run.cancel()
    annotator.wait(timeout=20)
    assert ended == ["Cancelled; nothing of it is kept. "]
    assert list(folder.iterdir()) == []


def test_tracks_replace_only_those_of_the_same_image(viewer, fake_model, messages) -> None:
    others = viewer.add_tracks([[1, 0, 5, 5], [1, 1, 6, 6]], name="SAM 2 tracks")
    first, second = viewer.add_image(STACK), viewer.add_image(STACK)
    made = []
    for image in (first, second):
        annotator = annotate(viewer, image)
        annotator.points_layer.add((0, 12, 12))
        annotator.propagate()
        annotator.wait(timeout=20)
        made.append(annotator.show_tracks())
    again = annotator.show_tracks()
    shown = [layer for layer in viewer.layers if isinstance(layer, Tracks)]
    assert shown == [others, made[0], again]
    assert messages == []


def test_a_table_that_was_closed_comes_again(viewer, fake_model, messages) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    annotator.measure()
    annotator.wait(timeout=20)
    table = annotator._results.table
    viewer.window.remove_dock_widget(table)
    annotator.measure()
    annotator.wait(timeout=20)
    assert annotator._results.table.parent() is not None
    assert "SAM 2 measurements" in viewer.window.dock_widgets
    assert messages == []


def test_the_table_of_measurements_keeps_rows_together(qtbot) -> None:
    session = Session(STACK, predictor_factory=FakePredictor)
    for y, x in ((12, 12), (30, 20)):
        session.add_point(session.new_object(), 0, (y, x))
    list(session.propagate())
    rows = [row for _, rows in measure(session) for row in rows]
    table = MeasurementTable()
    qtbot.addWidget(table)
    table.show_rows(rows, Calibration())
    chosen = []
    table.row_chosen.connect(lambda obj_id, frame_idx: chosen.append((obj_id, frame_idx)))
    table.selectRow(5)
    (before,) = chosen
    speed = headers(Calibration()).index("speed [pixel/frame]")
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        table.sortByColumn(speed, order)
        here = table.cells.rows[table.currentIndex().row()]
        assert (here.obj_id, here.frame_idx) == before
        assert np.isnan([row.speed for row in table.cells.rows[-2:]]).all()
    table.show_current(1, 99)
    assert not table.currentIndex().isValid()
    table.selectRow(0)
    assert len(chosen) == 2


def test_each_of_two_images_keeps_what_is_its_own(viewer, slow_model, qtbot, messages) -> None:
    """Keys, undo and the table of measurements are for the image that a person works on."""
    first, second = viewer.add_image(moving_discs(num_frames=40)), viewer.add_image(STACK)
    annotator = annotate(viewer, first)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    points, session = annotator.points_layer, annotator.session
    annotator.measure()
    annotator.wait(timeout=20)
    annotator.propagate()
    qtbot.waitUntil(lambda: len(session.objects[0].mask_frames) > 2, timeout=20_000)
    annotate(viewer, second)
    annotator.points_layer.add((0, 12, 12))
    annotator.undo()
    annotator.wait(timeout=60)
    assert len(session.objects[0].mask_frames) == 40
    assert annotator.image_layer == second
    annotator._results.table.selectRow(0)
    assert annotator.image_layer == first
    annotate(viewer, second)
    viewer.layers.selection.active = points
    assert annotator.image_layer == first
    assert messages == []


def test_files_are_proposed_beside_the_image(viewer, fake_model, tmp_path, monkeypatch) -> None:
    proposed = []

    def choose(parent, title, name, kinds):
        proposed.append(name)
        return "", ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    tifffile.imwrite(tmp_path / "cells.ome.tif", STACK)
    for image in (
        viewer.add_image(STACK),
        *viewer.open(tmp_path / "cells.ome.tif", plugin="napari"),
    ):
        annotator = annotate(viewer, image)
        annotator.points_layer.add((0, 12, 12))
        annotator.wait(timeout=20)
        annotator._work.ask_where_to_save()
        annotator._results.ask_where_to_export_labels()
        annotator._results.ask_where_to_export_table()
        annotator._results.ask_where_to_export_results("coco")
    names = ("session.json", "labels.ome.tif", "measurements.csv", "coco.json")
    assert proposed[:3] == list(names[:3])
    assert proposed[4:] == [str(tmp_path / f"cells_{name}") for name in names]


def test_work_is_discarded_only_if_it_is_meant(viewer, fake_model, qtbot, monkeypatch) -> None:
    earlier = Session(FakeFrames(STACK), predictor_factory=FakePredictor)
    saving = Autosave(earlier)
    earlier.add_point(earlier.new_object("cell"), 0, (12, 12))
    saving.stop()
    annotator = annotate(viewer, viewer.add_image(STACK))
    work = annotator._panels.work
    qtbot.waitUntil(lambda: work._offer.isVisibleTo(work), timeout=10_000)
    path = annotator._images.current.found_work.path
    said = []

    def answer(parent, title, question):
        said.append(question)
        return answers.pop(0)

    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", answer)
    work.put_away.emit()
    assert path.exists()
    assert work._offer.isVisibleTo(work)
    work.put_away.emit()
    assert not path.exists()
    assert not work._offer.isVisibleTo(work)
    assert "It holds 1 object with 1 mask." in said[0]
