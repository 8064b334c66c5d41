"""The last mask moves along with the picture, and says nothing where the picture is another."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sam2_backbone.inference.motion import carry_along, find_motion

SIDE, LOW = 192, 48


def texture(seed: int, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((count, 1, 24, 24), generator=generator)
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")


def moved(image: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Show an image with every point where the map puts it."""
    last = torch.tensor([[0.0, 0.0, 1.0]]).expand(len(maps), 1, 3)
    back = torch.linalg.inv(torch.cat((maps, last), 1))[:, :2]
    grid = F.affine_grid(back, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def mask(top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    logits = torch.full((1, 1, LOW, LOW), -8.0)
    logits[..., top:bottom, left:right] = 8
    return logits


MAPS = torch.tensor(
    [
        [[1.0, 0.0, 0.05], [0.0, 1.0, -0.03]],
        [[1.04, 0.02, 0.03], [-0.02, 0.97, 0.02]],
    ]
)


def test_an_affine_motion_is_found_whatever_the_brightness_does() -> None:
    first = texture(0, 2)
    second = 0.6 * moved(first, MAPS) + 0.3
    region = torch.cat([(mask(14, 14, 34, 34) > 0).float()] * 2)
    found = find_motion(first, second, region)
    torch.testing.assert_close(found.maps, MAPS, atol=4e-3, rtol=0)
    assert (found.agreement > 0.99).all()


def test_the_last_mask_is_carried_to_where_the_object_is_now() -> None:
    first, last = texture(1), mask(14, 16, 30, 34)
    second = moved(first, torch.tensor([[[1.0, 0.0, 0.125], [0.0, 1.0, 0.0]]]))
    carried = carry_along(last, first, second)  # an eighth of half a side: three pixels
    assert torch.equal(carried.masks > 0, mask(14, 19, 30, 37) > 0)
    assert float(carried.pull[0, 0, 22, 27]) > 0.9
    assert float(carried.pull[0, 0, 22, 5]) < -0.9


def test_nothing_is_said_of_what_has_come_into_the_frame() -> None:
    first, last = texture(1), mask(14, 16, 30, 34)
    second = moved(first, torch.tensor([[[1.0, 0.0, 0.125], [0.0, 1.0, 0.0]]]))
    within = torch.zeros((1, 1, LOW, LOW), dtype=torch.bool)
    within[..., 16:] = True  # the border cuts the object
    carried = carry_along(last, first, second, within)
    assert torch.equal(carried.news > 0.5, within & (torch.arange(LOW) < 19))
    assert float(carried.pull[..., 16:18].abs().max()) < 1e-3
    assert float(carried.pull[0, 0, 22, 27]) > 0.9
    # what lies beyond the frame is as before
    as_before = carry_along(last, first, second).pull
    assert torch.equal(carried.pull[..., :16], as_before[..., :16])


def test_what_stands_out_more_is_still_seen_and_what_fades_may_be_gone() -> None:
    last, first = mask(14, 16, 30, 34), texture(8)
    brighter, fading = 0.5 + 1.3 * (first - 0.5), 0.5 + 0.7 * (first - 0.5)
    assert float(carry_along(last, first, brighter).still_seen) > 0.95
    for second in (first, fading, texture(9)):
        assert float(carry_along(last, first, second).still_seen) == pytest.approx(0, abs=1e-3)


def test_a_motion_that_the_picture_does_not_show_says_nothing() -> None:
    last = mask(14, 16, 30, 34)
    carried = carry_along(last, texture(2), texture(3))
    assert torch.equal(carried.masks, last)
    assert not carried.pull.any()


@pytest.mark.parametrize("grey", [0.0, 0.5])
def test_an_even_picture_leaves_the_mask_in_place(grey: float) -> None:
    last, even = mask(14, 16, 30, 34), torch.full((1, 1, SIDE, SIDE), grey)
    carried = carry_along(last, even, even)
    assert torch.equal(carried.masks > 0, last > 0)
    assert torch.isfinite(carried.pull).all()


def test_an_empty_mask_is_not_carried() -> None:
    first, nothing = texture(4), torch.full((1, 1, LOW, LOW), -1024.0)
    carried = carry_along(nothing, first, first)
    assert torch.equal(carried.masks, nothing)
    assert not carried.pull.any()


def test_objects_do_not_influence_each_other() -> None:
    first = torch.cat([texture(5), texture(6)])
    second = torch.cat([moved(texture(5), MAPS[:1]), texture(7)])
    masks = torch.cat([mask(4, 16, 30, 34), 9 * mask(10, 10, 20, 20)])
    both, alone = carry_along(masks, first, second), carry_along(masks[:1], first[:1], second[:1])
    torch.testing.assert_close(both.masks[:1], alone.masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both.pull[:1], alone.pull, atol=1e-4, rtol=1e-4)
