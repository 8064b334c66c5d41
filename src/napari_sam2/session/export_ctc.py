"""Results as the Cell Tracking Challenge has them: label images and a table of tracks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_sam2.session import own_folders
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.result_masks import ResultMasks

_LARGEST = 0xFFFF  # label images have 16 bits
_NO_PARENT = 0


def write_tracks(results: ResultMasks, part: Path, calibration: Calibration) -> Iterator[int]:
    """
    Write ``mask000.tif`` … and ``res_track.txt`` into a folder, yielding each frame.

    A line of the table says an object's label, its first and its last frame, and 0: sessions know
    no parents. An object that is absent in between keeps its label.

    Raises
    ------
    ValueError
        An id does not fit into 16 bits.
    """
    import tifffile

    largest = max(results.objects, default=0)
    if largest > _LARGEST:
        raise ValueError(
            f"The Cell Tracking Challenge has labels up to {_LARGEST}, and there is an object "
            f"{largest}: export to SA-V, COCO or GEFF, which hold any number."
        )
    part.mkdir()
    own_folders.mark(part, "ctc")
    num_digits = max(3, len(str(results.num_frames - 1)))
    spans: dict[int, tuple[int, int]] = {}
    for frame_idx in range(results.num_frames):
        labels = results.labels(frame_idx).astype(np.uint16)
        tifffile.imwrite(
            part / f"mask{frame_idx:0{num_digits}d}.tif",
            labels,
            compression="zlib",
            photometric="minisblack",
        )
        for obj_id in np.unique(labels[labels > 0]).tolist():
            first, _ = spans.get(obj_id, (frame_idx, frame_idx))
            spans[obj_id] = (first, frame_idx)
        yield frame_idx
    lines = [f"{key} {first} {last} {_NO_PARENT}\n" for key, (first, last) in sorted(spans.items())]
    (part / "res_track.txt").write_text("".join(lines), encoding="ascii", newline="\n")
