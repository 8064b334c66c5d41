"""No pixel belongs to two objects: masks that claim the same pixels settle who has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam2_backbone.inference.transforms import View, resample_logits

Extent = tuple[float, float, float, float]


@dataclass(frozen=True)
class Claim:
    """What one object claims of a frame.

    Attributes
    ----------
    logits
        (1, l, l), of `view`.
    extent
        top, left, bottom, right of all positive pixels, in pixels of the frame; None without any.
    """

    logits: Tensor
    view: View
    extent: Extent | None


def claim(logits: Tensor, view: View) -> Claim:
    """Return the claim of logits (1, l, l) seen through a view."""
    positive = logits[0] > 0
    rows, columns = positive.any(1).nonzero()[:, 0], positive.any(0).nonzero()[:, 0]
    if len(rows) == 0:
        return Claim(logits, view, None)
    height, width = view.height / logits.shape[-1], view.width / logits.shape[-1]
    extent = (
        view.top + float(rows[0]) * height,
        view.left + float(columns[0]) * width,
        view.top + float(rows[-1] + 1) * height,
        view.left + float(columns[-1] + 1) * width,
    )
    return Claim(logits, view, extent)


def settled(claims: Sequence[Claim]) -> list[Tensor]:
    """Return the logits (1, l, l) of each claim without what another claims more strongly.

    Where another object is positive, the larger of the other logits is subtracted: the sign says
    who has the pixel, and the outline between two objects lies where they are equal.
    """
    return [_without(mine, [other for other in claims if _meet(mine, other)]) for mine in claims]


def _without(mine: Claim, others: Sequence[Claim]) -> Tensor:
    if not others:
        return mine.logits
    strongest = torch.stack(
        [resample_logits(other.logits[None], other.view, mine.view)[0] for other in others]
    ).amax(0)
    return mine.logits - strongest.clamp(min=0)


def _meet(mine: Claim, other: Claim) -> bool:
    if mine is other or mine.extent is None or other.extent is None:
        return False
    top, left, bottom, right = mine.extent
    y0, x0, y1, x1 = other.extent
    return max(top, y0) < min(bottom, y1) and max(left, x0) < min(right, x1)
