"""Networks as they are built for inference: folded, and the same answers as unfolded."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from sam2_backbone.build import build_from_config, build_sam2, default_weights, fold_for_inference
from sam2_backbone.checkpoint import load_weights, read_weights
from sam2_backbone.modeling.sam2 import SAM2, Prompts
from sam2_backbone.variants import TEST_CONFIG, VARIANTS


def num_norms(model: SAM2) -> int:
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


@torch.inference_mode()
def assert_same_answers(model: SAM2, folded: SAM2) -> None:
    torch.manual_seed(0)
    side = model.config.input_size
    images = torch.randn(2, 3, side, side)
    prompts = Prompts(torch.rand(2, 1, 2) * side, torch.ones(2, 1, dtype=torch.int32))
    answers = []
    for network in (model, folded):
        features = network.without_memory(network.encode_image(images))
        masks = network.predict_masks(features, prompts, multimask_output=True)
        answers.append((features.embedding, *features.high_res, masks.low_res_masks))
    for expected, got in zip(*answers, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_folding_keeps_the_answers() -> None:
    torch.manual_seed(0)
    model = build_from_config(TEST_CONFIG)
    for module in model.modules():  # statistics that make a forgotten batch norm show
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    model.eval()
    folded = fold_for_inference(deepcopy(model))
    assert num_norms(model) > 0
    assert num_norms(folded) == 0
    assert_same_answers(model, folded)


def test_embedded_weights_answer_as_in_training() -> None:
    model = build_from_config(VARIANTS["micro"].config)
    load_weights(model, read_weights(default_weights("micro")))
    assert_same_answers(model.eval(), build_sam2("micro", device="cpu", dtype="float32"))


def test_an_input_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32, not 100"):
        build_from_config(replace(TEST_CONFIG, input_size=100))
