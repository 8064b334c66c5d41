"""What decides whether a tracked object is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sam2_backbone import build_sam2
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.sam2 import MaskPrediction


@pytest.mark.parametrize(("in_frame", "is_there"), [(16, True), (6, True), (3, False), (0, False)])
def test_an_object_that_lies_mostly_beyond_the_frame_has_left(in_frame: int, is_there) -> None:
    predictor = VideoPredictor(build_sam2("micro", device="cpu", dtype="float32"))
    side, width = predictor.model.config.low_res_size, predictor.model.config.hidden_dim
    masks = torch.full((1, 1, side, side), -9.0)
    masks[..., 24 : 24 + 16] = 9.0
    within = torch.zeros((1, 1, side, side), dtype=torch.bool)
    within[..., : 24 + in_frame] = True
    pointer = torch.ones(1, width)
    said = MaskPrediction(masks, torch.tensor([[0.4]]), torch.tensor([[3.0]]), pointer, pointer)
    judged = predictor._step._judged_there(said, None, within)
    assert (float(judged.object_score_logits) > 0) == is_there
    assert torch.equal(judged.obj_ptr, pointer) == is_there
    sure = replace(said, iou_predictions=torch.tensor([[0.6]]))
    assert float(predictor._step._judged_there(sure, None, within).object_score_logits) > 0
    empty = replace(said, low_res_masks=-masks.abs())
    # an empty mask tells nothing of where its object is
    assert float(predictor._step._judged_there(empty, None, within).object_score_logits) > 0
