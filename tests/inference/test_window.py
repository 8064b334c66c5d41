"""Which window is chosen for a prompt, and how it follows an object."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sam2_backbone.inference.frame_step import Answer
from sam2_backbone.inference.transforms import View
from sam2_backbone.inference.video_state import Sighting
from sam2_backbone.inference.views import follow, sighting
from sam2_backbone.inference.window import (
    OBJECT_MARGIN,
    STILL_MARGIN,
    WindowAnswer,
    choose_window,
    click_windows,
    needs_other_window,
    window_around_extent,
)
from sam2_backbone.memory.bank import FrameMemory

FRAME = (500, 600)
FRACTIONS = (0.25, 0.5, 1.0)


def test_windows_of_a_click_grow_around_it_and_hold_all_clicks() -> None:
    views = click_windows([(100, 200)], FRAME, input_size=256, fractions=FRACTIONS)
    assert [view.height for view in views] == [64, 128, 256]
    assert all(view.top <= 100 < view.top + view.height for view in views)
    far = click_windows([(100, 200), (100, 320)], FRAME, input_size=256, fractions=FRACTIONS)
    assert [view.height for view in far] == [256]
    farther = click_windows([(0, 0), (499, 599)], FRAME, input_size=256, fractions=FRACTIONS)
    assert farther == [View.whole(*FRAME)]


def test_a_small_frame_is_seen_whole() -> None:
    assert click_windows([(5, 5)], (60, 40), input_size=256, fractions=FRACTIONS) == [
        View.whole(60, 40)
    ]
    published = click_windows([(5, 5)], (900, 1000), input_size=1024, fractions=(1.0,))
    assert published == [View.whole(900, 1000)]


def test_the_answer_that_fits_its_window_is_chosen() -> None:
    tiny = WindowAnswer(share=0.02, iou=0.9, is_cut=False)
    fits = WindowAnswer(share=0.4, iou=0.85, is_cut=False)
    cut = WindowAnswer(share=0.6, iou=0.95, is_cut=True)
    assert choose_window([cut, fits, tiny]) == 1
    assert choose_window([tiny]) == 0


@given(
    top=st.floats(0, 400),
    left=st.floats(0, 500),
    height=st.floats(1, 90),
    width=st.floats(1, 90),
)
def test_a_window_holds_the_object_it_follows(
    top: float, left: float, height: float, width: float
) -> None:
    extent = (top, left, top + height, left + width)
    before = Sighting(View(0, 0, 64, 64), extent)
    view = follow(before, FRAME)
    assert view.top <= top + 1
    assert view.left <= left + 1
    assert view.top + view.height >= top + height - 1
    assert view.left + view.width >= left + width - 1


def test_a_window_follows_the_largest_piece_and_no_specks() -> None:
    logits = torch.full((1, 16, 16), -5.0)
    logits[0, 4:8, 6:10] = 5
    logits[0, 15, 0] = 5
    memory = FrameMemory(logits, None, object_score=1.0, iou=0.9, prompted=False)
    found = sighting(Answer(View(100, 200, 32, 32), memory), FRAME)
    assert found.extent == (108, 212, 116, 220)


def test_a_window_keeps_its_side_until_the_object_has_changed_much() -> None:
    start = window_around_extent((100, 100, 120, 120), FRAME)
    assert start.height == 20 * OBJECT_MARGIN
    grown = follow(Sighting(start, (100, 100, 126, 126)), FRAME)
    assert grown.height == start.height
    divided = follow(Sighting(start, (100, 100, 140, 140)), FRAME)
    assert divided.height == 40 * OBJECT_MARGIN
    assert follow(Sighting(start, None), FRAME) == start  # not seen: look at the same place


def test_an_object_of_a_single_image_fills_its_window_more() -> None:
    extent = (100.0, 100.0, 150.0, 130.0)
    still = window_around_extent(extent, FRAME, margin=STILL_MARGIN)
    assert still.height == 50 * STILL_MARGIN < window_around_extent(extent, FRAME).height
    larger = window_around_extent((100.0, 100.0, 167.0, 140.0), FRAME, margin=STILL_MARGIN)
    assert needs_other_window(still, larger, still=True)
    assert not needs_other_window(still, larger)
