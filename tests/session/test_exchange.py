"""Results in the formats of other programs: read back with what those programs read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session.exchange import FORMATS, export_results, format_named
from napari_sam2.session.measurements import Calibration, tracks
from napari_sam2.session.result_masks import LabelMasks, SessionMasks
from napari_sam2.session.session import Session
from sam2_backbone.data_engine.rle import Rle
from sam2_backbone.data_engine.sav import read_sav
from sam2_backbone.data_engine.sav_folders import find_clips, open_masks

MICRONS = Calibration((0.5, 0.25), "µm", 2.0, "s")
NAMES = {"ctc": "01_RES", "geff": "a.geff", "coco": "a.json", "sav": "cell_manual.json",
         "sav-folders": "a_sav", "trackmate": "a.xml", "movie": "a.mp4"}  # fmt: skip


@pytest.fixture
def session() -> Session:
    """Two objects that overlap; the second is absent on frames 3 and 4."""
    session = Session(FakeFrames(moving_discs()), predictor_factory=FakePredictor)
    session.add_box(session.new_object("cell"), 0, (10, 8, 20, 28))
    session.add_point(session.new_object("hand", obj_id=7), 0, (18, 14))
    list(session.propagate())
    for frame_idx in (3, 4):
        session.add_mask(7, frame_idx, np.zeros((48, 64), bool))
    return session


def export(session: Session, tmp_path: Path, name: str) -> Path:
    path = tmp_path / NAMES[name]
    steps = export_results(SessionMasks(session), path, name, MICRONS)
    assert list(steps) == list(range(8))
    return path


def test_masks_overlap_and_labels_do_not(session) -> None:
    results = SessionMasks(session)
    assert results.objects == {1: "cell", 7: "hand"}
    masks = results.masks(0)
    both = [mask.to_array(48, 64) for mask in masks.values()]
    assert (both[0] & both[1]).any()
    np.testing.assert_array_equal(both[0], session.mask(1, 0))
    assert results.masks(3)[7].area == 0
    assert masks[1].box == (10, 8, 20, 28)
    assert masks[1].centre == (14.5, 17.5)
    assert results.edited_frames(7) == 3
    np.testing.assert_array_equal(results.labels(0), session.labels(0))


def test_sav_json(session, tmp_path) -> None:
    annotation = read_sav(export(session, tmp_path, "sav"))
    assert annotation.video.video_id == "cell"
    assert annotation.video.duration == 16.0
    assert (annotation.video.frame_count, annotation.frame_step) == (8, 1)
    assert [masklet.masklet_id for masklet in annotation.masklets] == [1, 7]
    assert annotation.masklets[1].edited_frame_count == 3
    for masklet in annotation.masklets:
        for frame_idx, mask in enumerate(masklet.masks):
            expected = session.mask(masklet.masklet_id, frame_idx)
            np.testing.assert_array_equal(mask.to_array(), expected)


def test_sav_folders(session, tmp_path) -> None:
    session.path = tmp_path / "cell.tif"
    root = export(session, tmp_path, "sav-folders")
    (clip,) = find_clips(root)
    assert clip.video_id == "cell"
    folders = open_masks(clip.masks)
    assert folders.frames == tuple(range(8))
    for frame_idx in range(8):
        masks = folders.masks(frame_idx)
        assert list(masks) == [1, 7]
        for obj_id, mask in masks.items():
            np.testing.assert_array_equal(mask, session.mask(obj_id, frame_idx))
    frames = sorted(clip.frames.glob("*.jpg"))
    assert [frame.name for frame in frames] == [f"{t:05d}.jpg" for t in range(8)]
    with Image.open(frames[5]) as frame:
        near = np.abs(np.asarray(frame).astype(int) - moving_discs()[5]) < 40
    assert near.mean() > 0.99


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_frames_are_written_as_the_network_sees_them(tmp_path, dtype) -> None:
    movie = moving_discs().astype(dtype) * 10
    session = Session(movie, predictor_factory=FakePredictor, value_range=(1000, 3000))
    picture = SessionMasks(session).picture(2)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.where(movie[2] == 2000, 128, 0))
    # without limits, as the backbone chooses them for the whole stack
    session = Session(movie, predictor_factory=FakePredictor)
    assert SessionMasks(session).picture(2).max() == 255


def test_cell_tracking_challenge(session, tmp_path) -> None:
    session.new_object("never seen")
    session.add_mask(session.new_object(), 2, np.eye(48, 64, dtype=bool))
    folder = export(session, tmp_path, "ctc")
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert names == [f"mask{t:03d}.tif" for t in range(8)] + ["res_track.txt"]
    for frame_idx in range(8):
        labels = tifffile.imread(folder / f"mask{frame_idx:03d}.tif")
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels, session.labels(frame_idx))
    # an object that is gone in between keeps its number over its whole span
    assert (folder / "res_track.txt").read_text() == "1 0 7 0\n7 0 7 0\n9 2 2 0\n"


def test_labels_of_the_challenge_have_16_bits(tmp_path) -> None:
    session = Session(moving_discs(), predictor_factory=FakePredictor)
    session.add_point(session.new_object(obj_id=70_000), 0, (12, 12))
    with pytest.raises(ValueError, match="labels up to 65535, and there is an object 70000"):
        list(export_results(SessionMasks(session), tmp_path / "01_RES", "ctc"))
    assert list(tmp_path.iterdir()) == []


def test_coco(session, tmp_path) -> None:
    tree = json.loads(export(session, tmp_path, "coco").read_text())
    assert [image["id"] for image in tree["images"]] == list(range(1, 9))
    assert {image["file_name"] for image in tree["images"]} == {"a"}
    assert len(tree["annotations"]) == 8 + 6
    assert len({row["id"] for row in tree["annotations"]}) == 14
    for row in tree["annotations"]:
        mask = session.mask(row["track_id"], row["image_id"] - 1)
        np.testing.assert_array_equal(Rle.from_json(row["segmentation"]).to_array(), mask)
        rows, columns = np.nonzero(mask)
        x, y, width, height = row["bbox"]
        assert (x, y, x + width, y + height) == (
            columns.min(), rows.min(), columns.max() + 1, rows.max() + 1,
        )  # fmt: skip
        assert row["area"] == mask.sum()
        assert row["category_id"] == tree["categories"][0]["id"]


def test_coco_names_the_files_of_a_folder(tmp_path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for t, frame in enumerate(moving_discs(num_frames=3)):
        Image.fromarray(frame).save(folder / f"t{9 + t}.png")
    session = Session(folder, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    list(export_results(SessionMasks(session), tmp_path / "a.json", "coco"))
    tree = json.loads((tmp_path / "a.json").read_text())
    assert [image["file_name"] for image in tree["images"]] == ["t9.png", "t10.png", "t11.png"]


def test_geff(session, tmp_path) -> None:
    path = export(session, tmp_path, "geff")
    graph = zarr.open(str(path), mode="r")
    said = graph.attrs["geff"]
    assert [(axis["name"], axis["unit"], axis["scale"]) for axis in said["axes"]] == [
        ("t", "frame", 2.0), ("y", "pixel", 0.5), ("x", "pixel", 0.25),
    ]  # fmt: skip
    assert [axis["scaled_unit"] for axis in said["axes"]] == ["second", "micrometer", "micrometer"]
    assert said["extra"] == {"names": {"1": "cell", "7": "hand"}}
    nodes = {name: graph[f"nodes/props/{name}/values"][:] for name in ("track_id", "t", "y", "x")}
    rows = np.stack([nodes[name].astype(float) for name in ("track_id", "t", "y", "x")], axis=1)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    np.testing.assert_allclose(rows, tracks(session))
    edges = graph["edges/ids"][:].astype(int)
    assert (nodes["track_id"][edges[:, 0]] == nodes["track_id"][edges[:, 1]]).all()
    steps = nodes["t"][edges[:, 1]] - nodes["t"][edges[:, 0]]
    assert sorted(steps.tolist()) == [1] * 11 + [3]  # over the frames 3 and 4


def test_slices_of_a_stack_are_no_time(session, tmp_path) -> None:
    results, microns = SessionMasks(session), Calibration((0.5, 0.5), "um", 3.0, "µm")
    list(export_results(results, tmp_path / "a.geff", "geff", microns))
    axis = zarr.open(str(tmp_path / "a.geff"), mode="r").attrs["geff"]["axes"][0]
    assert (axis["name"], axis["type"], axis["unit"]) == ("z", "space", "pixel")
    assert (axis["scale"], axis["scaled_unit"]) == (3.0, "micrometer")
    list(export_results(results, tmp_path / "a_manual.json", "sav", microns))
    assert read_sav(tmp_path / "a_manual.json").video.duration is None


@pytest.mark.parametrize("is_empty", [True, False])
def test_geff_by_its_own_program(session, tmp_path, is_empty) -> None:
    validate = pytest.importorskip("geff.validate.structure")
    if is_empty:
        session = Session(moving_discs(), predictor_factory=FakePredictor)
    path = export(session, tmp_path, "geff")
    validate.validate_structure(str(path))
    import geff

    graph, _ = geff.read(str(path), structure_validation=True, data_validation=None)
    assert graph.number_of_nodes() == (0 if is_empty else 14)


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_of_one_moment_and_may_be_stopped(session, tmp_path, name) -> None:
    path = tmp_path / NAMES[name]
    steps = export_results(SessionMasks(session), path, name)
    assert next(steps) == 0
    session.remove_object(1)
    steps.close()
    assert list(tmp_path.iterdir()) == []
    session.undo()
    steps = export_results(SessionMasks(session), path, name)
    next(steps)
    session.remove_object(1)
    assert list(steps) == list(range(1, 8))
    session.undo()
    expected = tmp_path / "again" / path.name
    list(export_results(SessionMasks(session), expected, name))
    for file in filter(Path.is_file, expected.rglob("*")):
        assert (path / file.relative_to(expected)).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_only_what_was_written_here_is_replaced(session, tmp_path, name) -> None:
    results, path = SessionMasks(session), tmp_path / NAMES[name]
    list(export_results(results, path, name))
    with pytest.raises(FileExistsError, match="exists already"):
        export_results(results, path, name)
    list(export_results(results, path, name, overwrite=True))
    if path.is_file():
        return
    if name != "geff":
        (path / "notes.txt").write_text("weeks of work")
        with pytest.raises(FileExistsError, match="is not replaced"):
            export_results(results, path, name, overwrite=True)
    other = tmp_path / ("other" + FORMATS[name].suffix)
    other.mkdir()
    (other / "mask000.tif").write_text("of another program")
    with pytest.raises(FileExistsError, match="is not replaced"):
        export_results(results, other, name, overwrite=True)
    file = tmp_path / ("file" + FORMATS[name].suffix)
    file.write_text("somebody's")
    with pytest.raises(FileExistsError, match="is a file"):
        export_results(results, file, name, overwrite=True)
    assert file.read_text() == "somebody's"


def test_sessions_and_images_are_kept(session, tmp_path) -> None:
    session.save(tmp_path / "work.json")
    for name in ("coco", "sav"):
        with pytest.raises(FileExistsError, match="is a session file, which is kept"):
            export_results(SessionMasks(session), tmp_path / "work.json", name, overwrite=True)
    session.path = tmp_path / "work_frames"
    session.path.mkdir()
    with pytest.raises(FileExistsError, match="is the image itself"):
        export_results(SessionMasks(session), session.path, "ctc", overwrite=True)


@pytest.mark.parametrize(
    ("file", "name", "says"),
    [
        ("a.txt", "coco", r"ends in \.json"),
        ("a", "geff", r"ends in \.geff"),
        ("a.tif", "ctc", "name a folder"),
        ("a.avi", "movie", r"ends in \.mp4 or \.tif"),
        ("a", "icy", "There is no format 'icy'; there are: ctc, geff"),
    ],
)
def test_names_are_checked(session, tmp_path, file, name, says) -> None:
    with pytest.raises(ValueError, match=says):
        export_results(SessionMasks(session), tmp_path / file, name)


def test_names_are_proposed() -> None:
    assert format_named("coco").name_for(Path("data/cells.ome.tif")) == "cells_coco.json"
    assert format_named("ctc").name_for(None) == "results_RES"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_of_a_layer(session, tmp_path, dtype) -> None:
    movie = np.stack([session.labels(t) for t in range(8)]).astype(dtype)
    results = LabelMasks(movie)
    assert results.objects == {1: "Object 1", 7: "Object 7"}
    for frame_idx in range(8):
        again = np.zeros((48, 64), dtype)
        for obj_id, mask in results.masks(frame_idx).items():
            again[mask.to_array(48, 64)] = obj_id
        np.testing.assert_array_equal(again, movie[frame_idx])
    for name in FORMATS:
        list(export_results(results, tmp_path / NAMES[name], name))
    assert (tmp_path / "01_RES" / "res_track.txt").read_text() == "1 0 7 0\n7 0 7 0\n"
    assert not (tmp_path / "a_sav" / "JPEGImages_24fps").exists()
    single = LabelMasks(movie[0])
    assert (single.num_frames, single.height, single.width) == (1, 48, 64)
    assert list(single.masks(0)) == [1, 7]


def test_labels_that_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="choose one index of each further axis"):
        LabelMasks(np.zeros((2, 3, 4, 5), int))
    negative = LabelMasks(np.full((4, 5), -2))
    with pytest.raises(ValueError, match="must not be negative, got -2"):
        _ = negative.objects
    assert LabelMasks(np.zeros((4, 5), int)).masks(0) == {}
