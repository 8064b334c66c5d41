"""What is stored of one object: memories of prompted frames, of recent ones, masks of the rest."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ARCHIVED_LOGIT = 10.0


@dataclass(frozen=True)
class FrameMemory:
    """What one frame left behind for one object.

    Attributes
    ----------
    low_res_masks
        (1, 4h, 4w) logits.
    obj_ptr
        (C,), or None where only a mask is known.
    object_score, iou
        Logit of presence, and predicted IoU.
    prompted
        The mask answers a prompt: the memory encoder takes it as binary.
    features
        (Cm, h, w) bfloat16, or None until somebody recalls them.
    """

    low_res_masks: Tensor
    obj_ptr: Tensor | None
    object_score: float
    iou: float
    prompted: bool
    features: Tensor | None = None


@dataclass(frozen=True)
class _Archived:
    packed: bytes
    side: int
    obj_ptr: Tensor | None
    object_score: float
    iou: float
    prompted: bool


class MemoryBank:
    """Memories of one object.

    Prompted frames are kept whole. Of the others the `keep` latest are kept whole, the rest as
    packed masks (a few hundred bytes), from which a memory can be encoded again.
    """

    def __init__(self, *, keep: int) -> None:
        self._keep = keep
        self._conditioning: dict[int, FrameMemory] = {}
        self._tracked: dict[int, FrameMemory] = {}
        self._archive: dict[int, _Archived] = {}

    @property
    def conditioning_frames(self) -> tuple[int, ...]:
        """Prompted frames, in the order of their prompts."""
        return tuple(self._conditioning)

    @property
    def tracked_frames(self) -> frozenset[int]:
        """Frames filled in, kept whole or packed."""
        return frozenset(self._tracked) | frozenset(self._archive)

    def get(self, frame_idx: int) -> FrameMemory | None:
        """Return what is known of a frame; a prompted frame's own memory comes first."""
        if frame_idx in self._conditioning:
            return self._conditioning[frame_idx]
        return self.get_tracked(frame_idx)

    def get_tracked(self, frame_idx: int) -> FrameMemory | None:
        """Return what was filled in on a frame."""
        if frame_idx in self._tracked:
            return self._tracked[frame_idx]
        archived = self._archive.get(frame_idx)
        return None if archived is None else _unpack(archived)

    def put_conditioning(self, frame_idx: int, memory: FrameMemory) -> None:
        """Store the answer to a prompt; what was filled in there before is forgotten."""
        self.drop_tracked(frame_idx)
        self._conditioning[frame_idx] = memory

    def put_tracked(self, frame_idx: int, memory: FrameMemory) -> None:
        """Store a filled-in frame as the latest; the oldest whole one is packed."""
        self.drop_tracked(frame_idx)
        self._tracked[frame_idx] = memory
        while len(self._tracked) > self._keep:
            oldest = next(iter(self._tracked))
            self._archive[oldest] = _pack(self._tracked.pop(oldest))

    def update(self, frame_idx: int, memory: FrameMemory) -> None:
        """Replace a memory where it is, say by one with features."""
        if frame_idx in self._conditioning:
            self._conditioning[frame_idx] = memory
        elif frame_idx in self._tracked:
            self._tracked[frame_idx] = memory
        else:
            self.put_tracked(frame_idx, memory)

    def drop_conditioning(self, frame_idx: int) -> None:
        """Forget a prompted frame."""
        self._conditioning.pop(frame_idx, None)

    def drop_tracked(self, frame_idx: int) -> None:
        """Forget what was filled in on a frame."""
        self._tracked.pop(frame_idx, None)
        self._archive.pop(frame_idx, None)


def _pack(memory: FrameMemory) -> _Archived:
    bits = np.packbits((memory.low_res_masks[0] > 0).cpu().numpy())
    return _Archived(
        packed=zlib.compress(bits.tobytes(), level=1),
        side=memory.low_res_masks.shape[-1],
        obj_ptr=memory.obj_ptr,
        object_score=memory.object_score,
        iou=memory.iou,
        prompted=memory.prompted,
    )


def _unpack(archived: _Archived) -> FrameMemory:
    bits = np.frombuffer(zlib.decompress(archived.packed), dtype=np.uint8)
    mask = np.unpackbits(bits, count=archived.side**2).reshape(1, archived.side, archived.side)
    logits = (torch.from_numpy(mask).float() * 2 - 1) * ARCHIVED_LOGIT
    return FrameMemory(
        low_res_masks=logits,
        obj_ptr=archived.obj_ptr,
        object_score=archived.object_score,
        iou=archived.iou,
        prompted=archived.prompted,
    )
