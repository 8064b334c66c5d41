"""How the ways of objects look: a Tracks layer that lies over the labels, axis by axis.

napari takes the first axis of a Tracks layer for time, aligns layers by their last axes, and draws
at most four. So axes that stand still in front of the frames are left out. Where a row or column
axis comes before the frames, an axis with one value has to come first: one that stands still, or
one put before them all. Such tracks are drawn as a whole, on every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Tracks

from napari_sam2.layers import geometry as geo
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.session.measurements import tracks

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.session.session import Session

_MOST_AXES = 4
_MARK = "napari-sam2 tracks"


@dataclass(frozen=True)
class _TrackAxes:
    """The first axis of the image that a Tracks layer has, and whether one is put before it."""

    first: int
    has_extra: bool


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
    axes = _axes(geometry)
    rows = tracks(session)
    if len(rows) == 0:
        raise LayerRefusedError("There is no mask to make tracks of: follow an object first.")
    data = geometry.to_data(rows[:, 1], rows[:, 2:])[:, axes.first :]
    if axes.has_extra:
        # all at the same time, so that napari keeps the order of the rows
        data = np.column_stack([np.zeros(len(data)), data])
    layer = Tracks(
        np.column_stack([rows[:, 0], data]),
        name="SAM 2 tracks",
        tail_length=geometry.num_frames,
        metadata={_MARK: str(image.unique_id)},
    )
    if axes == _TrackAxes(0, has_extra=False):
        geo.copy_transform(image, layer, world_units=world_units)
    else:
        _lay_over(image, layer, geometry, axes, world_units)
    return layer


def tracks_layers_of(viewer: Any, image: Image) -> list[Tracks]:
    """Return the layers of a viewer that `new_tracks_layer` made of the objects of an image."""
    made = [layer for layer in viewer.layers if isinstance(layer, Tracks)]
    return [layer for layer in made if layer.metadata.get(_MARK) == str(image.unique_id)]


def _axes(geometry: geo.FrameGeometry) -> _TrackAxes:
    if geometry.frame_axis is None:
        raise LayerRefusedError("A single image has no tracks; they need several frames.")
    still = {axis for axis, _ in geometry.fixed}
    in_front = 0
    while in_front in still:
        in_front += 1
    if geometry.frame_axis == in_front:
        axes = _TrackAxes(in_front, has_extra=False)
    else:
        axes = _TrackAxes(max(in_front - 1, 0), has_extra=in_front == 0)
    if geometry.ndim - axes.first + axes.has_extra > _MOST_AXES:
        raise LayerRefusedError(
            "napari draws tracks along four axes at most, and this image needs more of them: "
            "export the table instead, it holds the centres on all frames."
        )
    return axes


def _lay_over(
    image: Image,
    layer: Tracks,
    geometry: geo.FrameGeometry,
    axes: _TrackAxes,
    world_units: geo.Units | None,
) -> None:
    """Give a layer of fewer or more axes the place that its own axes have in the image."""
    left_out = [position for position in geometry.fixed if position[0] < axes.first]
    matrix, units = _matrix_over(image, left_out, world_units)
    kept = slice(axes.first, None)
    affine = np.eye(layer.ndim + 1)
    affine[axes.has_extra :, axes.has_extra :] = matrix[kept, kept]
    labels, names = list(image.axis_labels[kept]), [str(unit) for unit in units[kept]]
    layer.affine = affine
    layer.units = ["pixel", *names] if axes.has_extra else names
    layer.axis_labels = ["-", *labels] if axes.has_extra else labels


def _matrix_over(
    image: Image, left_out: Sequence[tuple[int, int]], world_units: geo.Units | None
) -> tuple[NDArray[np.float64], geo.Units]:
    """Return what takes data coordinates of an image to the world, (ndim + 1, ndim + 1).

    Parameters
    ----------
    left_out
        Axes, with the positions at which they stand.

    Returns
    -------
    matrix, units
        Column i of the matrix is a step along axis i, the last one the place of the origin.
    """
    ndim = image.ndim
    units: geo.Units = tuple(image.units)
    here = None if world_units is None else tuple(world_units[-ndim:])
    if here is not None and len(here) == ndim:
        units = here
    matrix = geo.layer_matrix(image, world_units=here)
    for axis, position in left_out:
        matrix[:, -1] += position * matrix[:, axis]
    return matrix, units
