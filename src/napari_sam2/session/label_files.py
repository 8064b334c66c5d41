"""How label images reach the disk: a frame at a time into .tif or .zarr, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session.atomic import written_whole
from napari_sam2.session.own_folders import WRITTEN_BY, check_free

LABEL_SUFFIXES = (".tif", ".tiff", ".zarr")

Labels = npt.NDArray[np.unsignedinteger]


def check_target(path: Path, *, overwrite: bool) -> None:
    """
    Raise unless labels may be written to `path`.

    Raises
    ------
    ValueError
        The suffix is not known.
    FileExistsError
        Something is there and `overwrite` is false, or it is a folder of something else.
    """
    if path.suffix.lower() not in LABEL_SUFFIXES:
        raise ValueError(f"Labels are written to .tif or .zarr, not to {path.name!r}.")
    check_free(path, overwrite=overwrite)


@contextmanager
def streamed_zarr(path: Path, shape: tuple[int, int, int], dtype: npt.DTypeLike) -> Iterator[Any]:
    """Yield a zarr array ``(T, H, W)`` of one chunk a frame; it becomes `path` at the end."""
    import zarr

    with written_whole(path) as part:
        yield zarr.create_array(
            store=str(part),
            shape=shape,
            chunks=(1, *shape[1:]),
            dtype=np.dtype(dtype),
            zarr_format=3,
            attributes=dict(WRITTEN_BY),
        )


def write_labels(
    path: Path,
    frames: Iterable[Labels],
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
) -> None:
    """
    Write label frames to `path`.

    Parameters
    ----------
    path
        ``.tif`` (compressed, one page a frame) or ``.zarr``; replaced if it exists, so check it
        with `check_target` before.
    frames
        ``(H, W)`` each.
    shape
        ``(H, W)`` or ``(T, H, W)``.
    dtype
        Of the labels.
    """
    if path.suffix.lower() == ".zarr":
        import zarr

        with written_whole(path) as part:
            array = zarr.create_array(
                store=str(part),
                shape=shape,
                chunks=(1, *shape[1:]) if len(shape) > 2 else shape,
                dtype=np.dtype(dtype),
                zarr_format=3,
                attributes=dict(WRITTEN_BY),
            )
            for frame_idx, frame in enumerate(frames):
                array[(frame_idx,) if len(shape) > 2 else ...] = frame
        return
    import tifffile

    with written_whole(path) as part:
        tifffile.imwrite(
            part,
            iter(frames) if len(shape) > 2 else next(iter(frames)),
            shape=shape,
            dtype=np.dtype(dtype),
            compression="zlib",
            photometric="minisblack",
            metadata={"axes": "TYX" if len(shape) > 2 else "YX"},
        )
