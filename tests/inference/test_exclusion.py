"""No pixel belongs to two objects that are tracked together."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_backbone.inference.exclusion import Claim, claim, settled
from sam2_backbone.inference.transforms import View, resample_logits
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.sam2 import SAM2

Movie = NDArray[np.uint8]
WHOLE = View.whole(32, 32)


def logits(columns: slice, height: float) -> torch.Tensor:
    """Return (1, 32, 32) logits of a band of columns."""
    values = torch.full((1, 32, 32), -5.0)
    values[:, 8:24, columns] = height
    return values


def test_the_stronger_claim_has_the_pixel_and_the_weaker_keeps_the_rest() -> None:
    weak, strong = logits(slice(4, 20), 2.0), logits(slice(12, 28), 6.0)
    first, second = settled([claim(weak, WHOLE), claim(strong, WHOLE)])
    assert torch.equal(first > 0, logits(slice(4, 12), 1.0) > 0)
    assert torch.equal(second > 0, strong > 0)
    assert not bool(((first > 0) & (second > 0)).any())


def test_objects_that_do_not_meet_are_as_they_were() -> None:
    left, right = logits(slice(0, 10), 2.0), logits(slice(20, 30), 6.0)
    absent = torch.full((1, 32, 32), -1024.0)
    claims = [claim(mask, WHOLE) for mask in (left, right, absent)]
    assert claims[0].extent == (8.0, 0.0, 24.0, 10.0)
    assert claims[2].extent is None
    for mask, found in zip((left, right, absent), settled(claims), strict=True):
        assert torch.equal(mask, found)


def test_claims_meet_in_the_frame_not_in_their_windows() -> None:
    # the second window begins 16 pixels further right: its columns 0 to 8 are 16 to 24 of the first
    first = claim(logits(slice(8, 28), 2.0), WHOLE)
    second = claim(logits(slice(0, 8), 6.0), View(0, 16, 32, 32))
    mine, other = settled([first, second])
    assert torch.equal(mine > 0, (logits(slice(8, 28), 2.0) > 0) & ~(logits(slice(16, 24), 1) > 0))
    assert torch.equal(other > 0, second.logits > 0)


def many_claims(count: int) -> list[Claim]:
    """Rectangles anywhere, some side by side, some absent, in windows of their own."""
    rng = np.random.default_rng(count)
    claims = []
    for number in range(count):
        rows, columns = rng.integers(0, 5 * count, 2)
        view = View(int(rows), int(columns), *(int(side) for side in rng.integers(24, 80, 2)))
        values = torch.full((1, 32, 32), -5.0)
        if number % 7:
            values[:, rng.integers(0, 16) : rng.integers(17, 32), 8:24] = float(rng.random()) + 1
        claims.append(claim(values, view))
    left, right = View(0, 0, 32, 32), View(0, 32, 32, 32)  # these touch and do not meet
    return [*claims, *(claim(torch.ones(1, 32, 32), view) for view in (left, right))]


def meet(mine: Claim, other: Claim) -> bool:
    if mine is other or mine.extent is None or other.extent is None:
        return False
    top, left, bottom, right = mine.extent
    y0, x0, y1, x1 = other.extent
    return max(top, y0) < min(bottom, y1) and max(left, x0) < min(right, x1)


def test_of_many_claims_each_is_settled_with_all_that_it_meets() -> None:
    claims = many_claims(60)
    pairs = 0
    for mine, found in zip(claims, settled(claims), strict=True):
        others = [other for other in claims if meet(mine, other)]
        pairs += len(others)
        wanted = mine.logits
        if others:
            carried = [resample_logits(o.logits[None], o.view, mine.view)[0] for o in others]
            wanted = mine.logits - torch.stack(carried).amax(0).clamp(min=0)
        assert torch.equal(found, wanted)
    assert 20 < pairs < 1000
    assert settled([]) == []


def test_the_work_does_not_grow_with_the_pairs_of_claims() -> None:
    calls = []
    for count in (100, 400):
        apart = [claim(torch.ones(1, 4, 4), View(8 * i, 0, 4, 4)) for i in range(count)]
        calls.append(0)

        def count_call(frame, event, argument) -> None:
            calls[-1] += event in ("call", "c_call")

        sys.setprofile(count_call)
        settled(apart)
        sys.setprofile(None)
    assert calls[1] < 6 * calls[0]


@pytest.mark.parametrize("window", [None, "auto"])
def test_tracked_masks_do_not_overlap(small_model: SAM2, movie: Movie, window: str | None) -> None:
    shared = []
    for exclusive in (False, True):
        predictor = VideoPredictor(small_model)
        # masks that move along with the picture overlap elsewhere, which is not the question here
        config = replace(small_model.config, exclusive_objects=exclusive, carried_shape_weight=0.0)
        predictor._step.config = config
        state = predictor.init_state(movie, window=window)
        for obj_id in (1, 3, 5):
            point = [[13 + obj_id, 15]]
            predictor.add_new_points_or_box(state, 0, obj_id, points=point, labels=[1])
        frames = {t: masks > 0 for t, _, masks in predictor.propagate_in_video(state)}
        shared.append(sum(int((frames[t].sum(0) > 1).sum()) for t in range(1, 10)))
    without, with_exclusion = shared
    assert without > 40  # else the test shows nothing
    # a few may be left of bringing two windows to the pixels of the frame
    assert with_exclusion <= (0 if window is None else 0.1 * without)
