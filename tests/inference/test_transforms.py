"""Pixels and model coordinates change places; intensities of every dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam2_backbone.inference.frames import choose_intensities, image_source
from sam2_backbone.inference.transforms import (
    IMAGE_MEAN,
    IMAGE_STD,
    Intensities,
    View,
    mask_to_model,
    resample_logits,
    to_model_input,
    to_view_size,
    within_frame,
)

sizes = st.integers(1, 3000)


@given(height=sizes, width=sizes, side=sizes, y=st.floats(0, 1), x=st.floats(0, 1))
def test_a_window_has_its_centre_in_its_middle_or_is_the_whole_axis(
    height: int, width: int, side: int, y: float, x: float
) -> None:
    centre = (y * (height - 1), x * (width - 1))
    view = View.around(centre, side, height, width)
    assert (view.height, view.width) == (min(side, height), min(side, width))
    assert view.top == 0 if side >= height else abs(view.top + side / 2 - centre[0] - 0.5) <= 0.5
    assert view.contains(torch.tensor([[round(centre[1]), round(centre[0])]]))
    part = view.inside(height, width)
    assert 2 * part.height >= view.height - 1
    assert 2 * part.width >= view.width - 1


def test_beyond_the_frame_it_is_mirrored_and_a_mask_is_empty() -> None:
    frame = np.arange(20).reshape(4, 5)
    view = View(-2, 3, 4, 4)
    assert view.inside(4, 5) == View(0, 3, 2, 2)
    assert view.crop(frame, mirror=True).tolist() == [
        [8, 9, 9, 8],
        [3, 4, 4, 3],
        [3, 4, 4, 3],
        [8, 9, 9, 8],
    ]
    assert view.crop(frame > 0, mirror=False).sum() == 4
    assert view.crop(np.dstack([frame] * 3), mirror=True).shape == (4, 4, 3)


@given(
    top=st.integers(0, 500),
    left=st.integers(0, 500),
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
)
def test_points_go_to_the_model_and_back(
    top: int, left: int, height: int, width: int, x: float, y: float
) -> None:
    view = View(top, left, height, width)
    point = torch.tensor([left + x * width, top + y * height], dtype=torch.float64)
    there = view.to_model(point, 256)
    assert bool(((there >= -1e-6) & (there <= 256 + 1e-6)).all())
    back = there / 256 * torch.tensor([width, height]) + torch.tensor([left, top])
    torch.testing.assert_close(back, point)


def test_a_mirror_image_shows_what_is_clicked_at_the_same_place() -> None:
    frame = np.zeros((40, 60), np.uint8)
    frame[12, 33] = 255
    view = View(4, 20, 32, 32)
    assert view.mirror_images[0] == view
    for image in view.mirror_images:
        seen = to_model_input(frame, image, Intensities(0.0, 255.0), input_size=32)[0]
        row, column = divmod(int(seen.argmax()), 32)
        places = image.flip_points(torch.tensor([[33.0, 12.0]]), torch.tensor([False]))
        assert view.to_model(places, 32).tolist() == [[column, row]]
        edges = image.flip_points(torch.tensor([[33.0, 12.0], [34, 13]]), torch.tensor([True] * 2))
        assert view.to_model(edges, 32).amin(0).tolist() == [column, row]
        assert torch.equal(image.flip(image.flip(seen)), seen)


def test_a_whole_frame_is_mapped_as_the_reference_does() -> None:
    points = torch.tensor([[100.0, 50.0]])
    mapped = View.whole(150, 200).to_model(points, 1024)
    torch.testing.assert_close(mapped, torch.tensor([[100 / 200 * 1024, 50 / 150 * 1024]]))


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", ">u2", "int16", "int64", "float16", "float32", ">f8", "bool"]
)
def test_every_real_dtype_is_mapped_to_its_range(dtype: str) -> None:
    image = (np.arange(64).reshape(8, 8) % 2).astype(dtype)
    source = image_source(image)
    model_input = to_model_input(
        source.read(0), View.whole(8, 8), choose_intensities(source, (0, 1)), input_size=8
    )
    values = model_input * torch.tensor(IMAGE_STD)[:, None, None]
    values = values + torch.tensor(IMAGE_MEAN)[:, None, None]
    expected = torch.from_numpy(image.astype("float32")).expand(3, -1, -1)
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)


def test_nan_and_infinities_count_as_low() -> None:
    image = np.array([[1.0, np.nan], [np.inf, -np.inf]])
    assert Intensities(1.0, 2.0).apply(image).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int64", "float64", ">u4"])
def test_small_differences_of_large_values_are_seen(dtype) -> None:
    low = 1_000_000_000 if np.dtype(dtype).itemsize > 2 else 60_000
    ramp = (low + np.arange(5)[None]).astype(dtype)
    seen = Intensities(low, low + 4).apply(ramp)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, np.linspace(0, 1, 5)[None])


def test_uint8_keeps_its_range_and_others_get_robust_percentiles() -> None:
    rng = np.random.default_rng(0)
    assert choose_intensities(image_source(np.full((4, 4), 7, np.uint8))) == Intensities(0, 255)
    image = rng.normal(1000, 10, (100, 100))
    image[0, 0] = 1e9
    found = choose_intensities(image_source(image))
    assert 950 < found.low < 1000 < found.high < 1050
    constant = choose_intensities(image_source(np.full((4, 4), 3.0)))
    assert constant.apply(np.full((2, 2), 3.0)).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="low < high"):
        choose_intensities(image_source(image), (5, 5))


def test_a_mask_survives_the_way_to_the_model_and_back() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:30, 20:50] = True
    view = View(5, 10, 32, 48)
    there = mask_to_model(mask, view, 128)
    low_res = torch.nn.functional.interpolate(there, size=(32, 32), mode="area") * 20 - 10
    back = to_view_size(low_res, view)[0, 0] > 0
    disagreement = np.mean(back.numpy() != view.crop(mask, mirror=False))
    assert disagreement < 0.02


def test_logits_move_with_their_view() -> None:
    logits = torch.full((1, 1, 16, 16), -5.0)
    logits[..., 4:8, 4:8] = 5.0  # pixels 40…80 of a view at 0, 0 of 160
    moved = resample_logits(logits, View(0, 0, 160, 160), View(40, 40, 160, 160))
    assert bool((moved[..., :4, :4] > 0).all())
    assert bool((moved[..., 5:, :] < 0).all())


def test_the_pixels_of_a_view_that_lie_within_the_frame() -> None:
    within = within_frame(View(-4, 6, 8, 8), (20, 10), 4)
    expected = torch.zeros((4, 4), dtype=torch.bool)
    expected[2:, :2] = True
    assert torch.equal(within, expected)
    assert within_frame(View.whole(20, 10), (20, 10), 4).all()
