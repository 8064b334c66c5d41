"""The simulated annotator: where it clicks, when it stops, what is counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sam2_backbone.evaluation.interactive import Attempt, click_object, true_box


class ScriptedPredictor:
    """Answers the n-th click with the n-th mask, and remembers what it was asked."""

    def __init__(self, masks: list[np.ndarray]) -> None:
        self.masks = masks
        self.asked: list[dict[str, Any]] = []

    def answer(self, state: object, frame_idx: int, obj_id: int, **prompt: Any) -> SimpleNamespace:
        mask = self.masks[min(len(self.asked), len(self.masks) - 1)]
        self.asked.append(prompt)
        logits = torch.from_numpy(np.where(mask, 1.0, -1.0))[None, None]
        return SimpleNamespace(mask_logits=logits, ious=torch.tensor([0.6 + len(self.asked) / 10]))


TRUTH = np.zeros((40, 40), dtype=bool)
TRUTH[10:30, 10:30] = True  # 400 pixels


def rows(count: int) -> np.ndarray:
    """The first `count` rows of the object: its IoU is count / 20."""
    mask = np.zeros_like(TRUTH)
    mask[10 : 10 + count, 10:30] = True
    return mask


def click(masks: list[np.ndarray], **how: Any) -> tuple[list[float], float, ScriptedPredictor]:
    predictor = ScriptedPredictor(masks)
    ious, predicted = click_object(predictor, object(), TRUTH, obj_id=1, **how)  # type: ignore[arg-type]
    return ious, predicted, predictor


def test_it_stops_when_the_quality_and_the_asked_clicks_are_reached() -> None:
    ious, predicted, predictor = click([rows(n) for n in (5, 10, 18, 12)], clicks=5, at_most=20)
    assert ious == [0.25, 0.5, 0.9, 0.6, 0.6]  # 0.9 was enough; the fifth is for the mean
    assert predicted == pytest.approx(0.7)
    assert [each["clear_old_points"] for each in predictor.asked] == [True, *[False] * 4]


def test_it_goes_on_until_the_quality_is_reached() -> None:
    masks = [rows(5)] * 7 + [rows(17)]
    ious, _, _ = click(masks, clicks=5, at_most=20)
    assert len(ious) == 8
    assert Attempt("a", 1, 400, tuple(ious), 0.0, 0.0).clicks_to() == 8  # 17 / 20 is 0.85


def test_it_gives_up_after_the_last_click() -> None:
    ious, _, _ = click([rows(5)], clicks=5, at_most=20)
    assert len(ious) == 20
    assert Attempt("a", 1, 400, tuple(ious), 0.0, 0.0).clicks_to() == 20


def test_a_perfect_mask_needs_no_further_click() -> None:
    ious, _, predictor = click([rows(10), TRUTH], clicks=5, at_most=20)
    assert ious == [0.5, 1.0]
    assert len(predictor.asked) == 2
    attempt = Attempt("a", 1, 400, tuple(ious), 0.0, 0.0)
    assert [attempt.iou_after(n) for n in (1, 3, 5)] == [0.5, 1.0, 1.0]
    assert attempt.clicks_to() == 2


def test_clicks_follow_the_error() -> None:
    too_much = TRUTH.copy()
    too_much[:, 31:] = True  # spilled over a bar of 9 × 40
    _, _, predictor = click([too_much, rows(8)], clicks=3)
    first, second, third = (each["points"][0] + each["labels"] for each in predictor.asked)
    assert first[2] == 1
    assert TRUTH[first[1], first[0]]
    assert second[2] == 0
    assert second[0] == 35  # the middle of the bar
    assert third[2] == 1
    assert third[1] >= 18  # in the rows that were missed


def test_the_box_has_edges() -> None:
    assert true_box(TRUTH) == (10, 10, 30, 30)
