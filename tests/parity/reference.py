"""Builds the reference with random weights that make every part matter, and runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

# parameters that start so small that leaving them out would go unnoticed
_SMALL = (
    "maskmem_tpos_enc",
    "no_mem_embed",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "obj_ptr_tpos_proj",
    "point_embeddings",
    "not_a_point_embed",
    "no_mask_embed",
    "iou_token",
    "mask_tokens",
    "obj_score_token",
    "gamma",
    "mask_downsample",
)
# of the last layer of the pointers: they are few tokens among the many of spatial memories
_POINTER_SCALE = 0.8
_SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
_PRESENT_BIAS = 20.0  # of the object score: a hidden mask would compare as equal


@dataclass(frozen=True)
class Prompt:
    """One prompt: points with labels, or a box, or a mask."""

    frame_idx: int
    obj_id: int
    points: Sequence[Sequence[float]] | None = None
    labels: Sequence[int] | None = None
    box: Sequence[float] | None = None
    mask: NDArray[np.bool_] | None = None


def build_reference(
    variant: str, *, video: bool, input_size: int, seed: int = 0
) -> torch.nn.Module:
    """Return the reference in float32 on the CPU with telling random weights."""
    build = pytest.importorskip("sam2.build_sam")
    version, size = variant.split("_hiera_")
    function = build.build_sam2_video_predictor if video else build.build_sam2
    torch.manual_seed(seed)
    model = function(
        f"configs/{version}/{version}_hiera_{_SIZES[size]}.yaml",
        None,
        device="cpu",
        hydra_overrides_extra=[f"++model.image_size={input_size}"],
    )
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in _SMALL):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        pointers = model.obj_ptr_proj.layers[-1].weight
        pointers.copy_(_POINTER_SCALE * torch.randn(pointers.shape, generator=generator))
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(_PRESENT_BIAS)
    return model


def save_checkpoint(model: torch.nn.Module, path: Path) -> Path:
    """Write the reference's own checkpoint format."""
    torch.save({"model": model.state_dict()}, path)
    return path


def moving_frames(num_frames: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return (T, H, W, 3) frames in which textured disks move."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:height, :width]
    frames = rng.integers(0, 60, (num_frames, height, width, 3))
    for disk in range(5):
        centre, speed = rng.uniform(0.2, 0.8, 2), rng.uniform(-0.02, 0.02, 2)
        colour = rng.integers(60, 195, 3)
        for t in range(num_frames):
            y, x = (centre + t * speed) * (height, width)
            inside = (yy - y) ** 2 + (xx - x) ** 2 < (
                min(height, width) * (0.08 + 0.02 * disk)
            ) ** 2
            frames[t][inside] = colour + rng.integers(0, 40, (int(inside.sum()), 3))
    return frames.astype(np.uint8)


def write_frames(frames: NDArray[np.uint8], folder: Path) -> Path:
    """Write frames for the reference, which opens files by content: PNG data, JPEG names."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t:05d}.jpg", format="PNG")
    return folder


def largest_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the largest magnitude."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def masks_agree(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> bool:
    """Whether masks are equal but for pixels that near to zero."""
    undecided = theirs.abs() <= tolerance * theirs.abs().max()
    return bool((((ours > 0) == (theirs > 0)) | undecided).all())
