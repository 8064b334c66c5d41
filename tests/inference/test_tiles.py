"""Where an automatic search looks: grids, crops, tiles, waves and evident background."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sam2_backbone.inference.tiles import (
    crop_views,
    evident_background,
    grid_points,
    interleaved_points,
    nearest_tiles,
    tile_sides,
    tile_views,
)
from sam2_backbone.inference.transforms import View


def test_the_grid_has_the_centres_of_its_cells() -> None:
    points = grid_points(2, View(top=10, left=20, height=40, width=80))
    assert points.tolist() == [[40, 20], [80, 20], [40, 40], [80, 40]]


def test_crops_cover_the_frame_and_overlap() -> None:
    layers = crop_views(150, 200, 2, 1 / 3)
    assert [len(layer) for layer in layers] == [1, 4, 16]
    assert layers[0] == [View.whole(150, 200)]
    for layer in layers[1:]:
        seen = np.zeros((150, 200), dtype=int)
        for view in layer:
            assert view.inside(150, 200) == view
            seen[view.top : view.top + view.height, view.left : view.left + view.width] += 1
        assert seen.min() == 1
        assert seen.max() == 4


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((30, 30), [32]),
        ((100, 128), [128, 64, 32]),
        ((512, 300), [512, 256, 128, 64, 32]),
        ((600, 300), [1024, 512, 256, 128, 64, 32]),
    ],
)
def test_sides_go_from_the_whole_frame_to_the_smallest_window(
    size: tuple[int, int], sides: list[int]
) -> None:
    assert tile_sides(size, input_size=128, fractions=(0.25, 0.5, 1.0, 2.0)) == sides


@given(st.integers(1, 400), st.integers(1, 400), st.integers(24, 300))
def test_every_pixel_is_well_inside_some_tile(height: int, width: int, side: int) -> None:
    size = (height, width)
    views = tile_views(size, side, 0.5)
    y, x = np.mgrid[:height:7, :width:5]
    points = np.stack((x.ravel(), y.ravel()), axis=1).astype(np.float32)
    tiles = nearest_tiles(points, size, side, 0.5)
    for (px, py), tile in zip(points, tiles, strict=True):
        view = views[int(tile)]
        for value, start, length, whole in (
            (py, view.top, view.height, height),
            (px, view.left, view.width, width),
        ):
            assert start <= value < start + length <= whole
            to_cut_side = min(
                value - start if start > 0 else np.inf,
                start + length - value if start + length < whole else np.inf,
            )
            assert to_cut_side >= side / 4 - 1


def test_waves_lie_between_each_other() -> None:
    points, waves = interleaved_points((64, 64), 8)
    assert len(points) == 64
    assert np.bincount(waves).tolist() == [16, 16, 16, 16]
    first = points[waves == 0]
    assert sorted({float(x) for x in first[:, 0]}) == [3.5, 19.5, 35.5, 51.5]


@pytest.mark.parametrize("level", [0.02, 0.5, 0.9])
def test_what_stands_out_is_no_background(level: float) -> None:
    rng = np.random.default_rng(0)
    values = np.full((100, 120), level) + rng.normal(0, 0.01, (100, 120))
    yy, xx = np.mgrid[:100, :120]
    objects = np.hypot(yy - 40, xx - 30) < 9
    objects |= np.hypot(yy - 60, xx - 90) < 5
    values[objects] += 0.1 if level < 0.8 else -0.1
    found = evident_background(values.clip(0, 1).astype(np.float32)[..., None])
    assert not found[objects].any()
    far = ndimage.distance_transform_edt(~objects) > 10
    assert found[far].mean() > 0.8
