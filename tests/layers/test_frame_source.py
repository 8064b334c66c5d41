"""Frames of image layers: lazy, at full resolution, and the contrast a person sees."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.frame_source import layer_channel, layer_frame_source
from napari_sam2.layers.geometry import FrameGeometry, choose_geometry
from napari_sam2.session.intensities import Channel
from sam2_backbone.errors import FrameReadError


def source_of(image: Image, frame_axis: int | None = None):
    viewer = ViewerModel()
    viewer.add_layer(image)
    return layer_frame_source(image, choose_geometry(image, viewer.dims, frame_axis=frame_axis))


def test_stack_with_contrast_limits(rng) -> None:
    stack = rng.integers(0, 4096, (5, 20, 30), dtype=np.uint16)
    image = Image(stack, contrast_limits=(100, 3000), gamma=0.5)
    source = source_of(image)
    assert (source.num_frames, source.height, source.width) == (5, 20, 30)
    assert (source.dtype, source.is_rgb) == (np.uint16, False)
    assert layer_channel(image, 2) == Channel(2, 100.0, 3000.0, 0.5)
    np.testing.assert_array_equal(source.read(3), stack[3])
    with pytest.raises(IndexError, match="between 0 and 4"):
        source.read(5)


def test_any_axis_can_be_the_frame(rng) -> None:
    stack = rng.random((5, 20, 30))
    source = source_of(Image(stack), frame_axis=2)
    np.testing.assert_array_equal(source.read(7), stack[:, :, 7])


def test_depth_stands_still_while_time_is_read(rng) -> None:
    array = rng.random((3, 4, 6, 7))
    source = layer_frame_source(Image(array), FrameGeometry(array.shape, 0, ((1, 2),)))
    np.testing.assert_array_equal(source.read(1), array[1, 2])


def test_colour_loses_its_opacity(rng) -> None:
    movie = rng.integers(0, 255, (3, 8, 9, 4), dtype=np.uint8)
    image = Image(movie, rgb=True)
    source = source_of(image)
    assert source.is_rgb
    assert layer_channel(image) is None
    np.testing.assert_array_equal(source.read(2), movie[2, ..., :3])


def test_one_frame_of_a_lazy_array_at_a_time(rng) -> None:
    array = rng.random((4, 8, 8))
    seen: list[int] = []

    def note(block, block_info=None):
        if block_info:
            seen.append(block_info[0]["chunk-location"][0])
        return block

    lazy = da.from_array(array, chunks=(1, 8, 8)).map_blocks(note, dtype=array.dtype)
    source = layer_frame_source(
        Image(lazy, contrast_limits=(0, 1), visible=False), FrameGeometry(array.shape, 0)
    )
    seen.clear()
    np.testing.assert_array_equal(source.read(2), array[2])
    assert seen == [2]


def test_zarr_and_pyramids_are_read_at_full_resolution(rng) -> None:
    array = rng.random((3, 16, 16)).astype(np.float32)
    stored = zarr.array(array, chunks=(1, 16, 16))
    source = source_of(Image([stored, array[:, ::2, ::2]], multiscale=True))
    np.testing.assert_array_equal(source.read(1), array[1])


def test_no_pixels_are_refused() -> None:
    empty = Image(np.zeros((0, 8, 8)), contrast_limits=(0, 1))
    with pytest.raises(LayerRefusedError, match="no pixels"):
        layer_frame_source(empty, FrameGeometry((0, 8, 8), 0))


def test_a_damaged_frame_is_named() -> None:
    def fail() -> np.ndarray:
        raise RuntimeError("bad data")

    frames = [da.zeros((8, 9)), da.from_delayed(dask.delayed(fail)(), (8, 9), float)]
    image = Image(da.stack(frames), contrast_limits=(0, 1))
    source = layer_frame_source(image, FrameGeometry((2, 8, 9), 0))
    with pytest.raises(FrameReadError, match=r"frame 1 cannot be read \(bad data\)"):
        source.read(1)
