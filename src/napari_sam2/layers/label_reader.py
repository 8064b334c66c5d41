"""Which labels of somebody's Labels layer lie on which frame of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import FrameGeometry

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

# bytes of frames with labels; more are kept in memory only by a script that asks for it
_LARGEST_READ = 2**30


def read_labels(
    layer: Labels, geometry: FrameGeometry, frames: Sequence[int]
) -> dict[int, NDArray[np.integer[Any]]]:
    """Read the labels (H, W) of some frames; frames without a label are left out.

    A layer of two dimensions lies on the first of the frames.

    Raises
    ------
    LayerRefusedError
        If the layer has another size than the image, or too many frames have labels.
    """
    array: Any = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(int(length) for length in array.shape)
    size = (geometry.height, geometry.width)
    if shape not in (geometry.shape, size):
        raise LayerRefusedError(
            f"The labels {layer.name!r} have the shape {shape}, the image {geometry.shape}: "
            "choose labels of the same size, or of one frame."
        )
    if shape != geometry.shape:
        frames = frames[:1]
    found = {}
    for frame_idx in frames:
        place = geometry.index(frame_idx) if shape == geometry.shape else ...
        image = np.asarray(array[place])
        if (image > 0).any():
            found[int(frame_idx)] = image
        if sum(image.nbytes for image in found.values()) > _LARGEST_READ:
            raise LayerRefusedError(
                f"The labels {layer.name!r} are too large to be taken from all frames at once: "
                "take those of one frame and follow them."
            )
    if not found:
        where = "this frame" if len(frames) == 1 else "any frame"
        raise LayerRefusedError(f"The labels {layer.name!r} show no object on {where}.")
    return found
