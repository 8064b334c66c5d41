"""How a mask is kept: the object's bounding box and one signed byte of logit a pixel."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam2_backbone.inference.packed_mask import PackedMask

#: Steps per unit of logit: one byte then spans ±16, beyond which a sigmoid is flat to 1e-7.
_STEPS = 8.0
#: Given to the pixels of a mask that a person drew, a logit of 12: surer than nearly any answer.
DRAWN = np.int8(12.0 * _STEPS)
#: More than any stored logit: puts what a person has accepted above everything else.
_ABOVE_ALL = 256

Region = tuple[slice, slice]
Box = tuple[int, int, int, int]
"""First row, first column, end row, end column."""


@dataclass(frozen=True, eq=False)
class StoredMask:
    """
    One object's mask on one frame.

    Attributes
    ----------
    top, left
        First row and column of the crop in pixels of the frame.
    logits
        ``(h, w)`` int8, eighths of a logit; positive is inside. Empty where the object is absent.
    object_score, iou
        The model's object score (a logit) and predicted IoU; NaN for a mask drawn by a person.
    """

    top: int
    left: int
    logits: npt.NDArray[np.int8]
    object_score: float
    iou: float

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredMask):
            return NotImplemented
        return (
            (self.top, self.left) == (other.top, other.left)
            and np.array_equal(self.logits, other.logits)
            and np.array_equal(
                [self.object_score, self.iou], [other.object_score, other.iou], equal_nan=True
            )
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_empty(self) -> bool:
        """Whether the object has no pixel on this frame."""
        return self.logits.size == 0

    @property
    def box(self) -> Box:
        """Where the mask lies; without area where the object is absent."""
        height, width = self.logits.shape
        return self.top, self.left, self.top + height, self.left + width

    def may_overlap(self, other: StoredMask) -> bool:
        """Whether the boxes of two masks of a frame have a pixel in common."""
        top, left, bottom, right = self.box
        y0, x0, y1, x1 = other.box
        return max(top, y0) < min(bottom, y1) and max(left, x0) < min(right, x1)

    def to_array(self, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Return the mask of the whole frame, ``(H, W)`` bool."""
        mask = np.zeros((height, width), bool)
        rows, columns = self.logits.shape
        mask[self.top : self.top + rows, self.left : self.left + columns] = self.logits > 0
        return mask

    def packed(self, height: int, width: int) -> PackedMask:
        """Return the mask of the whole frame as it is handed to the network."""
        inside = self.logits > 0
        bits = np.packbits(inside)
        return PackedMask((height, width), self.top, self.left, inside.shape, bits)


@dataclass(frozen=True)
class Scores:
    """The model's opinion of a mask: object score (logit, above 0 = present), predicted IoU."""

    object_score: float
    iou: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """
    One of the answers to an ambiguous click.

    Attributes
    ----------
    mask
        The answer.
    stability
        IoU of the mask at logits above 1 and above −1: near 1 where the border is sharp.
    """

    mask: StoredMask
    stability: float


def stability_of(logits: npt.NDArray[np.floating]) -> float:
    """Return how little the area of a mask depends on the threshold, 0…1 (SAM's score)."""
    outer = int(np.count_nonzero(logits > -1.0))
    return int(np.count_nonzero(logits > 1.0)) / outer if outer else 0.0


def store_logits(
    logits: npt.NDArray[np.floating], *, top: int, left: int, object_score: float, iou: float
) -> StoredMask:
    """
    Keep the part of `logits` that is inside the object.

    Parameters
    ----------
    logits
        ``(h, w)``, a crop of the frame whose first pixel is (`top`, `left`).
    top, left
        Pixels of the frame.
    object_score, iou
        The model's scores for this mask.
    """
    inside = logits > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if rows.size == 0:
        return StoredMask(0, 0, np.zeros((0, 0), np.int8), object_score, iou)
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    steps = np.asarray(logits[box], np.float32) * _STEPS
    # Rounding away from zero keeps the sign, hence the mask, exactly.
    steps = np.where(inside[box], np.ceil(steps), np.floor(steps))
    stored = np.clip(np.nan_to_num(steps, nan=-127), -127, 127).astype(np.int8)
    stored.setflags(write=False)
    return StoredMask(top + int(rows[0]), left + int(columns[0]), stored, object_score, iou)


def store_drawn(mask: PackedMask) -> StoredMask:
    """Keep a mask that a person drew, exactly."""
    logits = np.where(mask.box(), DRAWN, -DRAWN)
    logits.setflags(write=False)
    return StoredMask(mask.top, mask.left, logits, np.nan, np.nan)


def label_dtype(obj_ids: Iterable[int]) -> np.dtype[np.unsignedinteger]:
    """Return uint16, or uint32 where an id does not fit."""
    return np.dtype(np.uint16 if max(obj_ids, default=0) <= 0xFFFF else np.uint32)


def compose_labels(
    masks: Iterable[tuple[int, StoredMask]],
    height: int,
    width: int,
    dtype: np.dtype[np.unsignedinteger],
    region: Region | None = None,
    *,
    accepted: Collection[int] = (),
) -> npt.NDArray[np.unsignedinteger]:
    """
    Paint masks into one label image; where two overlap the higher logit wins, then the first.

    What a person has accepted comes before what is not, in the same order.

    Parameters
    ----------
    masks
        Pairs of object id and mask.
    height, width
        Size of the frame in pixels.
    dtype
        Of the labels.
    region
        Rows and columns to return; the whole frame if ``None``.
    accepted
        Ids of objects that keep their pixels, however sure one that is not among them is of them.
    """
    rows, columns = region if region is not None else (slice(None), slice(None))
    y0, y1, _ = rows.indices(height)
    x0, x1, _ = columns.indices(width)
    labels = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), dtype)
    highest = np.zeros(labels.shape, np.int16)
    for obj_id, mask in masks:
        top, bottom = max(mask.top, y0), min(mask.top + mask.logits.shape[0], y1)
        left, right = max(mask.left, x0), min(mask.left + mask.logits.shape[1], x1)
        if top >= bottom or left >= right:
            continue
        crop = mask.logits[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]
        target = np.s_[top - y0 : bottom - y0, left - x0 : right - x0]
        sureness = crop.astype(np.int16) + (_ABOVE_ALL if obj_id in accepted else 0)
        wins = (crop > 0) & (sureness > highest[target])
        labels[target][wins] = obj_id
        highest[target][wins] = sureness[wins]
    return labels
