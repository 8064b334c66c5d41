"""No pixel belongs to two objects: masks that claim the same pixels settle who has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam2_backbone.inference.boxes import meeting
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
    return [
        _without(mine, [claims[i] for i in near])
        for mine, near in zip(claims, _neighbours(claims), strict=True)
    ]


def _without(mine: Claim, others: Sequence[Claim]) -> Tensor:
    if not others:
        return mine.logits
    strongest = torch.stack(
        [resample_logits(other.logits[None], other.view, mine.view)[0] for other in others]
    ).amax(0)
    return mine.logits - strongest.clamp(min=0)


def _neighbours(claims: Sequence[Claim]) -> list[list[int]]:
    """Positions of the claims whose extents have a point in common with each, in order."""
    filled = [i for i, claim in enumerate(claims) if claim.extent is not None]
    extents = np.array([claims[i].extent for i in filled], dtype=np.float64).reshape(-1, 4)
    near: list[list[int]] = [[] for _ in claims]
    for row, i in enumerate(filled):
        near[i] = [filled[other] for other in meeting(extents[row], extents) if other != row]
    return near
