"""Attention between two token sequences, plain or with rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam2_backbone.modeling.position import rotary_table, rotate


class Attention(nn.Module):
    """Multi-head attention with its own projections.

    Parameters
    ----------
    dim
        Width of queries and output.
    key_dim
        Width of keys and values; None is `dim`.
    downsample
        The inner width is ``dim // downsample``.
    """

    def __init__(
        self, dim: int, num_heads: int, *, key_dim: int | None = None, downsample: int = 1
    ) -> None:
        super().__init__()
        inner = dim // downsample
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(key_dim or dim, inner)
        self.v_proj = nn.Linear(key_dim or dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def _heads(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = x.reshape(batch, length, self.num_heads, width // self.num_heads)
        return split.transpose(1, 2)  # (B, heads, L, C / heads)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = functional.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return projected

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from (B, Lq, C) to keys and values (B, Lk, Ck); returns (B, Lq, C)."""
        return self._attend(
            self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        )


class RotaryAttention(Attention):
    """Attention whose queries and spatial keys carry 2-D rotary positions."""

    def __init__(
        self, dim: int, num_heads: int, *, theta: float, key_dim: int | None = None
    ) -> None:
        super().__init__(dim, num_heads, key_dim=key_dim)
        self.theta = theta

    def attend_map(
        self, q: Tensor, k: Tensor, v: Tensor, *, size: tuple[int, int], num_plain_keys: int = 0
    ) -> Tensor:
        """Attend from one map to one or several maps of the same size.

        Parameters
        ----------
        q
            (B, h * w, C).
        k, v
            (B, K * h * w + num_plain_keys, Ck); the last `num_plain_keys` have no position.
        size
            (h, w).
        """
        queries, keys = self._heads(self.q_proj(q)), self._heads(self.k_proj(k))
        table = rotary_table(*size, queries.shape[-1], self.theta, q.device)
        num_spatial = keys.shape[2] - num_plain_keys
        keys = torch.cat((rotate(keys[:, :, :num_spatial], table), keys[:, :, num_spatial:]), dim=2)
        return self._attend(rotate(queries, table), keys, self._heads(self.v_proj(v)))
