"""Which pixels a drawn outline encloses, and which points a scribble stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sam2_backbone.inference.packed_mask import PackedMask

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTLINES = frozenset({"polygon", "ellipse"})
"""Kinds of shapes that say where an object is to the pixel; a freehand lasso is a polygon."""
SCRIBBLES = frozenset({"path", "line"})
"""Kinds of shapes that stand for clicks along them."""

# SAM 2 was trained with up to eight clicks on a frame; some are left for corrections
_MOST_POINTS = 5


@dataclass(frozen=True, eq=False)
class Outline:
    """A shape as it was drawn: its kind, and its vertices in data coordinates (N, ndim)."""

    kind: str
    vertices: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Area:
    """The part of a frame around an outline; `inside` (h, w) bool."""

    top: int
    left: int
    inside: NDArray[np.bool_]


def area_of(kind: str, corners: NDArray[np.float64], height: int, width: int) -> Area | None:
    """Return the pixels whose centres an outline encloses, None if there are none.

    Parameters
    ----------
    kind
        One of `OUTLINES`.
    corners
        (N, 2) y, x in pixels: vertices of a polygon, or the four corners around an ellipse.
    """
    size = np.array([height, width])
    low = np.clip(np.ceil(corners.min(axis=0)), 0, size).astype(int)
    high = np.clip(np.floor(corners.max(axis=0)) + 1, 0, size).astype(int)
    if (high <= low).any():
        return None
    shape = (int(high[0] - low[0]), int(high[1] - low[1]))
    inside = (_ellipse if kind == "ellipse" else _polygon)(corners - low, shape)
    return Area(int(low[0]), int(low[1]), inside) if inside.any() else None


def _polygon(corners: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    from skimage.draw import polygon

    inside = np.zeros(shape, dtype=bool)
    rows, columns = polygon(corners[:, 0], corners[:, 1], shape)
    inside[rows, columns] = True
    return inside


def _ellipse(corners: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill the ellipse that touches the middles of the sides of a parallelogram."""
    axes = np.stack([corners[1] - corners[0], corners[3] - corners[0]], axis=1) / 2
    if abs(np.linalg.det(axes)) < 1e-9:
        return np.zeros(shape, dtype=bool)
    pixels = np.moveaxis(np.indices(shape), 0, -1) - corners.mean(axis=0)
    radii = np.linalg.norm(pixels @ np.linalg.inv(axes).T, axis=-1)
    inside: NDArray[np.bool_] = radii <= 1.0
    return inside


class OutlineReader:
    """Rasterises outlines, each only once as long as it stays as it is."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, bytes], Area | None] = {}
        self._now: dict[tuple[str, bytes], Area | None] = {}
        self._masks_before: dict[tuple[Area, ...], PackedMask] = {}
        self._masks_now: dict[tuple[Area, ...], PackedMask] = {}

    def begin(self) -> None:
        """Forget outlines that were not asked for since the last call."""
        self._before, self._now = self._now, {}
        self._masks_before, self._masks_now = self._masks_now, {}

    def mask(self, areas: tuple[Area, ...], height: int, width: int) -> PackedMask:
        """Return the mask (height, width) of areas of this reader taken together."""
        if areas not in self._masks_now:
            known = self._masks_before.get(areas)
            self._masks_now[areas] = _packed(areas, height, width) if known is None else known
        return self._masks_now[areas]

    def area(self, kind: str, corners: NDArray[np.float64], height: int, width: int) -> Area | None:
        """Return the area of an outline, see `area_of`."""
        key = (kind, corners.tobytes())
        if key not in self._now:
            known = key in self._before
            area = self._before[key] if known else area_of(kind, corners, height, width)
            self._now[key] = area
        return self._now[key]


def _packed(areas: tuple[Area, ...], height: int, width: int) -> PackedMask:
    whole = np.zeros((height, width), dtype=bool)
    for area in areas:
        rows, columns = area.inside.shape
        part = np.s_[area.top : area.top + rows, area.left : area.left + columns]
        whole[part] |= area.inside
    return PackedMask.pack(whole)


class OutlineMemory:
    """Outlines by the mask they make, so that an undone one comes back as it was drawn."""

    def __init__(self) -> None:
        self._outlines: dict[tuple[Any, PackedMask], tuple[Outline, ...]] = {}

    def keep(self, key: Any, mask: PackedMask, outlines: tuple[Outline, ...]) -> None:
        """Remember what was drawn for a mask."""
        self._outlines[key, mask] = outlines

    def recall(self, key: Any, mask: PackedMask) -> tuple[Outline, ...]:
        """Return what was drawn for a mask; empty for one that was not drawn."""
        return self._outlines.get((key, mask), ())


def scribble_points(path: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Return the points that a scribble stands for, evenly along it and clear of its ends.

    Parameters
    ----------
    path
        (N, 2) y, x in pixels.
    spacing
        Pixels between points, unless that were more than five.
    """
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = int(np.clip(round(along[-1] / spacing), 1, _MOST_POINTS))
    places = (np.arange(count) + 0.5) / count * along[-1]
    return np.stack([np.interp(places, along, path[:, axis]) for axis in (0, 1)], axis=1)
