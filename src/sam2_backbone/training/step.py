"""One training step: stills and clips through the network, prompts and corrections, the loss."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sam2_backbone.inference.motion import carry_along
from sam2_backbone.inference.transforms import IMAGE_MEAN, IMAGE_STD
from sam2_backbone.modeling.sam2 import (
    SAM2,
    ImageFeatures,
    MaskPrediction,
    Prompts,
)
from sam2_backbone.training.clip_memory import ClipMemory, remembered_masks, remembered_presence
from sam2_backbone.training.dense import DenseHead, dense_loss, dense_targets
from sam2_backbone.training.drift import drifted
from sam2_backbone.training.losses import LossWeights, mask_iou, prediction_loss
from sam2_backbone.training.progress import Sums, add_to
from sam2_backbone.training.prompt_sampler import (
    correction_clicks,
    masks_of,
    others_of,
    true_logits,
)

MASK_STRIDE = 4
CLICK, BOX, MASK = 0, 1, 2
LONG_VIDEO_SHARE = 0.7  # of clips that count as a part of a long video when times are encoded
FORGET_SHARE = 0.15  # of tracked frames that get no last mask, so that memory is needed
AGAIN_SHARE = 0.3  # of tracked frames that are answered once more, from their own first answer
AGAIN_WEIGHT = 0.5  # of that answer's loss
OTHER_WEIGHT = 0.3  # of the masks that were not asked for: several after a box, one after a click
CLIP_WEIGHT = 0.8  # of a clip's loss beside that of the stills


Batch = TypeVar("Batch", "StillBatch", "ClipBatch")


@dataclass(frozen=True)
class StillBatch:
    """Stills with prompted objects.

    Attributes
    ----------
    images, labels
        (B, 3, S, S) uint8 and (B, S, S) int64.
    complete
        (B,) bool: all objects are labelled.
    rows, obj_ids
        (N,) the crop and the label of each prompted object.
    clicks, boxes
        (N, 2) x, y and (N, 4) edges in model pixels.
    kinds
        (N,) CLICK, BOX or MASK.
    beyond
        (N,) area of each prompted object outside of its crop, in model pixels.
    """

    images: Tensor
    labels: Tensor
    complete: Tensor
    rows: Tensor
    obj_ids: Tensor
    clicks: Tensor
    boxes: Tensor
    kinds: Tensor
    beyond: Tensor


@dataclass(frozen=True)
class ClipBatch:
    """Clips whose objects are all prompted on the first frame, in the same way.

    Attributes
    ----------
    images, labels
        (B, T, 3, S, S) uint8 and (B, T, S, S) int64.
    complete
        (B,) bool.
    rows, obj_ids, clicks, boxes
        As in `StillBatch`; prompts are for frame 0.
    kind
        CLICK, BOX or MASK.
    correct_at
        Frame on which every object gets a correction click, or None.
    """

    images: Tensor
    labels: Tensor
    complete: Tensor
    rows: Tensor
    obj_ids: Tensor
    clicks: Tensor
    boxes: Tensor
    kind: int
    correct_at: int | None


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on `device`."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    moved_values: dict[str, Any] = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in values.items()
    }
    return type(batch)(**moved_values)


@dataclass
class StepResult:
    """The loss of a step, and numbers to log as (sum, count)."""

    loss: Tensor
    measured: Sums = field(default_factory=dict)


def normalise(images: Tensor) -> Tensor:
    """Return network input from (B, 3, S, S) uint8."""
    mean = torch.tensor(IMAGE_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(IMAGE_STD, device=images.device)[:, None, None]
    pixels = (images.float() / 255 - mean) / std
    return pixels.contiguous(memory_format=torch.channels_last)


def first_prompts(clicks: Tensor, boxes: Tensor, mask_logits: Tensor, kind: int) -> Prompts:
    """Return the first prompts of N objects, all of one kind."""
    count = clicks.shape[0]
    if kind == CLICK:
        labels = torch.ones((count, 1), dtype=torch.int32, device=clicks.device)
        return Prompts(point_coords=clicks[:, None], point_labels=labels)
    if kind == BOX:
        labels = torch.tensor([[2, 3]], dtype=torch.int32, device=boxes.device).repeat(count, 1)
        return Prompts(point_coords=boxes.view(count, 2, 2), point_labels=labels)
    return Prompts(mask_input=mask_logits)


def add_click(prompts: Prompts, coords: Tensor, labels: Tensor, logits: Tensor) -> Prompts:
    """Return `prompts` with one more click for each object and the logits of the last answer."""
    if prompts.point_coords is None or prompts.point_labels is None:
        return Prompts(coords, labels.int(), logits)
    return Prompts(
        torch.cat((prompts.point_coords, coords), 1),
        torch.cat((prompts.point_labels, labels.int()), 1),
        logits,
    )


def keep_rows(prompts: Prompts, rows: Tensor) -> Prompts:
    """Return the prompts of some of the objects."""
    coords, labels, masks = prompts.point_coords, prompts.point_labels, prompts.mask_input
    return Prompts(
        None if coords is None else coords[rows],
        None if labels is None else labels[rows],
        None if masks is None else masks[rows],
    )


class StepLoss(nn.Module):
    """Computes the loss of batches with one network and its dense head."""

    def __init__(
        self,
        model: SAM2,
        dense_head: DenseHead,
        *,
        weights: LossWeights,
        autocast: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.dense_head = dense_head
        self.weights = weights
        self.autocast = autocast

    def forward(
        self,
        stills: StillBatch | None,
        clips: ClipBatch | None,
        *,
        corrections: int,
        prompts: bool,
        generator: torch.Generator,
    ) -> StepResult:
        """Return the loss of stills and clips, encoded together."""
        device = self.model.device
        stills = None if stills is None else moved(stills, device)
        clips = None if clips is None else moved(clips, device)
        images, labels, complete = _join(stills, clips)
        autocast = torch.autocast(
            device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None
        )
        # on CPUs the fused attention's backward pass is several times slower than the plain one
        attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
        with autocast, attention:
            stride4, stride8, stride16 = self.model.image_encoder(normalise(images))
            dense = self.dense_head(stride4)
            skips = self.model.mask_decoder.project_skips(stride4, stride8)
            features = ImageFeatures(stride16, skips)
            loss = self.weights.dense * dense_loss(dense, dense_targets(labels), complete)
            result = StepResult(loss, {"dense": (float(loss.detach()), 1)})
            if not prompts:
                return result
            num_stills = 0 if stills is None else stills.images.shape[0]
            if stills is not None:
                self._stills(features, stills, corrections, generator, result)
            if clips is not None:
                self._clips(features, num_stills, clips, generator, result)
        return result

    def _stills(
        self,
        features: ImageFeatures,
        batch: StillBatch,
        corrections: int,
        generator: torch.Generator,
        result: StepResult,
    ) -> None:
        total = max(len(batch.rows), 1)
        for kind in (CLICK, BOX, MASK):
            chosen = torch.nonzero(batch.kinds == kind)[:, 0]
            if len(chosen) == 0:
                continue
            share = len(chosen) / total / sum(turn_lengths(len(chosen), corrections))
            rows, ids = batch.rows[chosen], batch.obj_ids[chosen]
            target = masks_of(batch.labels, rows, ids, MASK_STRIDE)
            others = others_of(batch.labels, rows, target, MASK_STRIDE)
            beyond = batch.beyond[chosen] / MASK_STRIDE**2
            marked = self.model.without_memory(features.select(rows))
            # a mask that is shown is one that a person corrects: of a tracked frame, for example
            shown = drifted(true_logits(target), generator)
            prompts = first_prompts(batch.clicks[chosen], batch.boxes[chosen], shown, kind)
            for turn in range(corrections + 1):
                single, several = self.model.predict_both(marked, prompts)
                asked, other = (
                    (several, single) if kind == CLICK and turn == 0 else (single, several)
                )
                loss = self._loss(asked, target, others, beyond)
                loss = loss + OTHER_WEIGHT * self._loss(other, target, others, beyond)
                # every answer counts alike: the first ones are most, and what a person sees
                result.loss = result.loss + share * len(target) * loss
                best = asked.best.low_res_masks.detach()
                name = ("click", "box", "mask")[kind] + (f"+{turn}" if turn else "")
                add_to(result.measured, name, float(mask_iou(best, target).sum()), len(target))
                if turn < corrections:
                    kept = torch.randperm(len(target), generator=generator)
                    kept = kept[: next_length(len(target))].to(target.device)
                    target, others, best = target[kept], others[kept], best[kept]
                    beyond = beyond[kept]
                    marked = marked.select(kept)
                    coords, signs = correction_clicks(
                        best, target, stride=MASK_STRIDE, generator=generator
                    )
                    prompts = add_click(keep_rows(prompts, kept), coords, signs, best)

    def _loss(
        self,
        answer: MaskPrediction,
        target: Tensor,
        others: Tensor,
        beyond: Tensor | None = None,
    ) -> Tensor:
        return prediction_loss(
            answer.low_res_masks,
            answer.iou_predictions,
            answer.object_score_logits,
            target,
            self.weights,
            others,
            beyond,
        )

    def _clips(
        self,
        features: ImageFeatures,
        offset: int,
        batch: ClipBatch,
        generator: torch.Generator,
        result: StepResult,
    ) -> None:
        num_frames = batch.images.shape[1]
        long = float(torch.rand((), generator=generator)) < LONG_VIDEO_SHARE
        longest = self.model.config.memory.max_pointers
        memory = ClipMemory(self.model, longest if long else num_frames)
        for frame_idx in range(num_frames):
            rows = offset + batch.rows * num_frames + frame_idx
            plain = features.select(rows)
            labels = batch.labels[:, frame_idx]
            target = masks_of(labels, batch.rows, batch.obj_ids, MASK_STRIDE)
            others = others_of(labels, batch.rows, target, MASK_STRIDE)
            prompted = frame_idx == 0
            if frame_idx == 0 and batch.kind == MASK:
                full = batch.labels[:, 0][batch.rows] == batch.obj_ids[:, None, None]
                answer = self.model.adopt_mask(plain, full[:, None].float())
            elif frame_idx == 0:
                marked = self.model.without_memory(plain)
                prompts = first_prompts(batch.clicks, batch.boxes, true_logits(target), batch.kind)
                several = batch.kind == CLICK
                answer = self.model.predict_masks(marked, prompts, multimask_output=several)
                result.loss = result.loss + 0.5 * CLIP_WEIGHT * self._loss(answer, target, others)
            else:
                conditioned = memory.condition(plain, frame_idx)
                last = last_masks(memory, batch, frame_idx)
                if float(torch.rand((), generator=generator)) < FORGET_SHARE:
                    last = None
                answer = self.model.predict_masks(
                    conditioned, Prompts(mask_input=last), multimask_output=True
                )
                self._track_loss(answer, target, others, num_frames, result)
                if float(torch.rand((), generator=generator)) < AGAIN_SHARE:
                    prompts = Prompts(mask_input=answer.best.low_res_masks.detach())
                    answer = self.model.predict_masks(conditioned, prompts, multimask_output=True)
                    weight = AGAIN_WEIGHT * CLIP_WEIGHT / (num_frames - 1)
                    result.loss = result.loss + weight * self._loss(answer, target, others)
                if frame_idx == batch.correct_at:
                    prompted = True
                    best = answer.best.low_res_masks.detach()
                    coords, signs = correction_clicks(
                        best, target, stride=MASK_STRIDE, generator=generator
                    )
                    prompts = add_click(Prompts(), coords, signs, best)
                    answer = self.model.predict_masks(conditioned, prompts, multimask_output=True)
                    loss = self._loss(answer, target, others)
                    result.loss = result.loss + CLIP_WEIGHT * loss / (num_frames - 1)
            said = answer.best
            masks, present = said.low_res_masks, target.flatten(1).amax(1, keepdim=True) > 0
            if not prompted:
                present = remembered_presence(said.object_score_logits, present, generator)
                is_complete = batch.complete[batch.rows]
                masks = remembered_masks(masks, target, is_complete, generator)
            memory.store(plain, masks, said.obj_ptr, present, frame_idx, prompted=prompted)

    def _track_loss(
        self,
        answer: MaskPrediction,
        target: Tensor,
        others: Tensor,
        num_frames: int,
        result: StepResult,
    ) -> None:
        loss = self._loss(answer, target, others)
        result.loss = result.loss + CLIP_WEIGHT * loss / (num_frames - 1)
        present = target.flatten(1).amax(1) > 0
        achieved = mask_iou(answer.best.low_res_masks.detach(), target)[:, 0]
        add_to(result.measured, "track", float(achieved[present].sum()), int(present.sum()))
        said = answer.object_score_logits[:, 0].detach() > 0
        add_to(result.measured, "present_right", float((said & present).sum()), int(present.sum()))
        add_to(
            result.measured, "absent_right", float((~said & ~present).sum()), int((~present).sum())
        )


def last_masks(memory: ClipMemory, batch: ClipBatch, frame_idx: int) -> Tensor | None:
    """Return the masks of the frame before as they are drawn on a tracked one, as in use."""
    last, config = memory.last_masks, memory.model.config
    if last is None or not config.draw_last_mask:
        return None
    if not config.carried_shape_weight:
        return last
    before, now = (
        batch.images[batch.rows, t].float().mean(1, keepdim=True)
        for t in (frame_idx - 1, frame_idx)
    )
    with torch.autocast(last.device.type, enabled=False):
        return carry_along(last.float(), before, now).masks


def next_length(count: int) -> int:
    """How many of the objects of a turn are corrected in the next one."""
    return count // 2 + 1


def turn_lengths(count: int, corrections: int) -> list[int]:
    """How many objects are answered in the first turn and after each correction."""
    lengths = [count]
    for _ in range(corrections):
        lengths.append(next_length(lengths[-1]))
    return lengths


def _join(stills: StillBatch | None, clips: ClipBatch | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, labels and completeness of stills, then of all frames of the clips."""
    images: list[Tensor] = []
    labels: list[Tensor] = []
    complete: list[Tensor] = []
    if stills is not None:
        images.append(stills.images)
        labels.append(stills.labels)
        complete.append(stills.complete)
    if clips is not None:
        images.append(clips.images.flatten(0, 1))
        labels.append(clips.labels.flatten(0, 1))
        complete.append(clips.complete.repeat_interleave(clips.images.shape[1]))
    return torch.cat(images), torch.cat(labels), torch.cat(complete)
