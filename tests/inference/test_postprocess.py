"""Pieces of a tracked mask that cannot be the object are taken away, its own pieces are not."""

from __future__ import annotations

import numpy as np
import torch

from sam2_backbone.inference.postprocess import (
    drop_far_pieces,
    fill_box,
    lean_on_last,
    obey_clicks,
)
from sam2_backbone.inference.prompts import FramePrompts


def logits(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    mask = np.full((1, 1, 32, 32), -5.0, np.float32)
    for top, left, bottom, right in boxes:
        mask[..., top:bottom, left:right] = 5
    return torch.from_numpy(mask)


CELL, DAUGHTER, NEIGHBOUR = (8, 8, 16, 12), (8, 14, 16, 18), (22, 22, 30, 30)


def test_a_neighbour_is_dropped_and_a_daughter_is_kept() -> None:
    last = logits((8, 8, 16, 18))
    found = drop_far_pieces(logits(CELL, DAUGHTER, NEIGHBOUR), last)
    assert torch.equal(found > 0, logits(CELL, DAUGHTER) > 0)
    both = torch.cat([logits(CELL, NEIGHBOUR), logits(CELL)], 1)
    assert torch.equal(drop_far_pieces(both, last)[:, :1] > 0, logits(CELL) > 0)


def test_an_object_that_has_left_its_place_keeps_all_pieces() -> None:
    moved = logits(CELL, NEIGHBOUR)
    assert torch.equal(drop_far_pieces(moved, logits((20, 2, 24, 6))), moved)
    assert torch.equal(drop_far_pieces(moved, logits()), moved)


def test_a_doubtful_outline_follows_the_last_shape_wherever_it_is_now() -> None:
    last = logits((8, 8, 16, 12))
    answer = logits((18, 20, 26, 24))  # the same cell, ten down and twelve right
    truth = answer > 0
    answer[..., 21:23, 20:24] = -0.4  # a gap
    answer[..., 16:18, 20:24] = answer[..., 26:28, 20:24] = 0.4  # doubtful rims
    assert int(((answer > 0) ^ truth).sum()) == 24
    assert torch.equal(lean_on_last(answer, last, 1.0) > 0, truth)
    sure = logits((18, 20, 30, 24))  # what is sure has its way
    assert torch.equal(lean_on_last(sure, last, 1.0) > 0, sure > 0)


def test_an_empty_mask_tells_no_shape() -> None:
    back, gone = logits(CELL), torch.full((1, 1, 32, 32), -1024.0)
    assert torch.equal(lean_on_last(back, gone, 1.0), back)
    assert torch.equal(lean_on_last(gone, back, 1.0), gone)
    both = lean_on_last(torch.cat([back, gone], 1), back, 1.0)
    assert torch.equal(both[:, 1:], gone)
    assert float(both[:, :1].max()) > 5


INSIDE, OUTSIDE = torch.tensor([1], dtype=torch.int32), torch.tensor([0], dtype=torch.int32)


def value_at(image: torch.Tensor, x: float, y: float) -> float:
    """Interpolate (l, l) logits as they are when they are laid into a frame."""
    grid = (torch.tensor([[[[x, y]]]]) / image.shape[-1] * 2 - 1).float()
    sampled = torch.nn.functional.grid_sample(image[None, None], grid, align_corners=False)
    return float(sampled)


def test_a_click_is_obeyed_around_it_and_farther_where_there_is_doubt() -> None:
    mask = logits((4, 4, 28, 28))[0]
    place = torch.tensor([[16.5, 16.5]])
    assert obey_clicks(mask, place, INSIDE) is mask, "nothing to mend"
    cut = obey_clicks(mask, place, OUTSIDE) > 0
    assert not cut[0, 16, 16]
    assert 20 < int(((mask > 0) & ~cut).sum()) < 80
    assert not (cut & ~(mask > 0)).any()
    sliver = logits((4, 4, 28, 6))[0]
    thinner, shorter = (
        obey_clicks(doubt * sliver, torch.tensor([[4.5, 10.5]]), OUTSIDE) > 0
        for doubt in (1.0, 0.2)
    )
    assert 1 <= int(((sliver > 0) & ~thinner).sum()) < 16
    assert int(shorter.sum()) < int(thinner.sum())
    both = torch.cat([logits()[0], mask])
    found = obey_clicks(both, place, INSIDE) > 0
    assert found[0, 16, 16]
    assert torch.equal(found[1:], mask > 0)


def test_a_click_beside_an_edge_is_obeyed_where_it_fell() -> None:
    mask = logits((4, 4, 11, 11))[0]  # its last pixel is 10: at 10.95 its neighbours decide
    place = torch.tensor([[10.95, 10.95]])
    assert value_at(mask[0], 10.95, 10.95) < 0
    assert value_at(obey_clicks(mask, place, INSIDE)[0], 10.95, 10.95) > 0
    corner = torch.tensor([[31.9, 0.1]])
    assert value_at(obey_clicks(mask, corner, INSIDE)[0], 31.9, 0.1) > 0


def test_clicks_of_both_signs_close_together_are_obeyed() -> None:
    mask = logits((4, 4, 28, 28))[0]
    places, signs = torch.tensor([[16.5, 16.5], [18.5, 16.5]]), torch.cat([INSIDE, OUTSIDE])
    for order in ([0, 1], [1, 0]):
        found = obey_clicks(mask, places[order], signs[order])
        assert value_at(found[0], 16.5, 16.5) > 0 > value_at(found[0], 18.5, 16.5)


def test_padding_is_no_click() -> None:
    mask = logits((4, 4, 28, 28))[0]
    assert obey_clicks(mask, torch.tensor([[1.0, 1.0]]), torch.tensor([-1])) is mask


def test_the_first_click_and_the_newest_are_read() -> None:
    labels = torch.tensor([-1, 1, 0, 1, -1, 0, 1, -1], dtype=torch.int32)
    said = FramePrompts(torch.arange(16.0).reshape(8, 2), labels)
    assert said.newest(None) is said
    assert said.newest(5) is said
    read = said.newest(3)
    assert read.labels.tolist() == [1, 0, 1]
    assert read.points[:, 0].tolist() == [2.0, 10.0, 12.0]


BOX = torch.tensor([8.0, 8.0, 16.0, 16.0]) / 32


def test_a_faint_rim_is_taken_up_to_the_sides_of_the_box() -> None:
    faint = logits((10, 10, 14, 14))[0]
    faint[:, 8:16, 8:16] = faint[:, 8:16, 8:16].clamp(min=-0.6)
    faint[:, 4:8, 8:16] = -0.3  # beyond the box, just as faint
    filled = fill_box(faint, BOX, (32, 32)) > 0
    assert torch.equal(filled, logits((8, 8, 16, 16))[0] > 0)


def test_a_sure_mask_stays_small_in_a_wide_box_and_nothing_lies_beyond_it() -> None:
    sure = logits((11, 11, 14, 14))[0]
    assert torch.equal(fill_box(sure, BOX, (32, 32)) > 0, sure > 0)
    beyond = logits((8, 8, 16, 20))[0]
    assert torch.equal(fill_box(beyond, BOX, (64, 64)) > 0, logits((8, 8, 16, 16))[0] > 0)
    nothing = logits()[0]
    assert not bool((fill_box(nothing, BOX, (32, 32)) > 0).any())


def test_a_box_with_a_click_leaves_the_mask_to_the_click() -> None:
    box = (2.0, 2.0, 9.0, 9.0)
    click, none = torch.tensor([[4.0, 4.0]]), torch.zeros(0, 2)
    assert FramePrompts(none, torch.zeros(0, dtype=torch.int32), box=box).is_box_alone
    assert not FramePrompts(click, OUTSIDE, box=box).is_box_alone
    assert not FramePrompts(click, INSIDE).is_box_alone
