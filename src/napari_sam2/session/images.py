"""Which frames a session looks at: arrays, lazy arrays, paths and frame sources, checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.session.errors import ImageMismatchError, ImageReadError
from sam2_backbone.inference.frames import as_frame_source, frame_at, image_source, sampled_frames
from sam2_backbone.inference.video_file import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource

_COLOUR_CHANNELS = (3, 4)
#: Frames that a signature reads; enough to tell movies apart without reading one again.
_SIGNATURE_FRAMES = 5


class StackedFrames:
    """Frames of an array (T, H, W, C) of any number of grey channels; a `FrameSource`."""

    is_rgb = True

    def __init__(self, array: Any) -> None:
        self._array = array
        self.num_frames, self.height, self.width, self.num_channels = map(int, array.shape)
        self.dtype = _numpy_dtype(array.dtype)

    def read(self, frame_idx: int) -> Any:
        """Read one frame (H, W, C) and nothing else."""
        return frame_at(self._array, frame_idx, frame_idx)


def num_channels_of(source: FrameSource) -> int:
    """Return of how many grey channels frames are composed, 0 for grey and colour images."""
    return int(getattr(source, "num_channels", 0))


def open_stacked(image: Any) -> FrameSource:
    """Return the frames of composed channels: an array (T, H, W, C), its path, or a source."""
    if hasattr(image, "num_channels"):
        source: FrameSource = image
        return source
    array = read_array(image) if isinstance(image, (str, Path)) else image
    if hasattr(array, "num_frames"):
        raise ImageMismatchError(
            "The session was made on composed channels: choose the same channels first."
        )
    if len(getattr(array, "shape", ())) != 4:
        raise ValueError("Composed channels are an array of four axes (T, H, W, C).")
    check_array(tuple(array.shape), array.dtype)
    return StackedFrames(array)


def open_frames(image: Any, *, as_movie: bool = False) -> FrameSource:
    """
    Return the frames of an image or a movie without reading them.

    Parameters
    ----------
    image
        ``(H, W)``, ``(T, H, W)``, ``(H, W, 3|4)`` or ``(T, H, W, 3|4)``, NumPy, dask, zarr or
        alike; a path; or a ``FrameSource``, taken as it is.
    as_movie
        Take a 3-D array as a movie even if its last axis is 3 or 4 long.

    Raises
    ------
    TypeError
        No array of real numbers.
    ValueError
        Empty, or not 2 to 4 axes.
    """
    if all(hasattr(image, name) for name in ("num_frames", "read", "height", "width")):
        source: FrameSource = image
        if source.num_frames < 1 or source.height < 1 or source.width < 1:
            raise ValueError("The image is empty: it has no frame or no pixel.")
        return source
    if isinstance(image, (str, Path)):
        path = Path(image)
        if not is_array_file(path):
            return as_frame_source(path)
        image = read_array(path)
    if not (hasattr(image, "shape") and hasattr(image, "dtype")):
        image = np.asarray(image)
    shape = tuple(int(length) for length in image.shape)
    check_array(shape, image.dtype)
    has_colour = len(shape) >= 3 and shape[-1] in _COLOUR_CHANNELS
    if len(shape) == 2 or (len(shape) == 3 and has_colour and not as_movie):
        return image_source(image)
    if len(shape) == 4 and not has_colour:
        raise ValueError(
            f"An image of four axes must be a colour movie (T, H, W, 3), got {shape}: "
            "choose one index of the axis that is neither time nor depth."
        )
    return as_frame_source(image)


def check_array(shape: tuple[int, ...], dtype: Any) -> None:
    """Raise if an array of this shape and dtype can be no image and no movie."""
    kind = _numpy_dtype(dtype).kind
    if kind not in "buif":
        reason = "complex numbers: take the magnitude first" if kind == "c" else f"{dtype}"
        raise TypeError(f"An image must hold real numbers, got {reason}.")
    if not 2 <= len(shape) <= 4:
        raise ValueError(
            f"An image has 2 axes and a movie 3 (colour adds one), got {len(shape)} in {shape}."
        )
    if 0 in shape:
        raise ValueError(f"The image is empty: its shape is {shape}.")


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a dtype as NumPy has it; tensorstore has dtypes of its own."""
    named: np.dtype[Any] = np.dtype(getattr(dtype, "numpy_dtype", dtype))
    return named


_TIFF_SUFFIXES = (".tif", ".tiff", ".lsm", ".stk", ".svs")


def is_array_file(path: Path) -> bool:
    """Whether a path is read as one array, not as a folder of images or a video."""
    return not ((path.is_dir() and not is_zarr(path)) or path.suffix.lower() in VIDEO_SUFFIXES)


def is_zarr(path: Path) -> bool:
    """Whether a folder holds a zarr array or group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def read_array(path: str | Path, *, as_labels: bool = False) -> Any:
    """
    Return the array of an image file: TIFF and zarr lazily where possible, ``.npy``, PNG, JPEG.

    Parameters
    ----------
    as_labels
        Of an image with a palette the numbers, not their colours.

    Raises
    ------
    ImageReadError
        The file is missing, unreadable, or of a kind that is not known.
    """
    path = Path(path)
    if not path.exists():
        raise ImageReadError(f"There is no image at {path}.")
    try:
        if is_zarr(path):
            return _read_zarr(path)
        suffix = path.suffix.lower()
        if suffix in _TIFF_SUFFIXES:
            return _read_tiff(path)
        if suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if suffix in (".png", ".jpg", ".jpeg", ".bmp", ".gif"):
            from PIL import Image

            with Image.open(path) as image:
                if as_labels and image.mode == "P":
                    return np.asarray(image)
                if image.mode in ("P", "CMYK", "LA", "PA", "YCbCr"):
                    return np.asarray(image.convert("RGB"))
                return np.asarray(image)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ImageReadError(f"The image {path} cannot be read: {reason}.") from error
    raise ImageReadError(
        f"The image {path} is of a kind that is not read here: "
        "convert it to .tif, .zarr, .npy, .png or .jpg."
    )


def _read_tiff(path: Path) -> Any:
    import tifffile

    try:
        return tifffile.memmap(path, mode="r")
    except ValueError:  # compressed: a page is decoded when its frame is read
        import zarr

        node = zarr.open(tifffile.imread(path, aszarr=True), mode="r")
        return node if isinstance(node, zarr.Array) else node["0"]


def _read_zarr(path: Path) -> Any:
    import zarr

    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        return node
    # An OME-Zarr group names its full resolution "0"; other groups are read if they hold one array.
    arrays = dict(node.arrays())
    if "0" in arrays:
        return arrays["0"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise ValueError(f"the zarr group holds {len(arrays)} arrays, none named 0")


def signature_of(source: FrameSource) -> str:
    """Return a fingerprint of a movie: its size and dtype, and the pixels of a few frames.

    A damaged frame does not matter; where none of them can be read, its error is raised.
    """
    digest = hashlib.sha256()
    shape = (source.num_frames, source.height, source.width, int(source.is_rgb))
    digest.update(repr((shape, np.dtype(source.dtype).newbyteorder("=").str)).encode())
    failures: list[Exception] = []
    num_read = 0
    for frame in sampled_frames(source, _SIGNATURE_FRAMES):
        if isinstance(frame, Exception):
            failures.append(frame)
            digest.update(b"a frame that cannot be read")
        else:
            num_read += 1
            native = frame.astype(frame.dtype.newbyteorder("="), copy=False)
            digest.update(np.ascontiguousarray(native).tobytes())
    if not num_read:
        raise failures[0]
    return digest.hexdigest()
