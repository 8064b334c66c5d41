"""The shape that an object had where it was prompted, kept in place from frame to frame.

A mask that is carried from one frame to the next is the network's own answer there: what is wrong
in it goes on. The prompted mask is what a person has seen. So its way to each frame is kept, step
by step, and every step is set right against the picture of the prompted frame, as long as the
object still looks like it: errors of the steps do not add up then. The way is affine; how the
object bends besides is found on the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam2_backbone.inference.bending import bend, straight, unbend
from sam2_backbone.inference.motion import (
    Carried,
    agreement_of,
    find_motion,
    read_at,
    square,
    with_margin,
)
from sam2_backbone.inference.transforms import View

_LOOKS_ALIKE = 0.6  # agreement with the prompted frame from which its picture is believed
_FARTHEST = 0.15  # largest correction of one frame, of a view's half side
_LARGEST_GROWTH = 16.0  # of the area since the prompt, or its inverse; what is beyond was lost
_CLAMP = 10.0  # of the shape's logits
# where an object looks just as on the prompted frame its shape counts so many times more, down to
# none at the lower agreement; chosen on made clips of training images
_MORE, _MORE_FROM = 3.0, 0.7


@dataclass(frozen=True)
class Anchor:
    """An object where it was prompted.

    Attributes
    ----------
    view
        Through which the frame was looked at.
    logits
        (1, 1, l, l) of its mask; 0 beyond the frame, where nobody knows.
    grey
        (1, 1, s, s) grey values of the view.
    """

    view: View
    logits: Tensor
    grey: Tensor


@dataclass(frozen=True)
class Trail:
    """How an object came from where it was prompted to another frame.

    Attributes
    ----------
    anchor
        The prompted frame.
    moved
        Map (3, 3) of pixel x, y there to those of the other frame.
    sure
        From 0, the object was out of sight in between, to 1: that of the least sure step.
    bent
        (2, g, g) how it has bent besides, as `bend` has it.
    """

    anchor: int
    moved: Tensor
    sure: float
    bent: Tensor

    @staticmethod
    def beginning(anchor: int) -> Trail:
        """Return the trail to the prompted frame itself."""
        return Trail(anchor, torch.eye(3), 1.0, straight(1)[0])


def go_on(
    trails: Sequence[Trail],
    anchors: Sequence[Anchor],
    views: Sequence[View],
    carried: Carried,
    now: Tensor,
) -> tuple[list[Trail], Tensor]:
    """Follow N trails one step farther.

    Parameters
    ----------
    trails
        To the frame that the objects are carried from.
    anchors
        Where they begin.
    views
        Through which the objects are looked at now; `carried` is in them.
    now
        Grey values (N, 1, s, s) of the views.

    Returns
    -------
    trails, pull
        Those to this frame, and what the shapes say of its pixels (N, 1, l, l): from -1 to 1, and
        up to four times as much where the object still looks as it did.
    """
    here = torch.stack([view.placement for view in views]).to(now)
    there = torch.stack([anchor.view.placement for anchor in anchors]).to(now)
    before = torch.stack([trail.moved for trail in trails]).to(now)
    logits = torch.cat([a.logits for a in anchors]).to(now).clamp(-_CLAMP, _CLAMP)
    seen = torch.cat([a.grey for a in anchors]).to(now)
    step = here @ square(carried.maps.to(now)) @ torch.linalg.inv(here)
    moved = _set_right(step @ before, seen, logits, here, there, now)
    known = torch.tensor([trail.sure for trail in trails]).to(now)
    areas = torch.linalg.det(moved[:, :2, :2])
    is_kept = (areas > 1 / _LARGEST_GROWTH) & (areas < _LARGEST_GROWTH)  # not where they are NaN
    sure = torch.minimum(known, carried.sure.to(now)).where(is_kept, 0.0)
    moved = moved.where(is_kept[:, None, None], torch.eye(3).to(now))
    through = torch.linalg.inv(here) @ moved @ there
    bent = torch.stack([trail.bent for trail in trails]).to(now)
    region = _outlined(logits)
    bent, alike = _bent_on(bent, seen, now, through, region)
    more = 1 + _MORE * ((alike - _MORE_FROM) / (1 - _MORE_FROM)).clamp(0, 1)
    pull = (sure * more)[:, None, None, None] * torch.tanh(_laid(logits, bent, through, region) / 2)
    # kept for every frame, and few numbers each
    rows = zip(trails, moved.cpu(), sure.tolist(), bent.cpu(), strict=True)
    return [replace(t, moved=m.clone(), sure=s, bent=b.clone()) for t, m, s, b in rows], pull


def _bent_on(
    bent: Tensor, seen: Tensor, now: Tensor, through: Tensor, region: Tensor
) -> tuple[Tensor, Tensor]:
    """Bend objects on where that makes them look more like on the prompted frame.

    Returns how they are bent, and how much they look like there (N,).
    """
    further, agreement, unbent = bend(bent, seen, now, through, region)
    is_better = (agreement > unbent) & (agreement > _LOOKS_ALIKE)  # not where they are NaN
    bent = torch.where(is_better[:, None, None, None], further, bent)
    return bent, torch.where(is_better, agreement, unbent).nan_to_num(0.0)


def _outlined(logits: Tensor) -> Tensor:
    """Weights (N, 1, l, l) of an object and, half as much, the pixels along its outside.

    The outline shows where an object ends, but what lies beyond may move in another way.
    """
    inside = (logits > 0).float()
    return (inside + F.max_pool2d(inside, 3, 1, 1)) / 2


def _laid(logits: Tensor, bent: Tensor, through: Tensor, region: Tensor) -> Tensor:
    """Lay logits (N, 1, l, l) of the prompted views into those of now."""
    back = torch.linalg.inv(through)
    places = F.affine_grid(back[:, :2], list(logits.shape), align_corners=False)
    return read_at(logits, unbend(places, bent, region))


def _set_right(
    moved: Tensor, seen: Tensor, logits: Tensor, here: Tensor, there: Tensor, now: Tensor
) -> Tensor:
    """Correct the ways (N, 3, 3) from the prompted frames by what is `seen` on them."""
    region = with_margin(logits)
    through = torch.linalg.inv(here) @ moved @ there  # from the prompted view into this one
    grid = F.affine_grid(through[:, :2], list(now.shape), align_corners=False)
    alike = F.grid_sample(now, grid, padding_mode="border", align_corners=False)
    motion = find_motion(seen, alike, region)
    nudge = square(motion.maps)
    is_better = motion.agreement > agreement_of(seen, alike, region).clamp(min=_LOOKS_ALIKE)
    is_near = (nudge - torch.eye(3).to(nudge)).abs().amax((1, 2)) < _FARTHEST
    nudged = moved @ there @ nudge @ torch.linalg.inv(there)
    return torch.where((is_better & is_near)[:, None, None], nudged, moved)
