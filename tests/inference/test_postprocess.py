"""Pieces of a tracked mask that cannot be the object are taken away, its own pieces are not."""

from __future__ import annotations

import numpy as np
import torch

from sam2_backbone.inference.postprocess import drop_far_pieces, obey_clicks


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


def test_a_click_is_obeyed_as_far_as_the_error_is_deep() -> None:
    mask = logits((4, 4, 28, 28))
    places, inside = torch.tensor([[[16.5, 16.5]]]), torch.tensor([1], dtype=torch.int32)
    assert obey_clicks(mask, places, inside) is mask, "nothing to mend"
    cut = obey_clicks(mask, places, 1 - inside) > 0
    assert not cut[0, 0, 16, 16]
    holes = int(((mask > 0) & ~cut).sum())
    assert 20 < holes < 80
    assert not (cut & ~(mask > 0)).any()
    sliver = logits((4, 4, 28, 6))
    thinner = obey_clicks(sliver, torch.tensor([[[4.5, 10.5]]]), 1 - inside) > 0
    assert 1 <= int(((sliver > 0) & ~thinner).sum()) < 6
    empty = logits()
    found = obey_clicks(torch.cat([empty, mask], 1), places, inside) > 0
    assert found[0, 0, 16, 16]
    assert torch.equal(found[:, 1:], mask > 0)


def test_padding_is_no_click() -> None:
    mask = logits((4, 4, 28, 28))
    assert obey_clicks(mask, torch.tensor([[[1.0, 1.0]]]), torch.tensor([-1])) is mask
