"""Small layers that several parts share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """Linear layers with an activation between them.

    Parameters
    ----------
    sizes
        Widths from input to output; ``len(sizes) - 1`` linear layers.
    """

    def __init__(
        self, *sizes: int, activation: Callable[[Tensor], Tensor] = functional.relu
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., sizes[0]) to (..., sizes[-1])."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return torch.as_tensor(self.layers[-1](x))


def flatten_map(x: Tensor) -> Tensor:
    """(B, C, h, w) as tokens (B, h * w, C)."""
    return x.flatten(2).transpose(1, 2)


def unflatten_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens (B, h * w, C) as a map (B, C, h, w)."""
    return x.transpose(1, 2).unflatten(2, size)
