"""A person's own labels as folders that the training command reads, frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_sam2.session.errors import TrainingError
from napari_sam2.session.images import open_frames
from napari_sam2.session.intensities import Channel
from napari_sam2.session.training_data import (
    LabelledFrames,
    has_training_data,
    write_training_data,
)
from sam2_backbone.training.data import read_tree

SEEN = (Channel(0, 100, 300),)


def labelled(image, labels, channels=SEEN, **options) -> LabelledFrames:
    labels = np.asarray(labels)
    frames = options.pop("frames", range(len(labels)))
    source = open_frames(np.asarray(image), as_movie=True)
    return LabelledFrames("my cells/1", source, channels, frames, lambda frame: labels[frame])


def walking(num_frames: int = 5, *, empty: tuple[int, ...] = ()) -> np.ndarray:
    """Two squares that keep their numbers and move by a pixel a frame."""
    labels = np.zeros((num_frames, 30, 40), np.int32)
    for frame in set(range(num_frames)) - set(empty):
        labels[frame, 5:15, 5 + frame : 15 + frame] = 70_001
        labels[frame, 20:28, 20 - frame : 28 - frame] = 3
    return labels


def test_a_movie_keeps_its_numbers_and_shows_what_the_network_sees(tmp_path: Path) -> None:
    labels = walking()
    image = np.where(labels > 0, 300, 100).astype(np.uint16)
    image[:, 0, 0], image[:, 0, 1] = 5000, 200  # beyond the limits, and in the middle
    written = write_training_data(labelled(image, labels), tmp_path)
    assert (written.num_frames, written.num_objects, written.is_movie) == (5, 2, True)
    assert has_training_data(tmp_path)
    (film,) = read_tree(tmp_path / "data")
    assert film.num_frames == 5
    # numbers that do not fit are given anew, the same on all frames
    np.testing.assert_array_equal(film.labels == 2, labels == 70_001)
    np.testing.assert_array_equal(film.labels == 1, labels == 3)
    assert film.frames[:, 0, 0, 0].tolist() == [255] * 5
    assert film.frames[0, 0, 1, 0] in (127, 128)
    assert film.frames[0, 2, 2, 0] == 0


def test_frames_with_a_gap_or_without_order_are_stills(tmp_path: Path) -> None:
    labels = walking(6, empty=(2,))
    written = write_training_data(labelled(labels % 255, labels), tmp_path / "gap")
    assert (written.num_frames, written.is_movie) == (5, False)
    stills = read_tree(tmp_path / "gap" / "data")
    assert [s.num_frames for s in stills] == [1] * 5
    assert all(s.complete for s in stills)
    assert "my_cells_1_frame_000000" in {s.name for s in stills}
    # numbered anew on each frame, as a segmentation frame by frame does
    shuffled = walking()
    shuffled[1::2] = np.select([shuffled[1::2] == 3, shuffled[1::2] > 3], [70_001, 3])
    assert not write_training_data(labelled(shuffled % 255, shuffled), tmp_path / "b").is_movie
    forced = write_training_data(labelled(shuffled % 255, shuffled), tmp_path / "c", is_movie=True)
    assert forced.is_movie
    assert len(read_tree(tmp_path / "c" / "data")) == 1


def test_one_frame_and_colour(tmp_path: Path) -> None:
    labels = walking(1)
    colour = np.zeros((1, 30, 40, 3), np.uint8)
    colour[..., 1] = 90
    written = write_training_data(labelled(colour, labels, ()), tmp_path / "colour")
    assert not written.is_movie
    (still,) = read_tree(tmp_path / "colour" / "data")
    assert still.frames.shape == (1, 30, 40, 3)
    assert still.frames[0, 0, 0].tolist() == [0, 90, 0]
    constant = np.full((1, 30, 40, 3), 2.5, np.float32)
    write_training_data(labelled(constant, labels, ()), tmp_path / "constant")
    (still,) = read_tree(tmp_path / "constant" / "data")
    assert np.unique(still.frames).tolist() == [0]


def test_nothing_is_written_halfway_and_nothing_foreign_is_replaced(tmp_path: Path) -> None:
    labels = walking()
    with pytest.raises(TrainingError, match="no object"):
        write_training_data(labelled(labels, labels * 0), tmp_path / "none")
    assert not (tmp_path / "none" / "data").exists()

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyError("stopped")

    with pytest.raises(KeyError):
        write_training_data(labelled(labels, labels), tmp_path / "stopped", progress=stop)
    assert not list((tmp_path / "stopped").iterdir())
    # what was written here may be written again, somebody else's may not
    write_training_data(labelled(labels, labels), tmp_path / "own")
    write_training_data(labelled(labels[:2], labels[:2]), tmp_path / "own")
    assert len(list((tmp_path / "own" / "data" / "images").iterdir())) == 2
    (tmp_path / "foreign" / "data").mkdir(parents=True)
    (tmp_path / "foreign" / "data" / "thesis.txt").write_text("years")
    with pytest.raises(TrainingError, match="not written by this panel"):
        write_training_data(labelled(labels, labels), tmp_path / "foreign")
    assert (tmp_path / "foreign" / "data" / "thesis.txt").read_text() == "years"
