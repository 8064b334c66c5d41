"""Masks as they look after many frames of small errors, so that tracking learns to recover."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SOFTENING = (5, 9)  # side of the averaging that lets an outline move, in low-res pixels
NODES = 7  # of the smooth noise that moves it
SHIFT = 0.04  # deviation of the displacement, over half of the side
SWELL = 0.1  # deviation of the level that is the outline: the mask grows or shrinks
LOGITS_PER_LEVEL = 24.0
GROWTH = 0.2  # as SWELL, of masks that have only grown or shrunk


def swollen(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Return masks (N, 1, l, l) that have grown or shrunk all around, without a gradient.

    As tracked masks do where objects are alike and drift of the place is not to be learned.
    """
    level = _softened(logits, SOFTENING[0])
    growth = torch.randn(logits.shape[0], 1, 1, 1, generator=generator).to(logits.device)
    shift = (GROWTH * growth).clamp(-0.45, 0.45)  # beyond that a mask is all or nothing
    return ((level - 0.5 + shift) * LOGITS_PER_LEVEL).to(logits.dtype)


def drifted(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Return masks whose outlines have wandered, that have moved, and lost or taken up pieces.

    A clip of training is too short for a network to meet what it says after thirty frames: this
    stands for it.

    Parameters
    ----------
    logits
        (N, 1, l, l).

    Returns
    -------
    Tensor
        (N, 1, l, l) logits, without a gradient.
    """
    count, side = logits.shape[0], logits.shape[-1]

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator).to(logits.device)

    level = _softened(
        logits, SOFTENING[int(torch.randint(len(SOFTENING), (), generator=generator))]
    )
    still = torch.eye(2, 3, device=logits.device).repeat(count, 1, 1)
    still[:, :, 2] += SHIFT * normal(2)
    grid = functional.affine_grid(still, list(level.shape), align_corners=False)
    level = functional.grid_sample(level, grid, align_corners=False)
    noise = functional.interpolate(normal(1, NODES, NODES), (side, side), mode="bilinear")
    strength = torch.rand(count, 1, 1, 1, generator=generator).to(logits.device) * 0.22 + 0.03
    level = level - 0.5 + strength * noise + SWELL * normal(1, 1, 1)
    return (level * LOGITS_PER_LEVEL).to(logits.dtype)


def _softened(logits: Tensor, side: int) -> Tensor:
    """Return the share of each pixel's neighbourhood that is inside, 0…1: 0.5 at the outline."""
    return functional.avg_pool2d((logits.detach() > 0).float(), side, stride=1, padding=side // 2)
