"""What a user has today: classical segmentations of an object from one click or one box."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import flood, random_walker, watershed
from skimage.transform import resize

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]

SMOOTHING = 1.0  # pixels, before any threshold
SMALLEST_REGION = 15  # pixels; smaller specks are noise
PEAK_DISTANCE = 5  # pixels between the middles of two touching objects
FLOOD_TOLERANCE = 32 / 255  # the usual magic wand, of the stretched range
WALKER_BETA = 2000.0  # the best of 130, 1000, 2000 and 5000 for the walker on development images
WALKER_SMOOTHING = 0.5  # pixels
WALKER_SIDE = 128  # pixels that the random walker is given at most, along each side
SEED_RADIUS = 2  # pixels, of a click as a seed


class ClassicalImage:
    """One image, prepared once for all its objects.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), any real dtype; colours are averaged.
    """

    def __init__(self, image: NDArray[np.generic]) -> None:
        grey = np.asarray(image, dtype=np.float32)
        if grey.ndim == 3:
            grey = grey.mean(axis=-1)
        low, high = np.percentile(grey, (0.1, 99.9))
        stretched = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
        self.grey: NDArray[np.float32] = ndimage.gaussian_filter(stretched, SMOOTHING)
        self.sharp: NDArray[np.float32] = ndimage.gaussian_filter(stretched, WALKER_SMOOTHING)
        self._regions: dict[bool, NDArray[np.int32]] = {}

    @cached_property
    def threshold(self) -> float:
        """Otsu's threshold of the smoothed image."""
        flat = float(self.grey.min()) == float(self.grey.max())
        return float(self.grey.flat[0]) if flat else float(threshold_otsu(self.grey))

    def foreground(self, *, bright: bool) -> Mask:
        """Pixels on one side of the threshold."""
        side: Mask = self.grey > self.threshold
        return side if bright else ~side

    def regions(self, *, bright: bool) -> NDArray[np.int32]:
        """Otsu's foreground, split at its necks by a watershed of the distance, (H, W) labels."""
        if bright not in self._regions:
            self._regions[bright] = split_regions(self.foreground(bright=bright))
        return self._regions[bright]

    def is_bright(self, y: int, x: int) -> bool:
        """Whether a pixel lies above the threshold."""
        return bool(self.grey[y, x] > self.threshold)


def split_regions(foreground: Mask) -> NDArray[np.int32]:
    """Split a foreground into objects by a watershed of the distance to the background."""
    filled = ndimage.binary_fill_holes(foreground)
    parts, count = ndimage.label(filled)
    areas = ndimage.sum_labels(filled, parts, np.arange(count + 1))
    filled &= areas[parts] >= SMALLEST_REGION
    distance = ndimage.gaussian_filter(
        ndimage.distance_transform_edt(filled).astype(np.float32), SMOOTHING
    )
    peaks = peak_local_max(
        distance, min_distance=PEAK_DISTANCE, labels=filled.astype(np.int32), exclude_border=False
    )
    seeds = np.zeros(filled.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels: NDArray[np.int32] = watershed(-distance, seeds, mask=filled)
    return labels


def region_under(image: ClassicalImage, y: int, x: int) -> Mask:
    """Otsu + watershed: the region under a click, on that side of the threshold."""
    bright = image.is_bright(y, x)
    labels = image.regions(bright=bright)
    if labels[y, x]:
        mask: Mask = labels == labels[y, x]
        return mask
    parts, _ = ndimage.label(image.foreground(bright=bright))
    speck: Mask = parts == parts[y, x]
    return speck


def region_in(image: ClassicalImage, box: Box) -> Mask:
    """Otsu + watershed: the bright or dark region whose own box agrees best, cut to the box."""
    best: tuple[float, Mask] = (-1.0, np.zeros(image.grey.shape, dtype=bool))
    inside = _inside(image.grey.shape, box)
    for bright in (True, False):
        labels = image.regions(bright=bright)
        candidates = np.unique(labels[inside])
        for index, place in enumerate(ndimage.find_objects(labels), start=1):
            if place is None or index not in candidates:
                continue
            own = (place[1].start, place[0].start, place[1].stop, place[0].stop)
            agreement = box_iou(own, box)
            if agreement > best[0]:
                best = (agreement, labels == index)
    return best[1] & inside


def flooded_from(image: ClassicalImage, y: int, x: int) -> Mask:
    """Flood fill: what is connected to the click and nearly as bright."""
    mask: Mask = flood(image.grey, (y, x), tolerance=FLOOD_TOLERANCE)
    return mask


def flooded_in(image: ClassicalImage, box: Box) -> Mask:
    """Flood fill from the middle of a box, cut to the box."""
    x0, y0, x1, y1 = box
    mask = flooded_from(image, (y0 + y1) // 2, (x0 + x1) // 2)
    return mask & _inside(image.grey.shape, box)


def walked_from(image: ClassicalImage, y: int, x: int) -> Mask:
    """Random walker from a click.

    The click is the object; the other side of Otsu's threshold, two pixels away from it, the
    inside of other watershed regions and the rim of the part looked at are not.
    """
    bright = image.is_bright(y, x)
    under = region_under(image, y, x)
    rows, columns = np.nonzero(under)
    extent = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    half = int(np.clip(1.5 * extent, 24, 128))
    height, width = image.grey.shape
    part = (slice(max(y - half, 0), min(y + half, height)),
            slice(max(x - half, 0), min(x + half, width)))  # fmt: skip
    labels = image.regions(bright=bright)[part]
    outside = ~image.foreground(bright=bright)[part]
    other = _shrunk(np.where(under[part], 0, labels)) | _shrunk(outside.astype(np.int32))
    seeds = np.zeros(image.grey.shape, dtype=np.int32)
    seeds[part][other] = 2
    seeds[_disk(image.grey.shape, y, x, SEED_RADIUS)] = 1
    return _walk(image, seeds, part)


def walked_in(image: ClassicalImage, box: Box) -> Mask:
    """Random walker in a box: its middle is the object, all outside of it is not."""
    x0, y0, x1, y1 = box
    height, width = image.grey.shape
    margin = 4
    part = (slice(max(y0 - margin, 0), min(y1 + margin, height)),
            slice(max(x0 - margin, 0), min(x1 + margin, width)))  # fmt: skip
    seeds = np.full(image.grey.shape, 2, dtype=np.int32)
    seeds[y0:y1, x0:x1] = 0
    radius = max(min(y1 - y0, x1 - x0) / 5, 1.0)
    seeds[_disk(image.grey.shape, (y0 + y1) // 2, (x0 + x1) // 2, radius)] = 1
    return _walk(image, seeds, part) & _inside(image.grey.shape, box)


CLICK_BASELINES: Mapping[str, Callable[[ClassicalImage, int, int], Mask]] = MappingProxyType(
    {
        "Otsu + watershed": region_under,
        "flood fill": flooded_from,
        "random walker": walked_from,
    }
)
BOX_BASELINES: Mapping[str, Callable[[ClassicalImage, Box], Mask]] = MappingProxyType(
    {"Otsu + watershed": region_in, "flood fill": flooded_in, "random walker": walked_in}
)


def box_iou(first: Box, second: Box) -> float:
    """IoU of two boxes of edges x0, y0, x1, y1."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
    return shared / (sum(areas) - shared)


def _inside(shape: tuple[int, ...], box: Box) -> Mask:
    inside = np.zeros(shape, dtype=bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    return inside


def _disk(shape: tuple[int, ...], y: int, x: int, radius: float) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    disk: Mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return disk


def _shrunk(labels: NDArray[np.int32]) -> Mask:
    """Pixels farther than two from another label or from the background."""
    same = (ndimage.minimum_filter(labels, 5) == labels) & (
        ndimage.maximum_filter(labels, 5) == labels
    )
    shrunk: Mask = same & (labels > 0)
    return shrunk


def _walk(image: ClassicalImage, seeds: NDArray[np.int32], part: tuple[slice, slice]) -> Mask:
    """Run the random walker in a part of the image, at a lower resolution where it is large."""
    grey, marks = image.sharp[part], seeds[part].copy()
    click = marks == 1
    rim = np.ones(marks.shape, dtype=bool)
    rim[1:-1, 1:-1] = False
    marks[rim & ~click] = 2
    step = -(-max(grey.shape) // WALKER_SIDE)
    if step > 1:
        small = tuple(-(-n // step) for n in grey.shape)
        grey = resize(grey, small, anti_aliasing=True)
        marks = marks[::step, ::step].copy()
        y, x = (int(np.mean(v)) // step for v in np.nonzero(click))
        marks[y, x] = 1
    mask = np.zeros(image.grey.shape, dtype=bool)
    if (marks == 0).any():
        # solved exactly: at this size it is also quicker than by conjugate gradients
        won = random_walker(grey, marks, beta=WALKER_BETA, mode="bf") == 1
    else:
        won = marks == 1
    mask[part] = np.kron(won, np.ones((step, step), bool))[: click.shape[0], : click.shape[1]]
    return mask
