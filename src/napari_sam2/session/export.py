"""Labels for other programs: OME-TIFF and OME-Zarr with sizes and units, a frame at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2.session.atomic import written_whole
from napari_sam2.session.masks import label_dtype
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.objects import Document, colour_bytes
from napari_sam2.session.own_folders import WRITTEN_BY, check_free

if TYPE_CHECKING:
    from napari_sam2.session.session import Session

#: A pyramid ends with a level of about this many pixels a side.
_SMALLEST_LEVEL = 512
#: Names that OME-Zarr wants for the units of length that OME-TIFF abbreviates.
LENGTHS = {
    "µm": "micrometer",
    "um": "micrometer",
    "nm": "nanometer",
    "pm": "picometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "km": "kilometer",
    "Å": "angstrom",
}
#: The same for units of time.
TIMES = {
    "s": "second",
    "ms": "millisecond",
    "µs": "microsecond",
    "ns": "nanosecond",
    "min": "minute",
    "h": "hour",
    "d": "day",
}

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}


def frame_seconds(calibration: Calibration) -> float | None:
    """Return how long a frame is in seconds, None where frames have no unit of time."""
    unit = _SECONDS.get(calibration.frame_unit)
    return None if unit is None else calibration.frame_interval * unit


def export_labels(
    session: Session,
    path: str | Path,
    calibration: Calibration | None = None,
    *,
    overwrite: bool = False,
) -> Iterator[int]:
    """
    Write the labels of all frames as they are now, yielding each frame as it is written.

    Nothing is at `path` until the last frame is written; stop it before and nothing ever is.

    Parameters
    ----------
    path
        ``.tif`` or ``.tiff`` (OME-TIFF, compressed) or ``.zarr`` (OME-Zarr 0.5 with a pyramid).
    calibration
        Sizes and units to be written; pixels if ``None``.

    Raises
    ------
    ValueError
        The suffix is not known.
    FileExistsError
        Something is there and `overwrite` is false, or it is a folder of something else or the
        image itself.
    """
    path, calibration = Path(path), calibration or Calibration()
    kinds = {".tif": _write_tiff, ".tiff": _write_tiff, ".zarr": _write_zarr}
    write = kinds.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"Labels are exported to .tif or .zarr, not to {path.name!r}.")
    if session.path is not None and path.resolve() == session.path.resolve():
        raise FileExistsError(f"{path} is the image itself: choose another name for its labels.")
    check_free(path, overwrite=overwrite)
    # one moment: what is changed while frames are written is in none of them
    return write(session, session.document, path, calibration)


def _write_tiff(
    session: Session, document: Document, path: Path, calibration: Calibration
) -> Iterator[int]:
    """Compress page by page, then write them in one go, as the library wants it."""
    import tifffile

    is_movie = session.num_frames > 1
    shape = (session.num_frames, session.height, session.width)
    dtype = label_dtype(document.objects).newbyteorder("<")
    axes = "ZYX" if calibration.frame_unit in LENGTHS else "TYX"
    pages = []  # labels shrink to about a hundredth
    for frame_idx in range(session.num_frames):
        labels = document.labels(frame_idx, session.height, session.width)
        pages.append(zlib.compress(labels.astype(dtype, copy=False).tobytes()))
        yield frame_idx
    with written_whole(path) as part:
        tifffile.imwrite(
            part,
            iter(pages),
            shape=shape if is_movie else shape[1:],
            dtype=dtype,
            byteorder="<",
            rowsperstrip=session.height,
            ome=True,
            compression="zlib",
            photometric="minisblack",
            metadata={"axes": axes if is_movie else "YX", **_ome_sizes(calibration)},
        )


def _ome_sizes(calibration: Calibration) -> dict[str, Any]:
    """Return the attributes of OME-XML that say how large a pixel and a frame are."""
    sizes: dict[str, Any] = {}
    if calibration.unit in LENGTHS:
        unit = _ome_length(calibration.unit)
        height, width = calibration.pixel_size
        sizes |= {"PhysicalSizeY": height, "PhysicalSizeYUnit": unit}
        sizes |= {"PhysicalSizeX": width, "PhysicalSizeXUnit": unit}
    if calibration.frame_unit in TIMES:
        sizes["TimeIncrement"] = calibration.frame_interval
        sizes["TimeIncrementUnit"] = calibration.frame_unit
    elif calibration.frame_unit in LENGTHS:
        sizes["PhysicalSizeZ"] = calibration.frame_interval
        sizes["PhysicalSizeZUnit"] = _ome_length(calibration.frame_unit)
    return sizes


def _ome_length(unit: str) -> str:
    return "µm" if unit == "um" else unit


def _write_zarr(
    session: Session, document: Document, path: Path, calibration: Calibration
) -> Iterator[int]:
    import zarr

    is_movie = session.num_frames > 1
    dtype = label_dtype(document.objects)
    with written_whole(path) as part:
        group = zarr.create_group(store=str(part), zarr_format=3, attributes=dict(WRITTEN_BY))
        steps = [1]
        while min(session.height, session.width) // steps[-1] > _SMALLEST_LEVEL:
            steps.append(2 * steps[-1])
        axes = _ome_zarr_axes(calibration, is_movie=is_movie)
        levels = []
        for level, step in enumerate(steps):
            plane = (-(-session.height // step), -(-session.width // step))
            levels.append(
                group.create_array(
                    str(level),
                    shape=(session.num_frames, *plane) if is_movie else plane,
                    chunks=(1, *plane) if is_movie else plane,
                    dtype=dtype,
                    dimension_names=[axis["name"] for axis in axes],
                )
            )
        group.attrs["ome"] = _ome_zarr_metadata(document, calibration, steps, axes)
        for frame_idx in range(session.num_frames):
            labels = document.labels(frame_idx, session.height, session.width)
            for step, array in zip(steps, levels, strict=True):
                # labels are never averaged: every second pixel stands for four
                array[frame_idx if is_movie else ...] = labels[::step, ::step]
            yield frame_idx


def _ome_zarr_axes(calibration: Calibration, *, is_movie: bool) -> list[dict[str, Any]]:
    frames: dict[str, Any] = {"name": "t", "type": "time"}
    if calibration.frame_unit in TIMES:
        frames["unit"] = TIMES[calibration.frame_unit]
    elif calibration.frame_unit in LENGTHS:
        frames = {"name": "z", "type": "space", "unit": LENGTHS[calibration.frame_unit]}
    plane: list[dict[str, Any]] = [{"name": name, "type": "space"} for name in "yx"]
    if calibration.unit in LENGTHS:
        plane = [{**axis, "unit": LENGTHS[calibration.unit]} for axis in plane]
    return [frames, *plane] if is_movie else plane


def _ome_zarr_metadata(
    document: Document, calibration: Calibration, steps: list[int], axes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the metadata of OME-NGFF 0.5, multiscales and image-label."""
    height, width = calibration.pixel_size
    scales = [[height * step, width * step] for step in steps]
    if len(axes) > 2:
        scales = [[calibration.frame_interval, *scale] for scale in scales]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(scales)
    ]
    colours = [
        {"label-value": obj_id, "rgba": [*colour_bytes(obj_id), 255]}
        for obj_id in sorted(document.objects)
    ]
    return {
        "version": "0.5",
        "multiscales": [
            {"name": "labels", "axes": axes,
             "datasets": datasets, "type": "nearest"}
        ],
        "image-label": {"colors": colours},
    }  # fmt: skip
