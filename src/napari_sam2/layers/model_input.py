"""What the network is given, as a layer over the image: cut out, mapped, at its own size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_sam2.layers.geometry import FrameGeometry, layer_matrix

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_sam2.session.predictor import ModelViewLike

NAME = "SAM 2 model input"
_MARK = "napari-sam2 model input"


def is_model_input(layer: Layer) -> bool:
    """Whether a layer shows what the network is given, and so is no image to annotate."""
    return bool(layer.metadata.get(_MARK))


def images_of(viewer: Any) -> list[Image]:
    """List the image layers of a viewer but what shows the network's input."""
    layers = [layer for layer in viewer.layers if isinstance(layer, Image)]
    return [layer for layer in layers if not is_model_input(layer)]


def model_input_layer(viewer: Any) -> Image | None:
    """Return the layer of a viewer that shows what the network is given, if there is one."""
    found = [layer for layer in viewer.layers if is_model_input(layer)]
    return found[0] if found else None


def show_model_input(
    viewer: Any, image: Image, geometry: FrameGeometry, frame_idx: int, given: ModelViewLike
) -> None:
    """Lay what the network is given over the place of the image that it was cut from.

    Parameters
    ----------
    given
        Pixels (rows, columns, 3) and the part of the frame that they show.
    """
    shape = [1] * geometry.ndim
    for axis, size in zip(geometry.plane_axes, given.pixels.shape[:2], strict=True):
        shape[axis] = size
    # whole numbers, since napari stretches floats between their extremes
    pixels = (given.pixels * 255).round().astype(np.uint8).reshape(*shape, 3)
    affine = _placed(image, geometry, frame_idx, given)
    layer = model_input_layer(viewer)
    if layer is not None and layer.data.shape == pixels.shape:
        layer.data = pixels
        layer.affine = affine
        return
    if layer is not None:
        viewer.layers.remove(layer)
    layer = Image(
        pixels,
        rgb=True,
        name=NAME,
        affine=affine,
        units=image.units,
        axis_labels=image.axis_labels,
        metadata={_MARK: True},
    )
    # where the network sees what the person sees, nothing else would tell the two apart
    layer.bounding_box.visible = True
    layer.bounding_box.points = False
    active = viewer.layers.selection.active
    viewer.layers.insert(viewer.layers.index(image) + 1, layer)
    viewer.layers.selection.active = active


def _placed(
    image: Image, geometry: FrameGeometry, frame_idx: int, given: ModelViewLike
) -> NDArray[np.float64]:
    """Return the affine matrix from the network's pixels to the image's world."""
    ndim = geometry.ndim
    cut = np.eye(ndim + 1)  # network's pixels to data of the image
    view = given.view
    for axis, start, length, size in zip(
        geometry.plane_axes,
        (view.top, view.left),
        (view.height, view.width),
        given.pixels.shape[:2],
        strict=True,
    ):
        cut[axis, axis] = length / size
        # edges lie half a pixel before the first centre
        cut[axis, ndim] = start - 0.5 + 0.5 * length / size
    if geometry.frame_axis is not None:
        cut[geometry.frame_axis, ndim] = frame_idx
    for axis, index in geometry.fixed:
        cut[axis, ndim] = index
    placed: NDArray[np.float64] = layer_matrix(image) @ cut
    return placed
