"""SAM 2 and 2.1 in PyTorch on timm's trunks: models, predictors and training; knows no napari."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from sam2_backbone.native import load_triton_apart

if TYPE_CHECKING:
    from sam2_backbone.build import build_sam2
    from sam2_backbone.inference.image_predictor import ImagePredictor
    from sam2_backbone.inference.mask_generator import MaskGenerator
    from sam2_backbone.inference.video_predictor import VideoPredictor
    from sam2_backbone.variants import list_variants

__all__ = ["ImagePredictor", "MaskGenerator", "VideoPredictor", "build_sam2", "list_variants"]

_HOME = {
    "ImagePredictor": "sam2_backbone.inference.image_predictor",
    "MaskGenerator": "sam2_backbone.inference.mask_generator",
    "VideoPredictor": "sam2_backbone.inference.video_predictor",
    "build_sam2": "sam2_backbone.build",
    "list_variants": "sam2_backbone.variants",
}


def __getattr__(name: str) -> object:
    # torch costs seconds: it is imported when a network is asked for, not with the package
    if name in _HOME:
        load_triton_apart()
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
