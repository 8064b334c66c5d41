"""What objects remember, as the network takes it: what is recalled first is encoded then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sam2_backbone.inference.encoding import FrameEncoder
from sam2_backbone.inference.transforms import View, resample_logits
from sam2_backbone.inference.video_state import ObjectState, VideoState
from sam2_backbone.memory.bank import FrameMemory
from sam2_backbone.memory.selection import Recall, select_memories
from sam2_backbone.modeling.sam2 import SAM2, RecalledMemory

PREVIOUS_LOGITS_CLAMP = 32.0  # of logits that are given back with a new click


class Recollection:
    """Brings the memories of objects before the network.

    Parameters
    ----------
    encoder
        Sees frames again of which only a mask is remembered.
    """

    def __init__(self, model: SAM2, encoder: FrameEncoder) -> None:
        self._model = model
        self._encoder = encoder

    def choose(
        self, state: VideoState, item: ObjectState, frame_idx: int, *, reverse: bool
    ) -> Recall:
        """Choose what an object recalls on a frame."""
        return select_memories(
            frame_idx,
            prompted=item.bank.conditioning_frames,
            tracked=item.recallable,
            num_frames=state.num_frames,
            reverse=reverse,
            config=self._model.config.memory,
        )

    def recalled(
        self,
        state: VideoState,
        items: Sequence[ObjectState],
        recalls: Sequence[Recall],
    ) -> RecalledMemory:
        """Gather what objects recall, one row each; their recalls have the same structure."""
        features, pointers = [], []
        for item, recall in zip(items, recalls, strict=True):
            spatial = [self._with_features(state, item, t) for t, _ in recall.spatial]
            features.append(torch.stack([m.features for m in spatial if m.features is not None]))
            remembered = [self._with_pointer(state, item, t) for t, _ in recall.pointers]
            pointers.append(
                torch.stack([m.obj_ptr for m in remembered if m.obj_ptr is not None])
                if remembered
                else features[-1].new_zeros(0, self._model.config.hidden_dim)
            )
        recall = recalls[0]
        return RecalledMemory(
            features=torch.stack(features).to(self._model.device),
            temporal_rows=tuple(row for _, row in recall.spatial),
            pointers=torch.stack(pointers).to(self._model.device),
            pointer_distances=tuple(float(distance) for _, distance in recall.pointers),
            pointer_span=recall.pointer_span,
        )

    def last_masks(
        self,
        members: Sequence[tuple[ObjectState, Recall]],
        frame_idx: int,
        views: Sequence[View],
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Bring the nearest recalled mask of each object into the view of this frame.

        Returns the logits (N, 1, l, l), and of which frame each of them is.
        """
        rows, frames = [], []
        for (item, recall), view in zip(members, views, strict=True):
            nearest = min((t for t, _ in recall.spatial), key=lambda t: abs(t - frame_idx))
            frames.append(nearest)
            rows.append(self._seen_through(view, item, nearest, _known(item, nearest)))
        return torch.cat(rows), tuple(frames)

    def previous_logits(
        self, item: ObjectState, frame_idx: int, views: Sequence[View]
    ) -> Tensor | None:
        """Return what was answered on a frame before, seen through each view; None for nothing."""
        known = item.bank.get_tracked(frame_idx) or item.bank.get(frame_idx)
        if known is None:
            return None
        rows = [self._seen_through(view, item, frame_idx, known) for view in views]
        return torch.cat(rows).clamp(-PREVIOUS_LOGITS_CLAMP, PREVIOUS_LOGITS_CLAMP)

    def _seen_through(
        self, view: View, item: ObjectState, frame_idx: int, memory: FrameMemory
    ) -> Tensor:
        """Return the logits (1, 1, l, l) of a frame's memory as they are in another view."""
        logits = self._logits(memory)
        seen, here = item.sightings[frame_idx].view, replace(view, flipped=())
        return view.flip(logits if here == seen else resample_logits(logits, seen, here))

    def _logits(self, memory: FrameMemory) -> Tensor:
        return memory.low_res_masks[None].float().to(self._model.device)

    def _with_features(self, state: VideoState, item: ObjectState, frame_idx: int) -> FrameMemory:
        """Encode a memory when it is first recalled."""
        memory = _known(item, frame_idx)
        if memory.features is not None:
            return memory
        view = item.sightings[frame_idx].view
        score = torch.tensor([[memory.object_score]], device=self._model.device)
        encoded = self._model.encode_memory(
            self._encoder.encode(state, frame_idx, [view], keep=False),
            self._logits(memory),
            score,
            prompted=memory.prompted,
        )
        memory = replace(memory, features=encoded[0].to(torch.bfloat16))
        item.bank.update(frame_idx, memory)
        return memory

    def _with_pointer(self, state: VideoState, item: ObjectState, frame_idx: int) -> FrameMemory:
        """Compute the pointer of a frame of which only a mask is known."""
        memory = _known(item, frame_idx)
        if memory.obj_ptr is not None:
            return memory
        view = item.sightings[frame_idx].view
        size = self._model.config.input_size
        logits = self._logits(memory)
        mask = torch.nn.functional.interpolate(logits, size=(size, size), mode="bilinear") > 0
        features = self._encoder.encode(state, frame_idx, [view], keep=False)
        memory = replace(memory, obj_ptr=self._model.adopt_mask(features, mask).obj_ptr[0])
        item.bank.update(frame_idx, memory)
        return memory


def _known(item: ObjectState, frame_idx: int) -> FrameMemory:
    """Return the memory of a frame that was chosen to be recalled, so there is one."""
    memory = item.bank.get(frame_idx)
    assert memory is not None
    return memory
