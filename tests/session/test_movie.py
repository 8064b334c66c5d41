"""Movies to look at: frames with what is known of their objects drawn over them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fakes import FakePredictor, moving_discs
from napari_sam2.session.errors import ExportError
from napari_sam2.session.exchange import export_results
from napari_sam2.session.export_movie import frames_per_second
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.objects import colour_bytes
from napari_sam2.session.overlay import MovieStyle, Overlay
from napari_sam2.session.result_masks import LabelMasks, MaskPart, SessionMasks
from napari_sam2.session.session import Session
from sam2_backbone.inference.video_file import VideoFile

LINES = MovieStyle(numbers=False)


def square(top: int, left: int, side: int) -> MaskPart:
    """A square with empty margins, as masks of sessions have them."""
    return MaskPart(top, left, np.pad(np.ones((side, side), bool), ((0, 3), (0, 2))))


def test_outlines_lie_inside_and_the_frame_s_edge_is_none() -> None:
    drawn = Overlay(700, 800, LINES).draw(
        np.full((700, 800), 90, np.uint8), {1: square(100, 200, 50), 2: square(0, 750, 50)}
    )
    assert drawn.shape == (700, 800, 3)
    first, second = colour_bytes(1), colour_bytes(2)
    expected = np.full((700, 800, 3), 90)
    expected[100:150, 200:250] = first
    expected[102:148, 202:248] = 90
    expected[0:50, 750:800] = second
    expected[0:48, 752:800] = 90  # two sides of it are the frame's
    np.testing.assert_array_equal(drawn, expected)


def test_a_fill_leaves_the_image_to_be_seen() -> None:
    picture = np.full((640, 640), 100, np.uint8)
    picture[:, 320:] = 200
    style = MovieStyle(fill=0.25, numbers=False)
    drawn = Overlay(640, 640, style).draw(picture, {3: square(300, 300, 40)})
    colour = np.asarray(colour_bytes(3))
    np.testing.assert_array_equal(drawn[320, 310], np.round(0.75 * 100 + 0.25 * colour))
    np.testing.assert_array_equal(drawn[320, 330], np.round(0.75 * 200 + 0.25 * colour))
    np.testing.assert_array_equal(drawn[320, 300], colour)
    assert (drawn[0, 0] == 100).all()


def test_small_frames_are_drawn_larger() -> None:
    picture = np.arange(32 * 20, dtype=np.uint8).reshape(32, 20)
    overlay = Overlay(32, 20, LINES)
    assert (overlay.height, overlay.width) == (640, 400)
    drawn = overlay.draw(picture, {1: square(8, 8, 4)})
    assert drawn[::20, ::20][0, 5].tolist() == [5, 5, 5]
    is_line = (drawn == colour_bytes(1)).all(axis=-1)
    rows, columns = np.nonzero(is_line)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (160, 239, 160, 239)
    assert not is_line[200, 200]


def test_huge_frames_are_drawn_smaller() -> None:
    overlay = Overlay(2000, 9001, MovieStyle(fill=1, numbers=False))
    assert (overlay.height, overlay.width) == (667, 3001)
    # of rows and columns the multiples of three
    drawn = overlay.draw(np.zeros((2000, 9001), np.uint8), {1: square(100, 9, 33)})
    inside = (drawn == colour_bytes(1)).all(axis=-1)
    rows, columns = np.nonzero(inside)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (34, 44, 3, 13)
    assert inside.sum() == 11 * 11
    # what falls between them is no mistake
    assert not overlay.draw(None, {1: square(1, 1, 1)}).any()


@pytest.mark.parametrize("place", [(0, 0), (0, 630), (630, 0), (630, 630), (300, 300)])
def test_a_number_stands_in_the_frame(place: tuple[int, int]) -> None:
    def written(top: int, left: int) -> np.ndarray:
        masks = {12345: square(top, left, 10)}
        plain = Overlay(640, 640, LINES).draw(None, masks)
        return (Overlay(640, 640, MovieStyle()).draw(None, masks) > plain).any(axis=-1)

    number = written(*place)
    whole = written(320, 320)
    assert whole.sum() > 50
    assert number.sum() >= 0.8 * whole.sum()  # a little may lie on the outline
    rows, columns = np.nonzero(number)
    assert np.hypot(rows.mean() - place[0], columns.mean() - place[1]) < 40


def test_absent_objects_are_not_drawn() -> None:
    gone = MaskPart(0, 0, np.zeros((0, 0), bool))
    assert not Overlay(64, 64, MovieStyle(fill=0.5)).draw(None, {1: gone}).any()


@pytest.fixture
def session() -> Session:
    session = Session(moving_discs(height=47), predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    session.add_point(session.new_object(), 0, (30, 20))
    list(session.propagate())
    return session


def colours_in(drawn: np.ndarray) -> set[int]:
    return {i for i in (1, 2) if (drawn == colour_bytes(i)).all(axis=-1).any()}


def test_tiff_and_mp4_show_the_same(session: Session, tmp_path: Path) -> None:
    results = SessionMasks(session)
    for name in ("a.tif", "a.mp4"):
        list(export_results(results, tmp_path / name, "movie"))
    drawn = tifffile.imread(tmp_path / "a.tif")
    assert drawn.shape == (8, 470, 640, 3)
    for t in range(8):
        expected = Overlay(47, 64, MovieStyle()).draw(results.picture(t), results.masks(t))
        np.testing.assert_array_equal(drawn[t], expected)
        assert colours_in(drawn[t]) == {1, 2}
    video = VideoFile(tmp_path / "a.mp4")
    assert (video.num_frames, video.height, video.width) == (8, 470, 640)
    for t in (0, 7):
        assert np.abs(video.read(t).astype(int) - drawn[t]).mean() < 4
    # outlines keep their colours
    inside = (drawn[4] == colour_bytes(1)).all(axis=-1)
    assert np.abs(video.read(4)[inside].mean(axis=0) - colour_bytes(1)).max() < 40


def test_odd_frames_have_even_movies(tmp_path: Path) -> None:
    labels = np.zeros((2, 701, 703), np.uint8)
    labels[:, 100:200, 100:200] = 1
    list(export_results(LabelMasks(labels), tmp_path / "a.mp4", "movie"))
    video = VideoFile(tmp_path / "a.mp4")
    assert (video.num_frames, video.height, video.width) == (2, 702, 704)


def test_hidden_objects_are_left_out(session: Session, tmp_path: Path) -> None:
    session.hide(2)
    list(export_results(SessionMasks(session), tmp_path / "a.tif", "movie"))
    assert colours_in(tifffile.imread(tmp_path / "a.tif")[3]) == {1}
    # what is for programs holds everything
    assert set(SessionMasks(session).objects) == {1, 2}


@pytest.mark.parametrize(
    ("interval", "unit", "rate"),
    [
        (50, "ms", 20),
        (0.2, "s", 5),
        (5, "min", 10),
        (1, "ms", 10),
        (0.1, "µm", 10),
        (1, "frame", 10),
    ],
)
def test_recordings_that_can_be_watched_keep_their_speed(interval, unit, rate) -> None:
    calibration = Calibration(frame_interval=interval, frame_unit=unit)
    assert frames_per_second(calibration, MovieStyle()) == pytest.approx(rate)
    assert frames_per_second(calibration, MovieStyle(3.0)) == 3


def test_the_speed_is_in_the_file(session: Session, tmp_path: Path) -> None:
    import av

    style = MovieStyle(frames_per_second=2.5)
    list(export_results(SessionMasks(session), tmp_path / "a.mp4", "movie", style=style))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == 2.5
        assert container.duration / av.time_base == pytest.approx(8 / 2.5, abs=0.1)


def test_without_pyav(session: Session, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    results = SessionMasks(session)
    with pytest.raises(ExportError, match=r"pip install 'napari-sam2\[video\]', or name a file"):
        export_results(results, tmp_path / "a.mp4", "movie")
    list(export_results(results, tmp_path / "a.tif", "movie"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_styles_are_checked(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0\.1 to 240 frames a second, not 0"):
        MovieStyle(frames_per_second=0)
    with pytest.raises(ValueError, match="an opacity from 0 to 1, not 2"):
        MovieStyle(fill=2)
    with pytest.raises(ValueError, match="COCO: only a movie has a style"):
        export_results(SessionMasks(session), tmp_path / "a.json", "coco", style=MovieStyle())
