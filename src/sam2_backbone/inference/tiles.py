"""Where an automatic search looks: tiles at several scales, grids of points; pure numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam2_backbone.inference.transforms import View

MIN_TILE_SIDE = 24  # pixels; smaller tiles show nothing but interpolation
_LEVELS = 256  # of the histogram whose peak is taken for the background
_SMOOTHING = 1.5  # pixels
_NEAR_BACKGROUND = 2.5  # spreads around the background's level that are evidently background
_SPREAD_FLOOR = 0.004  # one step of 8 bits: an even background is no sharper than that
_OBJECT_MARGIN = 3  # pixels around anything that stands out

Point = tuple[float, float]


def grid_points(per_side: int, view: View) -> NDArray[np.float32]:
    """Return the centres of a regular grid of cells in a view, (per_side², 2) x, y in pixels.

    As the reference: a fraction of the width is a coordinate, so the grid lies half a pixel low.
    """
    fractions = (np.arange(per_side, dtype=np.float64) + 0.5) / per_side
    x, y = np.meshgrid(fractions * view.width + view.left, fractions * view.height + view.top)
    return np.stack((x.ravel(), y.ravel()), axis=1).astype(np.float32)


def crop_views(height: int, width: int, num_layers: int, overlap: float) -> list[list[View]]:
    """Return the frame and, for each further layer, its crops (Kirillov et al. 2023, appendix B).

    Layer i has 2^i × 2^i crops that overlap by `overlap` / 2^(i - 1) of the frame's shorter side.
    """
    layers = [[View.whole(height, width)]]
    for layer in range(1, num_layers + 1):
        number = 2**layer
        shared = int(overlap * min(height, width) * 2 / number)
        tall = math.ceil((height + shared * (number - 1)) / number)
        wide = math.ceil((width + shared * (number - 1)) / number)
        crops = []
        for left in range(0, number * (wide - shared), wide - shared):
            for top in range(0, number * (tall - shared), tall - shared):
                crops.append(View(top, left, min(tall, height - top), min(wide, width - left)))
        layers.append(crops)
    return layers


def tile_sides(
    frame_size: tuple[int, int], *, input_size: int, fractions: Sequence[float]
) -> list[int]:
    """Return the sides of the tiles to look through, large ones first.

    They are the windows of the model, then twice as large each until one shows the whole frame.
    """
    longest = max(frame_size)
    sides = sorted({max(MIN_TILE_SIDE, round(f * input_size)) for f in fractions})
    while sides[-1] < longest:
        sides.append(sides[-1] * 2)
    first_whole = next(i for i, side in enumerate(sides) if side >= longest)
    return sides[first_whole::-1]


def tile_views(frame_size: tuple[int, int], side: int, step: float) -> list[View]:
    """Cover a frame by tiles of a side, at most `step` sides apart, rows first."""
    height, width = frame_size
    tall, wide = min(side, height), min(side, width)
    return [
        View(top, left, tall, wide)
        for top in _starts(height, tall, step)
        for left in _starts(width, wide, step)
    ]


def nearest_tiles(
    points: NDArray[np.float32], frame_size: tuple[int, int], side: int, step: float
) -> NDArray[np.int64]:
    """Return, for each (N, 2) x, y, the tile of `tile_views` that has it nearest to its middle."""
    height, width = frame_size
    rows, columns = _starts(height, min(side, height), step), _starts(width, min(side, width), step)
    row = _nearest(points[:, 1], rows, min(side, height))
    column = _nearest(points[:, 0], columns, min(side, width))
    return row * len(columns) + column


def interleaved_points(
    frame_size: tuple[int, int], spacing: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a grid over a frame and the wave, 0…3, in which each point is to be asked.

    The first wave has every second point of every second row; the others lie between them, so that
    most are already covered by a mask when their turn comes.

    Returns
    -------
    points, waves
        (N, 2) x, y in pixels and (N,).
    """
    height, width = frame_size
    num_rows, num_columns = (max(1, round(n / spacing)) for n in frame_size)
    y = (np.arange(num_rows) + 0.5) * height / num_rows - 0.5
    x = (np.arange(num_columns) + 0.5) * width / num_columns - 0.5
    xx, yy = np.meshgrid(x, y)
    row, column = np.indices(xx.shape) % 2
    order = np.array([[0, 2], [3, 1]])
    points = np.stack((xx.ravel(), yy.ravel()), axis=1).astype(np.float32)
    return points, order[row, column].ravel()


def evident_background(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a frame is as flat and as bright as most of it is.

    Parameters
    ----------
    values
        (H, W, C) in 0…1.
    """
    flat = np.ones(values.shape[:2], dtype=bool)
    for channel in np.moveaxis(values, -1, 0):
        smooth = ndimage.gaussian_filter(channel, _SMOOTHING)
        counts, edges = np.histogram(smooth, bins=_LEVELS, range=(0, 1))
        peak = int(ndimage.uniform_filter1d(counts.astype(np.float64), 3).argmax())
        level = float(edges[peak] + edges[peak + 1]) / 2
        # objects are on either side of the background, so its spread is that of the nearer half
        distance = np.abs(smooth - level)
        sides = [distance[smooth <= level], distance[smooth >= level]]
        spread = min(float(np.median(side)) * 1.48 for side in sides if side.size)
        flat &= distance <= _NEAR_BACKGROUND * max(spread, _SPREAD_FLOOR)
    near: NDArray[np.bool_] = ~ndimage.binary_dilation(
        ndimage.binary_opening(~flat, iterations=1), iterations=_OBJECT_MARGIN
    )
    return near


def _starts(length: int, side: int, step: float) -> list[int]:
    if side >= length:
        return [0]
    count = math.ceil((length - side) / (step * side)) + 1
    return [round(v) for v in np.linspace(0, length - side, count)]


def _nearest(values: NDArray[np.float32], starts: Sequence[int], side: int) -> NDArray[np.int64]:
    middles = np.asarray(starts) + side / 2 - 0.5
    nearest: NDArray[np.int64] = np.abs(values[:, None] - middles).argmin(axis=1)
    return nearest
