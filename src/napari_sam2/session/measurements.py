"""What objects measure on each frame, in physical units, and where they went."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session.atomic import written_whole
from napari_sam2.session.images import num_channels_of
from sam2_backbone.inference.frames import without_opacity

if TYPE_CHECKING:
    from napari_sam2.session.objects import Document
    from napari_sam2.session.session import Session
    from sam2_backbone.inference.frames import FrameSource

_PROPERTIES = (
    "label", "area", "centroid", "axis_major_length", "axis_minor_length", "eccentricity",
    "intensity_mean", "intensity_min", "intensity_max",
)  # fmt: skip
#: scikit-image makes a table as long as the largest label.
_LARGEST_COUNTED = 1_000_000


@dataclass(frozen=True)
class Calibration:
    """
    What a pixel and a frame are in the world.

    Attributes
    ----------
    pixel_size
        Height and width of a pixel in `unit`.
    frame_interval
        Between two frames, in `frame_unit`: of time for a movie, of length for a stack.
    """

    pixel_size: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"
    frame_interval: float = 1.0
    frame_unit: str = "frame"

    def __post_init__(self) -> None:
        sizes = (*self.pixel_size, self.frame_interval)
        if not all(math.isfinite(size) and size > 0 for size in sizes):
            raise ValueError(f"Sizes of pixels and frames must be above 0, got {sizes}.")


@dataclass(frozen=True)
class Measurement:
    """
    One object on one frame.

    Attributes
    ----------
    obj_id, name, frame_idx
        Which object, and where.
    at
        Position of the frame, in the unit of frames.
    y, x
        Centre of the mask, in the unit of length; pixel 0 is at 0.
    area, perimeter, major_axis, minor_axis
        In the unit of length, its square for the area; no perimeter where pixels are not square.
    eccentricity
        Of the ellipse with the same moments, 0 for a circle.
    mean, lowest, highest
        Intensity inside, of the image's own values; of colour the mean of the channels.
    speed
        Since the frame before, NaN where the object was not there.
    iou, object_score
        The model's scores, NaN for a mask drawn by a person.
    """

    obj_id: int
    name: str
    frame_idx: int
    at: float
    y: float
    x: float
    area: float
    perimeter: float
    major_axis: float
    minor_axis: float
    eccentricity: float
    mean: float
    lowest: float
    highest: float
    speed: float
    iou: float
    object_score: float


def headers(calibration: Calibration) -> tuple[str, ...]:
    """Name the columns of measurements with their units."""
    length, frame = calibration.unit, calibration.frame_unit
    return (
        "object", "name", "frame", f"at [{frame}]", f"y [{length}]", f"x [{length}]",
        f"area [{length}²]", f"perimeter [{length}]", f"major axis [{length}]",
        f"minor axis [{length}]", "eccentricity", "mean", "min", "max",
        f"speed [{length}/{frame}]", "predicted IoU", "object score",
    )  # fmt: skip


def measure(
    session: Session, calibration: Calibration | None = None, obj_ids: Iterable[int] | None = None
) -> Iterator[tuple[int, tuple[Measurement, ...]]]:
    """
    Yield each frame that has masks, with what its objects measure.

    Where masks overlap a pixel counts for one object, as in the labels. What is changed while
    frames are measured does not count.

    Parameters
    ----------
    calibration
        Pixels and frames if ``None``.
    obj_ids
        Objects to measure; all if ``None``.
    """
    calibration = calibration or Calibration()
    document = session.document
    wanted = set(document.objects if obj_ids is None else obj_ids)
    frames = sorted({t for i in wanted for t in document.objects[i].masks})
    before: dict[int, Measurement] = {}
    for frame_idx in frames:
        here = {}
        for row in _measure_frame(document, session.source, frame_idx, calibration):
            if row.obj_id in wanted:
                here[row.obj_id] = _with_speed(row, before.get(row.obj_id), calibration)
        yield frame_idx, tuple(here.values())
        before = here


def _measure_frame(
    document: Document, source: FrameSource, frame_idx: int, calibration: Calibration
) -> Iterator[Measurement]:
    from skimage.measure import regionprops_table

    labels, ids = _counted(document.labels(frame_idx, source.height, source.width))
    frame = without_opacity(source, np.asarray(source.read(frame_idx)))
    intensity = frame.astype(np.float64)
    if num_channels_of(source):
        intensity = intensity[..., 0]  # of composed channels the image itself
    elif intensity.ndim == 3:
        intensity = intensity.mean(axis=-1)
    is_square = calibration.pixel_size[0] == calibration.pixel_size[1]
    names = (*_PROPERTIES, "perimeter") if is_square else _PROPERTIES
    table = regionprops_table(labels, intensity, properties=names, spacing=calibration.pixel_size)
    columns = [np.asarray(column).tolist() for column in table.values()]
    if not is_square:
        columns.append([math.nan] * len(columns[0]))
    for obj_id, area, y, x, major, minor, eccentricity, *intensities, perimeter in zip(
        *columns, strict=True
    ):
        obj_id = int(ids[obj_id]) if len(ids) else int(obj_id)
        state = document.objects[obj_id]
        mask = state.masks[frame_idx]
        mean, lowest, highest = intensities
        yield Measurement(
            obj_id=obj_id,
            name=state.name,
            frame_idx=frame_idx,
            at=frame_idx * calibration.frame_interval,
            y=y,
            x=x,
            area=area,
            perimeter=perimeter,
            major_axis=major,
            minor_axis=minor,
            eccentricity=eccentricity,
            mean=mean,
            lowest=lowest,
            highest=highest,
            speed=math.nan,
            iou=mask.iou,
            object_score=mask.object_score,
        )


def _counted(labels: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], npt.NDArray[Any]]:
    """Number labels anew where they are large; returns ids by number too, empty where they stay."""
    if labels.max(initial=0) <= _LARGEST_COUNTED:
        return labels, np.zeros(0, labels.dtype)
    ids = np.append(0, np.unique(labels[labels > 0])).astype(labels.dtype)
    return np.searchsorted(ids, labels), ids


def _with_speed(
    row: Measurement, before: Measurement | None, calibration: Calibration
) -> Measurement:
    if before is None or before.frame_idx != row.frame_idx - 1:
        return row
    way = math.hypot(row.y - before.y, row.x - before.x)
    return Measurement(**{**vars(row), "speed": way / calibration.frame_interval})


def write_csv(path: Path, rows: Iterable[Measurement], calibration: Calibration) -> None:
    """Write measurements as CSV (UTF-8, a header with units, empty where unknown)."""
    with (
        written_whole(path) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(headers(calibration))
        for row in rows:
            writer.writerow([_cell(value) for value in astuple(row)])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def tracks(session: Session) -> npt.NDArray[np.float64]:
    """
    Return where objects went, ``(N, 4)``: object, frame, y and x of the centre in pixels.

    Rows are sorted by object, then frame; frames on which an object is absent are left out.
    """
    rows = []
    for obj_id, state in sorted(session.document.objects.items()):
        for frame_idx, mask in sorted(state.masks.items()):
            if not mask.is_empty:
                y, x = np.nonzero(mask.logits > 0)
                rows.append((obj_id, frame_idx, mask.top + y.mean(), mask.left + x.mean()))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)
