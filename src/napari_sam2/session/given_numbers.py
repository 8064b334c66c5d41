"""Numbers as people and scripts give them, of any type: taken for what they are, or refused."""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt


def whole_number(value: int, name: str) -> int:
    """Return a Python int for any integer type, or say that it is none."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number, got {value!r}.") from error


def as_floats(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return `values` as float64, or say that they are no real numbers."""
    try:
        array = np.asarray(values)
        if np.iscomplexobj(array):
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name.capitalize()} must be numbers, got {values!r}.") from error


def as_polarity(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return point labels as int64, or say that they are no whole numbers."""
    array = as_floats(values, "point_labels")
    if not np.array_equal(array, np.floor(array)):
        raise ValueError(f"Point_labels must be whole numbers, got {array.tolist()}.")
    return array.astype(np.int64)
