"""What a person says of an object on a frame, and the one place where (y, x) becomes (x, y)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session.given_numbers import as_floats, as_polarity, whole_number
from sam2_backbone.inference.packed_mask import PackedMask

POSITIVE, NEGATIVE = 1, 0


def swap_xy(coordinates: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """
    Swap (y, x) and (x, y) in points ``(…, 2)`` or in boxes ``(…, 4)`` of two corners.

    Every change between the session's order and the backbone's goes through here.
    """
    *leading, length = coordinates.shape
    pairs = coordinates.reshape(*leading, length // 2, 2)
    return np.ascontiguousarray(pairs[..., ::-1]).reshape(coordinates.shape)


@dataclass(frozen=True, eq=False)
class FramePrompts:
    """
    All prompts of one object on one frame, (y, x) in pixels, in the order in which they are asked.

    Attributes
    ----------
    points
        ``(N, 2)`` float64, y and x; an integer is a pixel's centre.
    point_labels
        ``(N,)`` int64, 1 positive, 0 negative.
    box
        ``(4,)`` float64, edges y0, x0, y1, x1, or ``None``.
    mask
        Of the frame, or ``None``. A frame has a box or a mask, never both; points refine either.
    candidate
        Which answer to an ambiguous first click was meant, 0 for the one the model prefers.
    """

    points: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    point_labels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    box: npt.NDArray[np.float64] | None = None
    mask: PackedMask | None = None
    candidate: int = 0

    def __post_init__(self) -> None:
        for array in (self.points, self.point_labels, self.box):
            if array is not None:
                array.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FramePrompts):
            return NotImplemented
        return self.extends(other) and len(self.points) == len(other.points)

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return len(self.points) == 0 and self.box is None and self.mask is None

    def extends(self, earlier: FramePrompts) -> bool:
        """Whether `earlier` is how these prompts began, so that only points were added since."""
        count = len(earlier.points)
        return (
            len(self.points) >= count
            and self.candidate == earlier.candidate
            and np.array_equal(self.points[:count], earlier.points)
            and np.array_equal(self.point_labels[:count], earlier.point_labels)
            and _same(self.box, earlier.box)
            and self.mask == earlier.mask
        )


def _same(first: npt.NDArray[Any] | None, second: npt.NDArray[Any] | None) -> bool:
    if first is None or second is None:
        return first is second
    return first is second or np.array_equal(first, second)


def frame_prompts(
    points: npt.ArrayLike | None = None,
    point_labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | PackedMask | None = None,
    *,
    height: int,
    width: int,
    candidate: int = 0,
) -> FramePrompts:
    """
    Check prompts in (y, x) against the frame's size and freeze them.

    Raises
    ------
    TypeError, ValueError
        A point outside, an empty or reversed box, a mask of another size, labels that do not match.
    """
    checked_points, checked_labels = _checked_points(points, point_labels, height, width)
    if box is not None and mask is not None:
        raise ValueError("A frame takes a box or a mask of an object, not both: remove one.")
    candidate = whole_number(candidate, "candidate")
    if candidate < 0:
        raise ValueError(f"Candidates are counted from 0, got {candidate}.")
    if candidate and (box is not None or mask is not None or len(checked_points) == 0):
        raise ValueError("Only a click has several answers: a box or a mask has no candidates.")
    return FramePrompts(
        points=checked_points,
        point_labels=checked_labels,
        box=None if box is None else _checked_box(box, height, width),
        mask=None if mask is None else checked_mask(mask, height, width),
        candidate=candidate,
    )


def _checked_points(
    points: npt.ArrayLike | None, point_labels: npt.ArrayLike | None, height: int, width: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    if points is None:
        if point_labels is not None and np.size(point_labels):
            raise ValueError("point_labels were given without points.")
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    array = as_floats(points, "points")
    if array.size == 0:
        array = array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"Points must have the shape (N, 2), got {array.shape}.")
    labels = np.ones(len(array), np.int64) if point_labels is None else as_polarity(point_labels)
    if labels.shape != (len(array),):
        raise ValueError(
            f"point_labels must hold one number for each of {len(array)} points, "
            f"got the shape {labels.shape}."
        )
    if not np.isin(labels, (POSITIVE, NEGATIVE)).all():
        raise ValueError(
            f"point_labels must be 1 (positive) or 0 (negative), got {labels.tolist()}."
        )
    for y, x in array:
        if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
            raise ValueError(
                f"The point y={y:g}, x={x:g} is outside the image of {height} x {width} pixels."
            )
    return array.copy(), labels


def _checked_box(box: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.float64]:
    array = as_floats(box, "box").copy()
    if array.shape != (4,):
        raise ValueError(f"A box must be four numbers, got the shape {array.shape}.")
    y0, x0, y1, x1 = array
    said = f"The box y {y0:g} to {y1:g}, x {x0:g} to {x1:g}"
    if not np.isfinite(array).all():
        raise ValueError(f"{said} is not finite.")
    if not (y0 < y1 and x0 < x1):
        raise ValueError(f"{said} is empty or reversed: give the smaller edge first.")
    if y0 < 0 or x0 < 0 or y1 > height or x1 > width:
        raise ValueError(f"{said} reaches outside the image of {height} x {width} pixels.")
    return array


def checked_mask(mask: npt.ArrayLike | PackedMask, height: int, width: int) -> PackedMask:
    """Return `mask` ``(H, W)`` as it is kept; above 0 is inside."""
    array = mask if isinstance(mask, PackedMask) else np.asarray(mask)
    if isinstance(array, np.ndarray) and array.dtype.kind not in "buif":
        raise TypeError(f"A mask must be bool or numbers, got {array.dtype}.")
    if array.shape != (height, width):
        raise ValueError(
            f"The mask has the shape {array.shape}, the image is {height} x {width} pixels."
        )
    return array if isinstance(array, PackedMask) else PackedMask.pack(np.asarray(array > 0))


@dataclass(frozen=True, eq=False)
class PromptRecord:
    """
    One object's prompts on one frame as scripts and JSON files write them: **x, y** in pixels.

    Attributes
    ----------
    frame_idx, obj_id
        Frame from 0, object from 1.
    points
        ``(N, 2)`` x, y, or ``None``.
    point_labels
        ``(N,)``, 1 positive, 0 negative; all positive if ``None``.
    box
        x0, y0, x1, y1, edges, or ``None``.
    mask
        ``(H, W)`` bool, or ``None``.
    candidate
        Which of the answers to a first click is taken, the best one being 0.
    """

    frame_idx: int
    obj_id: int
    points: npt.ArrayLike | None = None
    point_labels: npt.ArrayLike | None = None
    box: npt.ArrayLike | None = None
    mask: npt.ArrayLike | PackedMask | None = None
    candidate: int = 0

    def to_frame_prompts(self, *, height: int, width: int) -> FramePrompts:
        """Check against the frame's size and turn to (y, x)."""
        points = None if self.points is None else as_floats(self.points, "points")
        if points is not None and points.size and points.shape[-1] != 2:
            raise ValueError(f"Points must have the shape (N, 2), got {points.shape}.")
        box = None if self.box is None else as_floats(self.box, "box")
        if box is not None and box.shape != (4,):
            raise ValueError(f"A box must be four numbers, got the shape {box.shape}.")
        return frame_prompts(
            swap_xy(points) if points is not None and points.size else None,
            self.point_labels,
            None if box is None else swap_xy(box),
            self.mask,
            height=height,
            width=width,
            candidate=self.candidate,
        )

    @classmethod
    def from_frame_prompts(cls, frame_idx: int, obj_id: int, prompts: FramePrompts) -> PromptRecord:
        """Return the record of a session's prompts."""
        has_points = len(prompts.points) > 0
        return cls(
            frame_idx=frame_idx,
            obj_id=obj_id,
            points=swap_xy(prompts.points) if has_points else None,
            point_labels=prompts.point_labels if has_points else None,
            box=None if prompts.box is None else swap_xy(prompts.box),
            mask=prompts.mask,
            candidate=prompts.candidate,
        )


@dataclass(frozen=True, eq=False)
class Question:
    """One call to the predictor: x, y in pixels, as the backbone takes them."""

    points: npt.NDArray[np.float32] | None = None
    labels: npt.NDArray[np.int32] | None = None
    box: npt.NDArray[np.float32] | None = None
    mask: PackedMask | None = None
    is_first: bool = True

    @property
    def is_ambiguous(self) -> bool:
        """Whether it is a first click by itself, which has several answers."""
        return self.is_first and self.points is not None and len(self.points) == 1


def questions(prompts: FramePrompts, *, already_asked: int | None = None) -> Iterator[Question]:
    """
    Yield the calls that ask `prompts`: mask or box, then each point with the logits before it.

    Parameters
    ----------
    prompts
        In (y, x).
    already_asked
        How many of the points the predictor has heard, box and mask included; ``None`` for nothing.
    """
    is_first = already_asked is None
    if is_first and prompts.mask is not None:
        yield Question(mask=prompts.mask)
        is_first = False
    elif is_first and prompts.box is not None:
        yield Question(box=swap_xy(prompts.box).astype(np.float32))
        is_first = False
    start = already_asked or 0
    for point, label in zip(
        swap_xy(prompts.points[start:]), prompts.point_labels[start:], strict=True
    ):
        yield Question(
            points=point[None].astype(np.float32),
            labels=np.array([label], np.int32),
            is_first=is_first,
        )
        is_first = False


def add_point(prompts: FramePrompts, point: Sequence[float], positive: bool) -> FramePrompts:
    """Return `prompts` with one more checked point (y, x)."""
    return FramePrompts(
        points=np.vstack([prompts.points, np.asarray(point, np.float64)[None]]),
        point_labels=np.append(prompts.point_labels, POSITIVE if positive else NEGATIVE),
        box=prompts.box,
        mask=prompts.mask,
        candidate=prompts.candidate,
    )
