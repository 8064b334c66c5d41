"""Which boxes of a frame have an area in common; pure numbers, no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def meeting(box: NDArray[np.number[Any]], boxes: NDArray[np.number[Any]]) -> list[int]:
    """Return which of (N, 4) boxes meet a box (4,): first row and column, end row and column."""
    top, left, bottom, right = box
    meets = (boxes[:, 0] < bottom) & (boxes[:, 1] < right)
    meets &= (boxes[:, 2] > top) & (boxes[:, 3] > left)
    return np.flatnonzero(meets).tolist()
