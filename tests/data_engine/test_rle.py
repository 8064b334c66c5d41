"""COCO's run lengths: round trips, known texts, and texts that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sam2_backbone.data_engine.rle import Rle, run_lengths, runs_of_text, text_of_runs

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@settings(deadline=None)
@given(MASKS)
def test_a_mask_comes_back(mask: np.ndarray) -> None:
    rle = Rle.of(mask)
    np.testing.assert_array_equal(rle.to_array(), mask)
    assert rle.area == mask.sum()
    assert Rle.from_json(rle.to_json()) == rle
    # what counting pixel by pixel gives
    flat = mask.T.reshape(-1)
    borders = np.flatnonzero(np.diff(flat)) + 1
    expected = np.diff(np.concatenate([[0], borders, [flat.size]]))
    expected = np.append(0, expected) if flat[0] else expected
    np.testing.assert_array_equal(rle.runs, expected)
    assert Rle.from_json({"size": mask.shape, "counts": expected.tolist()}) == rle


@settings(deadline=None)
@given(MASKS, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_part_is_as_good_as_the_frame(mask, top, left, bottom, right) -> None:
    whole = np.pad(mask, ((top, bottom), (left, right)))
    assert Rle.of(mask, whole.shape, top=top, left=left) == Rle.of(whole)


@settings(deadline=None)
@given(
    hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 2**40)),
)
def test_runs_of_any_length_come_back(runs: np.ndarray) -> None:
    np.testing.assert_array_equal(runs_of_text(text_of_runs(runs)), runs)


def test_known_texts() -> None:
    # an absent object in the published annotations of SA-V: 848 x 480 pixels of background
    assert Rle.empty((848, 480)).counts == "P`]<"
    # 2 outside, 3 inside, 1 outside and so on, counted by hand; 17 - 3 = 14 and -3 end the text
    assert text_of_runs(np.array([2, 3, 1, 17, 0])) == "231>O"
    assert runs_of_text("231>O").tolist() == [2, 3, 1, 17, 0]
    assert text_of_runs(np.array([0, 16])) == "0`0"  # 16 needs a sixth bit for its sign


def test_masks_are_painted_over_each_other() -> None:
    image = np.zeros((4, 5), np.uint16, order="F")
    large, small = np.ones((4, 5), bool), np.zeros((4, 5), bool)
    small[1:3, 2:4] = True
    Rle.of(large).paint(image, 7)
    Rle.of(small).paint(image, 9)
    np.testing.assert_array_equal(image, np.where(small, 9, 7))
    with pytest.raises(ValueError, match="in columns"):
        Rle.of(small).paint(np.zeros((4, 5)), 1)


def test_a_part_beyond_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="lies beyond"):
        run_lengths(np.ones((3, 3), bool), (4, 4), top=2)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([1, 2], "must be"),
        ({"size": [2, 2]}, "must be"),
        ({"size": [4], "counts": "4"}, "height, width"),
        ({"size": [2.5, 2], "counts": "5"}, "whole numbers"),
        ({"size": [2, 2], "counts": "5"}, "do not fill a mask of 2 x 2"),
        ({"size": [2, 2], "counts": [9, -5]}, "do not fill"),
        ({"size": [2, 2], "counts": ""}, "no compressed"),
        ({"size": [2, 2], "counts": "P"}, "cut off"),
        ({"size": [2, 2], "counts": "!"}, "no compressed"),
        ({"size": [2, 2], "counts": "é"}, "no compressed|do not fill"),
        ({"size": [2, 2], "counts": "P" * 20 + "0"}, "too long"),
        ({"size": [2, 2], "counts": ["a"]}, "whole numbers or text"),
    ],
)
def test_what_is_no_mask(tree: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rle.from_json(tree)
