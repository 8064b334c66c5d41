"""From an image embedding and prompt tokens to masks and their scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from sam2_backbone.config import MaskDecoderConfig, SAM2Config
from sam2_backbone.modeling.attention import Attention
from sam2_backbone.modeling.layers import MLP, flatten_map, unflatten_map


@dataclass(frozen=True)
class DecodedMasks:
    """What the decoder says: M masks per row, their scores and their tokens."""

    masks: Tensor  # (N, M, 4h, 4w) logits
    ious: Tensor  # (N, M)
    tokens: Tensor  # (N, M', C), M' = 3 with several masks, else 1
    object_score_logits: Tensor  # (N, 1)


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and the image, the image attends back to the tokens."""

    def __init__(self, dim: int, config: MaskDecoderConfig, *, first: bool) -> None:
        super().__init__()
        heads, down = config.num_heads, config.attention_downsample
        self.first = first
        self.self_attention = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.token_to_image = Attention(dim, heads, downsample=down)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, config.mlp_dim, dim)
        self.norm3 = nn.LayerNorm(dim)
        self.image_to_token = Attention(dim, heads, downsample=down)
        self.norm4 = nn.LayerNorm(dim)

    def forward(
        self, tokens: Tensor, image: Tensor, token_position: Tensor, image_position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(N, T, C) tokens and (N, h * w, C) image, both returned updated."""
        if self.first:  # the tokens are their own positions at the entrance
            tokens = self.self_attention(tokens, tokens, tokens)
        else:
            q = tokens + token_position
            tokens = tokens + self.self_attention(q, q, tokens)
        tokens = self.norm1(tokens)
        keys = image + image_position
        tokens = self.norm2(tokens + self.token_to_image(tokens + token_position, keys, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.image_to_token(keys, tokens + token_position, tokens))
        return tokens, image


class MaskDecoder(nn.Module):
    """Two-way transformer, mask upscaling with skips, IoU head and object-score head."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        dim, numbers = config.hidden_dim, config.mask_decoder
        self.numbers = numbers
        num_masks = 1 + numbers.num_multimasks
        self.object_score_token = nn.Embedding(1, dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(num_masks, dim)
        self.blocks = nn.ModuleList(
            TwoWayBlock(dim, numbers, first=i == 0) for i in range(numbers.depth)
        )
        self.final_attention = Attention(
            dim, numbers.num_heads, downsample=numbers.attention_downsample
        )
        self.final_norm = nn.LayerNorm(dim)
        self.skip_stride4 = nn.Conv2d(dim, dim // 8, 1)
        self.skip_stride8 = nn.Conv2d(dim, dim // 4, 1)
        self.upscale1 = nn.ConvTranspose2d(dim, dim // 4, 2, stride=2)
        self.upscale_norm = LayerNorm2d(dim // 4)
        self.upscale2 = nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2)
        self.mask_heads = nn.ModuleList(MLP(dim, dim, dim, dim // 8) for _ in range(num_masks))
        iou_dim = numbers.iou_head_dim
        self.iou_head = MLP(dim, iou_dim, iou_dim, num_masks)
        self.object_score_head = MLP(dim, dim, dim, 1)

    def project_skips(self, stride4: Tensor, stride8: Tensor) -> tuple[Tensor, Tensor]:
        """Project the neck's fine maps once per frame for the upscaling path."""
        return self.skip_stride4(stride4), self.skip_stride8(stride8)

    def forward(
        self,
        embedding: Tensor,
        high_res: tuple[Tensor, Tensor],
        *,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
    ) -> DecodedMasks:
        """Predict every mask: the single one first, then those of different extent.

        Parameters
        ----------
        embedding
            (N, C, h, w), conditioned on memory or marked as without.
        high_res
            Projected maps (N, C / 8, 4h, 4w) and (N, C / 4, 2h, 2w).
        position
            (1, C, h, w) encoding of the grid.
        sparse, dense
            (N, P, C) prompt tokens and (N, C, h, w) dense prompt.
        """
        tokens, image = self._transform(embedding + dense, position, sparse)
        masks = self._masks(tokens[:, 2:], image, high_res)
        ious = torch.sigmoid(self.iou_head(tokens[:, 1]))
        score = self.object_score_head(tokens[:, 0])
        return DecodedMasks(masks, ious, tokens[:, 2:], score)

    def choose(self, every: DecodedMasks, *, multimask_output: bool) -> DecodedMasks:
        """Keep the masks of different extent, or the single one (stable, outside training)."""
        masks, ious, tokens = every.masks, every.ious, every.tokens
        score = every.object_score_logits
        if multimask_output:
            return DecodedMasks(masks[:, 1:], ious[:, 1:], tokens[:, 1:], score)
        single, single_iou = masks[:, :1], ious[:, :1]
        if not self.training:
            single, single_iou = self._stable_or_best(masks, ious)
        return DecodedMasks(single, single_iou, tokens[:, :1], score)

    def _transform(
        self, embedding: Tensor, position: Tensor, sparse: Tensor
    ) -> tuple[Tensor, Tensor]:
        size = (embedding.shape[-2], embedding.shape[-1])
        own = torch.cat(
            (self.object_score_token.weight, self.iou_token.weight, self.mask_tokens.weight)
        )
        own = own[None].expand(sparse.shape[0], -1, -1)
        token_position = torch.cat((own, sparse), dim=1)  # (N, 2 + masks + P, C)
        image, image_position = flatten_map(embedding), flatten_map(position)
        tokens = token_position
        for block in self.blocks:
            tokens, image = block(tokens, image, token_position, image_position)
        attended = self.final_attention(tokens + token_position, image + image_position, image)
        tokens = self.final_norm(tokens + attended)
        num_own = own.shape[1]
        return tokens[:, :num_own], unflatten_map(image, size)

    def _masks(self, tokens: Tensor, image: Tensor, high_res: tuple[Tensor, Tensor]) -> Tensor:
        stride4, stride8 = high_res
        x = self.upscale_norm(self.upscale1(image) + stride8)
        x = self.upscale2(functional.gelu(self._laid_out(x))) + stride4
        x = functional.gelu(self._laid_out(x))  # (N, C / 8, 4h, 4w)
        weights = torch.stack(
            [head(tokens[:, i]) for i, head in enumerate(self.mask_heads)], dim=1
        )  # (N, M, C / 8)
        return torch.einsum("nmc,nchw->nmhw", weights, x)

    def _laid_out(self, x: Tensor) -> Tensor:
        # gradients come back contiguous; GELU's is ten times slower where layouts differ
        return x.contiguous() if self.training else x

    def _stable_or_best(self, masks: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the single mask where it is stable, else the best of the several."""
        delta = self.numbers.stability_delta
        single = masks[:, :1].flatten(-2)
        inner = (single > delta).sum(-1).float()
        outer = (single > -delta).sum(-1).float()
        stability = torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)  # (N, 1)
        stable = stability >= self.numbers.stability_threshold
        rows = torch.arange(masks.shape[0], device=masks.device)
        best = 1 + ious[:, 1:].argmax(-1)
        mask = torch.where(stable[..., None, None], masks[:, :1], masks[rows, best][:, None])
        return mask, torch.where(stable, ious[:, :1], ious[rows, best][:, None])
