"""From prompts to tokens: points and box corners as sparse tokens, masks as a dense map."""

from __future__ import annotations

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from sam2_backbone.config import SAM2Config
from sam2_backbone.modeling.position import RandomFourierPosition

NUM_POINT_TYPES = 4  # negative, positive, first box corner, second box corner
PREVIOUS_LOGITS_CLAMP = 32.0
PREVIOUS_LOGITS_SCALE = 8.0  # brings drawn and previous channels to the same order


class PromptEncoder(nn.Module):
    """Sparse and dense prompt embeddings (Kirillov et al. 2023, appendix A).

    With ``draw_prompts`` the dense branch has three channels (previous logits, clicks as signed
    Gaussian disks, boxes as filled rectangles) and is always used.
    """

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        dim, width = config.hidden_dim, config.prompt_encoder.mask_channels
        self.input_size = config.input_size
        self.low_res_size = config.low_res_size
        self.embedding_size = config.embedding_size
        self.draw_prompts = config.draw_prompts
        self.disk_sigma = config.prompt_encoder.disk_sigma
        self.position = RandomFourierPosition(dim)
        self.point_types = nn.ParameterList(torch.randn(1, dim) for _ in range(NUM_POINT_TYPES))
        self.padding = nn.Embedding(1, dim)
        self.no_mask = nn.Embedding(1, dim)
        self.mask_branch = nn.Sequential(
            nn.Conv2d(3 if self.draw_prompts else 1, width // 4, 2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.Conv2d(width // 4, width, 2, stride=2),
            LayerNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, dim, 1),
        )

    def forward(
        self, point_coords: Tensor, point_labels: Tensor, mask_input: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Embed prompts.

        Parameters
        ----------
        point_coords
            (N, P, 2) x, y in model pixels.
        point_labels
            (N, P): 1 positive, 0 negative, 2 and 3 box corners, -1 padding.
        mask_input
            (N, 1, 4h, 4w) logits of an earlier prediction, or None.

        Returns
        -------
        sparse, dense
            (N, P, C) and (N, C, h, w).
        """
        sparse = self._embed_points(point_coords, point_labels)
        if self.draw_prompts:
            drawing = self._draw(point_coords.float(), point_labels, mask_input)
            return sparse, self.mask_branch(drawing.to(sparse.dtype))
        if mask_input is not None:
            return sparse, self.mask_branch(mask_input.to(sparse.dtype))
        side = self.embedding_size
        dense = self.no_mask.weight.reshape(1, -1, 1, 1)
        return sparse, dense.expand(point_coords.shape[0], -1, side, side)

    def _embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        # the half pixel is the reference's convention for points and corners alike
        encoded = self.position((coords.float() + 0.5) / self.input_size)
        kind = torch.cat(tuple(self.point_types))[labels.clamp(min=0).long()]
        embedded = encoded.to(kind.dtype) + kind
        return torch.where((labels < 0)[..., None], self.padding.weight, embedded)

    def _draw(self, coords: Tensor, labels: Tensor, mask_input: Tensor | None) -> Tensor:
        if coords.shape[1] == 0:  # a mask alone has no point to draw
            coords = coords.new_zeros(coords.shape[0], 1, 2)
            labels = labels.new_full((labels.shape[0], 1), -1)
        side = self.low_res_size
        centre = (torch.arange(side, device=coords.device) + 0.5) * (self.input_size / side)
        x, y = coords[..., 0, None] + 0.5, coords[..., 1, None] + 0.5  # (N, P, 1)
        sigma = self.disk_sigma * self.input_size / side
        column = torch.exp(-0.5 * ((centre - x) / sigma) ** 2)  # (N, P, side)
        row = torch.exp(-0.5 * ((centre - y) / sigma) ** 2)
        sign = (labels == 1).float() - (labels == 0).float()
        disks = torch.einsum("npy,npx->nyx", row * sign[..., None], column).clamp(-1, 1)
        boxes = self._draw_boxes(coords, labels, centre)
        if mask_input is None:
            previous = torch.zeros_like(disks)
        else:
            clamp = PREVIOUS_LOGITS_CLAMP
            previous = mask_input[:, 0].float().clamp(-clamp, clamp) / PREVIOUS_LOGITS_SCALE
        return torch.stack((previous, disks, boxes), dim=1)  # (N, 3, 4h, 4w)

    @staticmethod
    def _draw_boxes(coords: Tensor, labels: Tensor, centre: Tensor) -> Tensor:
        first = torch.where((labels == 2)[..., None], coords, -torch.inf).amax(1)  # (N, 2)
        second = torch.where((labels == 3)[..., None], coords, -torch.inf).amax(1)
        inside_x = (centre >= first[:, 0, None]) & (centre <= second[:, 0, None])
        inside_y = (centre >= first[:, 1, None]) & (centre <= second[:, 1, None])
        filled = (inside_y[:, :, None] & inside_x[:, None, :]).float() * 2 - 1
        has_box = ((labels == 2).any(1) & (labels == 3).any(1)).float()
        return filled * has_box[:, None, None]  # 0 everywhere where there is no box
