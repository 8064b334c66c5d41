"""What is remembered of a clip's frames while it is learned from, right or wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from sam2_backbone.config import MemoryConfig
from sam2_backbone.memory.selection import Recall, select_memories
from sam2_backbone.modeling.sam2 import SAM2, ImageFeatures, RecalledMemory
from sam2_backbone.training.drift import drifted, swollen
from sam2_backbone.training.prompt_sampler import true_logits

ABSENT_LOGIT = -1024.0
TOLD_SHARE = 0.3  # of objects whose true mask is remembered, so that later frames can be learned
TOLD_PRESENCE_SHARE = 0.5  # of those whose presence is remembered as it is, not as it was said
# of tracked masks that are remembered with errors that it takes long to make; among cells, where
# every object is labelled, they have only grown or shrunk: there distrust of the place of the last
# mask lets a neighbour be swallowed
DRIFT_SHARE = 0.25


def remembered_presence(score: Tensor, present: Tensor, generator: torch.Generator) -> Tensor:
    """Choose whether N objects are remembered as present: the truth, or what was said of them.

    An object that is said to be there, or not to be, where it is not so must be found again later:
    that happens in use, so it has to happen here. All are (N, 1), `score` a logit.
    """
    told = torch.rand(present.shape, generator=generator).to(present.device) < TOLD_PRESENCE_SHARE
    return torch.where(told, present, score > 0)


def remembered_masks(
    answered: Tensor, target: Tensor, is_complete: Tensor, generator: torch.Generator
) -> Tensor:
    """Choose what N objects remember of a tracked frame: the answer, the truth, or a worse answer.

    `is_complete` is (N,) bool: all objects of the frame are labelled. All others are logits,
    (N, 1, l, l).
    """
    told, wrong = (
        torch.rand(len(target), 1, 1, 1, generator=generator).to(target.device) < share
        for share in (TOLD_SHARE, DRIFT_SHARE)
    )
    told = told & (target.flatten(1).amax(1) > 0)[:, None, None, None]
    masks = torch.where(told, true_logits(target), answered)
    worse = torch.where(
        is_complete[:, None, None, None],
        swollen(answered, generator),
        drifted(answered, generator),
    )
    return torch.where(wrong, worse, masks)


class ClipMemory:
    """The memories of one step's clips; all objects share their structure.

    Parameters
    ----------
    num_frames
        Length of the video that the clip is taken for.
    """

    def __init__(self, model: SAM2, num_frames: int) -> None:
        self.model = model
        self.num_frames = num_frames
        self.config: MemoryConfig = model.config.memory
        self.features: dict[int, Tensor] = {}
        self.pointers: dict[int, Tensor] = {}
        self.prompted: set[int] = set()
        self.last_masks: Tensor | None = None

    def recall(self, frame_idx: int) -> Recall:
        """Choose what `frame_idx` recalls."""
        return select_memories(
            frame_idx,
            prompted=self.prompted,
            tracked=self.features.keys() - self.prompted,
            num_frames=self.num_frames,
            reverse=False,
            config=self.config,
        )

    def condition(self, features: ImageFeatures, frame_idx: int) -> ImageFeatures:
        """Condition plain features on what the objects remember."""
        recall = self.recall(frame_idx)
        memory = RecalledMemory(
            features=torch.stack([self.features[t] for t, _ in recall.spatial], 1),
            temporal_rows=tuple(row for _, row in recall.spatial),
            pointers=torch.stack([self.pointers[t] for t, _ in recall.pointers], 1),
            pointer_distances=tuple(float(distance) for _, distance in recall.pointers),
            pointer_span=recall.pointer_span,
        )
        return self.model.attend_memory(features, memory)

    def store(
        self,
        features: ImageFeatures,
        masks: Tensor,
        pointer: Tensor,
        present: Tensor,
        frame_idx: int,
        *,
        prompted: bool,
    ) -> None:
        """Remember masks (N, 1, l, l) and pointers (N, C); of absent objects, that they are absent.

        No gradient goes back through the remembered mask: it would grow from frame to frame.
        `present` is (N, 1) bool.
        """
        logits = torch.where(present[..., None, None], masks.detach(), ABSENT_LOGIT)
        self.last_masks = logits
        score = true_logits(present.float())
        pointer = torch.where(present, pointer, self.model.no_object_pointer.to(pointer.dtype))
        self.features[frame_idx] = self.model.encode_memory(
            features, logits, score, prompted=prompted
        )
        self.pointers[frame_idx] = pointer
        if prompted:
            self.prompted.add(frame_idx)
