"""How SA-V lies on a disk: every way to point at a video finds its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_backbone.data_engine.sav_folders import (
    FRAMES,
    MASKS,
    SavClip,
    find_clips,
    frame_file,
    mask_file,
    open_masks,
    read_mask,
    write_mask,
)
from sam2_backbone.errors import AnnotationError


def mask_at(column: int) -> np.ndarray:
    mask = np.zeros((6, 8), bool)
    mask[2:5, column : column + 2] = True
    return mask


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Two videos as in the folders of val and test, the second without frames."""
    root = tmp_path / "sav_val"
    for video in ("sav_a", "sav_b"):
        for frame_idx in (0, 4, 8):
            write_mask(mask_file(root, video, 0, frame_idx), mask_at(frame_idx // 2))
        write_mask(mask_file(root, video, 12, 4), np.zeros((6, 8), bool))
    frame = frame_file(root, "sav_a", 0)
    frame.parent.mkdir(parents=True)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(frame)
    return root


def test_folders_are_found_from_everywhere(split: Path) -> None:
    first = SavClip("sav_a", split / FRAMES / "sav_a", masks=split / MASKS / "sav_a")
    second = SavClip("sav_b", masks=split / MASKS / "sav_b")
    for path in (split, split / MASKS, split / FRAMES):
        assert find_clips(path) == (first, second)
    for path in (first.frames, first.masks):
        assert find_clips(path) == (first,)
    assert find_clips(second.masks) == (second,)


def test_masks_come_back(split: Path) -> None:
    folders = open_masks(split / MASKS / "sav_a")
    assert folders.frames == (0, 4, 8)
    assert (folders.height, folders.width) == (6, 8)
    masks = folders.masks(4)
    assert list(masks) == [0, 12]
    np.testing.assert_array_equal(masks[0], mask_at(2))
    assert not masks[12].any()
    assert folders.masks(5) == {}


def test_masks_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "00000.png"
    palette = Image.fromarray(mask_at(1).astype(np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 0, 0, 0])  # object and background in the same colour
    palette.save(path)
    np.testing.assert_array_equal(read_mask(path), mask_at(1))
    Image.fromarray(mask_at(1)).save(path)  # one bit a pixel
    np.testing.assert_array_equal(read_mask(path), mask_at(1))
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(path)
    with pytest.raises(AnnotationError, match="is in colour"):
        read_mask(path)
    path.write_bytes(b"none")
    with pytest.raises(AnnotationError, match="cannot be read as a mask"):
        read_mask(path)


def test_sizes_must_agree(split: Path) -> None:
    write_mask(mask_file(split, "sav_a", 0, 8), np.ones((3, 3), bool))
    with pytest.raises(AnnotationError, match="is 3 x 3 pixels, the first mask is 6 x 8"):
        open_masks(split / MASKS / "sav_a").masks(8)
    (split / "empty").mkdir()
    with pytest.raises(AnnotationError, match="holds no masks"):
        open_masks(split / "empty")


def test_files_are_found_beside_each_other(tmp_path: Path) -> None:
    for name in ("a.mp4", "a_manual.json", "a_auto.json", "b_auto.json", "other.json"):
        (tmp_path / name).touch()
    a = SavClip("a", tmp_path / "a.mp4", (tmp_path / "a_manual.json", tmp_path / "a_auto.json"))
    b = SavClip("b", None, (tmp_path / "b_auto.json",))
    assert find_clips(tmp_path) == (a, b)
    assert find_clips(tmp_path / "a_auto.json") == (a,)
    other = SavClip("other", None, (tmp_path / "other.json",))
    assert find_clips(tmp_path / "other.json") == (other,)
    assert find_clips(tmp_path / "a.mp4") == ()
    assert find_clips(tmp_path / "nowhere") == ()
    (tmp_path / "b").mkdir()
    assert find_clips(tmp_path / "b_auto.json")[0].frames == tmp_path / "b"
