"""Where the trunk starts, and how fast its gradients are taken."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from sam2_backbone.device import resolve_dtype
from sam2_backbone.inference.transforms import IMAGE_MEAN, IMAGE_STD
from sam2_backbone.training.depthwise import _DepthwiseConv, differentiate_depthwise_in_float32
from sam2_backbone.training.pretrained import load_pretrained_trunk


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model("tf_efficientnet_lite2")
    load_pretrained_trunk(network, "tf_efficientnet_lite2")
    return network.eval()


@torch.inference_mode()
def test_a_pretrained_trunk_knows_what_it_sees(classifier: nn.Module) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    photograph = skimage_data.chelsea()[:260, 90:350]  # a cat
    pixels = torch.from_numpy(photograph.astype(np.float32) / 255).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
    best = int(classifier((pixels - mean) / std).argmax())
    assert best in {281, 282, 285}  # tabby, tiger cat, Egyptian cat


def test_unknown_trunks_have_no_weights() -> None:
    with pytest.raises(ValueError, match="no pretrained weights for repvit_m0_9"):
        load_pretrained_trunk(nn.Identity(), "repvit_m0_9")


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (3, 2), (5, 2)])
def test_gradients_are_those_of_a_plain_convolution(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    gradients = []
    x, weight = torch.randn(2, 6, 11, 9), torch.randn(6, 1, kernel, kernel)
    steps, padding = (stride, stride), (kernel // 2, kernel // 2)
    for fast in (False, True):
        leaves = [t.clone().requires_grad_() for t in (x, weight)]
        if fast:
            y = _DepthwiseConv.apply(*leaves, steps, padding)
        else:
            y = nn.functional.conv2d(*leaves, None, steps, padding, groups=6)
        (y * torch.arange(y.numel()).view_as(y).sin()).sum().backward()
        gradients.append([t.grad for t in leaves])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_training_in_bfloat16_uses_them() -> None:
    if resolve_dtype("auto", torch.device("cpu")) is not torch.bfloat16:
        pytest.skip("this processor has no bfloat16")
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
    x = torch.randn(1, 8, 12, 12, requires_grad=True)
    gradients = []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            y = conv(x)
        y.float().square().sum().backward()
        gradients.append((conv.weight.grad.clone(), x.grad.clone()))
        conv.weight.grad, x.grad = None, None
        differentiate_depthwise_in_float32(conv)
    torch.testing.assert_close(*gradients, rtol=0.05, atol=0.05)
    assert type(conv.forward).__name__ == "_Fast"
