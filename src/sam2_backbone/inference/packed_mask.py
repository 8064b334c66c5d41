"""A mask of a frame as it is kept: the bounding box, one bit a pixel; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask (H, W) cut to its bounding box, eight pixels a byte.

    A label of 100 x 100 pixels in a frame of 2048 x 2048 takes 1.3 kB instead of 4 MB. NumPy
    functions take it as the array it stands for.

    Attributes
    ----------
    shape
        (H, W) of the frame.
    top, left
        First row and column of the box.
    box_shape
        Rows and columns of the box; (0, 0) where the mask is empty.
    bits
        The box row by row, as `numpy.packbits` has it.
    """

    shape: tuple[int, int]
    top: int
    left: int
    box_shape: tuple[int, int]
    bits: NDArray[np.uint8]

    def __post_init__(self) -> None:
        rows, columns = self.box_shape
        fits = 0 <= self.top <= self.shape[0] - rows and 0 <= self.left <= self.shape[1] - columns
        if min(rows, columns) < 0 or not fits or self.bits.size != -(-rows * columns // 8):
            raise ValueError(
                f"A box of {rows} x {columns} pixels at ({self.top}, {self.left}) with "
                f"{self.bits.size} bytes is no mask of a frame of {self.shape}."
            )
        self.bits.setflags(write=False)

    @classmethod
    def pack(cls, mask: NDArray[np.bool_]) -> PackedMask:
        """Keep a mask (H, W)."""
        height, width = mask.shape
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if rows.size == 0:
            return cls((height, width), 0, 0, (0, 0), np.zeros(0, np.uint8))
        top, left = int(rows[0]), int(columns[0])
        box = mask[top : rows[-1] + 1, left : columns[-1] + 1]
        return cls((height, width), top, left, (box.shape[0], box.shape[1]), np.packbits(box))

    @property
    def extent(self) -> tuple[int, int, int, int] | None:
        """Top, left, bottom, right edges in pixels; None where the mask is empty."""
        rows, columns = self.box_shape
        if rows == 0:
            return None
        return self.top, self.left, self.top + rows, self.left + columns

    @property
    def nbytes(self) -> int:
        """Size of what is kept of the pixels."""
        return self.bits.nbytes

    def box(self) -> NDArray[np.bool_]:
        """Return the part in the bounding box."""
        rows, columns = self.box_shape
        return np.unpackbits(self.bits, count=rows * columns).reshape(rows, columns).view(np.bool_)

    def to_array(self) -> NDArray[np.bool_]:
        """Return the mask (H, W)."""
        mask = np.zeros(self.shape, np.bool_)
        rows, columns = self.box_shape
        mask[self.top : self.top + rows, self.left : self.left + columns] = self.box()
        return mask

    def cut(self, top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
        """Return a rectangle of the frame, which may reach beyond it: there is nothing."""
        part = np.zeros((height, width), np.bool_)
        rows, columns = self.box_shape
        y0, y1 = max(self.top, top), min(self.top + rows, top + height)
        x0, x1 = max(self.left, left), min(self.left + columns, left + width)
        if y0 < y1 and x0 < x1:
            inside = self.box()[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left]
            part[y0 - top : y1 - top, x0 - left : x1 - left] = inside
        return part

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the mask as NumPy asks for it."""
        if copy is False:
            raise ValueError("A packed mask has to be unpacked, which makes a copy.")
        return self.to_array().astype(np.bool_ if dtype is None else dtype, copy=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PackedMask):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        return self.shape, self.top, self.left, self.box_shape, self.bits.tobytes()
