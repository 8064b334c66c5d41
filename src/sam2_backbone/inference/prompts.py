"""Prompts as people give them, checked: pixels in, one clear sentence out where they are wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sam2_backbone.inference.packed_mask import PackedMask


@dataclass(frozen=True)
class FramePrompts:
    """What was said of one object on one frame.

    Attributes
    ----------
    points
        (P, 2) x, y in pixels.
    labels
        (P,) 1 positive, 0 negative, -1 padding.
    box
        x0, y0, x1, y1 in pixels, or None.
    mask
        Of the frame, or None; a mask excludes points and box.
    """

    points: Tensor
    labels: Tensor
    box: tuple[float, float, float, float] | None = None
    mask: PackedMask | None = None

    @property
    def coords(self) -> Tensor:
        """Box corners, then points: (2 + P, 2) or (P, 2)."""
        if self.box is None:
            return self.points
        return torch.cat((torch.tensor(self.box).reshape(2, 2), self.points))

    @property
    def is_box_alone(self) -> bool:
        """Whether there is a box and no click."""
        return self.box is not None and not bool((self.labels >= 0).any())

    @property
    def shows_object(self) -> bool:
        """Whether they say where the object is, not only where it is not."""
        return self.box is not None or bool((self.labels == 1).any())

    def newest(self, most: int | None) -> FramePrompts:
        """Return the box, the first click and the newest, at most so many clicks; None: all."""
        clicks = (self.labels >= 0).nonzero()[:, 0]
        if most is None or len(clicks) <= most:
            return self
        kept = torch.cat((clicks[:1], clicks[len(clicks) - most + 1 :]))
        return replace(self, points=self.points[kept], labels=self.labels[kept])

    @property
    def kinds(self) -> Tensor:
        """Labels of `coords`: 2 and 3 for the corners."""
        if self.box is None:
            return self.labels
        return torch.cat((torch.tensor([2, 3], dtype=torch.int32), self.labels))


def check_points(
    points: ArrayLike | Tensor | None, labels: ArrayLike | Tensor | None, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Check points of one object: (P, 2) x, y inside a frame of (height, width), (P,) labels.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is unknown, or a point lies outside.
    """
    if (points is None) != (labels is None):
        raise ValueError("points and labels must be given together")
    if points is None or labels is None:
        return torch.zeros(0, 2), torch.zeros(0, dtype=torch.int32)
    coords = torch.as_tensor(np.asarray(points, dtype=np.float32))
    kinds = torch.as_tensor(np.asarray(labels)).to(torch.int32).reshape(-1)
    if coords.ndim == 3 and coords.shape[0] == 1:
        coords = coords[0]
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise ValueError(f"points must be (N, 2) x, y pairs, not of shape {tuple(coords.shape)}")
    if kinds.shape[0] != coords.shape[0]:
        raise ValueError(f"{coords.shape[0]} points need as many labels, not {kinds.shape[0]}")
    if not bool(((kinds >= -1) & (kinds <= 1)).all()):
        raise ValueError("labels are 1 (positive), 0 (negative) or -1 (padding)")
    height, width = size
    real = coords[kinds >= 0]
    inside = (real > -0.5 - 1e-6).all(1) & (real[:, 0] < width - 0.5) & (real[:, 1] < height - 0.5)
    if not bool(inside.all()):
        x, y = real[~inside][0].tolist()
        raise ValueError(
            f"the point x={x:g}, y={y:g} lies outside the frame of {width} x {height} pixels"
        )
    return coords, kinds


def check_box(
    box: ArrayLike | Tensor | None, size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """Check a box x0, y0, x1, y1 of pixel edges in a frame of (height, width).

    Raises
    ------
    ValueError
        If it is reversed, empty or outside.
    """
    if box is None:
        return None
    values = np.asarray(box, dtype=np.float64).reshape(-1)
    if values.size != 4 or not np.isfinite(values).all():
        raise ValueError(f"a box is x0, y0, x1, y1, not {np.asarray(box).tolist()}")
    x0, y0, x1, y1 = (float(v) for v in values)
    height, width = size
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"the box {values.tolist()} is empty or reversed: x0 < x1 and y0 < y1")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise ValueError(
            f"the box {values.tolist()} reaches outside the frame of {width} x {height} pixels"
        )
    return x0, y0, x1, y1


def check_mask(mask: ArrayLike | Tensor | PackedMask, size: tuple[int, int]) -> PackedMask:
    """Check a mask of the frame's (height, width).

    Raises
    ------
    ValueError
        If its shape is another.
    """
    array = mask if isinstance(mask, PackedMask) else np.asarray(mask)
    if array.shape != size:
        raise ValueError(f"the mask has shape {array.shape}, the frame {size}: they must be equal")
    return array if isinstance(array, PackedMask) else PackedMask.pack(array.astype(bool))


def merge_prompts(
    new: FramePrompts, old: FramePrompts | None, *, replace_old: bool
) -> FramePrompts:
    """Add new points to old ones, or replace them.

    Raises
    ------
    ValueError
        If nothing is prompted, or a box is to be added to points.
    """
    if new.box is not None and not replace_old:
        raise ValueError("a box replaces earlier points: give it with clear_old_points=True")
    if old is not None and not replace_old and old.mask is None:
        points, labels = torch.cat((old.points, new.points)), torch.cat((old.labels, new.labels))
        new = FramePrompts(points, labels, box=old.box)
    if not bool((new.labels >= 0).any()) and new.box is None:
        raise ValueError("the prompt is empty: give at least one point, a box or a mask")
    return new
