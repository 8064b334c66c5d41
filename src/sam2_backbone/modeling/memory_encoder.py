"""Encodes a frame and its mask into a spatial memory."""

from __future__ import annotations

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from sam2_backbone.config import SAM2Config

LAYER_SCALE_INIT = 1e-6


class FuserBlock(nn.Module):
    """ConvNeXt block (Liu et al. 2022): 7x7 depth-wise, norm, two point-wise layers, scale."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.pointwise1 = nn.Linear(dim, 4 * dim)
        self.pointwise2 = nn.Linear(4 * dim, dim)
        self.scale = nn.Parameter(LAYER_SCALE_INIT * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)
        y = self.scale * self.pointwise2(functional.gelu(self.pointwise1(y)))
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out


class MemoryEncoder(nn.Module):
    """Strided convolutions over the mask, fused with the frame's unconditioned embedding."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        dim = config.hidden_dim
        layers: list[nn.Module] = []
        channels = 1
        for _ in range(4):  # four halvings: from the input size to stride 16
            layers += [
                nn.Conv2d(channels, channels * 4, 3, stride=2, padding=1),
                LayerNorm2d(channels * 4),
                nn.GELU(),
            ]
            channels *= 4
        self.mask_branch = nn.Sequential(*layers, nn.Conv2d(channels, dim, 1))
        self.frame_projection = nn.Conv2d(dim, dim, 1)
        self.fuser = nn.Sequential(
            *(FuserBlock(dim) for _ in range(config.memory.num_fuser_blocks))
        )
        self.out_projection = nn.Conv2d(dim, config.memory.dim, 1)

    def forward(self, embedding: Tensor, mask: Tensor) -> Tensor:
        """Encode (N, C, h, w) and a mask (N, 1, S, S) in -10…10 as (N, Cm, h, w)."""
        fused = self.fuser(self.frame_projection(embedding) + self.mask_branch(mask))
        memory: Tensor = self.out_projection(fused)
        return memory
