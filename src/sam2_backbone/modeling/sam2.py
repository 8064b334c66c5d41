"""Composes the parts into SAM 2: encode an image, predict masks, encode and attend memory.

The network keeps no frame state: what is remembered, and for whom, is decided outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam2_backbone.config import SAM2Config
from sam2_backbone.modeling.image_encoder import ImageEncoder
from sam2_backbone.modeling.layers import MLP, flatten_map
from sam2_backbone.modeling.mask_decoder import DecodedMasks, MaskDecoder
from sam2_backbone.modeling.memory_attention import MemoryAttention
from sam2_backbone.modeling.memory_encoder import MemoryEncoder
from sam2_backbone.modeling.position import sine_map, sine_vector
from sam2_backbone.modeling.prompt_encoder import PromptEncoder

NO_OBJECT_LOGIT = -1024.0
MASK_PROMPT_SCALE, MASK_PROMPT_BIAS = 20.0, -10.0  # logits of a mask given by a person


@dataclass(frozen=True)
class ImageFeatures:
    """An encoded image.

    Attributes
    ----------
    embedding
        (B, C, h, w) at stride 16.
    high_res
        (B, C / 8, 4h, 4w) and (B, C / 4, 2h, 2w), projected for the mask decoder.
    """

    embedding: Tensor
    high_res: tuple[Tensor, Tensor]

    def select(self, rows: Sequence[int] | Tensor) -> ImageFeatures:
        """Take rows, repeated where an image has several objects."""
        index = torch.as_tensor(rows, device=self.embedding.device)
        stride4, stride8 = self.high_res
        return ImageFeatures(self.embedding[index], (stride4[index], stride8[index]))


@dataclass(frozen=True)
class Prompts:
    """Prompts of N rows in model space.

    Attributes
    ----------
    point_coords
        (N, P, 2) x, y in 0…input size; None is no point.
    point_labels
        (N, P): 1 positive, 0 negative, 2 and 3 box corners, -1 padding.
    mask_input
        (N, 1, 4h, 4w) logits of an earlier prediction.
    """

    point_coords: Tensor | None = None
    point_labels: Tensor | None = None
    mask_input: Tensor | None = None


@dataclass(frozen=True)
class MaskPrediction:
    """Masks of N rows.

    Attributes
    ----------
    low_res_masks
        (N, M, 4h, 4w) float32 logits.
    iou_predictions
        (N, M) float32.
    object_score_logits
        (N, 1) float32; positive where the object is present.
    obj_ptr
        (N, C) pointer of the best mask; that of no object where the score says so.
    shown_ptr
        (N, C) pointer of the best mask as if the object were there.
    """

    low_res_masks: Tensor
    iou_predictions: Tensor
    object_score_logits: Tensor
    obj_ptr: Tensor
    shown_ptr: Tensor

    @property
    def best(self) -> MaskPrediction:
        """The mask with the highest predicted IoU of each row, M = 1."""
        rows = torch.arange(self.low_res_masks.shape[0], device=self.low_res_masks.device)
        column = self.iou_predictions.argmax(dim=1)
        return replace(
            self,
            low_res_masks=self.low_res_masks[rows, column][:, None],
            iou_predictions=self.iou_predictions[rows, column][:, None],
        )


@dataclass(frozen=True)
class RecalledMemory:
    """Memories of N objects with the same structure.

    Attributes
    ----------
    features
        (N, K, Cm, h, w) spatial memories.
    temporal_rows
        K rows of the temporal encoding: k - 1 for k frames ago, the last for prompted frames.
    pointers
        (N, P, C) object pointers; P may be 0.
    pointer_distances
        P signed distances in frames.
    pointer_span
        What the distances are divided by.
    """

    features: Tensor
    temporal_rows: tuple[int, ...]
    pointers: Tensor
    pointer_distances: tuple[float, ...]
    pointer_span: float = 15.0


class SAM2(nn.Module):
    """SAM 2 and 2.1 (Ravi et al., arXiv 2408.00714)."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        self.config = config
        dim, memory = config.hidden_dim, config.memory
        self.image_encoder = ImageEncoder(config)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = MemoryEncoder(config)
        self.temporal_encoding = nn.Parameter(torch.zeros(memory.num_memories, memory.dim))
        self.no_memory_embedding = nn.Parameter(torch.zeros(dim))
        self.no_object_pointer = nn.Parameter(torch.zeros(dim))
        self.pointer_projection = MLP(dim, dim, dim, dim)
        self.mask_to_prompt = nn.Conv2d(1, 1, 4, stride=4)
        self.pointer_time_projection = (
            nn.Linear(dim, memory.dim) if memory.signed_pointer_time else None
        )
        self.no_object_memory = (
            nn.Parameter(torch.zeros(memory.dim)) if memory.no_object_embedding else None
        )
        for parameter in (self.temporal_encoding, self.no_memory_embedding, self.no_object_pointer):
            nn.init.trunc_normal_(parameter, std=0.02)
        if self.no_object_memory is not None:
            nn.init.trunc_normal_(self.no_object_memory, std=0.02)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_memory_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.no_memory_embedding.dtype

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode (B, 3, S, S) normalised images; no memory is considered yet."""
        stride4, stride8, stride16 = self.image_encoder(images.to(self.dtype))
        return ImageFeatures(stride16, self.mask_decoder.project_skips(stride4, stride8))

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """Mark features as having no memory to recall: still images and first frames."""
        marked = features.embedding + self.no_memory_embedding[:, None, None]
        return replace(features, embedding=marked)

    def predict_masks(
        self, features: ImageFeatures, prompts: Prompts, *, multimask_output: bool
    ) -> MaskPrediction:
        """Predict masks of N rows of features (conditioned or marked) from N rows of prompts."""
        decoded = self._decode(features, *self._points(features, prompts), prompts.mask_input)
        return self._prediction(decoded, multimask_output=multimask_output)

    def predict_both(
        self, features: ImageFeatures, prompts: Prompts
    ) -> tuple[MaskPrediction, MaskPrediction]:
        """Predict the single mask and the several from one pass, so that both can be trained."""
        decoded = self._decode(features, *self._points(features, prompts), prompts.mask_input)
        single = self._prediction(decoded, multimask_output=False)
        return single, self._prediction(decoded, multimask_output=True)

    def _points(self, features: ImageFeatures, prompts: Prompts) -> tuple[Tensor, Tensor]:
        num_rows, device = features.embedding.shape[0], features.embedding.device
        if prompts.point_coords is None or prompts.point_labels is None:
            # tracked frames read two padding points, a mask alone none: as the networks learned it
            num_padding = 0 if prompts.mask_input is not None else 2
            coords = torch.zeros(num_rows, num_padding, 2, device=device)
            return coords, torch.full((num_rows, num_padding), -1, dtype=torch.int32, device=device)
        coords = functional.pad(prompts.point_coords.float(), (0, 0, 0, 1))
        return coords, functional.pad(prompts.point_labels.int(), (0, 1), value=-1)

    def _decode(
        self,
        features: ImageFeatures,
        coords: Tensor,
        labels: Tensor,
        mask_input: Tensor | None,
    ) -> DecodedMasks:
        sparse, dense = self.prompt_encoder(coords, labels, mask_input)
        embedding = features.embedding
        position = self.prompt_encoder.position.grid(embedding.shape[-2], embedding.shape[-1])
        decoded: DecodedMasks = self.mask_decoder(
            embedding,
            features.high_res,
            position=position.to(embedding.dtype),
            sparse=sparse,
            dense=dense,
        )
        return decoded

    def _prediction(self, every: DecodedMasks, *, multimask_output: bool) -> MaskPrediction:
        decoded = self.mask_decoder.choose(every, multimask_output=multimask_output)
        rows = torch.arange(decoded.ious.shape[0], device=decoded.ious.device)
        best = decoded.ious.argmax(-1)
        token = decoded.tokens[rows, best if decoded.tokens.shape[1] > 1 else best * 0]
        score = decoded.object_score_logits.float()
        present = score > 0 if self.config.gate_object_score else torch.ones_like(score) > 0
        pointer = self.pointer_projection(token)
        return MaskPrediction(
            low_res_masks=decoded.masks.float(),
            iou_predictions=decoded.ious.float(),
            object_score_logits=score,
            obj_ptr=torch.where(present, pointer, self.no_object_pointer),
            shown_ptr=pointer,
        )

    def adopt_mask(self, features: ImageFeatures, masks: Tensor) -> MaskPrediction:
        """Take masks given by a person as the prediction; only their pointers are computed.

        Parameters
        ----------
        features
            N rows, *without* the no-memory embedding.
        masks
            (N, 1, S, S) in {0, 1}.
        """
        masks = masks.float()
        low_res = functional.interpolate(
            masks * MASK_PROMPT_SCALE + MASK_PROMPT_BIAS,
            size=(masks.shape[-2] // 4, masks.shape[-1] // 4),
            mode="bilinear",
            antialias=True,
        )
        prompt = self.mask_to_prompt(masks.to(self.dtype))
        if prompt.shape[-1] != self.config.low_res_size:
            raise ValueError(f"a mask prompt must have the input size, not {masks.shape[-1]}")
        padding = torch.full((masks.shape[0], 2), -1, dtype=torch.int32, device=masks.device)
        coords = torch.zeros(masks.shape[0], 2, 2, device=masks.device)
        decoded = self._decode(features, coords, padding, prompt)
        pointer = self._prediction(decoded, multimask_output=False).obj_ptr
        present = masks.flatten(1).any(dim=1, keepdim=True)
        return MaskPrediction(
            low_res_masks=low_res,
            iou_predictions=torch.ones_like(present, dtype=torch.float32),
            object_score_logits=present.float() * MASK_PROMPT_SCALE + MASK_PROMPT_BIAS,
            obj_ptr=torch.where(present, pointer, self.no_object_pointer),
            shown_ptr=pointer,
        )

    def encode_memory(
        self,
        features: ImageFeatures,
        mask_logits: Tensor,
        object_score_logits: Tensor,
        *,
        prompted: bool,
    ) -> Tensor:
        """Encode frames and masks of N rows as spatial memories (N, Cm, h, w).

        Parameters
        ----------
        features
            Unconditioned features, N rows.
        mask_logits
            (N, 1, ·, ·) at the low-res or the input size.
        object_score_logits
            (N, 1).
        prompted
            The mask comes from a person's prompt: it is made binary.
        """
        numbers, side = self.config.memory, self.config.input_size
        if mask_logits.shape[-1] != side:
            mask_logits = functional.interpolate(mask_logits, size=(side, side), mode="bilinear")
        mask = (mask_logits > 0).float() if prompted else torch.sigmoid(mask_logits)
        mask = mask * numbers.mask_scale + numbers.mask_bias
        memory = cast(Tensor, self.memory_encoder(features.embedding, mask.to(self.dtype)))
        if self.no_object_memory is not None and self.config.gate_object_score:
            absent = (object_score_logits <= 0).to(memory.dtype)[..., None, None]
            memory = memory + absent * self.no_object_memory[:, None, None]
        return memory

    def attend_memory(self, features: ImageFeatures, memory: RecalledMemory) -> ImageFeatures:
        """Condition unconditioned features (N rows) on recalled memories."""
        tokens, positions = self._spatial_tokens(memory)
        num_pointers = 0
        if memory.pointers.shape[1]:
            pointer_tokens, pointer_positions = self._pointer_tokens(memory)
            num_pointers = pointer_tokens.shape[1]
            tokens = torch.cat((tokens, pointer_tokens), dim=1)
            positions = torch.cat((positions, pointer_positions), dim=1)
        embedding = self.memory_attention(
            features.embedding, tokens, positions, num_pointers=num_pointers
        )
        return replace(features, embedding=embedding)

    def _spatial_tokens(self, memory: RecalledMemory) -> tuple[Tensor, Tensor]:
        features = memory.features.to(self.dtype)  # (N, K, Cm, h, w)
        grid = sine_map(*features.shape[-2:], features.shape[2], features.device)
        spatial = flatten_map(grid).to(self.dtype)  # (1, h * w, Cm)
        rows = self.temporal_encoding[list(memory.temporal_rows)]  # (K, Cm)
        position = (spatial + rows[:, None]).flatten(0, 1)  # (K * h * w, Cm)
        tokens = features.flatten(3).transpose(2, 3).flatten(1, 2)  # (N, K * h * w, Cm)
        return tokens, position[None].expand_as(tokens)

    def _pointer_tokens(self, memory: RecalledMemory) -> tuple[Tensor, Tensor]:
        pointers = memory.pointers.to(self.dtype)  # (N, P, C)
        num, _, dim = pointers.shape
        split = dim // self.config.memory.dim  # one pointer makes several memory-wide tokens
        tokens = pointers.reshape(num, -1, dim // split)  # (N, P * split, Cm)
        if self.pointer_time_projection is None:
            return tokens, torch.zeros_like(tokens)
        distance = torch.tensor(memory.pointer_distances, device=pointers.device)
        encoded = sine_vector(distance / memory.pointer_span, dim).to(self.dtype)
        time = self.pointer_time_projection(encoded).repeat_interleave(split, dim=0)
        return tokens, time[None].expand(num, -1, -1)
