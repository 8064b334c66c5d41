"""Tracking from one frame: J, F and presence of objects followed through a labelled stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.evaluation.interactive import error_centre
from sam2_backbone.evaluation.metrics import (
    PresenceCount,
    boundary_f,
    intersection_over_union,
)
from sam2_backbone.inference.video_predictor import VideoPredictor


@dataclass(frozen=True)
class TrackScore:
    """How well one object was followed: means over the frames that count."""

    name: str
    obj_id: int
    j: float
    f: float
    frames: int

    @property
    def j_and_f(self) -> float:
        """Mean of J and F."""
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class TrackingResult:
    """Scores of all objects, the presence count, and the predicted labels (T, H, W)."""

    scores: tuple[TrackScore, ...]
    presence: PresenceCount
    labels: NDArray[np.uint16]

    @property
    def j(self) -> float:
        """Mean J over objects."""
        return float(np.mean([score.j for score in self.scores]))

    @property
    def f(self) -> float:
        """Mean F over objects."""
        return float(np.mean([score.f for score in self.scores]))


def track_objects(
    predictor: VideoPredictor,
    frames: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    name: str,
    obj_ids: Sequence[int],
    start: int = 0,
    prompt: str = "mask",
    window: str | int | None = "auto",
    value_range: tuple[float, float] | None = None,
    with_boundary: bool = True,
) -> TrackingResult:
    """Prompt objects on one frame, follow them both ways and compare with the truth.

    Parameters
    ----------
    frames, labels
        (T, H, W[, 3]) and (T, H, W) with the same integer for an object over frames.
    start
        The prompted frame; it is not scored. Every other frame counts, those without the object
        too: absent in both is 1.
    prompt
        "mask", "click" (at the innermost pixel) or "box".
    """
    state = predictor.init_state(frames, window=window, value_range=value_range)
    for obj_id in obj_ids:
        truth = labels[start] == obj_id
        if prompt == "mask":
            predictor.answer(state, start, int(obj_id), mask=truth)
            continue
        if prompt == "box":
            rows, columns = np.nonzero(truth)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            predictor.answer(state, start, int(obj_id), box=[float(v) for v in box])
            continue
        place = error_centre(np.zeros_like(truth), truth)
        if place is None:
            raise ValueError(f"object {obj_id} is not on frame {start}: start where it is visible")
        predictor.answer(state, start, int(obj_id), points=[[place[1], place[0]]], labels=[1])
    per_object: dict[int, list[tuple[float, float]]] = {int(i): [] for i in obj_ids}
    presence = PresenceCount()
    predicted = np.zeros(labels.shape, dtype=np.uint16)
    for result in predictor.propagate(state, direction="both"):
        if result.frame_idx == start:
            continue
        logits = result.mask_logits[:, 0].cpu().numpy()
        _paint(predicted[result.frame_idx], logits, result.obj_ids)
        for row, obj_id in enumerate(result.obj_ids):
            mask, truth = logits[row] > 0, labels[result.frame_idx] == obj_id
            f = boundary_f(mask, truth) if with_boundary else float("nan")
            per_object[obj_id].append((intersection_over_union(mask, truth), f))
            presence.add(said=bool(result.object_scores[row] > 0), true=bool(truth.any()))
    scores = []
    for obj_id, rows_ in per_object.items():
        j, f = np.mean(rows_, axis=0) if rows_ else (float("nan"), float("nan"))
        scores.append(TrackScore(name, obj_id, float(j), float(f), len(rows_)))
    return TrackingResult(tuple(scores), presence, predicted)


def _paint(labels: NDArray[np.uint16], logits: NDArray[np.float32], obj_ids: Sequence[int]) -> None:
    """Write masks into a (H, W) label image; the highest logit wins where they overlap."""
    best = logits.argmax(0)
    inside = logits.max(0) > 0
    labels[inside] = np.asarray(obj_ids, dtype=np.uint16)[best[inside]]
