"""How a frame looks with its objects drawn over it: outlines, a light fill, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session.objects import colour_bytes

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from napari_sam2.session.result_masks import MaskPart

Picture = npt.NDArray[np.uint8]

#: Small frames are drawn larger, near to this side, so that numbers can be read; in pixels.
_COMFORTABLE = 640
#: Larger frames are drawn smaller: most players and graphics cards end here.
_LARGEST = 4096
#: Opacity of a light fill, through which the image is seen.
TINT = 0.25

_WIDTH_PER_SIDE = 1 / 700  # of an outline; a screen shows about two pixels of it
_SMALLEST_FONT, _LARGEST_FONT = 14, 32


@dataclass(frozen=True)
class MovieStyle:
    """
    How a movie of results looks and how fast it is shown.

    Attributes
    ----------
    frames_per_second
        ``None``: as fast as it was recorded where that can be looked at, else 10.
    fill
        Opacity of the objects inside their outlines, 0 … 1.
    numbers
        Whether each object's id stands beside it.

    Raises
    ------
    ValueError
        A number is none of these.
    """

    frames_per_second: float | None = None
    fill: float = 0.0
    numbers: bool = True

    def __post_init__(self) -> None:
        rate = self.frames_per_second
        if rate is not None and not 0.1 <= rate <= 240:
            raise ValueError(f"A movie shows 0.1 to 240 frames a second, not {rate}.")
        if not 0 <= self.fill <= 1:
            raise ValueError(f"The fill of objects is an opacity from 0 to 1, not {self.fill}.")


class Overlay:
    """
    Draws the objects of one frame after the other over it.

    Parameters
    ----------
    height, width
        Of the frames, in pixels.
    style
        Its fill and numbers.

    Attributes
    ----------
    height, width
        Of what is drawn, in pixels.
    """

    def __init__(self, height: int, width: int, style: MovieStyle) -> None:
        from PIL import ImageFont

        longest = max(height, width)
        self._zoom = max(1, round(_COMFORTABLE / longest))
        self._step = max(1, -(-longest // _LARGEST))
        self._style = style
        self.height, self.width = (
            -(-length // self._step) * self._zoom for length in (height, width)
        )
        side = max(self.height, self.width)
        self._line = max(2, round(side * _WIDTH_PER_SIDE))
        self._font = ImageFont.load_default(
            size=min(max(side // 50, _SMALLEST_FONT), _LARGEST_FONT)
        )

    def draw(self, picture: Picture | None, masks: Mapping[int, MaskPart]) -> Picture:
        """
        Return a frame (height, width, 3) with its objects.

        Parameters
        ----------
        picture
            The frame (H, W), (H, W, 1) or (H, W, 3); black if ``None``.
        masks
            By object; where they overlap, each has its outline.
        """
        from PIL import Image, ImageDraw

        drawn = self._background(picture)
        parts = {
            obj_id: _Part(mask, self._zoom, self._step, drawn.shape[:2])
            for obj_id, mask in masks.items()
            if mask.area
        }
        if self._style.fill:
            for obj_id, part in parts.items():
                here = drawn[part.place]
                mixed = here + self._style.fill * (np.asarray(colour_bytes(obj_id)) - here)
                np.copyto(here, mixed.round().astype(np.uint8), where=part.inside[..., None])
        for obj_id, part in parts.items():
            drawn[part.place][part.outline(self._line)] = colour_bytes(obj_id)
        if not self._style.numbers:
            return drawn
        image = Image.fromarray(drawn)
        canvas = ImageDraw.Draw(image)
        for obj_id, part in parts.items():
            self._write(canvas, obj_id, *part.summit)
        return np.asarray(image)

    def _background(self, picture: Picture | None) -> Picture:
        """Return the frame in colour, in the size in which it is drawn."""
        from PIL import Image

        if picture is None:
            return np.zeros((self.height, self.width, 3), np.uint8)
        plane = picture[..., 0] if picture.shape[2:] == (1,) else picture
        image = Image.fromarray(plane).convert("RGB")
        if self._step > 1:
            image = image.reduce(self._step)
        large: Picture = np.asarray(image).repeat(self._zoom, axis=0).repeat(self._zoom, axis=1)
        return large

    def _write(self, canvas: ImageDraw, obj_id: int, y: float, x: float) -> None:
        """Write a number above a place, inside the frame."""
        left, top, right, bottom = self._font.getbbox(str(obj_id), anchor="mb", stroke_width=2)
        x = min(max(x, -left), max(self.width - right, -left))
        y = min(max(y - 2, -top), self.height - bottom)
        canvas.text(
            (x, y), str(obj_id), fill=colour_bytes(obj_id), font=self._font, anchor="mb",
            stroke_width=2, stroke_fill=(0, 0, 0),
        )  # fmt: skip


class _Part:
    """A mask in the pixels that are drawn, with a margin of one where the frame has room for it."""

    def __init__(self, mask: MaskPart, zoom: int, step: int, shape: tuple[int, ...]) -> None:
        mask = mask.trimmed()
        top, left = mask.top, mask.left
        # of a smaller frame the pixels that are a multiple of the step
        inside = mask.inside[-top % step :: step, -left % step :: step]
        inside = inside.repeat(zoom, axis=0).repeat(zoom, axis=1)
        starts = [-(-first // step) * zoom for first in (top, left)]
        room = [
            (int(start > 0), int(start + length < whole))
            for start, length, whole in zip(starts, inside.shape, shape, strict=True)
        ]
        self.inside: npt.NDArray[np.bool_] = np.pad(inside, room)
        self.place: Any = tuple(
            slice(start - before, start - before + length)
            for start, (before, _), length in zip(starts, room, self.inside.shape, strict=True)
        )

    def outline(self, width: int) -> npt.NDArray[np.bool_]:
        """Return the pixels inside that are near to the outline; the frame's edge is none."""
        from scipy.ndimage import binary_erosion

        kept = binary_erosion(self.inside, iterations=width, border_value=1)
        outline: npt.NDArray[np.bool_] = self.inside & ~kept
        return outline

    @property
    def summit(self) -> tuple[float, float]:
        """Row and column of the middle of the uppermost row inside."""
        rows, columns = np.nonzero(self.inside)
        if not len(rows):
            return float(self.place[0].start), float(self.place[1].start)
        first = rows[0]
        return (
            float(self.place[0].start + first),
            float(self.place[1].start + columns[rows == first].mean()),
        )
