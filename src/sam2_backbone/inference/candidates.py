"""Which of many proposed masks are objects: stability, borders, duplicates, fragments, covers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sam2_backbone.inference.boxes import meeting
from sam2_backbone.inference.transforms import View

# told how many of how many points have been asked
Progress = Callable[[int, int], None]


class Asked:
    """Counts the points that have been asked, and tells of them.

    Parameters
    ----------
    total
        Of all points that will be asked, or found not to need it.
    progress
        Told; None for nobody.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def more(self, count: int) -> None:
        """Count so many more."""
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True)
class Candidate:
    """A proposed mask, kept as its part of the frame.

    Attributes
    ----------
    top, left
        Position of the part in the frame, in pixels.
    logits
        (h, w) float32; the mask is where they are positive, and touches all four sides.
    iou
        Predicted IoU.
    stability
        See `stability_scores`.
    point
        x, y of the prompt in pixels.
    view
        What the model looked at.
    worth
        What decides between masks that exclude each other.
    """

    top: int
    left: int
    logits: NDArray[np.float32]
    iou: float
    stability: float
    point: tuple[float, float]
    view: View
    worth: float

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(h, w)."""
        return self.logits > 0

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.logits > 0))

    @property
    def bottom(self) -> int:
        """First row below the part."""
        return self.top + int(self.logits.shape[0])

    @property
    def right(self) -> int:
        """First column right of the part."""
        return self.left + int(self.logits.shape[1])


@dataclass(frozen=True)
class OverlapRules:
    """When one of two overlapping masks loses; shares are 0…1.

    Attributes
    ----------
    duplicate_iou
        Masks with at least this IoU are one object: the better one stays.
    fragment_share
        A mask of which this share lies in a better one is a fragment of it.
    cover_share
        A mask that holds this share of a better one covers it.
    max_covered
        A mask that covers more than so many better ones loses.
    """

    duplicate_iou: float = 0.7
    fragment_share: float = 0.8
    cover_share: float = 0.8
    max_covered: int = 1


def stability_scores(mask_logits: Tensor, offset: float = 1.0) -> Tensor:
    """IoU of the masks at thresholds `offset` above and below zero (Kirillov et al. 2023).

    (..., h, w) logits give (...); an empty mask is 0.
    """
    inner = (mask_logits > offset).flatten(-2).sum(-1).float()
    outer = (mask_logits > -offset).flatten(-2).sum(-1).float()
    return inner / outer.clamp(min=1)


def mask_ious(masks: Tensor) -> Tensor:
    """IoU of each of (N, h, w) bool masks with each, (N, N)."""
    flat = masks.flatten(1).float()
    shared = flat @ flat.T
    areas = flat.sum(1)
    return shared / (areas[:, None] + areas - shared).clamp(min=1)


def first_of_duplicates(ious: Tensor, order: Sequence[int], threshold: float) -> list[int]:
    """Walk masks in `order` and keep those whose IoU with all kept before is below a threshold."""
    kept: list[int] = []
    taken = torch.zeros(ious.shape[0], dtype=torch.bool)
    for index in order:
        if not bool(taken[index]):
            kept.append(index)
            taken |= (ious[index] >= threshold).cpu()
    return kept


def piece_at(logits: NDArray[np.float32], place: tuple[float, float]) -> NDArray[np.float32]:
    """Return (h, w) logits with the piece at a place x, y only, else with the largest."""
    pieces, count = ndimage.label(logits > 0)
    if count <= 1:
        return logits
    row, column = round(place[1]), round(place[0])
    inside = 0 <= row < logits.shape[0] and 0 <= column < logits.shape[1]
    kept = int(pieces[row, column]) if inside else 0
    if not kept:
        kept = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    alone: NDArray[np.float32] = np.where((pieces > 0) & (pieces != kept), -1.0, logits)
    return alone.astype(np.float32)


def candidate_from_logits(
    logits: NDArray[np.float32],
    view: View,
    *,
    iou: float,
    stability: float,
    point: tuple[float, float],
    worth: float,
) -> Candidate | None:
    """Cut the part of (height, width) logits of a view that the mask takes; None if it is empty."""
    mask = logits > 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size == 0:
        return None
    part = logits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    top, left = view.top + int(rows[0]), view.left + int(columns[0])
    return Candidate(top, left, part, iou, stability, point, view, worth)


def whole_mask(candidate: Candidate, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Lay a mask into its frame of (height, width)."""
    whole = np.zeros(size, dtype=bool)
    part = np.s_[candidate.top : candidate.bottom, candidate.left : candidate.right]
    whole[part] = candidate.mask
    return whole


def shared_area(first: Candidate, second: Candidate) -> int:
    """Pixels that two masks have in common."""
    top, bottom = max(first.top, second.top), min(first.bottom, second.bottom)
    left, right = max(first.left, second.left), min(first.right, second.right)
    if top >= bottom or left >= right:
        return 0
    a = first.logits[top - first.top : bottom - first.top, left - first.left : right - first.left]
    b = second.logits[
        top - second.top : bottom - second.top, left - second.left : right - second.left
    ]
    return int(np.count_nonzero((a > 0) & (b > 0)))


def choose_objects(candidates: Sequence[Candidate], rules: OverlapRules) -> list[Candidate]:
    """Keep masks that exclude no better one, best first."""
    order = sorted(candidates, key=lambda c: c.worth, reverse=True)
    kept: list[Candidate] = []
    areas: list[int] = []
    boxes = np.zeros((0, 4), dtype=np.int64)
    for candidate in order:
        area = candidate.area
        box = np.array((candidate.top, candidate.left, candidate.bottom, candidate.right))
        near = meeting(box, boxes)
        if _loses(candidate, area, [(kept[i], areas[i]) for i in near], rules):
            continue
        kept.append(candidate)
        areas.append(area)
        boxes = np.concatenate((boxes, box[None]))
    return kept


def _loses(
    candidate: Candidate,
    area: int,
    better: Sequence[tuple[Candidate, int]],
    rules: OverlapRules,
) -> bool:
    covered, inside = 0, 0
    for other, other_area in better:
        shared = shared_area(candidate, other)
        if shared >= rules.duplicate_iou * (area + other_area - shared):
            return True
        covered += shared >= rules.cover_share * other_area
        inside += shared
    return covered > rules.max_covered or inside >= rules.fragment_share * area
