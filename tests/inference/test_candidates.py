"""Which proposed masks are objects: the rules, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam2_backbone.inference.candidates import (
    Candidate,
    OverlapRules,
    candidate_from_logits,
    choose_objects,
    first_of_duplicates,
    mask_ious,
    piece_at,
    shared_area,
    stability_scores,
    whole_mask,
)
from sam2_backbone.inference.grid_search import without_specks
from sam2_backbone.inference.tile_search import TileSearchSettings, agreed
from sam2_backbone.inference.transforms import View, cut_by_view

FRAME = (60, 60)
RULES = OverlapRules(duplicate_iou=0.7, fragment_share=0.8, cover_share=0.8, max_covered=1)


def square(top: int, left: int, side: int, worth: float, view: View | None = None) -> Candidate:
    logits = np.full(FRAME, -4, np.float32)
    logits[top : top + side, left : left + side] = 4
    made = candidate_from_logits(
        logits, View.whole(*FRAME), iou=worth, stability=1.0, point=(left, top), worth=worth
    )
    assert made is not None
    return made if view is None else replace(made, view=view)


def kept(*candidates: Candidate, rules: OverlapRules = RULES) -> list[int]:
    chosen = choose_objects(candidates, rules)
    return [next(i for i, c in enumerate(candidates) if c is one) for one in chosen]


def test_stability_is_the_iou_of_two_thresholds() -> None:
    logits = torch.full((2, 10, 10), -5.0)
    logits[0, 2:6, 2:6] = 5  # 16 pixels for certain
    logits[0, 6:8, 2:6] = 0.5  # 8 pixels within the offset
    assert stability_scores(logits).tolist() == pytest.approx([16 / 24, 0])
    assert stability_scores(logits, offset=0.2)[0] == 1


def test_a_candidate_is_its_part_of_the_frame() -> None:
    one = square(10, 20, 5, 0.9)
    assert (one.top, one.left, one.bottom, one.right, one.area) == (10, 20, 15, 25, 25)
    mask = whole_mask(one, FRAME)
    assert mask.sum() == 25
    assert mask[10:15, 20:25].all()
    nothing = np.full((4, 4), -1, np.float32)
    view = View(0, 0, 4, 4)
    cut = candidate_from_logits(nothing, view, iou=1, stability=1, point=(0, 0), worth=1)
    assert cut is None
    assert shared_area(square(0, 0, 10, 1), square(5, 6, 10, 1)) == 5 * 4
    assert shared_area(square(0, 0, 10, 1), square(10, 0, 10, 1)) == 0


def test_of_duplicates_the_better_stays() -> None:
    assert kept(square(10, 10, 20, 0.8), square(11, 10, 20, 0.9)) == [1]
    assert kept(square(10, 10, 20, 0.8), square(30, 10, 20, 0.9)) == [1, 0]


def test_a_fragment_of_a_better_mask_loses() -> None:
    assert kept(square(10, 10, 20, 0.9), square(12, 12, 8, 0.8)) == [0]


def test_a_mask_that_covers_several_better_ones_loses() -> None:
    large = square(5, 5, 40, 0.7)
    first, second = square(8, 8, 12, 0.9), square(25, 25, 12, 0.8)
    assert kept(large, first, second) == [1, 2]
    # one better mask inside may be a part of the object
    assert kept(large, first) == [1, 0]
    strict = replace(RULES, max_covered=0)
    assert kept(large, first, rules=strict) == [1]
    # a better large mask makes fragments of the others
    assert kept(replace(large, worth=0.95), first, second) == [0]


def test_a_mask_is_cut_only_where_the_frame_goes_on() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, 0, 3] = True  # touches the upper side
    masks[1, 4, 7] = True  # touches the right side
    assert cut_by_view(masks, View(0, 10, 20, 20), FRAME).tolist() == [False, True]
    assert cut_by_view(masks, View(10, 40, 20, 20), FRAME).tolist() == [True, False]


def test_duplicates_within_a_tile() -> None:
    masks = torch.zeros(3, 10, 10, dtype=torch.bool)
    masks[0, :5], masks[1, :4], masks[2, 5:] = True, True, True
    ious = mask_ious(masks)
    assert ious[0].tolist() == pytest.approx([1, 0.8, 0])
    assert first_of_duplicates(ious, [1, 0, 2], 0.7) == [1, 2]
    assert first_of_duplicates(ious, [1, 0, 2], 0.9) == [1, 0, 2]


def test_agreement_of_two_tiles_raises_worth() -> None:
    settings = TileSearchSettings(agreement_weight=0.3)
    here, there = View(0, 0, 30, 30), View(0, 10, 30, 30)
    pair = [square(10, 12, 10, 0.8, here), square(10, 12, 10, 0.8, there)]
    assert [c.worth for c in agreed(pair, settings)] == pytest.approx([1.1, 1.1])
    alone = [square(10, 12, 10, 0.8, here), square(10, 12, 10, 0.8, here)]
    assert [c.worth for c in agreed(alone, settings)] == pytest.approx([0.8, 0.8])
    assert agreed([], settings) == []


def test_specks_are_removed_and_holes_filled() -> None:
    logits = np.full((20, 20), -3, np.float32)
    logits[2:12, 2:12] = 3
    logits[5:7, 5:7] = -3  # a hole of 4 pixels
    logits[15:17, 15:18] = 3  # a piece of 6 pixels
    view = View(0, 0, 20, 20)
    made = candidate_from_logits(logits, view, iou=1, stability=1, point=(5, 5), worth=1)
    assert made is not None
    assert without_specks(made, 4).area == 102
    assert without_specks(made, 5).area == 106
    cleaned = without_specks(made, 7)
    assert (cleaned.area, cleaned.bottom, cleaned.right) == (100, 12, 12)
    assert without_specks(made, 1000).area == 100  # the largest piece and the outside stay


def test_of_several_pieces_the_one_under_the_point_stays() -> None:
    logits = np.full((20, 30), -5.0, np.float32)
    logits[2:6, 2:6], logits[10:18, 12:28] = 5, 5
    small, large = logits.copy(), logits.copy()
    small[10:18, 12:28], large[2:6, 2:6] = -1, -1
    np.testing.assert_array_equal(piece_at(logits, (4.0, 4.0)), small)
    np.testing.assert_array_equal(piece_at(logits, (2.0, 18.0)), large)
    np.testing.assert_array_equal(piece_at(logits, (-50.0, -100.0)), large)
    assert piece_at(small, (-50.0, -100.0)) is small
