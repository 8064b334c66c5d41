"""What a person judges a result by: a contact sheet of frames, a table of tracks, an agreement."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam2.session.masks import StoredMask
from napari_sam2.session.objects import colour_bytes
from napari_sam2.session.session import Session

if TYPE_CHECKING:
    from PIL.Image import Image

Labels = npt.NDArray[np.integer]

_COLUMNS = 4
_GAP = 6
_CAPTION = 22
_TILE = 300  # pixels; twelve tiles then fit a screen


@dataclass(frozen=True)
class Calibration:
    """Side of a pixel in a unit of length."""

    pixel_size: float
    unit: str


@dataclass(frozen=True)
class Agreement:
    """
    How one tracked object agrees with a reference.

    Attributes
    ----------
    num_frames
        Frames on which the reference has the object.
    mean_iou, worst_iou
        Intersection over union on those frames.
    worst_frame
        Where the worst is.
    """

    obj_id: int
    num_frames: int
    mean_iou: float
    worst_iou: float
    worst_frame: int


def agreement(labels: Labels, reference: Labels, obj_id: int) -> Agreement:
    """Compare an object in two label movies ``(T, H, W)``."""
    ious: dict[int, float] = {}
    for frame_idx, (ours, theirs) in enumerate(zip(labels, reference, strict=True)):
        is_ours, is_theirs = ours == obj_id, theirs == obj_id
        if is_theirs.any():
            ious[frame_idx] = float((is_ours & is_theirs).sum() / (is_ours | is_theirs).sum())
    worst = min(ious, key=lambda frame_idx: ious[frame_idx])
    return Agreement(
        obj_id=obj_id,
        num_frames=len(ious),
        mean_iou=float(np.mean(list(ious.values()))),
        worst_iou=ious[worst],
        worst_frame=worst,
    )


def write_tracks(path: Path, session: Session, calibration: Calibration | None = None) -> None:
    """Write one row per object and frame: centre, area and the model's scores."""
    size, unit = (1.0, "px") if calibration is None else (calibration.pixel_size, calibration.unit)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("obj_id", "frame_idx", f"y_{unit}", f"x_{unit}", f"area_{unit}2", "score", "iou")
        )
        for state in session.document.objects.values():
            for frame_idx, mask in sorted(state.masks.items()):
                if mask.is_empty:
                    continue
                y, x, area = _place(mask)
                writer.writerow(
                    [state.obj_id, frame_idx]
                    + [f"{value:.4g}" for value in (y * size, x * size)]
                    + [f"{area * size**2:.5g}", f"{mask.object_score:.3f}", f"{mask.iou:.3f}"]
                )


def _place(mask: StoredMask) -> tuple[float, float, int]:
    rows, columns = np.nonzero(mask.logits > 0)
    return mask.top + float(rows.mean()), mask.left + float(columns.mean()), len(rows)


def contact_sheet(
    frames: Sequence[npt.NDArray[np.generic]],
    labels: Sequence[Labels],
    captions: Sequence[str],
    *,
    clicks: Iterable[tuple[int, float, float]] = (),
) -> Image:
    """
    Draw frames side by side with the outline and the id of each object in its colour.

    Parameters
    ----------
    frames
        ``(H, W)`` or ``(H, W, 3)`` each, shown with one contrast.
    labels
        ``(H, W)`` each.
    captions
        Written above the frames.
    clicks
        Object, y and x in pixels, marked on the first frame.
    """
    from PIL import Image, ImageDraw, ImageFont

    marks = list(clicks)
    height, width = labels[0].shape
    scale = max(1, round(_TILE / max(height, width)))
    tile_height, tile_width = height * scale, width * scale
    rows = -(-len(frames) // _COLUMNS)
    columns = min(_COLUMNS, len(frames))
    sheet = Image.new(
        "RGB",
        (
            columns * (tile_width + _GAP) + _GAP,
            rows * (tile_height + _CAPTION + _GAP) + _GAP,
        ),
        (24, 24, 24),
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    low, high = np.percentile(np.stack(frames), (0.5, 99.8))
    for number, (frame, labelled, caption) in enumerate(zip(frames, labels, captions, strict=True)):
        left = _GAP + (number % columns) * (tile_width + _GAP)
        top = _GAP + (number // columns) * (tile_height + _CAPTION + _GAP)
        draw.text((left + 2, top + 2), caption, fill=(220, 220, 220), font=font)
        top += _CAPTION
        grey = np.clip((np.asarray(frame, float) - low) / max(high - low, 1e-9), 0, 1)
        sheet.paste(Image.fromarray(_outlined(grey, labelled, scale)), (left, top))
        # beside the click's cross on the first frame, in the object's centre on the others
        aside = 18 if number == 0 and marks else 0
        for obj_id in np.unique(labelled[labelled > 0]):
            ys, xs = np.nonzero(labelled == obj_id)
            draw.text(
                (left + (xs.mean() + 0.5) * scale + aside, top + (ys.mean() + 0.5) * scale),
                str(obj_id),
                fill=colour_bytes(int(obj_id)),
                font=font,
                anchor="mm",
                stroke_width=2,
                stroke_fill=(0, 0, 0),
            )
        if number == 0:
            for obj_id, y, x in marks:
                _cross(draw, left + (x + 0.5) * scale, top + (y + 0.5) * scale, obj_id)
    return sheet


def _outlined(grey: npt.NDArray[np.floating], labels: Labels, scale: int) -> npt.NDArray[np.uint8]:
    """Return ``(H·scale, W·scale, 3)`` uint8 with outlines one image pixel wide at most."""
    colours = grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=-1)
    large = (colours[..., :3] ** 0.7 * 255).astype(np.uint8)
    large = large.repeat(scale, axis=0).repeat(scale, axis=1)
    wide = labels.repeat(scale, axis=0).repeat(scale, axis=1)
    around = np.pad(wide, 2, mode="edge")
    is_edge = np.zeros(wide.shape, bool)
    for dy, dx in ((0, 2), (4, 2), (2, 0), (2, 4), (1, 1), (1, 3), (3, 1), (3, 3)):
        is_edge |= around[dy : dy + wide.shape[0], dx : dx + wide.shape[1]] != wide
    for obj_id in np.unique(wide[wide > 0]):
        large[is_edge & (wide == obj_id)] = colour_bytes(int(obj_id))
    return large


def _cross(draw: object, x: float, y: float, obj_id: int) -> None:
    from PIL.ImageDraw import ImageDraw

    assert isinstance(draw, ImageDraw)
    for colour, width in (((0, 0, 0), 5), (colour_bytes(obj_id), 2)):
        draw.line((x - 6, y, x + 6, y), fill=colour, width=width)
        draw.line((x, y - 6, x, y + 6), fill=colour, width=width)


def calibration_of(path: Path) -> Calibration | None:
    """Return the pixel size that a TIFF of ImageJ or OME names, or ``None``."""
    import tifffile

    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    with tifffile.TiffFile(path) as file:
        unit = (file.imagej_metadata or {}).get("unit")
        tag = file.pages.first.tags.get("XResolution")
        if unit and tag is not None and tag.value[0]:
            unit = {"\\u00B5m": "um", "µm": "um", "micron": "um"}.get(unit, unit)
            return Calibration(tag.value[1] / tag.value[0], str(unit))
    return None
