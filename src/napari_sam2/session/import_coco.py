"""Masks of a COCO file, one image or the frames of a movie, as label images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session.masks import label_dtype
from sam2_backbone.data_engine.rle import Rle
from sam2_backbone.errors import AnnotationError

Labels = npt.NDArray[np.integer[Any]]

_KEYS = ("info", "licenses", "images", "annotations", "categories", "tracks", "videos")
_START = re.compile(r'\s*\{\s*"(?:' + "|".join(_KEYS) + r')"\s*:')
_LONGEST_START = 4096


@dataclass(frozen=True)
class CocoMask:
    """
    A mask of an image.

    Attributes
    ----------
    label
        Its value in the label image.
    mask
        The run lengths.
    """

    label: int
    mask: Rle


@dataclass(frozen=True)
class CocoMasks:
    """
    The masks of a file.

    Attributes
    ----------
    frames
        Of each image, those that lie on top last.
    height, width
        Of every image, in pixels.
    names
        Of the labels: of the track, else of the category.
    is_tracked
        Whether a label is one object on all images; else every annotation has its own.
    num_left_out
        Annotations that have no mask.
    """

    frames: tuple[tuple[CocoMask, ...], ...]
    height: int
    width: int
    names: Mapping[int, str]
    is_tracked: bool
    num_left_out: int = 0

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of the label images."""
        return label_dtype(self.names)

    def labels(self, frame_idx: int) -> Labels:
        """Return the label image (H, W); where masks overlap the smaller one lies on top."""
        labels = np.zeros((self.height, self.width), self.dtype, order="F")
        for row in self.frames[frame_idx]:
            row.mask.paint(labels, row.label)
        return np.ascontiguousarray(labels)


def is_coco(path: Path) -> bool:
    """Whether a file looks like one of COCO; its first characters say so."""
    try:
        with path.open(encoding="utf-8") as file:
            return _START.match(file.read(_LONGEST_START)) is not None
    except (OSError, UnicodeDecodeError):
        return False


def read_coco(path: Path) -> CocoMasks:
    """
    Read the masks of a file.

    Annotations of one `track_id` are one object; a 0 among them makes all labels one more. Without
    it every annotation is an object of its own, numbered in the order of the file.

    Raises
    ------
    AnnotationError
        The file cannot be read, holds no masks, or images of several sizes.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read as a COCO file: {error}.") from error
    try:
        return _masks_of(tree)
    except KeyError as error:
        raise AnnotationError(f"{path} lacks {error}, which files of COCO have.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(f"{path} holds no masks of COCO: {error}") from error


def _masks_of(tree: Mapping[str, Any]) -> CocoMasks:
    images, rows = _in_order(tree["images"]), tree["annotations"]
    if not images:
        raise ValueError("it names no image.")
    places = {image["id"]: place for place, image in enumerate(images)}
    sizes = {(int(image["height"]), int(image["width"])) for image in images}
    if len(sizes) > 1:
        raise ValueError(
            f"its {len(images)} images have {len(sizes)} different sizes, and a layer has one: "
            "keep the images of one size, or one image, in the file."
        )
    (size,) = sizes
    drawn = [row for row in rows if row.get("segmentation")]
    if rows and not drawn:
        raise ValueError("its annotations are boxes without a segmentation.")
    ids = [row.get("track_id") for row in drawn]
    is_tracked = all(isinstance(track_id, int) and track_id >= 0 for track_id in ids)
    labels = [i + (0 in ids) for i in ids] if is_tracked else [*range(1, len(drawn) + 1)]
    frames: list[list[CocoMask]] = [[] for _ in images]
    for row, label in zip(drawn, labels, strict=True):
        mask = _mask(row["segmentation"], size, row.get("id"))
        frames[places[row["image_id"]]].append(CocoMask(label, mask))
    return CocoMasks(
        frames=tuple(tuple(sorted(f, key=lambda row: -row.mask.area)) for f in frames),
        height=size[0],
        width=size[1],
        names=_names(tree, drawn, labels, is_tracked=is_tracked),
        is_tracked=is_tracked,
        num_left_out=len(rows) - len(drawn),
    )


def _in_order(images: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the images as the frames of a movie."""
    if all("frame_id" in image for image in images):
        return sorted(images, key=lambda image: int(image["frame_id"]))
    return list(images)


def _names(
    tree: Mapping[str, Any], rows: Iterable[Any], labels: Sequence[int], *, is_tracked: bool
) -> dict[int, str]:
    categories = {row["id"]: str(row.get("name", "")) for row in tree.get("categories") or ()}
    tracks = {row["id"]: str(row.get("name", "")) for row in tree.get("tracks") or ()}
    names: dict[int, str] = {}
    for row, label in zip(rows, labels, strict=True):
        category = categories.get(row.get("category_id"), "")
        names[label] = tracks.get(row["track_id"], category) if is_tracked else category
    return names


def _mask(segmentation: Any, size: tuple[int, int], number: object) -> Rle:
    """Read run lengths, or polygons as lists x, y, x, y … in pixels, 0 being a frame's edge."""
    if isinstance(segmentation, Mapping):
        mask = Rle.from_json(segmentation)
        if mask.size != size:
            raise ValueError(
                f"annotation {number} has a mask of {mask.size[0]} x {mask.size[1]} pixels, "
                f"its image is {size[0]} x {size[1]}."
            )
        return mask
    from skimage.draw import polygon

    inside = np.zeros(size, np.bool_)
    for corners in segmentation:
        xy = np.asarray(corners, np.float64)
        if xy.ndim != 1 or len(xy) < 6 or len(xy) % 2:
            raise ValueError(f"annotation {number} has a polygon that is no list x, y, x, y …")
        inside[polygon(xy[1::2] - 0.5, xy[0::2] - 0.5, size)] = True
    return Rle.of(inside)
