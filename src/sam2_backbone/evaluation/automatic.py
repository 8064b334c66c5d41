"""Automatic segmentation of fluorescence stills, beside Otsu + watershed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.evaluation.baselines import ClassicalImage
from sam2_backbone.evaluation.detection import DetectionCount, count_detections, pooled
from sam2_backbone.evaluation.extent import fixed_choice
from sam2_backbone.evaluation.stills import plain_image
from sam2_backbone.evaluation.targets import AP, MATCHED, Baseline, Row, row
from sam2_backbone.training.data import LabelledSequence

Segmenter = Callable[[NDArray[np.uint8]], NDArray[np.integer]]
KIND = "fluorescence"  # where one rule for all images makes sense: objects are bright


def choose_stills(stills: Sequence[LabelledSequence], images: int | None) -> list[LabelledSequence]:
    """Choose fluorescence stills of a data set by a fixed seed."""
    glowing = [still for still in stills if still.kind == KIND]
    return [glowing[position] for position in fixed_choice(len(glowing), images)]


def automatic_rows(
    data: str,
    stills: Sequence[LabelledSequence],
    segment: Segmenter,
    *,
    tick: Callable[[], object],
    baselines: bool = True,
) -> list[Row]:
    """Segment every still and count what is found.

    Parameters
    ----------
    segment
        From an image (H, W[, 3]) to labels (H, W), 0 background.
    """
    counts: list[DetectionCount] = []
    classical: list[DetectionCount] = []
    for still in stills:
        image, truth = plain_image(still), still.labels[0]
        counts.append(count_detections(segment(image), truth))
        if baselines:
            regions = ClassicalImage(image).regions(bright=True)
            classical.append(count_detections(regions, truth))
        tick()
    total, base = pooled(counts), pooled(classical)
    objects = total.found + total.missed
    name = "Otsu + watershed"
    precise = (Baseline(name, base.average_precision),) if baselines else ()
    close = (Baseline(name, base.matched_iou),) if baselines else ()
    return [
        row(AP, f"{data}: {KIND}", objects, total.average_precision, precise),
        row(MATCHED, f"{data}: {KIND}", objects, total.matched_iou, close),
    ]
