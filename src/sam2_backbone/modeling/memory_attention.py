"""Conditions the current frame's embedding on recalled memories and object pointers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from sam2_backbone.config import SAM2Config
from sam2_backbone.modeling.attention import RotaryAttention
from sam2_backbone.modeling.layers import flatten_map, unflatten_map
from sam2_backbone.modeling.position import sine_map

INPUT_POSITION_WEIGHT = 0.1  # of the sine encoding that is added at the entrance


class MemoryAttentionLayer(nn.Module):
    """Self-attention, cross-attention to memory, MLP; normalised before each."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        dim, memory = config.hidden_dim, config.memory
        self.norm1 = nn.LayerNorm(dim)
        self.self_attention = RotaryAttention(dim, memory.num_heads, theta=memory.rope_theta)
        self.norm2 = nn.LayerNorm(dim)
        self.cross_attention = RotaryAttention(
            dim, memory.num_heads, theta=memory.rope_theta, key_dim=memory.dim
        )
        self.norm3 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, memory.mlp_dim)
        self.linear2 = nn.Linear(memory.mlp_dim, dim)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, *, size: tuple[int, int], num_pointers: int
    ) -> Tensor:
        """Update (N, h * w, C) from memory tokens (N, L, Cm), pointers last."""
        y = self.norm1(x)
        x = x + self.self_attention.attend_map(y, y, y, size=size)
        y = self.norm2(x)
        x = x + self.cross_attention.attend_map(
            y, keys, values, size=size, num_plain_keys=num_pointers
        )
        hidden = functional.relu(self.linear1(self.norm3(x)))
        out: Tensor = x + self.linear2(hidden)
        return out


class MemoryAttention(nn.Module):
    """A stack of memory-attention layers."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(config) for _ in range(config.memory.num_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_dim)

    def forward(
        self, embedding: Tensor, memory: Tensor, memory_position: Tensor, *, num_pointers: int
    ) -> Tensor:
        """Condition an embedding.

        Parameters
        ----------
        embedding
            (N, C, h, w).
        memory, memory_position
            (N, L, Cm) tokens and what is added to them as keys; the last `num_pointers` tokens
            are object pointers and take no rotary position.
        """
        size = (embedding.shape[-2], embedding.shape[-1])
        position = sine_map(*size, embedding.shape[1], embedding.device).to(embedding.dtype)
        x = flatten_map(embedding + INPUT_POSITION_WEIGHT * position)
        keys = memory + memory_position
        for layer in self.layers:
            x = layer(x, keys, memory, size=size, num_pointers=num_pointers)
        return unflatten_map(self.norm(x), size)
