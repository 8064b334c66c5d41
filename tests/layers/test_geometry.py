"""Pixels under the cursor: world → data → frame and pixel, and back, for every kind of layer."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Points

from napari_sam2.layers import geometry
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import FrameGeometry

# no lower than 1/64: thinner pixels than that are a unit's business
scales = st.floats(0.02, 50.0)
offsets = st.floats(-1e4, 1e4)
angles = st.floats(-180.0, 180.0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    scale=st.tuples(scales, scales, scales),
    translate=st.tuples(offsets, offsets, offsets),
    angle=angles,
    shear=st.floats(-0.5, 0.5),
    stretch=st.floats(0.5, 2.0),
    other_unit=st.sampled_from(["um", "nm", "mm"]),
    frame_idx=st.integers(0, 4),
    yx=st.tuples(st.floats(0, 19), st.floats(0, 29)),
)
def test_pixel_to_world_and_back(
    scale, translate, angle, shear, stretch, other_unit, frame_idx, yx
) -> None:
    viewer = ViewerModel()
    affine = np.diag([1.0, stretch, 1.0, 1.0])
    image = Image(
        np.zeros((5, 20, 30)),
        scale=scale,
        translate=translate,
        rotate=(0.0, 0.0, angle),
        shear=(0.0, 0.0, shear),
        affine=affine,
        units=("s", "um", "um"),
    )
    viewer.add_layer(image)
    viewer.add_image(np.zeros((5, 20, 30)), units=("ms", other_unit, other_unit))
    units = viewer.layers.units
    frames = geometry.choose_geometry(image, viewer.dims, world_units=units)
    data = frames.to_data(frame_idx, yx)
    world = geometry.data_to_world(image, data[0], world_units=units)
    back = frames.to_pixel(geometry.world_to_data(image, world, world_units=units))
    assert back.frame_idx[0] == frame_idx
    assert back.inside[0]
    assert back.on_plane[0]
    # relative to the offset: 1e4 away in world, a double still knows 1e-11 of a pixel
    np.testing.assert_allclose(back.yx[0], yx, atol=1e-5)

    points = Points(ndim=3)
    viewer.add_layer(points)
    geometry.copy_transform(image, points, world_units=units)
    np.testing.assert_allclose(
        geometry.layer_to_layer(points, image, data, world_units=viewer.layers.units),
        data,
        atol=1e-4,
    )
    # what napari itself computes for a click on that pixel
    np.testing.assert_allclose(points.world_to_data(world), data[0], atol=1e-4)


def test_slider_frame_with_other_scales_and_offsets() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 20, 30)), scale=(2, 1, 1), translate=(10, 0, 0))
    viewer.add_image(np.zeros((40, 20, 30)))
    frames = geometry.choose_geometry(image, viewer.dims)
    viewer.dims.set_point(0, 14)
    assert geometry.current_frame(frames, image, viewer.dims) == 2
    viewer.dims.set_point(0, 0)
    assert geometry.current_frame(frames, image, viewer.dims) is None


def test_slider_frame_follows_napari_where_units_differ() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(
        np.arange(10).reshape(10, 1, 1) * np.ones((1, 4, 4)), units=("s", "um", "um")
    )
    viewer.add_points(np.zeros((1, 3)), units=("ms", "nm", "nm"))
    viewer.dims.set_point(0, 7000)
    frames = geometry.choose_geometry(image, viewer.dims, world_units=viewer.layers.units)
    here = geometry.current_frame(frames, image, viewer.dims, world_units=viewer.layers.units)
    assert here == 7


def test_units_that_measure_different_things_are_refused_in_a_sentence() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((4, 4)), units=("um", "um"))
    seconds = viewer.add_image(np.zeros((4, 4)), units=("s", "um")).units
    with pytest.raises(LayerRefusedError, match="cannot be converted"):
        geometry.world_to_data(image, (1, 1), world_units=seconds)
    # napari itself draws such layers by their bare numbers, and so do we
    assert viewer.layers.units is None
    assert geometry.world_to_data(image, (1, 2), world_units=None).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("shape", "rgb", "frame_axis", "plane"),
    [
        ((20, 30), False, None, (0, 1)),
        ((20, 30, 3), True, None, (0, 1)),
        ((5, 20, 30), False, 0, (1, 2)),
        ((5, 20, 30, 4), True, 0, (1, 2)),
        ((5, 7, 20, 30), False, 0, (2, 3)),
        ((1, 7, 20, 30), False, 1, (2, 3)),
        ((1, 20, 30), False, 0, (1, 2)),
    ],
)
def test_default_frame_axis(shape, rgb, frame_axis, plane) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(shape, np.uint8), rgb=rgb)
    frames = geometry.choose_geometry(image, viewer.dims)
    assert frames.frame_axis == frame_axis
    assert frames.plane_axes == plane


def test_rolled_dims_choose_the_hidden_axis() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 20, 30)))
    viewer.dims.order = (2, 0, 1)
    frames = geometry.choose_geometry(image, viewer.dims)
    assert (frames.frame_axis, frames.plane_axes) == (2, (0, 1))
    assert (frames.num_frames, frames.height, frames.width) == (30, 5, 20)
    viewer.dims.order = (0, 1, 2)
    assert geometry.frame_axis_is_shown(frames, viewer.dims)
    assert geometry.current_frame(frames, image, viewer.dims) is None


def test_time_label_wins_and_the_rest_stands_still() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((4, 6, 20, 30)), axis_labels=("z", "t", "y", "x"))
    viewer.dims.set_point(0, 3)
    frames = geometry.choose_geometry(image, viewer.dims)
    assert frames == FrameGeometry((4, 6, 20, 30), 1, ((0, 3),))
    assert frames.index(5) == (3, 5, slice(None), slice(None))
    positions = frames.to_pixel([[3, 5, 1, 2], [2, 5, 1, 2]])
    assert positions.on_plane.tolist() == [True, False]
    other = geometry.choose_geometry(image, viewer.dims, frame_axis=0)
    assert other.fixed == ((1, int(viewer.dims.point[1])),)


def test_layer_with_fewer_dimensions_than_the_viewer() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 20, 30)))
    viewer.add_image(np.zeros((2, 5, 20, 30)))
    frames = geometry.choose_geometry(image, viewer.dims)
    assert frames.frame_axis == 0
    viewer.dims.set_point(1, 4)
    assert geometry.current_frame(frames, image, viewer.dims) == 4


def test_multiscale_counts_full_resolution_pixels() -> None:
    viewer = ViewerModel()
    levels = [np.zeros((3, 64, 64)), np.zeros((3, 32, 32))]
    image = viewer.add_image(levels, multiscale=True, scale=(1, 0.5, 0.5))
    frames = geometry.choose_geometry(image, viewer.dims)
    assert (frames.height, frames.width) == (64, 64)
    data = geometry.world_to_data(image, (1, 10, 20))
    assert frames.to_pixel(data).yx[0].tolist() == [20, 40]


def test_dask_is_not_computed_to_learn_the_shape() -> None:
    def fail(block):
        raise AssertionError("computed")

    lazy = da.zeros((5, 8, 8), chunks=(1, 8, 8)).map_blocks(fail, dtype=float)
    viewer = ViewerModel()
    image = Image(lazy, contrast_limits=(0, 1), visible=False)
    assert geometry.choose_geometry(image, viewer.dims).num_frames == 5


def test_edges_of_pixels_and_frames() -> None:
    frames = FrameGeometry((5, 20, 30), 0)
    inside = frames.to_pixel(
        [
            [0, -0.5, -0.5],
            [4.4, 19.4, 29.4],
            [4.5, 0, 0],  # napari shows frame 4: halves go to the even number
            [4.6, 0, 0],
            [0, 19.5, 0],
            [-0.6, 0, 0],
            [0, np.nan, 0],
        ]
    ).inside
    assert inside.tolist() == [True, True, True, False, False, False, False]


def test_three_dimensional_display_is_refused() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, 20, 30)))
    geometry.require_plane_view(viewer.dims)
    viewer.dims.ndisplay = 3
    with pytest.raises(LayerRefusedError, match="2-D view"):
        geometry.require_plane_view(viewer.dims)


def test_two_frame_axes_are_impossible() -> None:
    with pytest.raises(ValueError, match="exactly two axes"):
        FrameGeometry((5, 20, 30), None)
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 20, 30)))
    with pytest.raises(ValueError, match="frame_axis"):
        geometry.choose_geometry(image, viewer.dims, frame_axis=3)
