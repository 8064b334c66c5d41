"""Masks and tracks of other programs: what was exported is read back, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from fakes import FakePredictor, moving_discs
from napari_sam2.session.exchange import export_results
from napari_sam2.session.import_coco import is_coco, read_coco
from napari_sam2.session.import_ctc import CtcTrack, centres, ctc_folder, read_ctc
from napari_sam2.session.import_geff import is_graph, read_graph
from napari_sam2.session.measurements import Calibration, tracks
from napari_sam2.session.result_masks import LabelMasks, SessionMasks
from napari_sam2.session.session import Session
from sam2_backbone.data_engine.rle import Rle
from sam2_backbone.errors import AnnotationError


def labels_of(rng: np.random.Generator, shape: tuple[int, ...] = (5, 24, 30)) -> np.ndarray:
    """Labels in blocks, some of them missing on some frames."""
    coarse = rng.integers(0, 9, (*shape[:-2], shape[-2] // 6, shape[-1] // 6))
    ids = np.array([0, 0, 1, 2, 5, 9, 300, 0, 0], np.uint16)
    return ids[coarse].repeat(6, axis=-2).repeat(6, axis=-1)


def export(labels: np.ndarray, path: Path, name: str) -> Path:
    list(export_results(LabelMasks(labels), path, name))
    return path


# Cell Tracking Challenge ------------------------------------------------------------------------


def test_ctc_and_back(rng, tmp_path) -> None:
    labels = labels_of(rng)
    folder = export(labels, tmp_path / "01_RES", "ctc")
    found = read_ctc(folder)
    assert (found.num_frames, found.frame_shape, found.parents) == (5, (24, 30), {})
    again = np.stack([found.labels(t) for t in range(5)])
    np.testing.assert_array_equal(again, labels)
    other = export(again, tmp_path / "02_RES", "ctc")
    for file in folder.iterdir():
        assert (other / file.name).read_bytes() == file.read_bytes()


def write_ctc(folder: Path, kind: str, table: str, frames: dict[int, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    name = {"res": "mask", "man": "man_track"}[kind]
    for number, frame in frames.items():
        tifffile.imwrite(folder / f"{name}{number:03d}.tif", frame, photometric="minisblack")
    (folder / f"{kind}_track.txt").write_text(table)
    return folder


def test_reference_tracks_have_parents_and_gaps(tmp_path) -> None:
    frames = {t: np.full((4, 5), t + 1, np.uint8) for t in (0, 1, 3)}
    write_ctc(tmp_path / "01_GT" / "TRA", "man", "1 0 0 0\n2 1 1 1\n\n4 3 3 1\n", frames)
    found = read_ctc(tmp_path / "01_GT")
    assert found.tracks[2] == CtcTrack(4, 3, 3, 1)
    assert found.parents == {2: 1, 4: 1}
    assert found.num_frames == 4
    assert not found.labels(2).any()
    assert (found.labels(3) == 4).all()


def test_stacks_over_time(rng, tmp_path) -> None:
    stack = labels_of(rng, (3, 24, 30))
    found = read_ctc(write_ctc(tmp_path / "a", "res", "1 0 1 0\n", {0: stack, 1: stack}))
    assert found.frame_shape == (3, 24, 30)
    np.testing.assert_array_equal(found.labels(1), stack)


def test_other_folders_are_none_of_the_challenge(tmp_path) -> None:
    assert ctc_folder(tmp_path) is None
    tifffile.imwrite(tmp_path / "mask000.tif", np.zeros((4, 5), np.uint8))
    assert ctc_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("table", "frame", "says"),
    [
        ("1 0 0\n", np.zeros((4, 5), np.uint8), "Line 1 of .* should be four whole numbers"),
        ("1 0 0 0\na b c d\n", np.zeros((4, 5), np.uint8), "Line 2 of .* 'a b c d'"),
        ("1 0 0 0\n", np.zeros((4, 5)), "is no label image: it has the shape .* float64 values"),
        ("1 0 0 0\n", None, "no label images such as mask000.tif"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, table, frame, says) -> None:
    write_ctc(tmp_path / "a", "res", table, {} if frame is None else {0: frame})
    with pytest.raises(AnnotationError, match=says):
        read_ctc(tmp_path / "a")


def test_label_images_of_another_size(tmp_path) -> None:
    frames = {0: np.zeros((4, 5), np.uint8), 1: np.zeros((5, 4), np.uint8)}
    found = read_ctc(write_ctc(tmp_path / "a", "res", "", frames))
    with pytest.raises(AnnotationError, match=r"shape \(5, 4\), the first label image \(4, 5\)"):
        found.labels(1)
    (tmp_path / "a" / "mask001.tif").write_text("none")
    with pytest.raises(AnnotationError, match="cannot be read as a label image"):
        found.labels(1)


def test_centres() -> None:
    labels = np.zeros((6, 7), np.uint16)
    labels[1:4, 2:5], labels[5, 6] = 300, 2
    assert centres(labels) == {2: (5, 6), 300: (2, 3)}
    assert centres(np.zeros((2, 2, 2), int)) == {}


# COCO -------------------------------------------------------------------------------------------


def test_coco_and_back(rng, tmp_path) -> None:
    labels = labels_of(rng)
    found = read_coco(export(labels, tmp_path / "a.json", "coco"))
    assert (len(found.frames), found.height, found.width) == (5, 24, 30)
    assert found.is_tracked
    assert found.names == {i: f"Object {i}" for i in np.unique(labels[labels > 0]).tolist()}
    again = np.stack([found.labels(t) for t in range(5)])
    np.testing.assert_array_equal(again, labels)
    other = export(again, tmp_path / "again" / "a.json", "coco")
    assert other.read_bytes() == (tmp_path / "a.json").read_bytes()


def write_coco(path: Path, annotations: list[dict], images: list[dict] | None = None, **more):
    images = images or [{"id": 7, "file_name": "a.png", "height": 12, "width": 16}]
    tree = {"images": images, "annotations": annotations, "categories": [], **more}
    path.write_text(json.dumps(tree))
    return path


def run_lengths(top: int, left: int, side: int) -> dict:
    mask = np.zeros((12, 16), bool)
    mask[top : top + side, left : left + side] = True
    return Rle.of(mask).to_json()


def test_a_plain_file_of_one_image(tmp_path) -> None:
    """Polygons, run lengths of crowds, masks that overlap; ids as large as COCO's."""
    body = {"id": 900_100_000, "image_id": 7, "category_id": 3, "iscrowd": 0,
            "segmentation": [[2, 1, 12, 1, 12, 9, 2, 9],
                             [14, 10, 16, 10, 16, 12, 14, 12]]}  # fmt: skip
    hand = {
        "id": 900_100_001,
        "image_id": 7,
        "category_id": 1,
        "segmentation": run_lengths(2, 3, 2),
    }
    crowd = {"id": 900_100_002, "image_id": 7, "category_id": 1, "iscrowd": 1,
             "segmentation": {"size": [12, 16], "counts": [12 * 16 - 1, 1]}}  # fmt: skip
    categories = [{"id": 1, "name": "hand"}, {"id": 3, "name": "body"}]
    # the order of the file does not matter: the smaller one lies on top
    path = write_coco(tmp_path / "a.json", [hand, body, crowd], categories=categories)
    found = read_coco(path)
    assert not found.is_tracked
    assert found.names == {1: "hand", 2: "body", 3: "hand"}
    expected = np.zeros((12, 16), int)
    expected[1:9, 2:12] = 2
    expected[10:12, 14:16] = 2
    expected[2:4, 3:5] = 1
    expected[11, 15] = 3
    np.testing.assert_array_equal(found.labels(0), expected)


def test_tracks_from_zero_are_one_more(tmp_path) -> None:
    images = [{"id": i, "frame_id": 2 - i, "height": 12, "width": 16} for i in range(3)]
    rows = [{"id": i, "image_id": i, "track_id": i // 2, "segmentation": run_lengths(i, 0, 3)}
            for i in range(3)]  # fmt: skip
    found = read_coco(write_coco(tmp_path / "a.json", rows, images))
    # frames are in the order that the file gives them
    assert [found.labels(t).max() for t in range(3)] == [2, 1, 1]
    assert found.labels(0)[2, 0] == 2
    assert found.labels(2)[0, 0] == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotations": [{"image_id": 7, "bbox": [1, 1, 2, 2]}]}, "boxes without a segmentation"),
        ({"images": []}, "names no image"),
        ({"images": [{"id": 7}]}, "lacks 'height'"),
        ({"images": [{"id": i, "height": 12 + i, "width": 16} for i in range(2)]}, "2 different"),
        ({"annotations": [{"image_id": 8, "segmentation": run_lengths(1, 1, 2)}]}, "lacks 8"),
        ({"annotations": [{"image_id": 7, "id": 5, "segmentation": [[1, 2, 3]]}]}, "annotation 5"),
        ({"annotations": [{"image_id": 7, "segmentation": {"size": [3, 3], "counts": [9]}}]},
         "a mask of 3 x 3 pixels, its image is 12 x 16"),
        ({"annotations": [{"image_id": 7, "segmentation": {"size": [12, 16], "counts": [9]}}]},
         "do not fill a mask"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path, change, says) -> None:
    path = write_coco(tmp_path / "a.json", [])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert is_coco(path)
    with pytest.raises(AnnotationError, match=says):
        read_coco(path)


@pytest.mark.parametrize("text", ["", "[1]", '{"format": "napari-sam2"}', '{"video_id": "a"}'])
def test_other_files_are_none_of_coco(tmp_path, text) -> None:
    (tmp_path / "a.json").write_text(text)
    assert not is_coco(tmp_path / "a.json")
    assert not is_coco(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    assert not is_coco(tmp_path / "b.json")


def test_a_file_that_is_cut_off(rng, tmp_path) -> None:
    path = export(labels_of(rng), tmp_path / "a.json", "coco")
    path.write_text(path.read_text()[:-40])
    assert is_coco(path)
    with pytest.raises(AnnotationError, match="cannot be read as a COCO file"):
        read_coco(path)


# GEFF -------------------------------------------------------------------------------------------


def test_geff_and_back(tmp_path) -> None:
    session = Session(moving_discs(), predictor_factory=FakePredictor)
    session.add_point(session.new_object(obj_id=4), 0, (12, 12))
    session.add_point(session.new_object(obj_id=9), 2, (30, 22))
    list(session.propagate())
    session.add_mask(9, 4, np.zeros((48, 64), bool))
    microns = Calibration((0.5, 0.25), "µm", 2.0, "min")
    list(export_results(SessionMasks(session), tmp_path / "a.geff", "geff", microns))
    found = read_graph(tmp_path / "a.geff")
    np.testing.assert_allclose(found.rows, tracks(session))
    assert found.parents == {}
    assert found.scale == (2.0, 0.5, 0.25)
    assert found.units == ("minute", "micrometer", "micrometer")
    assert found.names == ("t", "y", "x")


def write_graph(path: Path, nodes: dict[str, list], edges: list, zarr_format: int = 2, **said):
    axes = [{"name": "x", "type": "space", "unit": "micrometer", "scale": 0.5, "offset": 3},
            {"name": "t", "type": "time", "unit": "second"},
            {"name": "y", "type": "space", "unit": "micrometer"}]  # fmt: skip
    tree = {"geff_version": "1.3", "directed": True, "axes": axes, **said}
    group = zarr.create_group(str(path), zarr_format=zarr_format, attributes={"geff": tree})
    group["nodes/ids"] = np.array(nodes.pop("ids"), np.uint64)
    group["edges/ids"] = np.array(edges, np.uint64).reshape(-1, 2)
    for name, values in nodes.items():
        group[f"nodes/props/{name}/values"] = np.array(values)
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("directed", [True, False])
def test_a_graph_of_another_program(tmp_path, zarr_format, directed) -> None:
    """A mother of two frames divides into 20 and 30; 30 goes on, and merges with 50."""
    nodes = {"ids": [10, 11, 20, 30, 31, 50, 60], "t": [0, 1, 2, 2, 3, 3, 4],
             "y": [1.5] * 7, "x": [0, 1, 2, 3, 4, 5, 6]}  # fmt: skip
    edges = [[10, 11], [11, 20], [11, 30], [30, 31], [31, 60], [50, 60]]
    if not directed:
        edges = [edge[::-1] for edge in edges]
    path = write_graph(tmp_path / "a.geff", nodes, edges, zarr_format, directed=directed)
    assert is_graph(path)
    found = read_graph(path)
    assert found.names == ("t", "y", "x")  # as images have them
    assert (found.scale, found.offset) == ((1, 1, 0.5), (0, 0, 3))
    assert found.units == ("second", "micrometer", "micrometer")
    pieces = {}
    for track, t, y, x in found.rows.tolist():
        assert y == 1.5
        pieces.setdefault(int(track), []).append((t, x))
    by_path = {tuple(path): track for track, path in pieces.items()}
    mother, first, second, other, merged = (
        by_path[path]
        for path in (((0, 0), (1, 1)), ((2, 2),), ((2, 3), (3, 4)), ((3, 5),), ((4, 6),))
    )
    assert len(pieces) == 5
    assert found.parents == {
        first: (mother,), second: (mother,), merged: tuple(sorted((second, other))),
    }  # fmt: skip


def test_tracklets_of_a_graph_keep_their_numbers(tmp_path) -> None:
    nodes = {"ids": [0, 1, 2], "t": [0, 1, 1], "y": [0.0] * 3, "x": [0.0] * 3, "cell": [7, 8, 900]}
    said = {"track_node_props": {"tracklet": "cell"}}
    path = write_graph(tmp_path / "a.geff", dict(nodes), [[0, 1], [0, 2]], **said)
    found = read_graph(path)
    assert found.rows[:, 0].tolist() == [7, 8, 900]
    assert found.parents == {8: (7,), 900: (7,)}
    # numbers that some nodes lack tell nothing
    group = zarr.open_group(str(path))
    group["nodes/props/cell/missing"] = np.array([False, True, False])
    assert set(read_graph(path).rows[:, 0]) == {1, 2, 3}


@pytest.mark.parametrize("depth", [[0.0, 0.0], [0.0, 4.0]])
def test_a_depth_that_is_flat_is_no_axis(tmp_path, depth) -> None:
    """As graphs made of TrackMate's files have it; names are theirs, too."""
    names = [f"POSITION_{letter}" for letter in "XYZT"]
    axes = [{"name": name, "type": "space"} for name in names[:3]]
    axes.append({"name": names[3], "type": "time"})
    nodes = dict(zip(["ids", *names], [[0, 1], [1.0, 2.0], [3.0, 4.0], depth, [0, 1]], strict=True))
    found = read_graph(write_graph(tmp_path / "a.geff", nodes, [[0, 1]], axes=axes))
    if depth[1]:
        assert found.names == ("POSITION_T", "POSITION_Z", "POSITION_Y", "POSITION_X")
        assert found.rows.tolist() == [[1, 0, 0, 3, 1], [1, 1, 4, 4, 2]]
    else:
        assert found.names == ("POSITION_T", "POSITION_Y", "POSITION_X")
        assert found.rows.tolist() == [[1, 0, 3, 1], [1, 1, 4, 2]]


def test_label_images_that_a_graph_names(tmp_path) -> None:
    nodes = {"ids": [0], "t": [0], "y": [0.0], "x": [0.0]}
    related = [{"type": "image", "path": "../raw"}, {"type": "labels", "path": "../labels.zarr"}]
    path = write_graph(tmp_path / "a.geff", nodes, [], related_objects=related)
    assert read_graph(path).labels is None
    (tmp_path / "labels.zarr").mkdir()
    assert read_graph(path).labels == tmp_path / "labels.zarr"


@pytest.mark.parametrize(
    ("nodes", "edges", "said", "says"),
    [
        ({"ids": [], "t": [], "y": [], "x": []}, [], {}, "it has no node"),
        ({"ids": [1], "t": [0], "y": [0.0], "x": [0.0]}, [[1, 2]], {}, "edges to nodes"),
        ({"ids": [1], "t": [0], "y": [0.0]}, [], {}, "cannot be read as a GEFF"),
        ({"ids": [1], "t": [0, 1], "y": [0.0], "x": [0.0]}, [], {}, "t has the shape"),
        ({"ids": [1]}, [], {"axes": []}, "says of 0 axes what they are"),
    ],
)
def test_what_is_wrong_with_a_graph_is_said(tmp_path, nodes, edges, said, says) -> None:
    path = write_graph(tmp_path / "a.geff", nodes, edges, **said)
    with pytest.raises(AnnotationError, match=says):
        read_graph(path)


def test_other_zarrs_are_no_graphs(tmp_path) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(3,), dtype=int)
    assert not is_graph(tmp_path / "a.zarr")
    assert not is_graph(tmp_path)
