import numpy as np
import pytest

from sam2_backbone.evaluation.interactive import error_centre
from sam2_backbone.evaluation.metrics import (
    PresenceCount,
    boundary_f,
    intersection_over_union,
    mask_boundary,
    rank_correlation,
)


def square(top: int, left: int, side: int, size: int = 60) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_iou() -> None:
    assert intersection_over_union(square(0, 0, 10), square(0, 5, 10)) == pytest.approx(1 / 3)
    nothing = np.zeros((4, 4), dtype=bool)
    assert intersection_over_union(nothing, nothing) == 1
    assert intersection_over_union(nothing, ~nothing) == 0


def test_a_boundary_is_one_pixel_wide_around_the_mask() -> None:
    boundary = mask_boundary(square(10, 10, 5))
    assert boundary.sum() == 4 * 5 + 1 - 1  # the far corner of each side is on one pixel only
    assert boundary[9, 9]
    assert boundary[14, 14]
    assert not boundary[12, 12]
    assert not mask_boundary(np.ones((5, 5), dtype=bool)).any()


def test_boundary_f_forgives_one_bound_and_no_more() -> None:
    truth = square(20, 20, 20)
    assert boundary_f(truth, truth) == 1
    assert boundary_f(square(21, 20, 20), truth) == 1  # the bound of 60 x 60 is one pixel
    assert boundary_f(square(30, 30, 20), truth) < 0.3
    nothing = np.zeros_like(truth)
    assert boundary_f(nothing, nothing) == 1
    assert boundary_f(nothing, truth) == 0


def test_presence() -> None:
    count = PresenceCount()
    assert count.f1 == 1
    for said, true in ((True, True), (True, False), (False, True), (False, False)):
        count.add(said=said, true=true)
    assert count.f1 == pytest.approx(0.5)


def test_rank_correlation() -> None:
    values = np.array([0.1, 0.5, 0.7, 0.9])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert np.isnan(rank_correlation(values[:2], values[:2]))
    assert np.isnan(rank_correlation(values, np.zeros(4)))
    # ties share a rank, whatever their order: ranks 1.5 1.5 3 4 against 1 2 3 4 and 2 1 3 4
    tied = np.array([0.0, 0.0, 0.7, 0.9])
    swapped = values[[1, 0, 2, 3]]
    assert rank_correlation(tied, values) == pytest.approx(rank_correlation(tied, swapped))


def test_the_annotator_clicks_the_larger_error() -> None:
    truth = square(10, 10, 21)
    assert error_centre(np.zeros_like(truth), truth) == (20, 20, True)
    assert error_centre(truth, truth) is None
    spilled = truth | square(40, 40, 15)
    assert error_centre(spilled, truth) == (47, 47, False)
