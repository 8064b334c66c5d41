"""What a person drops into the window opens, and can be annotated and gone on with."""

from __future__ import annotations

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest

from fakes import FakePredictor, moving_discs
from napari_sam2.session import files
from napari_sam2.session.exchange import export_results
from napari_sam2.session.measurements import tracks
from napari_sam2.session.result_masks import SessionMasks
from napari_sam2.session.session import Session
from napari_sam2.widgets.main_widget import annotate
from sam2_backbone.errors import FrameReadError

av = pytest.importorskip("av")
STACK = moving_discs()


@pytest.fixture(autouse=True)
def registered() -> None:
    manager = PluginManager.instance()
    if "napari-sam2" not in manager:
        manager.register(PluginManifest.from_distribution("napari-sam2"))


def write_video(path, stack=STACK):
    with av.open(str(path), "w") as container:
        codec = "libvpx" if path.suffix == ".webm" else "mpeg4"
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = stack.shape[2], stack.shape[1], "yuv420p"
        for pixels in stack:
            frame = av.VideoFrame.from_ndarray(np.stack([pixels] * 3, -1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def assert_shows(layer, frame_idx: int) -> None:
    shown = np.asarray(layer.data[frame_idx])[..., 0].astype(int)
    assert np.abs(shown - STACK[frame_idx]).mean() < 8


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_a_video_is_opened_annotated_and_opened_again(
    viewer, fake_model, messages, tmp_path, suffix
) -> None:
    path = write_video(tmp_path / f"cells{suffix}")
    # napari lays claim to videos too, and so asks a person who is to read them
    (layer,) = viewer.open(str(path), plugin="napari-sam2")
    assert layer.rgb
    assert layer.data.shape == (8, 48, 64, 3)
    assert_shows(layer, 5)
    viewer.dims.set_current_step(0, 3)
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    annotator.wait(timeout=20)
    assert annotator.session.num_frames == 8
    assert annotator.labels_layer.data[7].any()
    annotator.save(tmp_path / "cells.json")
    annotator.wait(timeout=20)
    assert not (tmp_path / "cells.zarr").exists()  # the video itself is named
    assert files.read(tmp_path / "cells.json").open_image()[1] == path
    assert messages == []


def test_masklets_open_with_their_video_and_are_followed(
    viewer, fake_model, messages, tmp_path
) -> None:
    video = write_video(tmp_path / "sav_1.mp4")
    session = Session(video, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    list(session.propagate())
    path = tmp_path / "sav_1_manual.json"
    list(export_results(SessionMasks(session), path, "sav"))
    image, labels = viewer.open(str(path), plugin=None)  # as a drop into the window does
    assert_shows(image, 5)
    np.testing.assert_array_equal(labels.data[6], session.labels(6))
    annotator = annotate(viewer, image)
    annotator.track_labels(labels, all_frames=True)
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(annotator.session.labels(6), session.labels(6))
    assert annotator.session.path == video
    assert messages == []


def test_exported_folders_open_again(viewer, messages, tmp_path) -> None:
    session = Session(STACK, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    list(session.propagate())
    root = tmp_path / "cells_sav"
    list(export_results(SessionMasks(session), root, "sav-folders"))
    image, labels = viewer.open(str(root), plugin="napari-sam2")
    assert not image.rgb  # grey frames come back grey
    assert image.data.shape == (8, 48, 64)
    assert np.abs(np.asarray(image.data[5]).astype(int) - STACK[5]).mean() < 8
    np.testing.assert_array_equal(labels.data[6], session.labels(6))


def test_a_video_that_is_none_says_so(viewer, tmp_path) -> None:
    (tmp_path / "bad.webm").write_bytes(b"none")
    with pytest.raises(FrameReadError, match="cannot be read as a video"):
        viewer.open(str(tmp_path / "bad.webm"), plugin="napari-sam2")


@pytest.mark.parametrize(("name", "file"), [("ctc", "01_RES"), ("coco", "cells_coco.json")])
def test_labels_of_other_programs_become_objects(
    viewer, fake_model, messages, tmp_path, name, file
) -> None:
    session = Session(STACK, predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    session.add_point(session.new_object(obj_id=6), 0, (30, 20))
    list(session.propagate())
    list(export_results(SessionMasks(session), tmp_path / file, name))
    image = viewer.add_image(STACK)
    is_folder = (tmp_path / file).is_dir()  # of folders napari asks who is to read them
    (labels,) = viewer.open(str(tmp_path / file), plugin="napari-sam2" if is_folder else None)
    np.testing.assert_array_equal(np.asarray(labels.data[6]), session.labels(6))
    annotator = annotate(viewer, image)
    annotator.track_labels(labels, all_frames=True)
    annotator.wait(timeout=20)
    assert [row.obj_id for row in annotator.session.objects] == [1, 6]
    np.testing.assert_array_equal(annotator.session.labels(6), session.labels(6))
    assert messages == []


def test_tracks_of_a_graph_open(viewer, messages, tmp_path) -> None:
    session = Session(STACK, predictor_factory=FakePredictor)
    session.add_point(session.new_object(obj_id=6), 0, (12, 12))
    list(session.propagate())
    list(export_results(SessionMasks(session), tmp_path / "a.geff", "geff"))
    (layer,) = viewer.open(str(tmp_path / "a.geff"), plugin="napari-sam2")
    np.testing.assert_allclose(layer.data, tracks(session))
    assert messages == []
