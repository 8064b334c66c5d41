"""Dense auxiliary task of training: foreground, interior and position inside each object."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DENSE_CHANNELS = 4  # foreground, interior, offset x, offset y


class DenseHead(nn.Module):
    """Predicts the dense targets from the neck's finest map; it is not exported."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.GELU(), nn.Conv2d(channels, DENSE_CHANNELS, 1)
        )

    def forward(self, finest: Tensor) -> Tensor:
        """Map (B, C, S/4, S/4) to (B, 4, S/4, S/4)."""
        return self.layers(finest)  # type: ignore[no-any-return]


def dense_targets(labels: Tensor, stride: int = 4) -> Tensor:
    """Return (B, 4, S/stride, S/stride) from label images (B, S, S).

    Foreground and interior are coverages 0…1; the offsets are the distance from the object's
    centre in units of its size, 0 outside objects.
    """
    ids = labels.float()[:, None]
    foreground = (ids > 0).float()
    largest = F.max_pool2d(ids, 5, stride=1, padding=2)
    smallest = -F.max_pool2d(-ids, 5, stride=1, padding=2)
    interior = foreground * (largest == smallest).float()
    batch, height, width = labels.shape
    span = int(labels.max()) + 1
    rows = torch.arange(batch, device=labels.device)[:, None, None] * span
    flat = (labels + rows).flatten()
    line_y = torch.arange(height, device=labels.device, dtype=torch.float32) / height
    line_x = torch.arange(width, device=labels.device, dtype=torch.float32) / width
    y = line_y[None, :, None].expand(batch, height, width).flatten()
    x = line_x[None, None, :].expand(batch, height, width).flatten()
    count = torch.bincount(flat, minlength=batch * span).clamp(min=1).float()
    mean_y = torch.bincount(flat, weights=y, minlength=batch * span) / count
    mean_x = torch.bincount(flat, weights=x, minlength=batch * span) / count
    size = (count / (height * width)).sqrt()  # side of the square of equal area
    offset = torch.stack(((x - mean_x[flat]) / size[flat], (y - mean_y[flat]) / size[flat]))
    offset = offset.view(2, batch, height, width).transpose(0, 1) * foreground
    offset = offset.clamp(-2, 2)
    return F.avg_pool2d(torch.cat((foreground, interior, offset), 1), stride)


def dense_loss(predicted: Tensor, target: Tensor, complete: Tensor) -> Tensor:
    """Mean loss over the crops whose objects are all labelled (`complete`, (B,) bool)."""
    predicted = predicted.float()
    maps = F.binary_cross_entropy_with_logits(predicted[:, :2], target[:, :2], reduction="none")
    inside = target[:, :1]
    offsets = (predicted[:, 2:] - target[:, 2:]).abs() * inside
    per_crop = maps.mean((1, 2, 3)) * 2 + offsets.sum((1, 2, 3)) / (inside.sum((1, 2, 3)) + 16)
    weight = complete.float()
    return (per_crop * weight).sum() / weight.sum().clamp(min=1)
