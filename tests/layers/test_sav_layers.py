"""Videos of SA-V as layers: labels lie on the frames they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer
from PIL import Image

from napari_sam2 import readers
from napari_sam2.layers.image_file import image_file
from napari_sam2.layers.sav_layers import clip_layers
from sam2_backbone.data_engine.rle import Rle
from sam2_backbone.data_engine.sav import Masklet, SavAnnotation, SavVideo, write_sav
from sam2_backbone.data_engine.sav_folders import (
    FRAMES,
    MASKS,
    find_clips,
    frame_file,
    mask_file,
    write_mask,
)
from sam2_backbone.errors import AnnotationError

SIZE = (12, 16)


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def write_frames(folder: Path, num_frames: int, size: tuple[int, int] = SIZE) -> None:
    folder.mkdir(parents=True)
    for t in range(num_frames):
        pixels = np.full((*size, 3), t, np.uint8)
        Image.fromarray(pixels).save(folder / f"{t:05d}.png")


def write_json(path: Path, num_frames: int = 9) -> SavAnnotation:
    """A hand that lies on a body, on every fourth frame of nine; gone on the last one."""
    body = tuple(Rle.of(square(1, at, 8)) for at in range(3))
    hand = (Rle.of(square(2, 3, 2)), Rle.of(square(2, 4, 2)), Rle.empty(SIZE))
    video = SavVideo("sav_000001", 0.375, num_frames, *SIZE)
    annotation = SavAnnotation(video, (Masklet(0, hand), Masklet(1, body)))
    write_sav(path, annotation)
    return annotation


def check_labels(layer: Layer) -> None:
    """As `write_json` says: the number is one more, and the smaller object lies on top."""
    for frame_idx in range(layer.data.shape[0]):
        expected = np.zeros(SIZE, int)
        if frame_idx % 4 == 0:
            at = frame_idx // 4
            expected[square(1, at, 8)] = 2
            if at < 2:
                expected[square(2, 3 + at, 2)] = 1
        np.testing.assert_array_equal(np.asarray(layer.data[frame_idx]), expected)


def test_a_json_file_and_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "sav_000001_manual.json"
    write_json(path)
    write_json(tmp_path / "sav_000001_auto.json")
    write_frames(tmp_path / "sav_000001", 9)
    read = readers.sav_reader(str(path))
    image, labels, automatic = (Layer.create(*row) for row in read(str(path)))
    assert (image.name, labels.name, automatic.name) == (
        "sav_000001", "sav_000001 manual", "sav_000001 auto",
    )  # fmt: skip
    assert (labels.visible, automatic.visible) == (True, False)
    assert image.rgb
    assert image.data.shape == (9, *SIZE, 3)
    assert labels.data.shape == (9, *SIZE)
    assert np.asarray(image.data[7]).max() == 7
    check_labels(labels)
    # a session on it names the frames, not the file that was dropped
    assert image_file(image) == tmp_path / "sav_000001"
    # and the labels can be corrected
    labels.data_setitem((np.array([4]), np.array([0]), np.array([0])), 9)
    assert labels.data[4][0, 0] == 9


def test_masklets_without_a_video(tmp_path: Path) -> None:
    path = tmp_path / "work.json"
    write_json(path)
    ((data, options, kind),) = readers.sav_reader(str(path))(str(path))
    assert kind == "labels"
    assert data.shape == (9, *SIZE)
    check_labels(Layer.create(data, options, kind))


def test_folders_of_masks(tmp_path: Path) -> None:
    for t in range(9):
        path = frame_file(tmp_path, "sav_a", t)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), 20 * t, np.uint8)).save(path)
        if t % 4 == 0:
            write_mask(mask_file(tmp_path, "sav_a", 1, t), square(1, t // 4, 8))
            if t < 8:
                write_mask(mask_file(tmp_path, "sav_a", 0, t), square(2, 3 + t // 4, 2))
    for opened in (tmp_path, tmp_path / MASKS / "sav_a", tmp_path / FRAMES / "sav_a"):
        image, labels = (Layer.create(*row) for row in readers.folder_reader(opened)(opened))
        assert image.data.shape == (9, *SIZE, 3)
        check_labels(labels)
    write_mask(mask_file(tmp_path, "sav_b", 1, 0), square(1, 1, 3))
    with pytest.raises(AnnotationError, match="holds 2 videos: open the folder of one of them"):
        readers.folder_reader(tmp_path)(tmp_path)


def test_what_does_not_belong_together(tmp_path: Path) -> None:
    write_json(tmp_path / "sav_000001_manual.json")
    write_frames(tmp_path / "sav_000001", 9, (5, 6))
    with pytest.raises(AnnotationError, match="12 x 16 pixels, the frames of the video 5 x 6"):
        clip_layers(*find_clips(tmp_path / "sav_000001_manual.json"))


def test_a_folder_of_images_is_a_movie(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", 11)
    ((data, options, kind),) = readers.folder_reader(tmp_path / "frames")(tmp_path / "frames")
    assert (kind, options["rgb"], data.shape) == ("image", True, (11, *SIZE, 3))
    assert data[10].max() == 10


def test_other_things_are_left_to_others(tmp_path: Path) -> None:
    assert readers.folder_reader(tmp_path) is None
    assert readers.folder_reader(tmp_path / "none") is None
    assert readers.folder_reader([str(tmp_path)]) is None
    assert readers.video_reader(["a.mp4"]) is None
    (tmp_path / "a_manual.json").write_text("{}")
    assert readers.sav_reader(tmp_path / "a_manual.json") is None
    assert readers.sav_reader(["a_manual.json"]) is None
