"""The objects of a session: names, colours, prompts, masks and locks, as constant values."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_sam2.session.masks import Region, StoredMask, compose_labels, label_dtype
from napari_sam2.session.prompts import FramePrompts

Colour = tuple[float, float, float]

#: Successive multiples of the golden ratio never come close to an earlier hue.
_GOLDEN_RATIO = 0.618033988749895


def colour_of(obj_id: int) -> Colour:
    """Return the colour of an object: red, green and blue in 0…1, always the same for an id."""
    hue = (0.08 + (obj_id - 1) * _GOLDEN_RATIO) % 1.0
    value = (1.0, 0.85)[((obj_id - 1) // 7) % 2]
    return colorsys.hsv_to_rgb(hue, 0.75, value)


def colour_bytes(obj_id: int) -> tuple[int, int, int]:
    """Return the same in whole numbers 0…255."""
    red, green, blue = (round(255 * part) for part in colour_of(obj_id))
    return red, green, blue


@dataclass(frozen=True)
class ObjectRecord:
    """
    What a table shows of an object.

    Attributes
    ----------
    obj_id
        The person's integer from 1, never reused, equal to the label value.
    name, colour
        Shown everywhere; red, green and blue in 0…1.
    prompted_frames, mask_frames, locked_frames
        Sorted frames with prompts, with a mask (an absent object's included), and accepted ones.
    is_locked
        Whether the object as a whole was accepted; all of its frames then count as accepted.
    is_hidden
        Whether a person has taken it out of sight.
    """

    obj_id: int
    name: str
    colour: Colour
    prompted_frames: tuple[int, ...]
    mask_frames: tuple[int, ...]
    locked_frames: tuple[int, ...]
    is_locked: bool = False
    is_hidden: bool = False


@dataclass(frozen=True)
class ObjectState:
    """
    Everything known of one object; the mappings are by frame and never changed in place.

    `outdated` holds the frames whose mask a later prompt may have changed: it is still shown, but
    not put back into the model's memory. An `accepted` object is locked on all frames, those
    without a mask included.
    """

    obj_id: int
    name: str
    prompts: Mapping[int, FramePrompts] = field(default_factory=dict)
    masks: Mapping[int, StoredMask] = field(default_factory=dict)
    locked: frozenset[int] = frozenset()
    outdated: frozenset[int] = frozenset()
    accepted: bool = False
    hidden: bool = False

    def protects(self, frame_idx: int) -> bool:
        """Whether a person has accepted this frame, so that nothing may change it."""
        return self.accepted or frame_idx in self.locked

    def record(self) -> ObjectRecord:
        """Return the table's row."""
        return ObjectRecord(
            obj_id=self.obj_id,
            name=self.name,
            colour=colour_of(self.obj_id),
            prompted_frames=tuple(sorted(self.prompts)),
            mask_frames=tuple(sorted(self.masks)),
            locked_frames=tuple(sorted(self.masks if self.accepted else self.locked)),
            is_locked=self.accepted,
            is_hidden=self.hidden,
        )

    def with_answer(
        self, frame_idx: int, prompts: FramePrompts, mask: StoredMask | None
    ) -> ObjectState:
        """Return the state after the prompts of a frame were replaced and answered."""
        all_prompts = {**self.prompts, frame_idx: prompts}
        if prompts.is_empty:
            del all_prompts[frame_idx]
        masks = dict(self.masks)
        if frame_idx not in self.locked:
            masks.pop(frame_idx, None)
            if mask is not None:
                masks[frame_idx] = mask
        if not all_prompts:
            # Masks that followed from prompts go with the last of them; accepted ones stay.
            masks = {key: value for key, value in masks.items() if key in self.locked}
        outdated = masks.keys() - all_prompts.keys() - self.locked
        return replace(self, prompts=all_prompts, masks=masks, outdated=frozenset(outdated))

    def with_mask(self, frame_idx: int, mask: StoredMask) -> ObjectState:
        """Return the state with a tracked mask."""
        return replace(
            self,
            masks={**self.masks, frame_idx: mask},
            outdated=self.outdated - {frame_idx},
        )

    @property
    def trusted_frames(self) -> tuple[int, ...]:
        """Tracked frames whose mask follows from all that was said, or was accepted."""
        return tuple(sorted(self.masks.keys() - self.prompts.keys() - self.outdated))


@dataclass(frozen=True)
class ShownFrame:
    """The masks of one frame at one moment, by object, and whose of them a person has accepted."""

    masks: Mapping[int, StoredMask] = field(default_factory=dict)
    accepted: frozenset[int] = frozenset()

    def labels(
        self,
        height: int,
        width: int,
        dtype: np.dtype[np.unsignedinteger],
        region: Region | None = None,
    ) -> npt.NDArray[np.unsignedinteger]:
        """Return the label image ``(H, W)``, or a region of it."""
        masks = self.masks.items()
        return compose_labels(masks, height, width, dtype, region, accepted=self.accepted)


@dataclass(frozen=True)
class Document:
    """All objects of a session, by id, in the order in which they were made."""

    objects: Mapping[int, ObjectState] = field(default_factory=dict)

    def with_object(self, state: ObjectState) -> Document:
        """Return the document with one object added or replaced."""
        return Document({**self.objects, state.obj_id: state})

    def without_object(self, obj_id: int) -> Document:
        """Return the document without an object."""
        return Document({key: value for key, value in self.objects.items() if key != obj_id})

    def labels(
        self, frame_idx: int, height: int, width: int, region: Region | None = None
    ) -> npt.NDArray[np.unsignedinteger]:
        """Return the label image ``(H, W)`` of a frame, or a region of it."""
        return self.shown(frame_idx).labels(height, width, label_dtype(self.objects), region)

    def shown(self, frame_idx: int) -> ShownFrame:
        """Return what there is to see of a frame."""
        here = {
            obj_id: state
            for obj_id, state in self.objects.items()
            if (mask := state.masks.get(frame_idx)) is not None and not mask.is_empty
        }
        return ShownFrame(
            {obj_id: state.masks[frame_idx] for obj_id, state in here.items()},
            frozenset(obj_id for obj_id, state in here.items() if state.protects(frame_idx)),
        )

    def contested_frames(self, obj_id: int, frames: Iterable[int]) -> list[int]:
        """Return the frames on which the box of an object's mask meets that of another."""
        mine = self.objects[obj_id].masks
        others = [state.masks for key, state in self.objects.items() if key != obj_id]
        return [
            frame_idx
            for frame_idx in sorted(mine.keys() & set(frames))
            if any(
                (mask := masks.get(frame_idx)) is not None and mask.may_overlap(mine[frame_idx])
                for masks in others
            )
        ]
