"""Frames, read one at a time: arrays of every kind, folders of images, video files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.errors import FrameReadError
from sam2_backbone.inference.video_file import VideoFile

if TYPE_CHECKING:
    from sam2_backbone.inference.transforms import Intensities

_CHANNEL_COUNTS = (1, 3, 4)
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
_RANGE_SAMPLES = 8  # frames looked at for the intensity range
_RANGE_PIXELS = 200_000  # pixels looked at in each
ROBUST_PERCENTILES = (0.1, 99.9)


class FrameSeries(Protocol):
    """Frames of one size, one after the other."""

    @property
    def num_frames(self) -> int:
        """How many frames there are; 1 for an image."""

    @property
    def height(self) -> int:
        """Rows of a frame."""

    @property
    def width(self) -> int:
        """Columns of a frame."""


@runtime_checkable
class FrameSource(FrameSeries, Protocol):
    """A video or one image whose frames are read lazily."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Pixel type."""

    @property
    def is_rgb(self) -> bool:
        """Whether frames have a channel axis."""

    def read(self, frame_idx: int) -> NDArray[np.generic]:
        """Return a frame, (H, W) or (H, W, C)."""


class ArrayFrames:
    """Frames of an array-like (T, H, W) or (T, H, W, C): NumPy, dask, zarr, tensorstore."""

    def __init__(self, array: object) -> None:
        shape, dtype = _shape_and_dtype(array)
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in _CHANNEL_COUNTS):
            raise ValueError(
                "a video is an array (T, H, W), or (T, H, W, C) with 1, 3 or 4 channels, "
                f"not of shape {shape}"
            )
        if 0 in shape:
            raise ValueError(f"the array of shape {shape} is empty: give at least one frame")
        self._array = array
        self.num_frames, self.height, self.width = shape[:3]
        self.is_rgb = len(shape) == 4
        self.dtype = dtype

    def read(self, frame_idx: int) -> NDArray[np.generic]:
        """Read one frame and nothing else."""
        return frame_at(self._array, frame_idx, frame_idx)


class _ReadFrames:
    """Frames of files, with the first read once to learn their shape."""

    def __init__(self, read: Callable[[int], NDArray[np.generic]], num_frames: int, name: str):
        self._read, self._name = read, name
        first = read(0)
        self.num_frames = num_frames
        self.height, self.width = int(first.shape[0]), int(first.shape[1])
        self.is_rgb = first.ndim == 3
        self.dtype = first.dtype

    def read(self, frame_idx: int) -> NDArray[np.generic]:
        """Read one frame and nothing else."""
        frame = self._read(frame_idx)
        if frame.shape[:2] != (self.height, self.width):
            raise FrameReadError(
                f"frame {frame_idx} of {self._name} is {frame.shape[0]} x {frame.shape[1]} pixels, "
                f"the first is {self.height} x {self.width}: all frames must have one size"
            )
        return frame


def as_frame_source(frames: object) -> FrameSource:
    """Make a frame source of a video.

    Parameters
    ----------
    frames
        An array-like (T, H, W) or (T, H, W, C), a `FrameSource`, a folder of images in natural
        order of their names, or a video file.

    Raises
    ------
    TypeError, ValueError
        If it is no such thing, or empty, or complex.
    FrameReadError
        If files cannot be read.
    """
    if isinstance(frames, FrameSource):
        return frames
    if isinstance(frames, (str, Path)):
        path = Path(frames)
        if path.is_dir() and path.suffix != ".zarr":
            return _folder(path)
        if path.is_file():
            return VideoFile(path)
        raise FrameReadError(f"there is no folder of images or video file {path}")
    return ArrayFrames(frames)


def image_source(image: object) -> FrameSource:
    """Make a one-frame source of an image (H, W) or (H, W, 1|3|4); see `as_frame_source`."""
    shape, _ = _shape_and_dtype(image)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _CHANNEL_COUNTS):
        raise ValueError(
            "an image is an array (H, W), or (H, W, C) with 1, 3 or 4 channels, "
            f"not of shape {shape}"
        )
    return ArrayFrames(np.asarray(image)[None])


def choose_intensities(
    source: FrameSource, value_range: tuple[float, float] | None = None
) -> Intensities:
    """Choose the one mapping of a stack's values to 0…1; see `choose_value_range`."""
    # opening frames must not import torch, which the mapping's module needs
    from sam2_backbone.inference.transforms import Intensities

    return Intensities(*choose_value_range(source, value_range))


def choose_value_range(
    source: FrameSource, value_range: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Choose which values of a stack become 0 and 1.

    Raises
    ------
    ValueError
        If `value_range` is not two finite increasing numbers.
    """
    if value_range is not None:
        low, high = float(value_range[0]), float(value_range[1])
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(f"value_range must be (low, high) with low < high, not {value_range}")
        return low, high
    if source.dtype == np.uint8:
        return 0.0, 255.0
    if source.dtype == np.bool_:
        return 0.0, 1.0
    return robust_value_range(source)


def robust_value_range(source: FrameSource) -> tuple[float, float]:
    """Percentiles 0.1 and 99.9 of finite values, sampled over frames and pixels."""
    samples = [np.zeros(0)]
    for frame in sampled_frames(source, _RANGE_SAMPLES):
        if isinstance(frame, Exception):
            continue  # who asks for this one will hear
        # whole pixels: every n-th value could be of one channel
        pixels = frame.reshape(frame.shape[0] * frame.shape[1], -1)
        values = pixels[:: max(1, len(pixels) // _RANGE_PIXELS)].astype(np.float64)
        samples.append(values[np.isfinite(values)])
    finite = np.concatenate(samples)
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, ROBUST_PERCENTILES))
    if high <= low:
        low, high = float(finite.min()), float(finite.max())
    return low, high


def frame_at(array: object, place: object, frame_idx: int) -> NDArray[np.generic]:
    """Read what lies at a place of an array of any kind.

    Raises
    ------
    FrameReadError
        If its file is damaged or out of reach, in whatever way its reader says so.
    """
    try:
        return np.asarray(array[place])  # type: ignore[index]
    except (FrameReadError, MemoryError, IndexError):
        raise
    except Exception as error:
        raise FrameReadError(
            f"frame {frame_idx} cannot be read ({error or type(error).__name__})"
        ) from error


def sampled_frames(source: FrameSource, most: int) -> Iterator[NDArray[np.generic] | Exception]:
    """Read at most so many frames, evenly over a source; of one that fails, what it fails with."""
    count = min(most, source.num_frames)
    for frame_idx in np.linspace(0, source.num_frames - 1, count).round().astype(int).tolist():
        try:
            yield without_opacity(source, np.asarray(source.read(frame_idx)))
        except Exception as error:  # noqa: BLE001 (frames fail in any way; others tell as much)
            yield error


def without_opacity(source: FrameSource, frame: NDArray[np.generic]) -> NDArray[np.generic]:
    """Leave out the fourth channel of a frame in colour, which is no brightness.

    Where frames are composed of grey channels, whose number the source then tells as
    `num_channels`, all of them stay.
    """
    is_composed = getattr(source, "num_channels", 0) > 0
    return frame[..., :3] if source.is_rgb and not is_composed else frame


def _shape_and_dtype(array: object) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        array = np.asarray(array)
    shape = tuple(int(n) for n in cast(NDArray[np.generic], array).shape)
    dtype = getattr(array.dtype, "numpy_dtype", array.dtype)  # tensorstore has its own dtypes
    dtype = np.dtype(dtype)
    if dtype.kind not in "buif":
        raise TypeError(
            f"pixels must be real numbers, not {dtype}"
            + (": take the absolute value or the real part" if dtype.kind == "c" else "")
        )
    return shape, dtype


def _natural_key(path: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order of their names: its frames."""
    images = (path for path in folder.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
    return sorted(images, key=_natural_key)


def holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder; the first one that is met is enough."""
    with os.scandir(folder) as entries:
        return any(os.path.splitext(entry.name)[1].lower() in _IMAGE_SUFFIXES for entry in entries)


def _folder(folder: Path) -> FrameSource:
    from skimage.io import imread

    paths = image_files(folder)
    if not paths:
        raise FrameReadError(f"the folder {folder} holds no images (PNG, JPEG, TIFF, BMP)")

    def read(frame_idx: int) -> NDArray[np.generic]:
        try:
            return np.asarray(imread(paths[frame_idx]))
        except (OSError, ValueError) as error:
            raise FrameReadError(f"{paths[frame_idx]} cannot be read as an image") from error

    return _ReadFrames(read, len(paths), str(folder))
