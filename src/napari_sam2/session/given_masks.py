"""Masks that were drawn elsewhere: strokes on labels, and label images whose objects are taken."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam2.session.given_numbers import whole_number
from napari_sam2.session.object_edits import new_object
from napari_sam2.session.prompts import FramePrompts, checked_mask
from sam2_backbone.inference.packed_mask import PackedMask

if TYPE_CHECKING:
    from napari_sam2.session.ledger import Ledger


def set_masks(ledger: Ledger, frame_idx: int, masks: Mapping[int, npt.ArrayLike]) -> None:
    """Say what several objects are on a frame, as one step; ids that are free make objects."""
    with ledger.whole_step("Paint"):
        frame_idx = ledger.frame(frame_idx)
        for key, mask in masks.items():
            obj_id = whole_number(key, "obj_id")
            if obj_id not in ledger.document.objects:
                new_object(ledger, obj_id=obj_id)
            given = FramePrompts(mask=checked_mask(mask, ledger.source.height, ledger.source.width))
            ledger.ask(ledger.object(obj_id), frame_idx, given)


def add_labels(
    ledger: Ledger, labels: Mapping[int, npt.NDArray[np.integer]]
) -> Generator[int, None, None]:
    """
    Make an object of every label, yielding its id; all of them are one step.

    A label keeps its value as the object's id where no object has it yet; others get ids that no
    label has. The lock is free at each ``yield``.

    Parameters
    ----------
    labels
        By frame, ``(H, W)`` each; 0 is background. The same label on several frames is one object.
    """
    step = ledger.new_step("Take labels")
    values = {int(v) for image in labels.values() for v in np.unique(image) if v > 0}
    for value in sorted(values):
        with ledger.turn(), ledger.in_step(step):
            obj_id = value
            if value in ledger.document.objects:
                obj_id = next(i for i in count(ledger.next_obj_id) if i not in values)
            new_object(ledger, obj_id=obj_id)
            for frame_idx, image in labels.items():
                mask = image == value
                if mask.any():
                    given = FramePrompts(mask=PackedMask.pack(mask))
                    ledger.ask(ledger.object(obj_id), frame_idx, given)
        yield obj_id


def checked_labels(
    ledger: Ledger, labels: Mapping[int, npt.ArrayLike]
) -> dict[int, npt.NDArray[np.integer]]:
    """
    Return label images by frame.

    Raises
    ------
    TypeError
        They hold no whole numbers.
    ValueError
        They have another size than the frames, a frame does not exist, or there is no label.
    """
    size = (ledger.source.height, ledger.source.width)
    checked = {}
    for frame_idx, image in labels.items():
        array = np.asarray(image)
        if array.dtype.kind not in "bui":
            raise TypeError(f"Labels must be whole numbers, got {array.dtype}.")
        if array.shape != size:
            raise ValueError(
                f"The labels of frame {frame_idx} have the shape {array.shape}, "
                f"the image is {size[0]} x {size[1]} pixels."
            )
        checked[ledger.frame(frame_idx)] = array
    if not any((image > 0).any() for image in checked.values()):
        raise ValueError("There is no label above 0 on these frames: nothing to take.")
    return checked
