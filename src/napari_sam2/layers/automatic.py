"""What was found without prompts on one frame of an image layer, as a Labels layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_sam2.layers.composition import Composition
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import (
    FrameGeometry,
    choose_geometry,
    copy_transform,
    current_frame,
    require_plane_view,
)
from napari_sam2.layers.label_writer import label_array, object_colormap
from napari_sam2.session.intensities import Channel

if TYPE_CHECKING:
    import numpy as np
    from napari.components import Dims
    from napari.layers import Image
    from numpy.typing import NDArray

    from sam2_backbone.inference.frames import FrameSource


@dataclass(frozen=True)
class ShownPlane:
    """The frame of an image layer that a viewer shows, and how it is shown.

    Attributes
    ----------
    image
        The layer.
    geometry
        Which of its axes are frame, rows and columns.
    frame_idx
        The frame.
    source, channels
        All frames, and between which limits a person sees them.
    """

    image: Image
    geometry: FrameGeometry
    frame_idx: int
    source: FrameSource
    channels: tuple[Channel, ...]


def shown_plane(image: Image, dims: Dims, world_units: Any = None) -> ShownPlane:
    """Return what a viewer shows of an image layer.

    Raises
    ------
    LayerRefusedError
        If it is not one frame.
    """
    require_plane_view(dims)
    geometry = choose_geometry(image, dims, world_units=world_units)
    frame_idx = current_frame(geometry, image, dims, world_units=world_units)
    if frame_idx is None:
        raise LayerRefusedError("The viewer is beyond the frames of this image: go to one of them.")
    composition = Composition(image, geometry)
    composition.stop()
    return ShownPlane(image, geometry, frame_idx, composition.source, composition.channels)


def labels_layer(
    plane: ShownPlane, labels: NDArray[np.unsignedinteger], *, world_units: Any = None
) -> Labels:
    """Make a Labels layer over the image: labels (H, W) on that frame, background elsewhere."""
    data = label_array(plane.geometry, labels.dtype)
    data[plane.geometry.index(plane.frame_idx)] = labels
    layer = Labels(
        data,
        name=f"{plane.image.name} everything",
        colormap=object_colormap(range(1, int(labels.max(initial=1)) + 1)),
    )
    copy_transform(plane.image, layer, world_units=world_units)
    return layer
