"""An image layer and the labels layer over it, as frames that a network can learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers.composition import Composition
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import FrameGeometry, choose_geometry, current_frame
from napari_sam2.session.training_data import LabelledFrames

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Labels
    from numpy.typing import NDArray


def labelled_frames(
    image: Image, labels: Labels, dims: Dims, *, world_units: Any = None
) -> LabelledFrames:
    """Return the frames of an image with the labels of a layer over it, read when asked for.

    Labels of two dimensions lie on the frame that the viewer shows.

    Raises
    ------
    LayerRefusedError
        If the labels have another size than the image.
    """
    geometry = choose_geometry(image, dims, world_units=world_units)
    array: Any = labels.data[0] if labels.multiscale else labels.data
    shape = tuple(int(length) for length in array.shape)
    if shape not in (geometry.shape, (geometry.height, geometry.width)):
        raise LayerRefusedError(
            f"The labels {labels.name!r} have the shape {shape}, the image {image.name!r} "
            f"{geometry.shape}: choose labels of the same size, or of one frame."
        )
    frames = list(range(geometry.num_frames))
    if shape != geometry.shape:
        shown = current_frame(geometry, image, dims, world_units=world_units)
        if shown is None:
            raise LayerRefusedError(
                "The labels are of one frame: show the frame of the image that they belong to."
            )
        frames = [shown]
    composition = Composition(image, geometry)
    composition.stop()
    return LabelledFrames(
        image.name,
        composition.source,
        composition.channels,
        frames,
        _Reader(array, geometry if shape == geometry.shape else None),
    )


class _Reader:
    """Reads the labels (H, W) of one frame; without a geometry the array is one frame."""

    def __init__(self, array: Any, geometry: FrameGeometry | None) -> None:
        self._array, self._geometry = array, geometry

    def __call__(self, frame_idx: int) -> NDArray[np.integer[Any]]:
        place: Any = ... if self._geometry is None else self._geometry.index(frame_idx)
        return np.asarray(self._array[place])
