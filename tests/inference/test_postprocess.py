"""Pieces of a tracked mask that cannot be the object are taken away, its own pieces are not."""

from __future__ import annotations

import numpy as np
import torch

from sam2_backbone.inference.postprocess import drop_far_pieces


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
