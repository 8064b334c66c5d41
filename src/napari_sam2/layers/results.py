"""Room: how results look as layers, and what a pixel of the image is in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Tracks

from napari_sam2.layers import geometry as geo
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.session.measurements import Calibration, tracks

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam2.session.session import Session


def calibration_of(image: Image, geometry: geo.FrameGeometry) -> Calibration:
    """Read sizes and units of pixels and frames from the layer; pixels where it has none."""
    units = image.units
    y_axis, x_axis = geometry.plane_axes
    pixel_size, unit = (1.0, 1.0), "pixel"
    if str(units[y_axis]) == str(units[x_axis]):
        pixel_size = (abs(float(image.scale[y_axis])), abs(float(image.scale[x_axis])))
        unit = _short(units[y_axis], "pixel")
    if geometry.frame_axis is None:
        return Calibration(pixel_size, unit)
    interval = abs(float(image.scale[geometry.frame_axis]))
    return Calibration(pixel_size, unit, interval, _short(units[geometry.frame_axis], "frame"))


def _short(unit: Any, without: str) -> str:
    return without if str(unit) == "pixel" else f"{unit:~}"


def new_tracks_layer(
    session: Session,
    image: Image,
    geometry: geo.FrameGeometry,
    *,
    world_units: geo.Units | None = None,
) -> Tracks:
    """Make a Tracks layer of the centres of all objects, laid over the image.

    Raises
    ------
    LayerRefusedError
        If nothing moves, or napari could not show it.
    """
    if geometry.frame_axis != 0:
        raise LayerRefusedError(
            "Tracks go along the first axis of an image only; here that is not the frame axis."
        )
    rows = tracks(session)
    if len(rows) == 0:
        raise LayerRefusedError("There is no mask to make tracks of: follow an object first.")
    data = geometry.to_data(rows[:, 1], rows[:, 2:])
    layer = Tracks(
        np.column_stack([rows[:, 0], data]), name="SAM 2 tracks", tail_length=geometry.num_frames
    )
    geo.copy_transform(image, layer, world_units=world_units)
    return layer
