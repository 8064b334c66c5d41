"""Small layers that several parts share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

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
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., sizes[0]) to (..., sizes[-1])."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        last: Tensor = self.layers[-1](x)
        return last


def flatten_map(x: Tensor) -> Tensor:
    """(B, C, h, w) as tokens (B, h * w, C)."""
    return x.flatten(2).transpose(1, 2)


def unflatten_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens (B, h * w, C) as a map (B, C, h, w)."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], *size)
