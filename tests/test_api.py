"""The functions for scripts, with a predictor that draws discs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

import napari_sam2
from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session import files
from napari_sam2.session.errors import ImageMismatchError, ImageReadError, SessionFileError
from napari_sam2.session.images import read_array
from napari_sam2.session.session import Session
from sam2_backbone.data_engine.rle import Rle

MOVIE = moving_discs()
IMAGE = MOVIE[0]


def segment(image: Any, *args: Any, **kwargs: Any) -> np.ndarray:
    return napari_sam2.segment_image(image, *args, predictor_factory=FakePredictor, **kwargs)


def track(stack: Any, prompts: Any, **kwargs: Any) -> Any:
    return napari_sam2.track(stack, prompts, predictor_factory=FakePredictor, **kwargs)


def test_names() -> None:
    for name in napari_sam2.__all__:
        assert name in dir(napari_sam2)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        napari_sam2.nothing  # noqa: B018


# One image --------------------------------------------------------------------------------------


def test_one_object_from_points_in_x_y() -> None:
    labels = segment(IMAGE, [(40, 10)])
    assert labels.dtype == np.uint16
    assert labels.shape == IMAGE.shape
    assert labels[10, 40] == 1
    assert labels.max() == 1


def test_several_objects_with_padding() -> None:
    points = [[(12, 12), (14, 12)], [(44, 24), (0, 0)]]
    labels = segment(IMAGE, points, [[1, 1], [1, -1]])
    assert labels[12, 12] == 1
    assert labels[24, 44] == 2
    assert labels[0, 0] == 0


def test_boxes() -> None:
    labels = segment(IMAGE, boxes=[(5, 10, 25, 20), (40, 30, 60, 45)])
    np.testing.assert_array_equal(labels[10:20, 5:25], 1)
    np.testing.assert_array_equal(labels[30:45, 40:60], 2)
    assert (labels > 0).sum() == 10 * 20 + 15 * 20
    np.testing.assert_array_equal(segment(IMAGE, boxes=(5, 10, 25, 20)), labels == 1)


def test_a_box_refined_by_points() -> None:
    labels = segment(IMAGE, [(30, 30)], [0], boxes=(5, 5, 60, 45))
    assert labels[6, 6] == 1
    assert labels[30, 30] == 0


def test_no_box_is_no_object() -> None:
    assert not segment(IMAGE, boxes=np.zeros((0, 4))).any()
    assert not segment(IMAGE, boxes=[]).any()
    assert not segment(IMAGE, points=[]).any()


@pytest.mark.parametrize(
    "image",
    [
        np.full((20, 30), 7, np.uint8),
        np.full((20, 30), np.nan, np.float32),
        np.where(np.eye(20, 30) > 0, np.inf, 0.5),
        np.arange(600, dtype=">u2").reshape(20, 30),
        np.zeros((1, 1), np.float64),
        np.zeros((20, 30, 3), np.uint8),
        np.zeros((20, 30, 4), np.float32),
        np.zeros((20, 30), bool),
        dask.array.zeros((20, 30), chunks=10),
        zarr.array(np.zeros((20, 30), np.int16)),
        [[0, 1], [2, 3]],
        np.broadcast_to(np.float32(3), (20, 30)),
    ],
)
def test_unusual_images(image: Any) -> None:
    labels = segment(image, [(0, 0)])
    assert labels.shape == np.shape(image)[:2]
    assert labels[0, 0] == 1


BAD_IMAGES: list[tuple[Any, type[Exception], str]] = [
    (np.zeros((0, 5)), ValueError, "empty"),
    (np.zeros(5), ValueError, "2 axes"),
    (np.float32(3), ValueError, "2 axes"),
    (np.zeros((2, 2, 2, 2, 2)), ValueError, "2 axes"),
    (np.zeros((5, 5), complex), TypeError, "complex"),
    (np.array([["a", "b"]]), TypeError, "real numbers"),
    (None, TypeError, "real numbers"),
    ("no such file.tif", ImageReadError, "no image"),
]


@pytest.mark.parametrize(("image", "kind", "said"), BAD_IMAGES)
def test_bad_images(image: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        segment(image, [(0, 0)])
    with pytest.raises(kind, match=said):
        Session(image, predictor_factory=FakePredictor)


def test_a_movie_is_no_image() -> None:
    with pytest.raises(ValueError, match="movie of 8 frames"):
        segment(MOVIE, [(0, 0)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "nothing to segment"),
        ({"points": [(64, 0)]}, "outside"),
        ({"points": [(0, -0.6)]}, "outside"),
        ({"points": [(np.nan, 0)]}, "outside"),
        ({"points": [(1, 2, 3)]}, "shape"),
        ({"points": [(1, 2)], "point_labels": [1, 0]}, "shape"),
        ({"points": [(1, 2)], "point_labels": [2]}, "1 .positive. or 0"),
        ({"points": [(1, 2)], "point_labels": [0.5]}, "whole numbers"),
        ({"point_labels": [1], "boxes": (0, 0, 1, 1)}, "without points"),
        ({"points": [[(1, 2)]], "point_labels": [[-1]]}, "no prompt"),
        ({"boxes": (5, 5, 5, 9)}, "empty or reversed"),
        ({"boxes": (9, 5, 5, 9)}, "empty or reversed"),
        ({"boxes": (0, 0, 65, 9)}, "outside"),
        ({"boxes": (0, 0, np.inf, 9)}, "not finite"),
        ({"boxes": (0, 0, 9)}, "shape"),
        ({"points": np.zeros((2, 1, 2)), "boxes": np.zeros((3, 4))}, "2 objects and 3"),
        ({"points": [(1, 2)], "variant": "sam3"}, "no variant 'sam3'"),
        ({"points": [(1, 2)], "window": 0}, "at least one"),
        ({"points": [(1, 2)], "value_range": (2, 1)}, "low < high"),
    ],
)
def test_bad_prompts(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        napari_sam2.segment_image(
            IMAGE,
            predictor_factory=None if "variant" in arguments else FakePredictor,
            **arguments,
        )


@pytest.mark.parametrize("points", ["here", [("a", "b")], [(1j, 2)]])
def test_points_that_are_no_numbers(points: Any) -> None:
    with pytest.raises(TypeError, match="must be numbers"):
        segment(IMAGE, points)


# A movie ----------------------------------------------------------------------------------------

LABELS = np.zeros(IMAGE.shape, np.int64)
LABELS[8:16, 8:16] = 3
LABELS[20:28, 40:48] = 300


def test_track_labels() -> None:
    tracked = track(MOVIE, {2: LABELS})
    assert tracked.shape == MOVIE.shape
    assert tracked.dtype == np.uint16
    np.testing.assert_array_equal(tracked[2], LABELS)
    assert set(np.unique(tracked[7])) == {0, 3, 300}
    np.testing.assert_array_equal(np.nonzero(tracked[5] == 3)[1].min(), 8 + 3)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, ">u4", np.uint64])
def test_labels_of_any_integer_dtype(dtype: Any) -> None:
    labels = (LABELS > 0).astype(dtype)
    assert track(MOVIE, {0: labels})[0].max() == 1


def test_large_labels_become_uint32() -> None:
    tracked = track(MOVIE, {0: np.where(LABELS == 3, 70_000, 0)})
    assert tracked.dtype == np.uint32
    assert tracked.max() == 70_000


def test_track_records_in_x_y(tmp_path: Path) -> None:
    records = [
        napari_sam2.PromptRecord(0, 4, points=[(40, 10)]),
        napari_sam2.PromptRecord(3, 9, box=(5, 20, 15, 30)),
    ]
    tracked = track(MOVIE, records)
    assert tracked[0, 10, 40] == 4
    np.testing.assert_array_equal(tracked[3, 20:30, 5:15], 9)
    rows = [
        {"frame_idx": 0, "obj_id": 4, "points": [[40, 10]]},
        {"frame_idx": 3, "obj_id": 9, "box": [5, 20, 15, 30]},
    ]
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(rows))
    np.testing.assert_array_equal(track(MOVIE, path), tracked)


def test_track_a_session_file(tmp_path: Path) -> None:
    session = Session(MOVIE, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    session.add_mask(session.new_object(), 1, LABELS == 300)
    session.save(tmp_path / "session.json")
    list(session.propagate())
    tracked = track(MOVIE, tmp_path / "session.json")
    for frame_idx in range(8):
        np.testing.assert_array_equal(tracked[frame_idx], session.labels(frame_idx))


def test_large_files_of_others_are_not_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(MOVIE, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    session.save(tmp_path / "session.json")
    (tmp_path / "video_manual.json").write_text(json.dumps({"masklet": ["0"] * 10_000}))
    read: list[int] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: read.append(len(text)) or loads(text))
    assert not files.is_session(tmp_path / "video_manual.json")
    session.save(tmp_path / "session.json")
    assert max(read, default=0) < 20_000
    assert files.is_session(tmp_path / "session.json")


def test_another_answer_of_a_session_file_is_followed(tmp_path: Path) -> None:
    session = Session(MOVIE, predictor_factory=FakePredictor)
    session.set_prompts(session.new_object(), 0, points=[(12, 12)], candidate=1)
    session.save(tmp_path / "session.json")
    np.testing.assert_array_equal(track(MOVIE, tmp_path / "session.json")[0], session.labels(0))
    row = {"frame_idx": 0, "obj_id": 1, "points": [[12, 12]], "candidate": 1}
    (tmp_path / "prompts.json").write_text(json.dumps([row]))
    np.testing.assert_array_equal(track(MOVIE, tmp_path / "prompts.json")[0], session.labels(0))
    first = Session(MOVIE, predictor_factory=FakePredictor)
    first.add_point(first.new_object(), 0, (12, 12))
    assert not np.array_equal(first.labels(0), session.labels(0))


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_mask_in_json_is_run_lengths(tmp_path: Path, is_compressed: bool) -> None:
    mask = {"size": [48, 64], "counts": [48 * 10 + 5, 3, 48 * 64 - 48 * 10 - 8]}
    if is_compressed:
        mask = Rle.from_json(mask).to_json()
        assert isinstance(mask["counts"], str)
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([{"frame_idx": 0, "obj_id": 1, "mask": mask}]))
    tracked = track(MOVIE, path)
    assert np.argwhere(tracked[0]).tolist() == [[5, 10], [6, 10], [7, 10]]


def test_track_into_zarr(tmp_path: Path) -> None:
    out = tmp_path / "tracked.zarr"
    tracked = track(MOVIE, {2: LABELS}, out=out)
    assert isinstance(tracked, zarr.Array)
    np.testing.assert_array_equal(tracked[:], track(MOVIE, {2: LABELS}))
    with pytest.raises(FileExistsError, match="exists already"):
        track(MOVIE, {2: LABELS}, out=out)
    track(MOVIE, {0: LABELS}, out=out, overwrite=True)
    np.testing.assert_array_equal(zarr.open(str(out))[0], LABELS)
    assert [path.name for path in tmp_path.iterdir()] == ["tracked.zarr"]


def test_a_broken_run_leaves_no_file(tmp_path: Path) -> None:
    class Breaking(FakePredictor):
        def propagate(self, *args: Any, **kwargs: Any) -> Any:
            yield from list(super().propagate(*args, **kwargs))[:2]
            raise OSError("disk on fire")

    with pytest.raises(OSError, match="fire"):
        napari_sam2.track(MOVIE, {2: LABELS}, out=tmp_path / "out.zarr", predictor_factory=Breaking)
    assert list(tmp_path.iterdir()) == []


def test_one_way() -> None:
    tracked = track(MOVIE, {3: LABELS}, direction="forward")
    assert not tracked[:3].any()
    assert tracked[3:].any((1, 2)).all()


@pytest.mark.parametrize(
    "stack",
    [
        dask.array.from_array(MOVIE, chunks=(1, 48, 64)),
        zarr.array(MOVIE),
        MOVIE.astype(">f4"),
        FakeFrames(MOVIE),
        np.repeat(MOVIE[..., None], 3, axis=-1),
        MOVIE.tolist(),
    ],
)
def test_stacks_of_every_kind(stack: Any) -> None:
    np.testing.assert_array_equal(track(stack, {0: LABELS}), track(MOVIE, {0: LABELS}))


def test_a_narrow_movie_is_no_colour_image() -> None:
    assert track(np.zeros((5, 6, 3)), {0: np.ones((6, 3), int)}).shape == (5, 6, 3)


def test_track_a_file(tmp_path: Path) -> None:
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, MOVIE)
    np.testing.assert_array_equal(track(path, {0: LABELS}), track(MOVIE, {0: LABELS}))


def test_a_compressed_tiff_is_read_a_frame_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, MOVIE, compression="zlib")
    assert isinstance(read_array(path), zarr.Array)
    np.testing.assert_array_equal(track(path, {0: LABELS}), track(MOVIE, {0: LABELS}))


def test_files_of_every_kind(tmp_path: Path) -> None:
    colour = np.repeat(IMAGE[..., None], 3, axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.ome.tif", MOVIE, metadata={"axes": "TYX"}, ome=True)
    np.save(tmp_path / "c.npy", IMAGE)
    Image.fromarray(IMAGE).save(tmp_path / "d.png")
    Image.fromarray(colour).save(tmp_path / "e.jpg")
    zarr.create_group(tmp_path / "f.zarr").create_array("0", data=MOVIE)
    shapes = {}
    for path in sorted(tmp_path.iterdir()):
        source = Session(path, predictor_factory=FakePredictor).source
        shapes[path.name] = (source.num_frames, source.is_rgb, source.read(0).shape[:2])
    assert shapes == {
        "a.tif": (1, True, IMAGE.shape),
        "b.ome.tif": (8, False, IMAGE.shape),
        "c.npy": (1, False, IMAGE.shape),
        "d.png": (1, False, IMAGE.shape),
        "e.jpg": (1, True, IMAGE.shape),
        "f.zarr": (8, False, IMAGE.shape),
    }


@pytest.mark.parametrize(
    ("stack", "prompts", "kind", "said"),
    [
        (np.zeros((0, 5, 5)), {0: LABELS}, ValueError, "empty"),
        (IMAGE, {0: LABELS}, ValueError, "three axes"),
        (np.zeros((2, 3, 4, 5)), {0: LABELS}, ValueError, "colour movie"),
        (MOVIE, {}, ValueError, "no object"),
        (MOVIE, {0: LABELS * 0}, ValueError, "no object"),
        (MOVIE, [], ValueError, "no object"),
        (MOVIE, {8: LABELS}, ValueError, "no frame 8"),
        (MOVIE, {-1: LABELS}, ValueError, "no frame -1"),
        (MOVIE, {"a": LABELS}, TypeError, "whole number"),
        (MOVIE, {0: LABELS[:, :-1]}, ValueError, "shape"),
        (MOVIE, {0: LABELS.astype(float)}, TypeError, "whole numbers"),
        (MOVIE, {0: -LABELS}, ValueError, "negative"),
        (MOVIE, {0: LABELS << 40}, ValueError, "4294967295"),
        (MOVIE, [1], TypeError, "PromptRecord"),
        (
            MOVIE,
            [napari_sam2.PromptRecord(0, 0, points=[(1, 1)])],
            ValueError,
            "from 1 to 4294967295",
        ),
        (MOVIE, [napari_sam2.PromptRecord(0, 1)], ValueError, "no prompt"),
        (MOVIE, [napari_sam2.PromptRecord(0, 1, points=[(99, 1)])], ValueError, "outside"),
        (MOVIE, [napari_sam2.PromptRecord(0, 1, mask=LABELS[1:])], ValueError, "shape"),
        (
            MOVIE,
            [napari_sam2.PromptRecord(0, 1, box=(0, 0, 1, 1), mask=LABELS)],
            ValueError,
            "not both",
        ),
        (MOVIE, "nothing.json", SessionFileError, "no file"),
    ],
)
def test_bad_tracking(stack: Any, prompts: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        track(stack, prompts)


def test_the_network_is_not_asked_before_all_prompts_are_checked() -> None:
    made: list[FakePredictor] = []
    records = [napari_sam2.PromptRecord(0, obj_id, points=[(9, 9)]) for obj_id in (1, 2**32)]
    with pytest.raises(ValueError, match="from 1 to 4294967295"):
        napari_sam2.track(MOVIE, records, predictor_factory=lambda _: made.append(FakePredictor()))
    assert made == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "not valid JSON"),
        ("{}", "must hold a list"),
        ("[1]", "not an object"),
        ('[{"frame_idx": 0}]', "no obj_id"),
        ('[{"frame_idx": 0, "obj_id": 1, "point": [[1, 2]]}]', "unknown name 'point'"),
        ('[{"frame_idx": 0, "obj_id": 1, "mask": [1, 2]}]', "a mask must be"),
        ('[{"frame_idx": 0, "obj_id": 1, "points": [[1, 2]], "candidate": -1}]', "from 0"),
        ('[{"frame_idx": 0, "obj_id": 1, "mask": {"size": [2, 2], "counts": [3]}}]', "fill"),
        ('[{"frame_idx": 0, "obj_id": 1, "mask": {"size": [2, 2], "counts": "3"}}]', "fill"),
        ("[]", "no object"),
    ],
)
def test_bad_prompt_files(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(text)
    with pytest.raises((SessionFileError, ValueError), match=said):
        track(MOVIE, path)


# A session again --------------------------------------------------------------------------------


def spoil_middle(path: Path) -> None:
    """Change bytes in the middle of a file."""
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 200] = b"\xff" * len(whole[middle : middle + 200])
    path.write_bytes(whole)


def saved(tmp_path: Path, image: Any = MOVIE) -> tuple[Session, Path]:
    session = Session(image, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    session.add_point(1, 0, (14, 20), positive=False)
    steps = session.propagate()
    for _ in zip(range(3), steps, strict=False):
        pass
    steps.close()
    session.add_box(session.new_object("second"), session.num_frames - 1, (20, 30, 40, 50))
    session.undo()
    session.redo()
    session.lock(1, min(1, session.num_frames - 1))
    path = tmp_path / "session.json"
    session.save(path)
    return session, path


def test_an_image_in_memory_is_stored_beside(tmp_path: Path) -> None:
    session, path = saved(tmp_path)
    assert (tmp_path / "session.zarr").is_dir()
    again = napari_sam2.replay(path, predictor_factory=FakePredictor)
    for frame_idx in range(8):
        np.testing.assert_array_equal(again[frame_idx], session.labels(frame_idx))


def test_data_beside_a_session_are_never_replaced(tmp_path: Path) -> None:
    ours = zarr.create_array(str(tmp_path / "session.zarr"), shape=(2, 3, 4, 5), dtype="u1")
    ours[:] = 7
    session, path = saved(tmp_path)
    assert (zarr.open(str(tmp_path / "session.zarr"))[:] == 7).all()
    assert Session.load(path, predictor_factory=FakePredictor).document == session.document
    session.save(path)
    other = Session(255 - MOVIE, predictor_factory=FakePredictor)
    other.save(path)
    assert sorted(place.name for place in tmp_path.glob("*.zarr")) == [
        "session-1.zarr", "session-2.zarr", "session.zarr",
    ]  # fmt: skip
    assert Session.load(path, predictor_factory=FakePredictor).document == other.document


def test_an_image_with_a_source_is_stored_as_its_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tifffile.imwrite(tmp_path / "data" / "movie.tif", MOVIE)
    session, path = saved(tmp_path, tmp_path / "data" / "movie.tif")
    assert not (tmp_path / "session.zarr").exists()
    loaded = Session.load(path, predictor_factory=FakePredictor)
    assert loaded.document == session.document
    assert loaded.path == tmp_path / "data" / "movie.tif"
    (tmp_path / "data" / "movie.tif").rename(tmp_path / "moved.tif")
    with pytest.raises(ImageReadError, match="no longer at"):
        Session.load(path, predictor_factory=FakePredictor)
    loaded = Session.load(path, tmp_path / "moved.tif", predictor_factory=FakePredictor)
    assert loaded.document == session.document


def test_another_image_is_refused(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    with pytest.raises(ImageMismatchError, match="8 frames of 48 x 64"):
        Session.load(path, MOVIE[:4], predictor_factory=FakePredictor)
    with pytest.raises(ImageMismatchError, match="other pixels"):
        Session.load(path, 255 - MOVIE, predictor_factory=FakePredictor)


@pytest.mark.parametrize("image", [IMAGE, np.repeat(IMAGE[..., None], 3, -1), MOVIE.astype(">i2")])
def test_images_of_every_kind_come_back(image: np.ndarray, tmp_path: Path) -> None:
    session, path = saved(tmp_path, image)
    loaded = Session.load(path, predictor_factory=FakePredictor)
    assert loaded.num_frames == session.num_frames
    assert loaded.source.is_rgb == session.source.is_rgb
    np.testing.assert_array_equal(loaded.source.read(0), session.source.read(0))


def test_saving_again_replaces_the_arrays(tmp_path: Path) -> None:
    session, path = saved(tmp_path)
    session.add_point(1, 0, (13, 13))
    session.save(path)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    assert Session.load(path, predictor_factory=FakePredictor).document == session.document


def test_a_session_cannot_be_saved_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, path = saved(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    session.add_point(1, 0, (13, 13))
    for target in ("numpy.savez_compressed", "pathlib.Path.write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(target, full)
            with pytest.raises(SessionFileError, match="No space left"):
                session.save(path)
        after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
        assert after == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_text("{"), "not valid JSON"),
        (lambda path: path.write_text("[]"), "not a session"),
        (lambda path: path.write_text('{"format": "other"}'), "not a session"),
        (lambda path: path.write_text(path.read_text().replace('"version": 2', '"version": 9')),
         "later napari-sam2"),
        (lambda path: spoil_middle(next(path.parent.glob("*.npz"))), "damaged"),
        (lambda path: path.write_text(path.read_text().replace('"objects"', '"things"')),
         "damaged"),
        (lambda path: path.unlink(), "no file"),
        (lambda path: next(path.parent.glob("*.npz")).unlink(), "misses its masks"),
        (lambda path: next(path.parent.glob("*.npz")).write_bytes(b"PK\3\4 no zip"), "damaged"),
    ],
)  # fmt: skip
def test_damaged_sessions(spoil: Any, said: str, tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    spoil(path)
    with pytest.raises(SessionFileError, match=said):
        Session.load(path, predictor_factory=FakePredictor)


def test_replay_into_a_file(tmp_path: Path) -> None:
    session, path = saved(tmp_path)
    out = napari_sam2.replay(path, out=tmp_path / "a.tif", predictor_factory=FakePredictor)
    np.testing.assert_array_equal(tifffile.imread(out)[2], session.labels(2))


# A session refuses ------------------------------------------------------------------------------

BAD_CALLS: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("add_point", (1, 0, (48, 0)), ValueError, "outside"),
    ("add_point", (1, 0, (0, 63.5)), ValueError, "outside"),
    ("add_point", (1, 0, (0, 1, 2)), ValueError, "shape"),
    ("add_point", (1, 0, "ab"), TypeError, "numbers"),
    ("add_point", (2, 0, (0, 0)), ValueError, "no object 2"),
    ("add_point", ("a", 0, (0, 0)), TypeError, "obj_id"),
    ("add_point", (1, 8, (0, 0)), ValueError, "no frame 8"),
    ("add_point", (1, -1, (0, 0)), ValueError, "no frame -1"),
    ("add_point", (1, 0.5, (0, 0)), TypeError, "frame_idx"),
    ("add_box", (1, 0, (5, 5, 5, 9)), ValueError, "empty"),
    ("add_box", (1, 0, (9, 9, 5, 5)), ValueError, "reversed"),
    ("add_box", (1, 0, (0, 0, 49, 5)), ValueError, "outside"),
    ("add_mask", (1, 0, np.zeros((48, 63))), ValueError, "shape"),
    ("add_mask", (1, 0, np.zeros((48, 64), complex)), TypeError, "bool or numbers"),
    ("mask", (2, 0), ValueError, "no object"),
    ("mask", (1, 9), ValueError, "no frame"),
    ("labels", (9,), ValueError, "no frame"),
    ("scores", (2, 0), ValueError, "no object"),
    ("prompts", (1, 9), ValueError, "no frame"),
    ("remove_object", (2,), ValueError, "no object"),
    ("rename_object", (2, "a"), ValueError, "no object"),
    ("propagate", ("sideways",), ValueError, "direction"),
    ("propagate", ("both", [2]), ValueError, "no object"),
    ("propagate", ("both", [3]), ValueError, "no prompt"),
    ("propagate", ("both", None, [8]), ValueError, "no frame"),
    ("lock", (1, 5), ValueError, "no mask"),
    ("set_variant", ("",), ValueError, "no variant"),
    ("set_value_range", ((1, 1),), ValueError, "low < high"),
    ("set_value_range", (3,), TypeError, "low, high"),
]


@pytest.mark.parametrize(("name", "arguments", "kind", "said"), BAD_CALLS)
def test_a_refusal_leaves_the_session_as_it_was(
    name: str, arguments: tuple[Any, ...], kind: type[Exception], said: str
) -> None:
    session = Session(MOVIE, predictor_factory=FakePredictor)
    session.new_object()
    session.add_point(1, 0, (12, 12))
    session.new_object(obj_id=3)
    session.uses_models = True  # so that variants are checked
    document, log, before = session.document, session.log, session.settings
    events: list[Any] = []
    for signal in ("objects_changed", "prompts_changed", "masks_changed", "all_changed"):
        getattr(session.events, signal).connect(lambda *args: events.append(args))
    with pytest.raises(kind, match=said):
        getattr(session, name)(*arguments)
    assert session.document is document
    assert session.log == log
    assert session.settings == before
    assert events == []


def test_nothing_to_follow() -> None:
    session = Session(MOVIE, predictor_factory=FakePredictor)
    with pytest.raises(ValueError, match="nothing to follow"):
        session.propagate()
    session.add_point(session.new_object(), 0, (12, 12))
    with pytest.raises(ValueError, match="No object is chosen"):
        session.propagate(obj_ids=[])


def test_a_read_only_image_stays_as_it_is() -> None:
    image = MOVIE.copy()
    image.setflags(write=False)
    track(image, {0: LABELS})
    np.testing.assert_array_equal(image, MOVIE)


def test_what_is_given_may_be_changed_afterwards() -> None:
    session = Session(MOVIE, predictor_factory=FakePredictor)
    mask = LABELS == 3
    session.add_mask(session.new_object(), 0, mask)
    mask[:] = False
    assert session.mask(1, 0).sum() == 64  # type: ignore[union-attr]
