"""Which trail of which object is followed to a frame, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sam2_backbone.inference.encoding import FrameEncoder
from sam2_backbone.inference.motion import MOTION_SIDE, Carried, for_algebra
from sam2_backbone.inference.trails import Anchor, Trail, go_on
from sam2_backbone.inference.transforms import View, within_frame
from sam2_backbone.inference.video_state import ObjectState, VideoState


class AnchoredShapes:
    """Moves the shapes that objects had where they were prompted along with them.

    Parameters
    ----------
    encoder
        Sees prompted frames again.
    """

    def __init__(self, encoder: FrameEncoder) -> None:
        self._encoder = encoder

    def pull(
        self,
        state: VideoState,
        items: Sequence[ObjectState],
        frames: Sequence[int],
        frame_idx: int,
        views: Sequence[View],
        carried: Carried,
        now: Tensor,
    ) -> Tensor:
        """Follow objects to a frame, and return what their shapes say of its pixels.

        Parameters
        ----------
        frames
            Of each object, which its last mask is carried from.
        views, carried, now
            As `go_on` takes them.

        Returns
        -------
        Tensor
            (N, 1, l, l), as `go_on` returns it; 0 for an object that was out of sight since.
        """
        pull = torch.zeros_like(carried.masks)
        known: list[tuple[int, Trail]] = []
        sure = carried.sure.tolist()
        for row, (item, last) in enumerate(zip(items, frames, strict=True)):
            trail = _trail_to(item, last)
            item.trails.pop(frame_idx, None)
            if trail is not None and min(trail.sure, sure[row]) > 0:
                known.append((row, trail))
        if not known:
            return pull
        rows = torch.tensor([row for row, _ in known], device=pull.device)
        trails, said = go_on(
            [trail for _, trail in known],
            [self._anchor(state, items[row], trail.anchor) for row, trail in known],
            [views[row] for row, _ in known],
            carried.select(rows),
            for_algebra(now[rows]),
        )
        for (row, _), trail in zip(known, trails, strict=True):
            items[row].trails[frame_idx] = trail
        pull[rows] = said.to(pull)
        return pull

    def _anchor(self, state: VideoState, item: ObjectState, frame_idx: int) -> Anchor:
        """Return an object as it was prompted; its picture is kept, since frames may be slow."""
        memory, view = item.bank.get(frame_idx), item.sightings[frame_idx].view
        assert memory is not None
        logits = memory.low_res_masks[None].float()
        within = within_frame(view, state.frame_size, logits.shape[-1])
        logits = logits.where(within.to(logits.device), 0.0)
        kept = item.anchors.get(frame_idx)
        if kept is None or kept.view != view:
            grey = self._encoder.grey(state, [frame_idx], [view], MOTION_SIDE)
        else:
            grey = kept.grey
        item.anchors[frame_idx] = Anchor(view, logits, grey)
        return item.anchors[frame_idx]


def _trail_to(item: ObjectState, frame_idx: int) -> Trail | None:
    """Return the way from where an object was prompted to a frame, if it is known."""
    prompted = item.bank.conditioning_frames
    if frame_idx in prompted:
        return Trail.beginning(frame_idx)
    trail = item.trails.get(frame_idx)
    return trail if trail is not None and trail.anchor in prompted else None
