"""What a data folder holds for an evaluation: stills, videos and stacks, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from sam2_backbone.training.data import SPLITS, LabelledSequence, read_tree, split_of

SPLIT = "dev"


@dataclass(frozen=True)
class DataSet:
    """Images or videos of one origin, under the name that the table uses."""

    name: str
    sequences: tuple[LabelledSequence, ...]


@dataclass(frozen=True)
class Movie:
    """Frames with labels, and the objects to follow from one frame.

    Attributes
    ----------
    frames, labels
        (T, H, W[, C]) and (T, H, W), the same integer for an object over frames.
    start
        The frame that is prompted.
    kind
        Modality, where movies of one name have several.
    """

    name: str
    frames: NDArray[np.generic]
    labels: NDArray[np.integer]
    start: int
    obj_ids: tuple[int, ...]
    kind: str = ""


@dataclass(frozen=True)
class _StackPart:
    """Part of a stack that is used: first and last slice, prompted slice, least area there."""

    first: int = 0
    last: int | None = None
    start: int = 0
    area: int = 30


_STACK_PARTS = {
    "cells3d_nuclei_3d": _StackPart(20, 50, 35, 60),
    "laptrack_nuclei": _StackPart(area=30),
    "cancer_migration": _StackPart(area=40),
    "stardist_sample_3d": _StackPart(start=15, area=20),
}


def find_data_sets(root: Path) -> list[DataSet]:
    """Read the `dev` part of every data set in a folder, or all of one that has no such parts.

    A data set is a folder that holds, at any depth, `images/` beside `masks/`.

    Raises
    ------
    ValueError
        If `root` is no folder.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder: give the folder that holds the data sets")
    if (root / "masks").is_dir() or any((root / split).is_dir() for split in SPLITS):
        folders = [root]
    else:
        folders = sorted(p for p in root.iterdir() if p.is_dir())
    found = []
    for folder in folders:
        masks = [p for p in folder.rglob("masks") if (p.parent / "images").is_dir()]
        parts = {split_of(p.parent, folder) for p in masks} - {None}
        if not masks or (parts and SPLIT not in parts):
            continue
        name = f"{folder.name}/{SPLIT}" if parts else folder.name
        found.append(DataSet(name, tuple(read_tree(folder, split=SPLIT))))
    return found


def find_stacks(root: Path) -> list[str]:
    """Names of the stacks: `NAME_images.tif` beside `NAME_masks.tif` in the folder `stacks`."""
    images = sorted((root / "stacks").glob("*_images.tif"))
    names = [path.name.removesuffix("_images.tif") for path in images]
    return [name for name in names if (root / "stacks" / f"{name}_masks.tif").is_file()]


def read_stack(root: Path, name: str, *, objects: int | None) -> Movie:
    """Read a stack; at most `objects` objects of the prompted slice are followed."""
    part = _STACK_PARTS.get(name, _StackPart())
    frames = tifffile.imread(root / "stacks" / f"{name}_images.tif")[part.first : part.last]
    labels = tifffile.imread(root / "stacks" / f"{name}_masks.tif")[part.first : part.last]
    start = part.start - part.first
    return Movie(name, frames, labels, start, objects_on(labels[start], part.area, objects))


def video_movie(video: LabelledSequence, *, frames: int | None, objects: int | None) -> Movie:
    """Return a video to be followed from its first frame."""
    pixels = video.frames[:frames]
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    labels = video.labels[:frames]
    return Movie(video.name, pixels, labels, 0, objects_on(labels[0], 1, objects))


def objects_on(
    labels: NDArray[np.integer], area: int, at_most: int | None, *, first: Sequence[int] = ()
) -> tuple[int, ...]:
    """Objects of at least `area` pixels of a label image: those of `first`, then a fixed choice."""
    ids, counts = np.unique(labels, return_counts=True)
    large = [int(i) for i in ids[(ids > 0) & (counts >= area)]]
    order = [int(i) for i in np.random.default_rng(0).permutation(large)]
    preferred = [i for i in first if i in large]
    chosen = preferred + [i for i in order if i not in preferred]
    return tuple(sorted(chosen[:at_most]))
