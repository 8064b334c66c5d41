"""Automatic segmentation beside the reference's generator, on the same random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_backbone.build import build_sam2
from sam2_backbone.inference.mask_generator import MaskGenerator
from tests.parity import reference

pytestmark = pytest.mark.parity

SIZE = 128
LOGIT_SCALE = 100.0


@pytest.mark.parametrize("layers", [0, 1])
def test_the_same_masks_survive(tmp_path: Path, layers: int) -> None:
    module = pytest.importorskip("sam2.automatic_mask_generator")
    theirs = reference.build_reference("sam2.1_hiera_tiny", video=False, input_size=SIZE)
    with torch.no_grad():  # logits far from zero, so that some masks are stable
        for head in theirs.sam_mask_decoder.output_hypernetworks_mlps:
            head.layers[-1].weight.mul_(LOGIT_SCALE)
    path = reference.save_checkpoint(theirs, tmp_path / "random.pt")
    ours = build_sam2(None, path, device="cpu", dtype="float32", input_size=SIZE)
    image = reference.moving_frames(1, 150, 200)[0]
    # random weights: thresholds that leave some masks and drop others
    numbers = {
        "points_per_side": 6,
        "pred_iou_thresh": 0.505,
        "stability_score_thresh": 0.65,
        "box_nms_thresh": 0.99,
        "crop_n_layers": layers,
    }
    generator = module.SAM2AutomaticMaskGenerator(theirs, crop_nms_thresh=0.99, **numbers)
    sides = [(SIZE // stride, SIZE // stride) for stride in (4, 8, 16)]
    generator.predictor._bb_feat_sizes = sides
    expected = generator.generate(image)
    got = MaskGenerator(ours, **numbers).generate(image)
    assert 3 <= len(expected) < 6 * 6 * 3
    assert len(got) == len(expected)

    def key(record: dict[str, object]) -> tuple[object, ...]:
        return (*record["crop_box"], *np.round(record["point_coords"][0], 2), record["area"])

    for mine, other in zip(sorted(got, key=key), sorted(expected, key=key), strict=True):
        assert mine["crop_box"] == other["crop_box"]
        np.testing.assert_allclose(mine["point_coords"], other["point_coords"], rtol=1e-5)
        np.testing.assert_allclose(mine["predicted_iou"], other["predicted_iou"], rtol=1e-3)
        different = (mine["segmentation"] != other["segmentation"]).mean()
        assert different < 1e-3
        np.testing.assert_allclose(mine["stability_score"], other["stability_score"], atol=5e-3)
        # the reference's width and height go from the first to the last pixel's index
        np.testing.assert_allclose(np.subtract(mine["bbox"], [0, 0, 1, 1]), other["bbox"], atol=1)
