"""Tracks as the Cell Tracking Challenge has them: a folder of label images and its table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2_backbone.errors import AnnotationError

Labels = npt.NDArray[np.integer[Any]]

#: Tables of results and of reference tracks, and how the label images beside them are called.
_TABLES = {"res_track.txt": r"mask(\d+)\.tif", "man_track.txt": r"man_track(\d+)\.tif"}
#: The folder of reference tracks within one such as ``01_GT``.
_TRACKING = "TRA"


@dataclass(frozen=True)
class CtcTrack:
    """A line of the table: a label, its first and last frame, and its parent, 0 for none."""

    label: int
    first: int
    last: int
    parent: int


@dataclass(frozen=True)
class CtcTracks:
    """
    A folder of label images, each read when it is asked for.

    Attributes
    ----------
    files
        By the number of the frame.
    tracks
        The lines of the table.
    frame_shape
        (H, W) or (Z, H, W).
    dtype
        Of the first image.
    """

    files: Mapping[int, Path]
    tracks: tuple[CtcTrack, ...]
    frame_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def num_frames(self) -> int:
        """One more than the largest number of a file; those that are missing show nothing."""
        return max(self.files) + 1

    @property
    def parents(self) -> dict[int, int]:
        """The parent of each label that has one."""
        return {track.label: track.parent for track in self.tracks if track.parent}

    def labels(self, frame_idx: int) -> Labels:
        """
        Read the label image of a frame.

        Raises
        ------
        AnnotationError
            It is no label image, or of another size than the first.
        """
        path = self.files.get(frame_idx)
        if path is None:
            return np.zeros(self.frame_shape, self.dtype)
        labels = _read(path)
        if labels.shape != self.frame_shape:
            raise AnnotationError(
                f"{path} has the shape {labels.shape}, the first label image {self.frame_shape}."
            )
        return labels


def ctc_folder(folder: Path) -> Path | None:
    """Return the folder that holds the table: this one or, of a reference, the one of tracks."""
    for place in (folder, folder / _TRACKING):
        if any((place / name).is_file() for name in _TABLES):
            return place
    return None


def read_ctc(folder: Path) -> CtcTracks:
    """
    Open a folder that `ctc_folder` knows.

    Raises
    ------
    AnnotationError
        There are no label images beside the table, or a line of it is no track.
    """
    place = ctc_folder(folder)
    if place is None:
        raise AnnotationError(f"{folder} holds neither of {', '.join(_TABLES)}.")
    for name, pattern in _TABLES.items():
        files = {
            int(match[1]): path
            for path in sorted(place.iterdir())
            if (match := re.fullmatch(pattern, path.name)) is not None
        }
        if files and (place / name).is_file():
            first = _read(files[min(files)])
            return CtcTracks(files, _tracks(place / name), first.shape, first.dtype)
    raise AnnotationError(
        f"{place} holds a table of tracks, but no label images such as mask000.tif beside it."
    )


def centres(labels: Labels) -> dict[int, tuple[float, ...]]:
    """Return the mean place of the pixels of each label, in pixels, axis by axis."""
    places = np.nonzero(labels)
    ids, numbers, counts = np.unique(labels[places], return_inverse=True, return_counts=True)
    means = [np.bincount(numbers, weights=axis, minlength=len(ids)) / counts for axis in places]
    return {
        int(label): tuple(float(mean[number]) for mean in means) for number, label in enumerate(ids)
    }


def _tracks(table: Path) -> tuple[CtcTrack, ...]:
    tracks = []
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{table} cannot be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        entries = line.split()
        if not entries:
            continue
        if len(entries) != 4 or not all(entry.isdecimal() for entry in entries):
            raise AnnotationError(
                f"Line {number} of {table} should be four whole numbers (label, first frame, "
                f"last frame, parent), and is {line!r}."
            )
        tracks.append(CtcTrack(*map(int, entries)))
    return tuple(tracks)


def _read(path: Path) -> Labels:
    import tifffile

    try:
        labels = np.asarray(tifffile.imread(path))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read as a label image: {error}.") from error
    if labels.dtype.kind not in "ui" or labels.ndim not in (2, 3):
        raise AnnotationError(
            f"{path} is no label image: it has the shape {labels.shape} and {labels.dtype} values."
        )
    return labels
