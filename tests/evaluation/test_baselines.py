"""The classical methods find discs, and fail where they must."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_backbone.evaluation.baselines import (
    BOX_BASELINES,
    CLICK_BASELINES,
    ClassicalImage,
    box_iou,
)
from sam2_backbone.evaluation.metrics import intersection_over_union
from sam2_backbone.evaluation.movie_baselines import linked_regions, still_masks
from sam2_backbone.evaluation.tracking import TrackTally


def disc(y: int, x: int, radius: int, size: int = 96) -> np.ndarray:
    rows, columns = np.ogrid[:size, :size]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


LEFT, RIGHT, FAR = disc(40, 30, 14), disc(40, 54, 14), disc(80, 80, 9)


def image_of(*discs: np.ndarray, dark: bool = False) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 3, (96, 96))
    image = 40 + 140 * np.any(discs, axis=0) + noise
    return (220 - image if dark else image).astype(np.uint8)


@pytest.mark.parametrize("name", CLICK_BASELINES)
@pytest.mark.parametrize("dark", [False, True])
def test_a_click_finds_a_disc_that_stands_alone(name: str, *, dark: bool) -> None:
    mask = CLICK_BASELINES[name](ClassicalImage(image_of(LEFT, FAR, dark=dark)), 40, 30)
    assert intersection_over_union(mask, LEFT) > 0.8


@pytest.mark.parametrize("name", BOX_BASELINES)
@pytest.mark.parametrize("dark", [False, True])
def test_a_box_finds_a_disc_that_stands_alone(name: str, *, dark: bool) -> None:
    image = np.repeat(image_of(LEFT, FAR, dark=dark)[..., None], 3, axis=-1)
    mask = BOX_BASELINES[name](ClassicalImage(image), (16, 26, 45, 55))
    assert intersection_over_union(mask, LEFT) > 0.8
    assert not mask[:26].any()  # nothing outside of the box


def test_only_watershed_parts_touching_discs() -> None:
    image = ClassicalImage(image_of(LEFT, RIGHT))
    apart = CLICK_BASELINES["Otsu + watershed"](image, 40, 30)
    assert intersection_over_union(apart, LEFT & (np.arange(96) < 43)) > 0.85
    both = CLICK_BASELINES["flood fill"](image, 40, 30)
    assert intersection_over_union(both, LEFT | RIGHT) > 0.85


def test_boxes() -> None:
    assert box_iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 10, 10), (10, 0, 15, 10)) == 0


def moving() -> tuple[np.ndarray, np.ndarray]:
    """A disc that goes 4 pixels a frame; one that stays, is away on frame 3, and is back."""
    labels = np.zeros((6, 96, 96), dtype=np.uint16)
    for t in range(6):
        labels[t][disc(30, 30 + 4 * t, 12)] = 5
        if t != 3:
            labels[t][disc(75, 30, 12)] = 9
    return np.stack([image_of(frame > 0) for frame in labels]), labels


def tallied(masks: object, labels: np.ndarray, start: int) -> TrackTally:
    tally = TrackTally("moving", labels, start)
    for said in masks:  # type: ignore[attr-defined]
        tally.add(said)
    return tally


@pytest.mark.parametrize("prompt", ["mask", "click"])
@pytest.mark.parametrize("start", [0, 2])
def test_linked_regions_follow_discs_both_ways(prompt: str, start: int) -> None:
    frames, labels = moving()
    masks = linked_regions(frames, labels, obj_ids=[5, 9], start=start, prompt=prompt)
    tally = tallied(masks, labels, start)
    assert [score.frames for score in tally.scores()] == [5, 5]
    assert all(score.j > 0.85 for score in tally.scores())
    assert tally.presence.f1 == 1


def test_a_mask_that_is_not_moved_is_left_behind() -> None:
    frames, labels = moving()
    masks = still_masks(frames, labels, obj_ids=[5, 9], start=0, prompt="mask")
    gone, stays = tallied(masks, labels, 0).scores()
    assert stays.j == pytest.approx(4 / 5)  # wrong only where the object is away
    expected = [intersection_over_union(labels[0] == 5, labels[t] == 5) for t in range(1, 6)]
    assert gone.j == pytest.approx(np.mean(expected))
    assert gone.j < 0.5
