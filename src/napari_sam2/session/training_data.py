"""How a person's own labelled frames become the folders that the training command reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session.atomic import written_whole
from napari_sam2.session.errors import TrainingError
from napari_sam2.session.intensities import Channel, as_seen
from sam2_backbone.inference.brightness import scaled

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource

#: Folder of a run that holds what it learns from, and the file by which it is known again.
DATA, _MARK = "data", "written by napari-sam2.txt"
_MOST_OBJECTS = np.iinfo(np.uint16).max
# of the objects on two neighbouring frames, so many lie on themselves where a number is an object
_FOLLOWED = 0.8
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelledFrames:
    """
    Frames of an image, and what a person has labelled on them.

    Attributes
    ----------
    name
        Of the image; stills are named after it.
    source, channels
        The frames, and between which limits a person sees them.
    frames
        The frames on which there may be labels, in their order.
    labels
        Gives the labels ``(H, W)`` of one of them, 0 is background.
    """

    name: str
    source: FrameSource
    channels: tuple[Channel, ...]
    frames: Sequence[int]
    labels: Callable[[int], npt.NDArray[np.integer[Any]]]


@dataclass(frozen=True)
class WrittenData:
    """What was written: how many frames with how many objects, and whether they are a movie."""

    num_frames: int
    num_objects: int
    is_movie: bool


def write_training_data(
    labelled: LabelledFrames,
    out: Path,
    *,
    is_movie: bool | None = None,
    progress: Progress | None = None,
) -> WrittenData:
    """
    Write images and masks to ``out/data``, whole or not at all.

    Images are written as the network sees them, in 8 bits. Frames without a label are left out.

    Parameters
    ----------
    is_movie
        Whether a number stays with its object from frame to frame. None decides: so it is where
        labelled frames follow each other without a gap and most objects lie on their last place.
    progress
        Told how many of how many frames are written; what it raises ends the writing.

    Raises
    ------
    TrainingError
        There is no label, there are too many objects, or ``out/data`` is somebody else's.
    """
    target = out / DATA
    if target.exists() and not (target / _MARK).is_file():
        raise TrainingError(
            f"{target} exists and was not written by this panel: choose another output folder."
        )
    objects = {frame_idx: _objects_of(labelled, frame_idx) for frame_idx in labelled.frames}
    frames = [frame_idx for frame_idx, ids in objects.items() if len(ids)]
    if not frames:
        raise TrainingError(
            "The labels show no object: paint or segment some, or choose another labels layer."
        )
    if is_movie is None:
        is_movie = _is_movie(labelled, frames)
    ids = np.unique(np.concatenate([objects[frame_idx] for frame_idx in frames]))
    if is_movie and len(ids) > _MOST_OBJECTS:
        raise TrainingError(f"A movie may have {_MOST_OBJECTS} objects, this one has {len(ids)}.")
    with written_whole(target) as folder:
        _write(labelled, folder, frames, ids if is_movie else None, progress)
    count = len(ids) if is_movie else sum(len(objects[frame_idx]) for frame_idx in frames)
    return WrittenData(len(frames), count, is_movie)


def has_training_data(out: Path) -> bool:
    """Whether a run folder holds data that was written here."""
    return (out / DATA / _MARK).is_file()


def _write(
    labelled: LabelledFrames,
    folder: Path,
    frames: Sequence[int],
    movie_ids: npt.NDArray[Any] | None,
    progress: Progress | None,
) -> None:
    import imageio.v3 as iio

    from sam2_backbone.inference.frames import choose_value_range

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / _MARK).write_text(f"{labelled.name}\n", encoding="utf-8")
    source, value_range = as_seen(labelled.source, labelled.channels, None)
    low, high = choose_value_range(source, value_range)
    high = high if high > low else low + 1  # an image of one value
    # a name that is not a plain number is a still; see docs/train.md
    stem = re.sub(r"[^\w-]+", "_", labelled.name).strip("_") or "image"
    for done, frame_idx in enumerate(frames):
        if progress is not None:
            progress(done, len(frames))
        name = f"{frame_idx:06d}" if movie_ids is not None else f"{stem}_frame_{frame_idx:06d}"
        seen = scaled(np.asarray(source.read(frame_idx)), low, high)
        image = (seen * 255).round().astype(np.uint8)
        if image.ndim == 3:
            image = image[..., 0] if image.shape[-1] < 3 else image[..., :3]
        labels = np.maximum(np.asarray(labelled.labels(frame_idx)), 0)
        ids = np.unique(labels[labels > 0]) if movie_ids is None else movie_ids
        if len(ids) > _MOST_OBJECTS:
            raise TrainingError(f"Frame {frame_idx} has more than {_MOST_OBJECTS} objects.")
        numbered = np.where(labels > 0, np.searchsorted(ids, labels) + 1, 0).astype(np.uint16)
        iio.imwrite(folder / "images" / f"{name}.png", image)
        iio.imwrite(folder / "masks" / f"{name}.png", numbered)


def _objects_of(labelled: LabelledFrames, frame_idx: int) -> npt.NDArray[Any]:
    labels = np.unique(np.asarray(labelled.labels(frame_idx)))
    return labels[labels > 0]


def _is_movie(labelled: LabelledFrames, frames: Sequence[int]) -> bool:
    """Whether frames follow each other and a number lies where it lay, on most of them."""
    if len(frames) < 2 or frames[-1] - frames[0] != len(frames) - 1:
        return False
    followed = known = 0
    before = np.asarray(labelled.labels(frames[0]))
    for frame_idx in frames[1:]:
        labels = np.asarray(labelled.labels(frame_idx))
        common = np.intersect1d(before[before > 0], labels[labels > 0])
        followed += len(np.unique(before[(before == labels) & (before > 0)]))
        known += len(common)
        before = labels
    return known > 0 and followed >= _FOLLOWED * known
