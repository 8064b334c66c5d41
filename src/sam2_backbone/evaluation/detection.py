"""Automatic segmentation: objects found and missed, counted as in the Data Science Bowl."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class DetectionCount:
    """Objects of one or many images, matched one to one.

    Attributes
    ----------
    found, spurious, missed
        Matched objects (TP), predicted ones without a match (FP), true ones without one (FN).
    iou_sum
        Sum of the IoU of the matches.
    """

    found: int = 0
    spurious: int = 0
    missed: int = 0
    iou_sum: float = 0.0

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); 1 where nothing was there and nothing was found.

        The convention of the Data Science Bowl 2018 and of StarDist (Schmidt et al. 2018), which
        needs no ranking of the predictions; not the area under a precision-recall curve as in COCO.
        """
        total = self.found + self.spurious + self.missed
        return self.found / total if total else 1.0

    @property
    def matched_iou(self) -> float:
        """Mean IoU of the matches; NaN if there are none."""
        return self.iou_sum / self.found if self.found else float("nan")


def label_overlaps(
    predicted: NDArray[np.integer], truth: NDArray[np.integer]
) -> NDArray[np.float64]:
    """IoU of every predicted (rows) with every true object (columns) of two label images (H, W).

    0 is background; the rows and columns follow the sorted labels.
    """
    ids, rows = np.unique(predicted, return_inverse=True)
    true_ids, columns = np.unique(truth, return_inverse=True)
    pairs = np.bincount(
        rows.ravel() * len(true_ids) + columns.ravel(), minlength=len(ids) * len(true_ids)
    )
    shared = pairs.reshape(len(ids), len(true_ids)).astype(np.float64)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    overlaps: NDArray[np.float64] = (shared / union)[ids != 0][:, true_ids != 0]
    return overlaps


def count_detections(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], *, threshold: float = 0.5
) -> DetectionCount:
    """Match the objects of two label images so that most pairs reach an IoU of `threshold`."""
    overlaps = label_overlaps(predicted, truth)
    number, true_number = overlaps.shape
    if number == 0 or true_number == 0:
        return DetectionCount(0, number, true_number)
    # as many matches as can be first, the best IoU among those second
    worth = (overlaps >= threshold) + overlaps / (2 * min(number, true_number))
    rows, columns = linear_sum_assignment(worth, maximize=True)
    matched = overlaps[rows, columns]
    matched = matched[matched >= threshold]
    found = len(matched)
    return DetectionCount(found, number - found, true_number - found, float(matched.sum()))


def pooled(counts: Iterable[DetectionCount]) -> DetectionCount:
    """Add counts up: every object weighs the same, whatever image it is in."""
    total = DetectionCount()
    for each in counts:
        total = DetectionCount(
            total.found + each.found,
            total.spurious + each.spurious,
            total.missed + each.missed,
            total.iou_sum + each.iou_sum,
        )
    return total
