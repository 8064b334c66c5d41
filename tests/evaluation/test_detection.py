"""Objects found and missed, against cases counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sam2_backbone.evaluation.automatic import automatic_rows
from sam2_backbone.evaluation.detection import (
    DetectionCount,
    count_detections,
    label_overlaps,
    pooled,
)
from sam2_backbone.training.data import LabelledSequence


def strip(*runs: tuple[int, int]) -> np.ndarray:
    """A label image of one row: (label, length) after each other."""
    return np.concatenate([np.full(length, label) for label, length in runs])[None]


TRUTH = strip((1, 10), (0, 5), (2, 10), (0, 5), (7, 10))


def test_overlaps() -> None:
    predicted = strip((3, 8), (0, 7), (0, 5), (9, 5), (0, 15))
    overlaps = label_overlaps(predicted, TRUTH)
    assert overlaps == pytest.approx(np.array([[0.8, 0, 0], [0, 0.5, 0]]))


def test_the_same_objects_are_all_found_whatever_their_labels() -> None:
    count = count_detections(strip((4, 10), (0, 5), (1, 10), (0, 5), (2, 10)), TRUTH)
    assert count == DetectionCount(3, 0, 0, 3.0)
    assert count.average_precision == 1


def test_found_missed_and_spurious() -> None:
    # 8 of 10 found; a fragment of 4 (IoU 0.4); one missed
    predicted = strip((1, 8), (0, 7), (2, 4), (0, 6), (0, 15))
    count = count_detections(predicted, TRUTH)
    assert (count.found, count.spurious, count.missed) == (1, 1, 2)
    assert count.average_precision == pytest.approx(1 / 4)
    assert count.matched_iou == pytest.approx(0.8)


def test_one_object_is_not_found_twice() -> None:
    # both halves reach an IoU of 0.5; a merge of two covers half of their union
    halves = count_detections(strip((1, 5), (2, 5), (0, 30)), strip((1, 10), (0, 30)))
    assert (halves.found, halves.spurious, halves.missed) == (1, 1, 0)
    merged = count_detections(strip((1, 20), (0, 20)), strip((1, 10), (2, 10), (0, 20)))
    assert (merged.found, merged.spurious, merged.missed) == (1, 0, 1)


def test_nothing() -> None:
    nothing = np.zeros((3, 3), dtype=int)
    assert count_detections(nothing, nothing).average_precision == 1
    assert count_detections(nothing, nothing + 1) == DetectionCount(0, 0, 1)
    assert count_detections(nothing + 1, nothing).average_precision == 0
    assert math.isnan(DetectionCount().matched_iou)


def test_objects_of_all_images_weigh_the_same() -> None:
    total = pooled([DetectionCount(8, 0, 0, 7.2), DetectionCount(0, 1, 1, 0.0)])
    assert total.average_precision == pytest.approx(8 / 10)
    assert total.matched_iou == pytest.approx(0.9)


def test_rows_of_a_segmentation_that_misses_half() -> None:
    labels = np.zeros((1, 64, 64), dtype=np.uint16)
    labels[0, 8:24, 8:24] = 1
    labels[0, 40:56, 40:56] = 2
    frames = ((labels > 0) * 200).astype(np.uint8)[..., None]
    still = LabelledSequence("two", "fluorescence", frames, labels)
    ticks = []
    rows = automatic_rows(
        "set", [still], lambda image: labels[0] * (labels[0] == 1), tick=lambda: ticks.append(1)
    )
    assert [row.value for row in rows] == [0.5, 1.0]
    assert rows[0].objects == 2
    assert [each.value for each in rows[0].baselines] == [1]
    assert ticks == [1]
