"""Pixel values of any kind as brightness, without losing small differences of large values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.floating[Any]]:
    """Map `low` to 0 and `high` to 1 and clip; NaN and infinities count as `low`.

    Returns
    -------
    ndarray
        A copy, float32 where that holds all values exactly, else float64.
    """
    is_exact = np.can_cast(values.dtype, np.float32)
    numbers: NDArray[np.floating[Any]] = values.astype(np.float32 if is_exact else np.float64)
    numbers[~np.isfinite(numbers)] = low
    numbers -= numbers.dtype.type(low)
    numbers /= numbers.dtype.type(high - low)
    return np.clip(numbers, 0, 1, out=numbers)
