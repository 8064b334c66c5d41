"""Annotations of SA-V: what is written comes back, and what is wrong with a file is said."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam2_backbone.data_engine.rle import Rle
from sam2_backbone.data_engine.sav import (
    Masklet,
    SavAnnotation,
    SavVideo,
    is_sav,
    read_sav,
    stream_sav,
    write_sav,
)
from sam2_backbone.errors import AnnotationError

SIZE = (60, 80)
FIELDS = [
    "video_id",
    "video_duration",
    "video_frame_count",
    "video_height",
    "video_width",
    "video_resolution",
    "video_environment",
    "video_split",
    "masklet",
    "masklet_id",
    "masklet_size_rel",
    "masklet_size_abs",
    "masklet_size_bucket",
    "masklet_visibility_changes",
    "masklet_first_appeared_frame",
    "masklet_frame_count",
    "masklet_edited_frame_count",
    "masklet_type",
    "masklet_stability_score",
    "masklet_num",
]


def square(side: int) -> Rle:
    return Rle.of(np.ones((side, side), bool), SIZE, top=3, left=5)


@pytest.fixture
def annotation() -> SavAnnotation:
    none = Rle.empty(SIZE)
    seen = Masklet(0, (none, square(10), none, square(20), square(20)), edited_frame_count=2)
    scores = (0.9, 0.8, 0.7, 0.6, 0.5)
    found = Masklet(3, (square(40),) * 5, "auto", stability_scores=scores)
    video = SavVideo("sav_000001", 0.75, 18, *SIZE, environment="Indoor", split="train")
    return SavAnnotation(video, (seen, found))


def test_annotations_come_back(annotation, tmp_path: Path) -> None:
    path = tmp_path / "sav_000001_manual.json"
    write_sav(path, annotation)
    assert is_sav(path)
    assert read_sav(path) == annotation
    assert annotation.num_annotated == 5
    assert annotation.frame_step == 4


def test_the_published_fields_are_written(annotation, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sav(path, annotation)
    tree = json.loads(path.read_text())
    assert list(tree) == FIELDS
    assert (len(tree["masklet"]), len(tree["masklet"][0])) == (5, 2)
    assert tree["masklet"][1][0] == square(10).to_json()
    assert tree["masklet_size_abs"] == [300.0, 1600.0]
    assert tree["masklet_size_rel"] == [0.0625, pytest.approx(1600 / 4800)]
    assert tree["masklet_size_bucket"] == ["small", "medium"]
    # gone on the third frame, back on the fourth
    assert tree["masklet_visibility_changes"] == [2, 0]
    assert tree["masklet_first_appeared_frame"] == [1.0, 0.0]
    assert tree["masklet_frame_count"] == [5, 5]
    assert tree["masklet_edited_frame_count"] == [2, 0]
    assert tree["masklet_type"] == ["manual", "auto"]
    assert tree["masklet_stability_score"] == [None, [0.9, 0.8, 0.7, 0.6, 0.5]]
    assert tree["masklet_num"] == 2


def test_masks_are_written_as_they_come(annotation) -> None:
    file = io.StringIO()
    asked = []

    def frames():
        for at in range(3):
            asked.append(at)
            yield {3: square(at + 1)}

    for at in stream_sav(file, annotation.video, annotation.masklets, frames()):
        assert asked == list(range(at + 1))
        assert file.getvalue().count("counts") == 2 * (at + 1)
    tree = json.loads(file.getvalue())
    assert [row[0]["counts"] for row in tree["masklet"]] == [Rle.empty(SIZE).counts] * 3
    assert tree["masklet_size_abs"] == [0.0, pytest.approx(14 / 3)]
    with pytest.raises(ValueError, match="is none of a video"):
        list(stream_sav(file, annotation.video, annotation.masklets, [{3: Rle.empty((2, 2))}]))


@pytest.mark.parametrize(
    ("num_frames", "num_annotated", "step"),
    [(483, 121, 4), (9, 3, 4), (9, 9, 1), (1, 1, 1), (20, 10, 2), (30, 3, 10), (5, 8, 1)],
)
def test_how_many_frames_lie_in_between(annotation, num_frames, num_annotated, step) -> None:
    video = replace(annotation.video, frame_count=num_frames)
    masklet = Masklet(1, (square(2),) * num_annotated)
    assert SavAnnotation(video, (masklet,)).frame_step == step


def test_no_object_and_no_frame(annotation, tmp_path: Path) -> None:
    for empty in (
        replace(annotation, masklets=()),
        SavAnnotation(annotation.video, (Masklet(1, ()),)),
    ):
        write_sav(tmp_path / "a.json", empty)
        again = read_sav(tmp_path / "a.json")
        assert again == empty
        assert again.num_annotated == 0


def test_what_the_documentation_and_the_data_tell_differently(annotation, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sav(path, annotation)
    tree = json.loads(path.read_text())
    tree |= {"video_environment": ["Indoor", "Outdoor"], "video_duration": None}
    tree["masklet"][0][0] = None
    for name in ("masklet_stability_score", "video_split", "masklet_edited_frame_count"):
        del tree[name]
    path.write_text(json.dumps(tree))
    again = read_sav(path)
    assert again.video.environment == "Indoor, Outdoor"
    assert again.masklets[0].masks == annotation.masklets[0].masks


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tree: tree.pop("masklet"), "lacks 'masklet'"),
        (lambda tree: tree.update(masklet_id=[0]), "frame 0 has 2 masks for 1 objects"),
        (lambda tree: tree.update(masklet_id=[4, 4]), "not those of different objects"),
        (lambda tree: tree.update(video_height=61.0), "a mask of 60 x 80 pixels"),
        (
            lambda tree: tree["masklet"][1][0].update(counts="x"),
            "cut off|do not fill|no compressed",
        ),
        (lambda tree: tree.update(masklet_type=["manual"]), "holds no masklets"),
        (lambda tree: tree.update(masklet=7), "holds no masklets"),
    ],
)
def test_what_is_wrong_is_said(annotation, tmp_path: Path, change, says: str) -> None:
    path = tmp_path / "a.json"
    write_sav(path, annotation)
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    with pytest.raises(AnnotationError, match=says):
        read_sav(path)


def test_other_files_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("", "[1]", '{"a": 1}', "{", '{"video_id": '):
        path.write_text(text)
        assert not is_sav(path)
        with pytest.raises(AnnotationError, match=r"a\.json"):
            read_sav(path)
    path.write_bytes(b"\xff\xfe\x00")
    assert not is_sav(path)
    assert not is_sav(tmp_path)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_sav(tmp_path / "none.json")
