"""Measurements, tracks and exports: numbers with units, files that other programs read."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session import export
from napari_sam2.session.atomic import written_whole
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.export import export_labels
from napari_sam2.session.images import signature_of
from napari_sam2.session.label_files import check_target, streamed_zarr, write_labels
from napari_sam2.session.measurements import Calibration, headers, measure, tracks, write_csv
from napari_sam2.session.session import Session

MICRONS = Calibration((0.5, 0.25), "µm", 2.0, "s")


@pytest.fixture
def session() -> Session:
    session = Session(FakeFrames(moving_discs()), predictor_factory=FakePredictor)
    session.add_box(session.new_object("cell"), 0, (10, 8, 20, 28))
    session.add_point(session.new_object(), 0, (36, 40))
    list(session.propagate())
    return session


def test_measurements_are_in_physical_units(session) -> None:
    by_frame = dict(measure(session, MICRONS))
    assert list(by_frame) == list(range(8))
    box, disc = by_frame[3]
    assert (box.obj_id, box.name, box.frame_idx, box.at) == (1, "cell", 3, 6.0)
    assert box.area == pytest.approx(10 * 20 * 0.5 * 0.25)
    assert (box.y, box.x) == pytest.approx((14.5 * 0.5, (17.5 + 3) * 0.25))
    assert box.speed == pytest.approx(0.25 / 2.0)  # one pixel a frame
    assert np.isnan(by_frame[0][0].speed)
    frame = moving_discs()[3]
    assert disc.mean == pytest.approx(frame[session.mask(2, 3)].mean())
    assert disc.iou == pytest.approx(0.9)
    only = [row.obj_id for _, rows in measure(session, obj_ids=[2]) for row in rows]
    assert set(only) == {2}


def test_what_is_changed_meanwhile_is_not_measured(session) -> None:
    at_once = dict(measure(session, MICRONS))
    steps = measure(session, MICRONS)
    found = dict([next(steps)])
    session.remove_object(2)
    session.rename_object(1, "another")
    found |= dict(steps)
    np.testing.assert_equal(found, at_once)


def test_large_ids_are_measured_as_small_ones(session) -> None:
    large = Session(FakeFrames(moving_discs()), predictor_factory=FakePredictor)
    for obj_id, row in zip((70_000_000, 4_000_000_000), session.objects, strict=True):
        large.new_object(row.name, obj_id=obj_id)
        large.add_mask(obj_id, 3, session.mask(row.obj_id, 3))
    small = dict(measure(session, MICRONS))[3]
    found = dict(measure(large, MICRONS))[3]
    assert [row.obj_id for row in found] == [70_000_000, 4_000_000_000]
    assert [(row.area, row.y, row.x, row.mean) for row in found] == [
        (row.area, row.y, row.x, row.mean) for row in small
    ]


def test_csv_names_units(session, tmp_path) -> None:
    rows = [row for _, rows in measure(session, MICRONS) for row in rows]
    path = tmp_path / "a.csv"
    write_csv(path, rows, MICRONS)
    with path.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 16
    assert tuple(table[0]) == headers(MICRONS)
    assert float(table[0]["area [µm²]"]) == pytest.approx(25)
    assert table[0]["speed [µm/s]"] == ""


def test_tracks_are_sorted_and_leave_absent_frames_out(session) -> None:
    session.add_mask(1, 4, np.zeros((48, 64), bool))
    rows = tracks(session)
    assert rows[:, 0].tolist() == [1] * 7 + [2] * 8
    assert rows[:7, 1].tolist() == [0, 1, 2, 3, 5, 6, 7]
    np.testing.assert_allclose(rows[0], [1, 0, 14.5, 17.5])


def test_tiff_says_sizes(session, tmp_path) -> None:
    path = tmp_path / "labels.ome.tif"
    assert list(export_labels(session, path, MICRONS)) == list(range(8))
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(
            file.asarray(), [session.labels(frame_idx) for frame_idx in range(8)]
        )
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata
        assert 'TimeIncrement="2.0"' in file.ome_metadata
        assert file.series[0].axes == "TYX"
    with pytest.raises(FileExistsError, match="exists"):
        export_labels(session, path)
    with pytest.raises(ValueError, match=r"\.tif or \.zarr"):
        export_labels(session, tmp_path / "labels.png")


def test_ome_zarr_is_a_pyramid_with_units(session, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(export, "_SMALLEST_LEVEL", 24)
    path = tmp_path / "labels.ome.zarr"
    steps = export_labels(session, path, MICRONS)
    next(steps)
    assert not path.exists()
    list(steps)
    group = zarr.open(str(path), mode="r")
    (image,) = group.attrs["ome"]["multiscales"]
    assert [axis["unit"] for axis in image["axes"]] == ["second", "micrometer", "micrometer"]
    assert [d["coordinateTransformations"][0]["scale"] for d in image["datasets"]] == [
        [2.0, 0.5, 0.25],
        [2.0, 1.0, 0.5],
    ]
    np.testing.assert_array_equal(group["0"][5], session.labels(5))
    assert group["1"].shape == (8, 24, 32)
    # the specification asks for them on every level
    names = [group[level].metadata.dimension_names for level in ("0", "1")]
    assert names == [tuple(axis["name"] for axis in image["axes"])] * 2
    assert set(np.unique(group["1"][5])) == {0, 1, 2}
    assert group.attrs["ome"]["image-label"]["colors"][0]["label-value"] == 1


@pytest.mark.parametrize("name", ["labels.ome.tif", "labels.ome.zarr"])
def test_an_export_is_of_one_moment_and_may_be_stopped(session, tmp_path, name) -> None:
    path = tmp_path / name
    expected = [session.labels(frame_idx) for frame_idx in range(8)]
    steps = export_labels(session, path)
    assert next(steps) == 0
    session.remove_object(1)
    steps.close()
    assert list(tmp_path.iterdir()) == []
    session.undo()
    steps = export_labels(session, path)
    assert next(steps) == 0
    session.remove_object(1)
    assert list(steps) == list(range(1, 8))
    if name.endswith(".tif"):
        written = tifffile.imread(path)
    else:
        written = zarr.open(str(path), mode="r")["0"][...]
    np.testing.assert_array_equal(written, expected)


def test_only_folders_of_labels_are_replaced(session, tmp_path) -> None:
    other = tmp_path / "raw.zarr"
    zarr.save(str(other), moving_discs())
    before = sorted(other.rglob("*"))
    for write in (
        lambda: export_labels(session, other, overwrite=True),
        lambda: check_target(other, overwrite=True),
    ):
        with pytest.raises(FileExistsError, match="not hold labels of napari-sam2"):
            write()
    assert sorted(other.rglob("*")) == before
    shape = (8, 48, 64)
    ours = [tmp_path / name for name in ("exported.zarr", "written.zarr", "streamed.zarr")]
    list(export_labels(session, ours[0]))
    write_labels(ours[1], (session.labels(t) for t in range(8)), shape, np.uint16)
    with streamed_zarr(ours[2], shape, np.uint16) as array:
        array[...] = 1
    for path in ours:
        list(export_labels(session, path, overwrite=True))
        group = zarr.open(str(path), mode="r")
        np.testing.assert_array_equal(group["0"][5], session.labels(5))


def test_nothing_is_written_over_the_image(session, tmp_path) -> None:
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, moving_discs())
    before = image.read_bytes()
    session.path = image
    with pytest.raises(FileExistsError, match="the image itself"):
        export_labels(session, image, overwrite=True)
    with pytest.raises(SessionFileError, match="the image itself"):
        session.save(image)
    assert image.read_bytes() == before


def test_a_file_never_takes_the_place_of_a_folder(session, tmp_path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "notes.txt").write_text("weeks of work")
    with pytest.raises(SessionFileError, match="is a folder"):
        session.save(folder)
    with pytest.raises(IsADirectoryError), written_whole(folder) as part:
        part.write_text("a file")
    assert (folder / "notes.txt").read_text() == "weeks of work"
    assert [path.name for path in tmp_path.iterdir()] == ["experiment"]


def test_a_folder_that_cannot_be_put_back_is_kept(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "labels.zarr"
    folder.mkdir()
    (folder / "old").write_text("old")
    rename = os.replace

    def only_aside(source: Path, target: Path) -> None:
        if Path(target) == folder:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", only_aside)
    with pytest.raises(OSError, match="Input/output"), written_whole(folder) as part:
        part.mkdir()
    assert [path.read_text() for path in tmp_path.rglob("old")] == ["old"]


def test_one_image_has_no_frame_axis(tmp_path) -> None:
    session = Session(moving_discs()[0], predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    for name in ("a.tif", "a.zarr"):
        list(export_labels(session, tmp_path / name))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), session.labels(0))
    group = zarr.open(str(tmp_path / "a.zarr"), mode="r")
    np.testing.assert_array_equal(group["0"][...], session.labels(0))
    with pytest.raises(ValueError, match="above 0"):
        Calibration((0, 1))


def test_tiff_of_a_stack_has_a_z_axis(session, tmp_path) -> None:
    path = tmp_path / "labels.ome.tif"
    for _ in export_labels(session, path, Calibration((0.3, 0.3), "um", 2.0, "um")):
        pass
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "ZYX"
        assert 'PhysicalSizeZ="2.0"' in file.ome_metadata


def test_alpha_is_neither_looked_at_nor_measured() -> None:
    pixels = np.full((24, 24, 4), 30, np.uint8)
    pixels[..., 3] = 255
    session = Session(pixels, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    ((_, (row,)),) = measure(session, Calibration())
    assert row.mean == 30
    assert signature_of(session.source) == signature_of(Session(pixels[..., :3]).source)
