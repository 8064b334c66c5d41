"""The demonstration: cells of a bundled real time-lapse followed from one click each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_sam2.progress import shown
from napari_sam2.reports import (
    Agreement,
    agreement,
    calibration_of,
    contact_sheet,
    write_tracks,
)
from napari_sam2.session.atomic import written_whole
from napari_sam2.session.label_files import write_labels
from napari_sam2.session.own_folders import check_free
from napari_sam2.session.session import Session
from napari_sam2.session.settings import SessionSettings

OUTPUTS = ("labels.tif", "overlay.png", "tracks.csv")

#: Cells of the first frame that the reference has for fewer frames are not clicked.
_MIN_FRAMES = 20
_MAX_CELLS = 8
_SHEET_FRAMES = 12
#: The reference merges these with a neighbour at some time, see samples/README.md.
_DOUBTFUL = (5, 6)


@dataclass(frozen=True)
class Demonstration:
    """What was done and how well."""

    session: Session
    agreements: tuple[Agreement, ...]
    seconds: float


def run_demo(folder: Path, settings: SessionSettings, *, overwrite: bool) -> Demonstration:
    """Segment from clicks, track, and write the three outputs into `folder`."""
    for name in OUTPUTS:
        check_free(folder / name, overwrite=overwrite)
    started = time.perf_counter()
    with _sample("cell_migration.tif") as path:
        movie, calibration = _read(path), calibration_of(path)
    with _sample("cell_migration_labels.tif") as path:
        reference = _read(path)
    session = Session(
        movie,
        variant=settings.variant,
        weights=settings.weights,
        device=settings.device,
        dtype=settings.dtype,
        window=settings.window,
    )
    clicks = clicks_on(reference)
    for obj_id, y, x in clicks:
        session.new_object(obj_id=obj_id)
        session.add_point(obj_id, 0, (y, x))
    steps = session.propagate("forward")
    for _ in shown(steps, title="Tracking", total=session.num_frames, wanted=True):
        pass
    labels = np.stack([session.labels(frame_idx) for frame_idx in range(session.num_frames)])
    folder.mkdir(parents=True, exist_ok=True)
    write_labels(folder / "labels.tif", iter(labels), labels.shape, labels.dtype)
    chosen = np.linspace(0, len(movie) - 1, _SHEET_FRAMES).round().astype(int)
    sheet = contact_sheet(
        [movie[frame_idx] for frame_idx in chosen],
        [labels[frame_idx] for frame_idx in chosen],
        [f"frame {frame_idx}" + (" (clicks)" if frame_idx == 0 else "") for frame_idx in chosen],
        clicks=clicks,
    )
    with written_whole(folder / "overlay.png") as part:
        sheet.save(part)
    with written_whole(folder / "tracks.csv") as part:
        write_tracks(part, session, calibration)
    return Demonstration(
        session=session,
        agreements=tuple(agreement(labels, reference, obj_id) for obj_id, _, _ in clicks),
        seconds=time.perf_counter() - started,
    )


def clicks_on(reference: npt.NDArray[np.integer]) -> list[tuple[int, float, float]]:
    """Return object, y and x of one click per cell: the pixel of it nearest to its centre."""
    ids, counts = np.unique(
        np.concatenate([np.unique(frame) for frame in reference]), return_counts=True
    )
    num_frames = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    clicks = []
    for obj_id in np.unique(reference[0][reference[0] > 0]).tolist():
        if num_frames[obj_id] < _MIN_FRAMES:
            continue
        places = np.argwhere(reference[0] == obj_id)
        distances = np.linalg.norm(places - places.mean(0), axis=1)
        y, x = places[distances.argmin()].tolist()
        clicks.append((obj_id, float(y), float(x)))
    return clicks[:_MAX_CELLS]


def table(done: Demonstration) -> str:
    """Return the agreement with the reference as text."""
    lines = ["cell  frames  mean IoU  worst IoU (frame)  size in pixels, first and last"]
    for row in done.agreements:
        masks = done.session.document.objects[row.obj_id].masks
        first, last = (int((masks[frame].logits > 0).sum()) for frame in (0, max(masks)))
        doubt = "  *" if row.obj_id in _DOUBTFUL else ""
        lines.append(
            f"{row.obj_id:4d}  {row.num_frames:6d}  {row.mean_iou:8.2f}  "
            f"{row.worst_iou:9.2f} ({row.worst_frame:2d})     {first:6d} {last:6d}{doubt}"
        )
    mean = float(np.mean([row.mean_iou for row in done.agreements]))
    lines.append(f"mean          {mean:8.2f}")
    return "\n".join(lines)


NOTE = (
    "The reference is an automatic segmentation, not a person's: it cuts touching nuclei wrongly,\n"
    "and where a cell is marked * it merges with a neighbour. Look at overlay.png to judge."
)


@contextmanager
def _sample(name: str) -> Iterator[Path]:
    with as_file(files("napari_sam2") / "samples" / name) as path:
        yield path


def _read(path: Path) -> npt.NDArray[np.integer]:
    import tifffile

    return np.asarray(tifffile.imread(path))
