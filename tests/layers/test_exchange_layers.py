"""Masks and tracks of other programs as layers of napari."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Layer

from napari_sam2 import readers
from napari_sam2.session.exchange import export_results
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.result_masks import LabelMasks


def cells() -> np.ndarray:
    """A cell that divides after two frames of five, and one that stays."""
    labels = np.zeros((5, 20, 30), np.uint8)
    labels[:2, 2:8, 2:8] = 1
    labels[2:, 2:5, 2:5], labels[2:, 6:10, 6:10] = 2, 3
    labels[:, 12:16, 20:26] = 7
    return labels


def opened(path: Path, reader=readers.folder_reader) -> list[Layer]:
    return [Layer.create(*row) for row in reader(str(path))(str(path))]


def write_ctc(folder: Path, table: str) -> Path:
    folder.mkdir(parents=True)
    for t, frame in enumerate(cells()):
        tifffile.imwrite(folder / f"mask{t:03d}.tif", frame)
    (folder / "res_track.txt").write_text(table)
    return folder


def test_divisions_of_the_challenge_are_a_graph_of_tracks(tmp_path) -> None:
    # the table speaks of a label that no image shows
    folder = write_ctc(tmp_path / "01_RES", "1 0 1 0\n2 2 4 1\n3 2 4 1\n7 0 4 0\n9 0 4 1\n")
    labels, tracks = opened(folder)
    assert (labels.name, tracks.name) == ("01_RES", "01_RES tracks")
    assert labels.data.shape == (5, 20, 30)
    assert labels.data.dtype == np.uint16  # room for further objects
    np.testing.assert_array_equal(np.asarray(labels.data), cells())
    assert tracks.graph == {2: [1], 3: [1]}
    assert len(tracks.data) == 2 + 3 + 3 + 5
    np.testing.assert_array_equal(tracks.data[0], [1, 0, 4.5, 4.5])
    assert (tracks.data[tracks.data[:, 0] == 7][:, 2:] == (13.5, 22.5)).all()


def test_without_a_division_the_labels_tell_all(tmp_path) -> None:
    folder = write_ctc(tmp_path / "01_RES", "1 0 1 0\n2 2 4 0\n")
    for path in folder.glob("mask00[1-4].tif"):
        path.write_text("not looked at")
    (labels,) = opened(folder)
    np.testing.assert_array_equal(labels.data[0], cells()[0])


def test_a_folder_of_reference_tracks_is_named_by_the_movie(tmp_path) -> None:
    folder = tmp_path / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "man_track000.tif", cells()[0])
    (folder / "man_track.txt").write_text("1 0 0 0\n")
    for place in (folder, folder.parent):
        (labels,) = opened(place)
        assert labels.name == "01_GT"
        assert labels.data.shape == (1, 20, 30)


def test_coco_masks_say_whose_they_are(tmp_path) -> None:
    path = tmp_path / "a_coco.json"
    list(export_results(LabelMasks(cells()), path, "coco"))
    (labels,) = opened(path, readers.coco_reader)
    np.testing.assert_array_equal(np.asarray(labels.data), cells())
    assert labels.name == "a_coco"
    assert "Object 7" in labels.get_status((0, 13, 22), world=True)["coordinates"]
    list(export_results(LabelMasks(cells()[0]), tmp_path / "b_coco.json", "coco"))
    (single,) = opened(tmp_path / "b_coco.json", readers.coco_reader)
    np.testing.assert_array_equal(single.data, cells()[0])


def test_annotations_without_masks_are_told_of(tmp_path) -> None:
    path = tmp_path / "a_coco.json"
    list(export_results(LabelMasks(cells()), path, "coco"))
    tree = json.loads(path.read_text())
    tree["annotations"][0]["segmentation"] = []
    path.write_text(json.dumps(tree))
    with pytest.warns(UserWarning, match="1 annotations have no segmentation and are left out"):
        opened(path, readers.coco_reader)


def test_graphs_lie_where_their_axes_say(tmp_path) -> None:
    path, minutes = tmp_path / "a.geff", Calibration((0.5, 0.25), "µm", 2.0, "min")
    list(export_results(LabelMasks(cells()), path, "geff", minutes))
    (tracks,) = opened(path)
    assert tracks.name == "a"
    np.testing.assert_allclose(tracks.scale, (2.0, 0.5, 0.25))
    assert [str(unit) for unit in tracks.units] == ["minute", "micrometer", "micrometer"]
    assert tracks.axis_labels == ("t", "y", "x")
    assert tracks.graph == {}
    np.testing.assert_array_equal(np.unique(tracks.data[:, 0]), [1, 2, 3, 7])
    # a graph of another program may say where its label images are, and who came of whom
    group = zarr.open_group(str(path))
    said = dict(group.attrs["geff"])
    said["related_objects"] = [{"type": "labels", "path": "../seg.zarr", "label_prop": "track_id"}]
    group.attrs["geff"] = said
    links = group["edges/ids"][:]
    ids, frames = group["nodes/props/track_id/values"][:], group["nodes/props/t/values"][:]
    mother = int(np.flatnonzero((ids == 1) & (frames == 1))[0])
    daughters = [int(np.flatnonzero((ids == i) & (frames == 2))[0]) for i in (2, 3)]
    more = np.array([[mother, daughter] for daughter in daughters], links.dtype)
    del group["edges/ids"]
    group["edges/ids"] = np.concatenate([links, more])
    zarr.create_array(str(tmp_path / "seg.zarr"), data=cells())
    labels, tracks = opened(path)
    assert tracks.graph == {2: [1], 3: [1]}
    assert labels.name == "seg"
    np.testing.assert_array_equal(np.asarray(labels.data), cells())
    np.testing.assert_allclose(labels.scale, tracks.scale)


def test_slices_of_a_stack(tmp_path) -> None:
    path, microns = tmp_path / "a.geff", Calibration((0.5, 0.5), "µm", 3.0, "µm")
    list(export_results(LabelMasks(cells()), path, "geff", microns))
    (tracks,) = opened(path)
    assert tracks.axis_labels == ("z", "y", "x")
    np.testing.assert_allclose(tracks.scale, (3, 0.5, 0.5))


def test_what_is_of_others_is_left_to_them(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"images": 3')
    assert readers.coco_reader(tmp_path / "a.json") is not None
    (tmp_path / "b.json").write_text('{"name": "package", "images": []}')
    assert readers.coco_reader(tmp_path / "b.json") is None
    assert readers.coco_reader([str(tmp_path / "a.json")]) is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "res_track.md").write_text("")
    assert readers.folder_reader(tmp_path / "other") is None
