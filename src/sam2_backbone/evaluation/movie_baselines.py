"""What a user has today for a movie: regions linked by overlap, and a mask that is not moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.evaluation.baselines import ClassicalImage, Mask, region_under
from sam2_backbone.evaluation.tracking import FrameMask
from sam2_backbone.training.prompt_sampler import innermost_pixel


def start_mask(frame: ClassicalImage, truth: Mask, *, prompt: str) -> Mask:
    """Return what the prompt gives on its frame: the mask itself, or the region under the click."""
    if prompt == "mask":
        return truth
    if not truth.any():
        raise ValueError("the object is not on the prompted frame: start where it is visible")
    return region_under(frame, *innermost_pixel(truth))


def still_masks(
    frames: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    obj_ids: Sequence[int],
    start: int,
    prompt: str,
) -> Iterator[FrameMask]:
    """Repeat the mask of the prompted frame on every frame."""
    classical = ClassicalImage(frames[start])
    for obj_id in obj_ids:
        mask = start_mask(classical, labels[start] == obj_id, prompt=prompt)
        for frame_idx in range(len(frames)):
            yield FrameMask(frame_idx, obj_id, mask, present=True)


def linked_regions(
    frames: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    obj_ids: Sequence[int],
    start: int,
    prompt: str,
) -> Iterator[FrameMask]:
    """Follow each object through Otsu + watershed of every frame, by the largest overlap.

    Each object is sought on that side of the threshold on which most of it lies in the prompted
    frame. Where no region overlaps, the object is absent and sought again where it was last.
    """
    firsts: dict[int, tuple[bool, Mask]] = {}
    classical = ClassicalImage(frames[start])
    for obj_id in obj_ids:
        mask = start_mask(classical, labels[start] == obj_id, prompt=prompt)
        bright = bool(classical.foreground(bright=True)[mask].mean() > 0.5)
        firsts[obj_id] = (bright, mask)
    for way in (range(start + 1, len(frames)), range(start - 1, -1, -1)):
        last = {obj_id: mask for obj_id, (_, mask) in firsts.items()}
        for frame_idx in way:
            classical = ClassicalImage(frames[frame_idx])
            for obj_id, (bright, _) in firsts.items():
                mask = _overlapping(classical.regions(bright=bright), last[obj_id])
                present = bool(mask.any())
                if present:
                    last[obj_id] = mask
                yield FrameMask(frame_idx, obj_id, mask, present)


def _overlapping(regions: NDArray[np.int32], mask: Mask) -> Mask:
    """Return the region that shares most pixels with a mask, or nothing."""
    shared = np.bincount(regions[mask], minlength=1)
    shared[0] = 0
    if not shared.any():
        return np.zeros_like(mask)
    found: Mask = regions == int(shared.argmax())
    return found
