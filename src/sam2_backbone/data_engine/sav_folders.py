"""How SA-V lies on a disk: videos with JSON files, and folders of frames and of masks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.errors import AnnotationError
from sam2_backbone.inference.video_file import VIDEO_SUFFIXES

FRAMES, MASKS = "JPEGImages_24fps", "Annotations_6fps"
_ANNOTATIONS = ("_manual", "_auto")


@dataclass(frozen=True)
class SavClip:
    """
    The files of one video.

    Attributes
    ----------
    video_id
        Its name.
    frames
        The video file or the folder of its frames; None where there is neither.
    annotations
        JSON files of its masklets, manual ones first.
    masks
        The folder that holds a folder of PNGs for each object.
    """

    video_id: str
    frames: Path | None = None
    annotations: tuple[Path, ...] = ()
    masks: Path | None = None


@dataclass(frozen=True)
class MaskFolders:
    """
    The PNGs of a video: which there are, read when they are asked for.

    Attributes
    ----------
    paths
        By object, then by the number of the frame.
    height, width
        Of the first mask, in pixels.
    """

    paths: Mapping[int, Mapping[int, Path]]
    height: int
    width: int

    @property
    def frames(self) -> tuple[int, ...]:
        """The annotated frames, sorted."""
        return tuple(sorted({frame for files in self.paths.values() for frame in files}))

    def masks(self, frame_idx: int) -> dict[int, NDArray[np.bool_]]:
        """Return the masks (H, W) of a frame by object.

        Raises
        ------
        AnnotationError
            A file is no image, or of another size.
        """
        found = {}
        for object_id, files in self.paths.items():
            if frame_idx in files:
                mask = read_mask(files[frame_idx])
                if mask.shape != (self.height, self.width):
                    raise AnnotationError(
                        f"{files[frame_idx]} is {mask.shape[0]} x {mask.shape[1]} pixels, "
                        f"the first mask is {self.height} x {self.width}."
                    )
                found[object_id] = mask
        return found


def frame_name(frame_idx: int) -> str:
    """Return how the files of a frame are called, without their suffix."""
    return f"{frame_idx:05d}"


def mask_file(root: Path, video_id: str, object_id: int, frame_idx: int) -> Path:
    """Return where the mask of an object on a frame lies."""
    return root / MASKS / video_id / f"{object_id:03d}" / f"{frame_name(frame_idx)}.png"


def frame_file(root: Path, video_id: str, frame_idx: int) -> Path:
    """Return where a frame lies."""
    return root / FRAMES / video_id / f"{frame_name(frame_idx)}.jpg"


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask (H, W) as PNG, 255 inside; its folder is made."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path, format="PNG", compress_level=1)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask (H, W): everything but the value 0 is inside.

    Raises
    ------
    AnnotationError
        It is no image with one value a pixel.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            # of a palette the numbers, not their colours
            values = np.asarray(image)
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read as a mask: {error}.") from error
    if values.ndim != 2:
        raise AnnotationError(f"{path} is in colour, not the mask of one object.")
    inside: NDArray[np.bool_] = values != 0
    return inside


def open_masks(folder: Path) -> MaskFolders:
    """
    List the masks of a video.

    Parameters
    ----------
    folder
        ``Annotations_6fps/<video>``, which holds a folder for each object.

    Raises
    ------
    AnnotationError
        There are none.
    """
    paths: dict[int, dict[int, Path]] = {}
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and inner.name.isdecimal():
            files = {int(f.stem): f for f in sorted(inner.glob("*.png")) if f.stem.isdecimal()}
            if files:
                paths[int(inner.name)] = files
    if not paths:
        raise AnnotationError(
            f"{folder} holds no masks: there should be a folder for each object, 000 and so on, "
            "with PNG files named by their frame."
        )
    first = read_mask(next(iter(next(iter(paths.values())).values())))
    return MaskFolders(paths, first.shape[0], first.shape[1])


def find_clips(path: Path) -> tuple[SavClip, ...]:
    """
    Find the videos that a file or folder stands for, in the order of their names.

    Parameters
    ----------
    path
        A JSON file, taken for one of annotations; a folder of such files and videos; the folder
        that holds ``JPEGImages_24fps`` and ``Annotations_6fps``; one of these two; or that of one
        video in one of them.

    Returns
    -------
    Empty where it is none of these.
    """
    if path.is_file():
        return (_clip_of_file(path),) if path.suffix.lower() == ".json" else ()
    if not path.is_dir():
        return ()
    if path.name in (FRAMES, MASKS):
        path = path.parent
    elif path.parent.name in (FRAMES, MASKS):
        return (_clip_of_folders(path.parent.parent, path.name),)
    if (path / MASKS).is_dir():
        names = {inner.name for inner in (path / MASKS).iterdir() if inner.is_dir()}
        return tuple(_clip_of_folders(path, name) for name in sorted(names))
    # a glob would take its time over a folder of many thousand other files
    files = [path / name for name in os.listdir(path) if name.lower().endswith(".json")]
    found = {name for file in files if (name := _video_of(file)) is not None}
    return tuple(_clip_of_files(path, name) for name in sorted(found))


def _video_of(file: Path) -> str | None:
    match = re.fullmatch(r"(.+)_(manual|auto)", file.stem)
    return match[1] if match and file.suffix.lower() == ".json" else None


def _clip_of_file(path: Path) -> SavClip:
    """Return the video of a JSON file; of one with a name of its own, that file alone."""
    clip = _clip_of_files(path.parent, _video_of(path) or path.stem)
    return clip if clip.annotations else replace(clip, annotations=(path,))


def _clip_of_files(folder: Path, video_id: str) -> SavClip:
    named = [folder / f"{video_id}{kind}.json" for kind in _ANNOTATIONS]
    videos = [folder / f"{video_id}{suffix}" for suffix in VIDEO_SUFFIXES]
    # frames that were taken out of the videos lie in a folder of the same name
    videos += [folder / video_id, folder.parent / FRAMES / video_id]
    return SavClip(
        video_id,
        frames=next((video for video in videos if video.exists()), None),
        annotations=tuple(file for file in named if file.is_file()),
    )


def _clip_of_folders(root: Path, video_id: str) -> SavClip:
    frames, masks = root / FRAMES / video_id, root / MASKS / video_id
    return SavClip(
        video_id,
        frames=frames if frames.is_dir() else None,
        masks=masks if masks.is_dir() else None,
    )
