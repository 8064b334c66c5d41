"""What there is to export, frame by frame: masks and labels of one moment, or of a label image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam2.session.intensities import as_seen
from sam2_backbone.data_engine.rle import Rle
from sam2_backbone.inference.brightness import scaled
from sam2_backbone.inference.frames import FrameSeries, choose_value_range, without_opacity

if TYPE_CHECKING:
    from napari_sam2.session.session import Session

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class MaskPart:
    """
    A mask cut to a box of its frame.

    Attributes
    ----------
    top, left
        First row and column of the box, in pixels of the frame.
    inside
        (h, w) bool; without a pixel where the object is known to be absent.
    """

    top: int
    left: int
    inside: npt.NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return int(np.count_nonzero(self.inside))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First row and column, end row and column of the pixels inside; there must be some."""
        rows, columns = np.flatnonzero(self.inside.any(1)), np.flatnonzero(self.inside.any(0))
        return (
            self.top + int(rows[0]),
            self.left + int(columns[0]),
            self.top + int(rows[-1]) + 1,
            self.left + int(columns[-1]) + 1,
        )

    @property
    def centre(self) -> tuple[float, float]:
        """Mean row and column of the pixels inside, in pixels of the frame."""
        rows, columns = np.nonzero(self.inside)
        return self.top + float(rows.mean()), self.left + float(columns.mean())

    def trimmed(self) -> MaskPart:
        """Return the same mask in the box of its pixels; there must be some."""
        top, left, bottom, right = self.box
        rows = slice(top - self.top, bottom - self.top)
        columns = slice(left - self.left, right - self.left)
        return MaskPart(top, left, self.inside[rows, columns])

    def run_lengths(self, size: tuple[int, int]) -> Rle:
        """Return the mask of the whole frame of (H, W) pixels as run lengths."""
        return Rle.of(self.inside, size, top=self.top, left=self.left)

    def to_array(self, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Return the mask of the whole frame (H, W)."""
        mask = np.zeros((height, width), np.bool_)
        rows, columns = self.inside.shape
        mask[self.top : self.top + rows, self.left : self.left + columns] = self.inside
        return mask


class ResultMasks(FrameSeries, Protocol):
    """What exports read, one frame after the other."""

    @property
    def objects(self) -> Mapping[int, str]:
        """Names of the objects by id, sorted."""

    @property
    def hidden(self) -> Collection[int]:
        """Objects that a person took out of sight; formats of other programs hold them too."""

    @property
    def source(self) -> Path | None:
        """The file or folder of the image, None if there is none."""

    def masks(self, frame_idx: int) -> Mapping[int, MaskPart]:
        """Return the whole mask of each object that is known, present or absent, on a frame."""

    def labels(self, frame_idx: int) -> Labels:
        """Return the label image (H, W), in which every pixel is of one object."""

    def edited_frames(self, obj_id: int) -> int:
        """Return on how many frames a person said something of an object."""

    def picture(self, frame_idx: int) -> npt.NDArray[np.uint8] | None:
        """Return the frame as the network sees it, (H, W) or (H, W, 3), if there is one."""


class SessionMasks:
    """The masks of a session as they are when this is made."""

    def __init__(self, session: Session) -> None:
        self._document = session.document
        self._frames, self._settings = session.source, session.settings
        self.num_frames, self.height, self.width = (
            session.num_frames, session.height, session.width,
        )  # fmt: skip
        self.source = session.path
        states = sorted(self._document.objects.items())
        self.objects = {obj_id: state.name for obj_id, state in states if state.masks}
        self.hidden = frozenset(obj_id for obj_id, state in states if state.hidden)

    def masks(self, frame_idx: int) -> dict[int, MaskPart]:
        """Return the mask of each object on a frame; where they overlap both have the pixel."""
        found = {}
        for obj_id in self.objects:
            mask = self._document.objects[obj_id].masks.get(frame_idx)
            if mask is not None:
                found[obj_id] = MaskPart(mask.top, mask.left, mask.logits > 0)
        return found

    def labels(self, frame_idx: int) -> Labels:
        """Return the label image (H, W)."""
        return self._document.labels(frame_idx, self.height, self.width)

    def edited_frames(self, obj_id: int) -> int:
        """Return on how many frames an object has prompts."""
        return len(self._document.objects[obj_id].prompts)

    def picture(self, frame_idx: int) -> npt.NDArray[np.uint8]:
        """Return the frame as the network sees it, of 8 bit images the values themselves."""
        source, (low, high) = self._seen
        values = without_opacity(source, np.asarray(source.read(frame_idx)))
        if values.dtype == np.uint8 and (low, high) == (0, 255):
            return values.astype(np.uint8, copy=False)
        picture: npt.NDArray[np.uint8] = (scaled(values, low, high) * 255).round().astype(np.uint8)
        return picture

    @cached_property
    def _seen(self) -> tuple[Any, tuple[float, float]]:
        settings = self._settings
        source, limits = as_seen(self._frames, settings.channels, settings.value_range)
        return source, choose_value_range(source, limits)


class LabelMasks:
    """
    The objects of a label image or movie, every label one.

    Parameters
    ----------
    labels
        (H, W) or (T, H, W) whole numbers, read a frame at a time; 0 is background.
    source
        The file or folder of the image.

    Raises
    ------
    ValueError
        It has other axes, or negative labels.
    """

    hidden: frozenset[int] = frozenset()

    def __init__(self, labels: Any, source: Path | None = None) -> None:
        shape = tuple(int(length) for length in labels.shape)
        if len(shape) not in (2, 3):
            raise ValueError(
                f"Labels of an image (H, W) or a movie (T, H, W) can be written, these have the "
                f"shape {shape}: choose one index of each further axis."
            )
        self._labels, self._is_movie = labels, len(shape) == 3
        self.num_frames = shape[0] if self._is_movie else 1
        self.height, self.width = shape[-2:]
        self.source = source

    @cached_property
    def objects(self) -> dict[int, str]:
        """Names of the objects by id: they are called as in the annotator."""
        ids = {int(i) for t in range(self.num_frames) for i in np.unique(self.labels(t))} - {0}
        if min(ids, default=0) < 0:
            raise ValueError(f"Labels must not be negative, got {min(ids)}.")
        return {obj_id: f"Object {obj_id}" for obj_id in sorted(ids)}

    def labels(self, frame_idx: int) -> Labels:
        """Return the label image (H, W)."""
        return np.asarray(self._labels[frame_idx] if self._is_movie else self._labels)

    def masks(self, frame_idx: int) -> dict[int, MaskPart]:
        """Return the masks of a frame; of other objects it is not known that they are gone."""
        from scipy.ndimage import find_objects

        ids, numbers = np.unique(self.labels(frame_idx), return_inverse=True)
        numbers = numbers.reshape(self.height, self.width)
        found = {}
        # an object's number is its place among the ids; find_objects leaves the number 0 out
        for obj_id, number, place in zip(
            ids.tolist(), range(1, len(ids) + 1), find_objects(numbers + 1), strict=True
        ):
            if obj_id > 0 and place is not None:
                rows, columns = place
                found[obj_id] = MaskPart(rows.start, columns.start, numbers[place] == number - 1)
        return found

    def edited_frames(self, obj_id: int) -> int:
        """Return 0: labels do not tell who made them."""
        return 0

    def picture(self, frame_idx: int) -> None:
        """Return None: labels have no picture."""
