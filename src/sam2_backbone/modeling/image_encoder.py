"""From an image to feature maps: a timm trunk and a feature-pyramid neck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn
from torch.nn import functional

from sam2_backbone.config import SAM2Config


class NeckBlock(nn.Module):
    """Residual block that smooths a level: 3x3 depth-wise, two point-wise layers; starts as 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.pointwise1 = nn.Conv2d(dim, dim, 1)
        self.pointwise2 = nn.Conv2d(dim, dim, 1)
        nn.init.zeros_(self.pointwise2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        y = self.pointwise1(self.norm(self.depthwise(x)))
        out: Tensor = x + self.pointwise2(functional.relu(y))
        return out


class Neck(nn.Module):
    """Feature pyramid: lateral 1x1 convolutions and a nearest top-down path on some levels."""

    def __init__(
        self,
        channels: Sequence[int],
        hidden_dim: int,
        top_down_levels: Sequence[int],
        block_levels: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, hidden_dim, 1) for c in channels)
        self.top_down_levels = frozenset(top_down_levels)
        self.blocks = nn.ModuleDict({str(n): NeckBlock(hidden_dim) for n in block_levels})

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps at strides 4, 8, 16, 32 to maps of (B, hidden_dim, …) at the same strides."""
        out: list[Tensor] = []
        above: Tensor | None = None
        for level in reversed(range(len(maps))):
            x = self.lateral[level](maps[level])
            if above is not None and level in self.top_down_levels:
                x = x + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            if str(level) in self.blocks:
                x = self.blocks[str(level)](x)
            above = x
            out.append(x)
        return out[::-1]


class ImageEncoder(nn.Module):
    """Trunk and neck; run once per frame, independent of prompts."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        options: dict[str, Any] = dict(config.trunk.options)
        trunk: Any = timm.create_model(config.trunk.timm_name, num_classes=0, **options)
        trunk.head = nn.Identity()  # a classifier's last norm has no use here
        self.levels = list(config.trunk.levels) if config.trunk.levels else None
        if self.levels:
            trunk.prune_intermediate_layers(self.levels, prune_head=True)
        self.trunk: Any = trunk  # timm's own interface: forward_intermediates
        self.neck = Neck(
            config.trunk.channels, config.hidden_dim, config.top_down_levels, config.block_levels
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode (B, 3, S, S) normalised images; returns maps at strides 4, 8 and 16."""
        maps = self.trunk.forward_intermediates(
            images, indices=self.levels, intermediates_only=True
        )
        pyramid: list[Tensor] = self.neck(maps)
        return pyramid[:3]
