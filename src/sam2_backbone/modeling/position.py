"""Positions as vectors: sine, random-Fourier and rotary encodings, all computed in float32."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # a cached table may later meet autograd
def sine_map(height: int, width: int, dim: int, device: torch.device) -> Tensor:
    """Absolute sine encoding of a grid, (1, dim, height, width) float32.

    Vaswani et al. 2017 in two dimensions: rows in the first half of the channels, columns in the
    second, positions 1…n scaled to 0…2π, temperature 10 000.
    """
    half = dim // 2

    def axis(n: int) -> Tensor:
        position = torch.arange(1, n + 1, dtype=torch.float32, device=device)
        position = position / (n + 1e-6) * 2 * math.pi
        pair = torch.arange(half // 2, dtype=torch.float32, device=device)
        angle = position[:, None] / 10_000 ** (2 * pair / half)  # (n, half / 2)
        return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)  # (n, half)

    rows = axis(height).T[:, :, None].expand(half, height, width)
    columns = axis(width).T[:, None, :].expand(half, height, width)
    return torch.cat((rows, columns))[None]


def sine_vector(position: Tensor, dim: int) -> Tensor:
    """Sine encoding of scalars: (P,) to (P, dim), sines first, then cosines."""
    half = dim // 2
    step = torch.arange(half, dtype=torch.float32, device=position.device)
    # neighbouring sines share a frequency, as in the published networks
    angle = position[:, None] / 10_000 ** (2 * torch.div(step, 2, rounding_mode="floor") / half)
    return torch.cat((angle.sin(), angle.cos()), dim=1)


class RandomFourierPosition(nn.Module):
    """Random Fourier features of points in the unit square (Tancik et al. 2020)."""

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, dim // 2))

    def forward(self, points: Tensor) -> Tensor:
        """Encode (..., 2) points x, y in 0…1 as (..., dim) float32."""
        x, y = (2 * points.float() - 1).unbind(-1)
        across, down = self.frequencies.float()
        # sums of products, not a matrix product: under autocast that is rounded to half precision
        angle = 2 * math.pi * (x[..., None] * across + y[..., None] * down)
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the cell centres of a grid, (1, dim, height, width)."""
        device = self.frequencies.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        encoded: Tensor = self(torch.stack((xx, yy), dim=-1))
        return encoded.permute(2, 0, 1)[None]


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # a cached table may later meet autograd
def rotary_table(
    height: int, width: int, dim: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the 2-D rotary encoding, each (height * width, dim / 2).

    The first half of the channel pairs turns with the column, the second with the row
    (Su et al. 2021; Heo et al. 2024).
    """
    frequency = theta ** -(torch.arange(0, dim, 4, dtype=torch.float32, device=device) / dim)
    index = torch.arange(height * width, device=device)
    column = (index % width).float()[:, None] * frequency
    row = torch.div(index, width, rounding_mode="floor").float()[:, None] * frequency
    angle = torch.cat((column, row), dim=1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn neighbouring channel pairs of (..., L, dim) by a table of (hw, dim / 2).

    L may be a multiple of hw: every block of hw tokens is turned alike.
    """
    cos, sin = table
    num_blocks = x.shape[-2] // cos.shape[0]
    blocks = x.float().reshape(*x.shape[:-2], num_blocks, *cos.shape, 2)
    even, odd = blocks.unbind(-1)  # (..., L / hw, hw, dim / 2)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).flatten(-3, -2).to(x.dtype)
