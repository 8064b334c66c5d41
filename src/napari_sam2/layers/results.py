"""What a pixel and a frame of an image layer are in the world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.session.measurements import Calibration

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam2.layers.geometry import FrameGeometry

#: The unit of a scale that has none.
WORLD = "world unit"


def calibration_of(image: Image, geometry: FrameGeometry) -> Calibration:
    """Read sizes and units of pixels and frames from the layer; pixels where it has none.

    Where it has a scale but no unit, nobody knows what that is a length of: `WORLD`.
    """
    units = image.units
    y_axis, x_axis = geometry.plane_axes
    pixel_size, unit = (1.0, 1.0), "pixel"
    if str(units[y_axis]) == str(units[x_axis]):
        pixel_size = (_step_length(image, y_axis), _step_length(image, x_axis))
        unit = _short(units[y_axis], "pixel" if pixel_size == (1.0, 1.0) else WORLD)
    if geometry.frame_axis is None:
        return Calibration(pixel_size, unit)
    interval = _step_length(image, geometry.frame_axis)
    frame_unit = _short(units[geometry.frame_axis], "frame" if interval == 1.0 else WORLD)
    return Calibration(pixel_size, unit, interval, frame_unit)


def calibration_of_labels(attributes: Mapping[str, Any]) -> Calibration:
    """Read the same from what napari says of a labels layer (H, W) or (T, H, W) that it saves."""
    scale = [float(step) for step in attributes.get("scale", ())]
    units = list(attributes.get("units") or ["pixel"] * len(scale))
    if not 2 <= len(scale) <= 3 or len(units) != len(scale) or not all(step > 0 for step in scale):
        return Calibration()
    pixel_size, unit = (1.0, 1.0), "pixel"
    if str(units[-2]) == str(units[-1]):
        pixel_size = (scale[-2], scale[-1])
        unit = _short(units[-1], "pixel" if pixel_size == (1.0, 1.0) else WORLD)
    if len(scale) == 2:
        return Calibration(pixel_size, unit)
    return Calibration(
        pixel_size, unit, scale[0], _short(units[0], "frame" if scale[0] == 1.0 else WORLD)
    )


def _step_length(image: Image, axis: int) -> float:
    """Return how long a step of one along an axis is in the world, affine and all."""
    step = np.eye(image.ndim)[axis]
    start = np.asarray(image.data_to_world(np.zeros(image.ndim)))
    length = float(np.linalg.norm(np.asarray(image.data_to_world(step)) - start))
    return float(f"{length:.12g}")  # a rotation leaves rounding errors, which make no square pixel


def _short(unit: Any, without: str) -> str:
    return without if str(unit) == "pixel" else f"{unit:~}"
