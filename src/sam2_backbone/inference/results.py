"""How answers are laid into frames: parts, whole frames, a person's mask to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sam2_backbone.inference.frame_step import Answer
from sam2_backbone.inference.prompts import FramePrompts
from sam2_backbone.inference.transforms import View, to_view_size
from sam2_backbone.inference.video_state import ObjectState, VideoState
from sam2_backbone.modeling.sam2 import MASK_PROMPT_BIAS, MASK_PROMPT_SCALE, NO_OBJECT_LOGIT


@dataclass(frozen=True)
class ObjectMask:
    """Logits of one object in a part of a frame; outside of it they are -1024.

    Attributes
    ----------
    top, left
        Position of the part in the frame, in pixels.
    logits
        (h, w) float32.
    """

    obj_id: int
    top: int
    left: int
    logits: Tensor


@dataclass(frozen=True)
class FrameResult:
    """What the model says of a frame.

    Attributes
    ----------
    frame_size
        (H, W) in pixels.
    obj_ids
        The objects, in the order of the rows below.
    object_masks
        One part of the frame for each object.
    object_scores
        (N,) logits of presence.
    ious
        (N,) predicted IoU.
    candidates
        The three masks of an ambiguous click, best first; else empty.
    candidate_ious
        Predicted IoU of each candidate.
    """

    frame_idx: int
    frame_size: tuple[int, int]
    obj_ids: tuple[int, ...]
    object_masks: tuple[ObjectMask, ...]
    object_scores: Tensor
    ious: Tensor
    candidates: tuple[ObjectMask, ...] = ()
    candidate_ious: tuple[float, ...] = ()

    @property
    def mask_logits(self) -> Tensor:
        """(N, 1, H, W) float32 logits over the whole frame; a mask is where they are positive."""
        return paste(self.object_masks, self.frame_size)


def paste(parts: tuple[ObjectMask, ...], frame_size: tuple[int, int]) -> Tensor:
    """Lay parts into whole frames, (N, 1, H, W)."""
    if parts and all(tuple(part.logits.shape) == frame_size for part in parts):
        return torch.stack([part.logits for part in parts])[:, None]
    device = parts[0].logits.device if parts else None
    whole = torch.full((len(parts), 1, *frame_size), NO_OBJECT_LOGIT, device=device)
    for row, part in enumerate(parts):
        height, width = part.logits.shape
        whole[row, 0, part.top : part.top + height, part.left : part.left + width] = part.logits
    return whole


class ResultLayout:
    """Lays what a state remembers into frame pixels.

    Parameters
    ----------
    device
        Where the results are to be.
    reference_rules
        A person's mask comes back through the low resolution, as the reference has it.
    """

    def __init__(self, device: torch.device, *, reference_rules: bool) -> None:
        self.device = device
        self.reference_rules = reference_rules

    def part(self, state: VideoState, item: ObjectState, frame_idx: int) -> ObjectMask:
        """One object's answer on a frame, or nothing where there is none."""
        prompts = item.prompts.get(frame_idx)
        if prompts is not None and prompts.mask is not None and not self.reference_rules:
            return self._exact(item.obj_id, prompts)
        tracked = item.bank.get_tracked(frame_idx) if self.reference_rules else None
        memory = tracked or item.bank.get(frame_idx)
        if memory is None:
            return self.nothing(item)
        view = item.sightings[frame_idx].view
        return self._mask(item.obj_id, view, memory.low_res_masks, state.frame_size)

    def nothing(self, item: ObjectState) -> ObjectMask:
        """No answer."""
        logits = torch.full((1, 1), NO_OBJECT_LOGIT, device=self.device)
        return ObjectMask(item.obj_id, 0, 0, logits)

    def whole_frame(
        self, state: VideoState, frame_idx: int, *, reverse: bool | None = None
    ) -> tuple[int, list[int], Tensor]:
        """All objects on a frame: frame_idx, obj_ids, (N, 1, H, W) logits.

        Parameters
        ----------
        reverse
            Direction of a pass: objects without an anchor yet are left out. None: no pass.
        """
        items = list(state.iterate())
        parts = []
        for item in items:
            hidden = (
                reverse is not None
                and not self.reference_rules
                and not item.anchored(frame_idx, reverse=reverse)
            )
            parts.append(self.nothing(item) if hidden else self.part(state, item, frame_idx))
        logits = paste(tuple(parts), state.frame_size)
        return frame_idx, [item.obj_id for item in items], logits

    def result(
        self,
        state: VideoState,
        frame_idx: int,
        items: Sequence[ObjectState],
        *,
        answer: Answer | None = None,
    ) -> FrameResult:
        """Objects on a frame with their scores; candidates come from a prompt's answer."""
        memories = [m for item in items if (m := item.bank.get(frame_idx)) is not None]
        candidates: tuple[ObjectMask, ...] = ()
        if answer is not None and answer.candidates is not None:
            candidates = tuple(
                self._mask(items[0].obj_id, answer.view, mask[None], state.frame_size)
                for mask in answer.candidates
            )
        return FrameResult(
            frame_idx=frame_idx,
            frame_size=state.frame_size,
            obj_ids=tuple(item.obj_id for item in items),
            object_masks=tuple(self.part(state, item, frame_idx) for item in items),
            object_scores=torch.tensor([m.object_score for m in memories], device=self.device),
            ious=torch.tensor([m.iou for m in memories], device=self.device),
            candidates=candidates,
            candidate_ious=answer.candidate_ious if answer is not None else (),
        )

    def unkept(
        self, state: VideoState, frame_idx: int, item: ObjectState, answer: Answer
    ) -> FrameResult:
        """Lay out an answer that the object's memory does not hold, without candidates."""
        memory = answer.memory
        mask = self._mask(item.obj_id, answer.view, memory.low_res_masks, state.frame_size)
        return FrameResult(
            frame_idx=frame_idx,
            frame_size=state.frame_size,
            obj_ids=(item.obj_id,),
            object_masks=(mask,),
            object_scores=torch.tensor([memory.object_score], device=self.device),
            ious=torch.tensor([memory.iou], device=self.device),
        )

    def _mask(
        self, obj_id: int, view: View, low_res_masks: Tensor, frame_size: tuple[int, int]
    ) -> ObjectMask:
        logits = to_view_size(low_res_masks[None].to(self.device), view)[0, 0]
        part = view.inside(*frame_size)
        rows = slice(part.top - view.top, part.top - view.top + part.height)
        columns = slice(part.left - view.left, part.left - view.left + part.width)
        return ObjectMask(obj_id, part.top, part.left, logits[rows, columns])

    def _exact(self, obj_id: int, prompts: FramePrompts) -> ObjectMask:
        assert prompts.mask is not None
        mask = prompts.mask
        if mask.extent is None:
            return ObjectMask(obj_id, 0, 0, torch.full((1, 1), NO_OBJECT_LOGIT, device=self.device))
        part = torch.from_numpy(mask.box().astype("float32"))
        logits = part.to(self.device) * MASK_PROMPT_SCALE + MASK_PROMPT_BIAS
        return ObjectMask(obj_id, mask.top, mask.left, logits)
