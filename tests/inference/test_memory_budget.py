"""A budget of memory limits what is kept of frames, and how many objects are computed at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_backbone.inference.memory_budget import DEFAULT_BUDGET, MemoryBudget
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.sam2 import SAM2

MIB = 2**20


def _tracked(
    model: SAM2, movie: NDArray[np.uint8], budget: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[torch.Tensor], int]:
    """Follow 70 objects for a frame; returns their logits and the rows of the largest batch."""
    predictor = VideoPredictor(model, memory_budget=budget)
    state = predictor.init_state(movie[:2])
    y, x = np.mgrid[: movie.shape[1], : movie.shape[2]]
    for obj_id in range(1, 71):
        row, column = divmod(obj_id - 1, 10)
        mask = (abs(y - 6 * row - 3) < 3) & (abs(x - 4 * column - 2) < 2)
        predictor.add_new_mask(state, 0, obj_id, mask)
    rows = [0]
    predict = model.predict_masks

    def counted(features, *args, **kwargs):  # type: ignore[no-untyped-def]
        rows.append(features.embedding.shape[0])
        return predict(features, *args, **kwargs)

    monkeypatch.setattr(model, "predict_masks", counted)
    logits = [mask_logits for _, _, mask_logits in predictor.propagate_in_video(state)]
    monkeypatch.undo()
    return logits, max(rows)


def test_it_limits_the_objects_of_a_batch_and_changes_no_answer(
    small_model: SAM2, movie: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, most = _tracked(small_model, movie, DEFAULT_BUDGET, monkeypatch)
    parts, fewer = _tracked(small_model, movie, 64 * MIB, monkeypatch)
    assert (most, fewer) == (70, 64)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_it_limits_what_is_kept_of_frames(small_model: SAM2, movie: NDArray[np.uint8]) -> None:
    predictor = VideoPredictor(small_model, memory_budget=64 * MIB)
    state = predictor.init_state(movie)
    for frame_idx in range(5):
        predictor.add_new_points_or_box(state, frame_idx, 1, points=[[5, 5]], labels=[1])
    kept = [t for t in range(5) if any(key[0] == t for key in state.cache._entries)]
    assert kept == [3, 4]  # six views, of 96 at the default; a frame has four


def test_large_networks_get_small_batches_but_never_none() -> None:
    assert MemoryBudget().batch_rows(32) == 16
    assert MemoryBudget(DEFAULT_BUDGET // 4).batch_rows(32) == 4
    assert MemoryBudget(64 * MIB).batch_rows(64) == 1
    assert MemoryBudget(4 * DEFAULT_BUDGET).feature_bytes == DEFAULT_BUDGET
    with pytest.raises(ValueError, match="at least"):
        MemoryBudget(63 * MIB)
