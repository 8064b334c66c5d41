"""The frames of image layers, read one at a time, and how a layer shows their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.session.intensities import Channel
from napari_sam2.session.planes import Plane
from sam2_backbone.inference.frames import frame_at

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray


class LayerFrameSource:
    """Frames of an image layer; satisfies `sam2_backbone.inference.frames.FrameSource`.

    Arrays of any kind (NumPy, dask, zarr, tensorstore) are indexed one frame at a time and never
    whole. Values are handed on as they are: how they become brightness is a setting of the session.

    Parameters
    ----------
    array
        The layer's array at full resolution, colour axis last if there is one.
    geometry
        Which axes are frame, rows and columns.
    is_rgb
        Whether the last axis is colour; a fourth channel is taken for opacity and left out.
    """

    def __init__(self, array: Any, geometry: FrameGeometry, *, is_rgb: bool = False) -> None:
        self._array = array
        self._geometry = geometry
        self.is_rgb = is_rgb
        self.num_frames = geometry.num_frames
        self.height = geometry.height
        self.width = geometry.width
        # tensorstore has dtypes of its own
        self.dtype: np.dtype[Any] = np.dtype(getattr(array.dtype, "numpy_dtype", array.dtype))

    @property
    def plane(self) -> Plane:
        """Where the axes stand that are neither frames nor pixels."""
        return self._geometry.fixed

    def on_plane(self, plane: Plane) -> LayerFrameSource:
        """Return the frames of another plane."""
        if [axis for axis, _ in plane] != [axis for axis, _ in self.plane]:
            raise IndexError(f"{plane} is no plane of an image whose plane is {self.plane}.")
        for axis, index in plane:
            if not 0 <= index < self._geometry.shape[axis]:
                raise IndexError(f"Axis {axis} of the image has no index {index}.")
        there = replace(self._geometry, fixed=plane)
        return LayerFrameSource(self._array, there, is_rgb=self.is_rgb)

    def read(self, frame_idx: int) -> NDArray[Any]:
        """Read one frame, (H, W) or (H, W, 3)."""
        if not 0 <= frame_idx < self.num_frames:
            raise IndexError(
                f"frame_idx must lie between 0 and {self.num_frames - 1}, not {frame_idx}."
            )
        frame = frame_at(self._array, self._geometry.index(frame_idx), frame_idx)
        return frame[..., :3] if self.is_rgb else frame


class StackedLayerFrames:
    """Grey frames of several sources, one behind the other; a `FrameSource`.

    Further sources can only be added at the end, so that a channel keeps its number.
    """

    is_rgb = True

    def __init__(self, sources: Sequence[LayerFrameSource]) -> None:
        self._sources = tuple(sources)
        first = self._sources[0]
        self.num_frames, self.height, self.width = first.num_frames, first.height, first.width
        self.num_channels = len(self._sources)
        self.dtype: np.dtype[Any] = np.result_type(*(source.dtype for source in self._sources))

    def read(self, frame_idx: int) -> NDArray[Any]:
        """Read one frame (H, W, C)."""
        planes = [source.read(frame_idx).astype(self.dtype) for source in self._sources]
        return np.stack(planes, axis=-1)


def layer_channel(image: Image, index: int = 0) -> Channel | None:
    """Read how a layer shows its values; None for colour, which napari shows as it is stored."""
    if image.rgb:
        return None
    low, high = (float(limit) for limit in image.contrast_limits)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        return None
    return Channel(index, low, high, float(image.gamma))


def layer_frame_source(image: Image, geometry: FrameGeometry) -> LayerFrameSource:
    """Make the frame source of an image layer at full resolution.

    Raises
    ------
    LayerRefusedError
        For an array that has no pixels.
    """
    array = image.data[0] if image.multiscale else image.data
    if 0 in array.shape:
        raise LayerRefusedError(
            f"The image {image.name!r} has the shape {tuple(array.shape)} and so no pixels; "
            "choose another one."
        )
    return LayerFrameSource(array, geometry, is_rgb=bool(image.rgb))
