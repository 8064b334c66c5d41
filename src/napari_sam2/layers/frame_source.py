"""Room: the frames of an image layer as the model is to see them, read one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import FrameGeometry

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Intensities:
    """How values of a layer become brightness: contrast limits, then gamma, for the whole stack.

    Attributes
    ----------
    low, high
        Values shown as black and as white.
    gamma
        Exponent of the brightness 0 … 1; 1 leaves it.
    """

    low: float
    high: float
    gamma: float = 1.0

    def apply(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        """Turn values into brightness 0 … 1; NaN counts as black."""
        values = np.nan_to_num(
            frame.astype(np.float32), nan=self.low, posinf=self.high, neginf=self.low
        )
        brightness = np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)
        return np.asarray(brightness**self.gamma, dtype=np.float32)


class LayerFrameSource:
    """Frames of an image layer; satisfies `sam2_backbone.inference.frames.FrameSource`.

    Arrays of any kind (NumPy, dask, zarr, tensorstore) are indexed one frame at a time and never
    whole. A gamma other than 1 is applied here, since the session knows a value range only.

    Parameters
    ----------
    array
        The layer's array at full resolution, colour axis last if there is one.
    geometry
        Which axes are frame, rows and columns.
    is_rgb
        Whether the last axis is colour; a fourth channel is taken for opacity and left out.
    intensities
        Brightness to apply while reading; None hands the values on as they are.
    """

    def __init__(
        self,
        array: Any,
        geometry: FrameGeometry,
        *,
        is_rgb: bool = False,
        intensities: Intensities | None = None,
    ) -> None:
        self._array = array
        self._geometry = geometry
        self._intensities = intensities
        self.is_rgb = is_rgb
        self.num_frames = geometry.num_frames
        self.height = geometry.height
        self.width = geometry.width
        source_dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.dtype = np.dtype(np.float32) if intensities is not None else source_dtype

    def read(self, frame_idx: int) -> NDArray[Any]:
        """Read one frame, (H, W) or (H, W, 3)."""
        if not 0 <= frame_idx < self.num_frames:
            raise IndexError(
                f"frame_idx must lie between 0 and {self.num_frames - 1}, not {frame_idx}."
            )
        frame = np.asarray(self._array[self._geometry.index(frame_idx)])
        if self.is_rgb:
            frame = frame[..., :3]
        return frame if self._intensities is None else self._intensities.apply(frame)


def layer_intensities(image: Image) -> Intensities | None:
    """Read what a person sees of a layer; None for colour, which napari shows as it is stored."""
    if image.rgb:
        return None
    low, high = (float(limit) for limit in image.contrast_limits)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        return None
    return Intensities(low, high, float(image.gamma))


def layer_frame_source(
    image: Image, geometry: FrameGeometry
) -> tuple[LayerFrameSource, tuple[float, float] | None]:
    """Make the frame source of an image layer and the value range for the session.

    Returns
    -------
    source
        Frames of the layer at full resolution.
    value_range
        Values shown as black and white; None leaves the choice to the session.

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
    intensities = layer_intensities(image)
    if intensities is not None and intensities.gamma != 1.0:
        source = LayerFrameSource(array, geometry, intensities=intensities)
        return source, (0.0, 1.0)
    source = LayerFrameSource(array, geometry, is_rgb=bool(image.rgb))
    return source, None if intensities is None else (intensities.low, intensities.high)
