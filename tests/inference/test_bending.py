"""Objects bend as the picture does, and no farther than it shows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sam2_backbone.inference.bending import Boxes, bend, straight, unbend
from sam2_backbone.inference.motion import MOTION_SIDE, pixel_centres

LOW = 48
MIDDLE, RADIUS = (0.1, -0.05), 0.4


def texture(seed: int) -> torch.Tensor:
    coarse = torch.rand((1, 1, 24, 24), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(MOTION_SIDE, MOTION_SIDE), mode="bicubic")


def were(side: int, strength: float) -> torch.Tensor:
    """Where the pixels of the second frame were on the first, (1, side, side, 2): waves."""
    places = pixel_centres(side)
    x, y = places.unbind(-1)
    waves = torch.stack((torch.sin(4 * y), torch.cos(5 * x)), -1)
    return (places + strength * waves)[None]


def disc(places: torch.Tensor) -> torch.Tensor:
    """Logits (1, 1, h, w) of a disc at places (1, h, w, 2)."""
    return 30 * (RADIUS - (places - torch.tensor(MIDDLE)).norm(dim=-1))[:, None]


def iou(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first & second).sum() / (first | second).sum())


def scene(strength: float = 0.06) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both pictures, the shape on the first frame, and the true one on the second."""
    first = texture(0)
    second = F.grid_sample(first, were(MOTION_SIDE, strength), align_corners=False)
    return first, 0.8 * second + 0.1, disc(were(LOW, 0.0)), disc(were(LOW, strength)) > 0


def laid(shape: torch.Tensor, bent: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    places = unbend(pixel_centres(LOW)[None], bent, region)
    return F.grid_sample(shape, places, align_corners=False) > 0


def test_a_shape_bends_with_the_picture() -> None:
    first, second, shape, truth = scene()
    region, maps = (shape > -3).float(), torch.eye(3)[None]
    bent, agreement, unbent = bend(straight(1), first, second, maps, region)
    assert iou(shape > 0, truth) < 0.9
    assert iou(laid(shape, bent, region), truth) > 0.95
    assert float(agreement) > float(unbent) + 0.1


def test_it_goes_on_from_how_it_was_bent_before() -> None:
    first, second, shape, truth = scene(0.12)
    region, maps = (shape > -3).float(), torch.eye(3)[None]
    bent = straight(1)
    agreements = []
    for strength in (0.04, 0.08, 0.12):
        now = F.grid_sample(first, were(MOTION_SIDE, strength), align_corners=False)
        bent, agreement, _ = bend(bent, first, now, maps, region)
        agreements.append(float(agreement))
    at_once = float(bend(straight(1), first, second, maps, region)[1])
    assert agreements[-1] > at_once
    assert iou(laid(shape, bent, region), truth) > 0.9


def test_what_only_moved_does_not_bend() -> None:
    first, _, shape, _ = scene()
    maps = torch.tensor([[[0.9, 0.1, 0.05], [-0.1, 0.95, -0.1], [0, 0, 1]]])
    grid = F.affine_grid(torch.linalg.inv(maps)[:, :2], list(first.shape), align_corners=False)
    moved = F.grid_sample(first, grid, align_corners=False)
    bent, _, _ = bend(straight(1), first, moved, maps, (shape > -3).float())
    assert float(bent.abs().max()) < 0.03


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_flat_picture_bends_nothing(value: float) -> None:
    first, _, shape, _ = scene()
    flat = torch.full_like(first, value)
    region = (shape > -3).float()
    bent, agreement, unbent = bend(straight(1), flat, flat, torch.eye(3)[None], region)
    assert torch.isfinite(bent).all()
    torch.testing.assert_close(bent, straight(1), atol=1e-3, rtol=0)
    assert torch.isfinite(agreement).all()
    assert torch.isfinite(unbent).all()


def test_objects_bend_each_for_itself() -> None:
    first, second, shape, _ = scene()
    region = torch.cat(((shape > -3).float(), (shape > 3).float()))
    firsts, seconds = torch.cat((first, texture(1))), torch.cat((second, texture(2)))
    maps = torch.eye(3).repeat(2, 1, 1)
    bent, agreement, _ = bend(straight(2), firsts, seconds, maps, region)
    own, own_agreement, _ = bend(straight(1), first, second, maps[:1], region[:1])
    torch.testing.assert_close(bent[:1], own, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(agreement[:1], own_agreement, atol=1e-3, rtol=1e-3)


def test_a_box_holds_its_region() -> None:
    region = torch.zeros(2, 1, 8, 8)
    region[0, 0, 2:6, 4:8] = 1
    boxes = Boxes.around(region)
    torch.testing.assert_close(boxes.middles[0], torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(boxes.halves[0], torch.tensor([0.5, 0.5]))
    assert torch.isfinite(boxes.middles).all()
    assert (boxes.halves > 0).all()  # an empty region has a box too
