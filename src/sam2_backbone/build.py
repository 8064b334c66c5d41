"""How parts fit: from a configuration to a network with weights, on a device, in a precision."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import torch
from timm.utils.model import reparameterize_model
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sam2_backbone.checkpoint import load_weights, read_weights, recognise_config
from sam2_backbone.config import SAM2Config
from sam2_backbone.device import resolve_device, resolve_dtype
from sam2_backbone.download import cache_folder, download
from sam2_backbone.modeling.sam2 import SAM2
from sam2_backbone.variants import VARIANTS, EmbeddedWeights, Variant


def build_from_config(config: SAM2Config) -> SAM2:
    """Build a network with random weights, float32, on the CPU."""
    if config.input_size % 32:
        raise ValueError(f"input_size must be a multiple of 32, not {config.input_size}")
    return SAM2(config)


def fold_for_inference(model: SAM2) -> SAM2:
    """Fold branches and batch norms of the image encoder into single convolutions, in place.

    The answers stay the same to rounding. The network can no longer be trained, and its tensors
    are no longer those of a weights file. Convolutions come to read and write the channel last,
    which is faster on CPUs and on tensor cores. An encoder without batch norms, as all published
    variants have, is left as it is.
    """
    model.eval()
    encoder = model.image_encoder
    if not any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules()):
        return model
    encoder.trunk = reparameterize_model(encoder.trunk, inplace=True)
    for block in encoder.modules():
        _fold_norms(block)
    return model.to(memory_format=torch.channels_last)


def _fold_norms(block: nn.Module) -> None:
    """Fold each batch norm among the children of `block` into the convolution listed before it."""
    conv_name = ""
    for name, child in list(block.named_children()):
        conv = block._modules.get(conv_name)
        if isinstance(child, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d):
            setattr(block, conv_name, fuse_conv_bn_eval(conv, child))
            # timm's norms hold the activation that follows them
            setattr(block, name, getattr(child, "act", None) or nn.Identity())
        conv_name = name if isinstance(child, nn.Conv2d) else ""


def build_sam2(
    variant: str | None = "micro",
    weights: str | Path | None = "default",
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    input_size: int | None = None,
) -> SAM2:
    """Build SAM 2 for inference; for training see `build_from_config`.

    Parameters
    ----------
    variant
        A name of `list_variants`. None recognises the architecture from the tensors of `weights`.
    weights
        "default" is the embedded file of `micro` and the official checkpoint of the others,
        downloaded once. None draws random weights. A path is Meta's ``.pt`` or our
        ``.safetensors``.
    device
        "auto" takes cuda, then mps, then the CPU.
    dtype
        "auto" takes bfloat16 where the device computes it natively, else float32.
    input_size
        Side of the model input in pixels, a multiple of 32; None is the variant's own.

    Raises
    ------
    ValueError
        For an unknown variant, or no variant and no weights file.
    CheckpointError
        If the file does not hold exactly the network's weights.
    DownloadError
        If the official checkpoint cannot be fetched.
    """
    resolved_device = resolve_device(device)
    resolved_dtype = resolve_dtype(dtype, resolved_device)
    path = _weights_path(variant, weights)
    if path is None:
        model = build_from_config(_sized(_variant(variant).config, input_size))
    else:
        stored = read_weights(path)
        config = _variant(variant).config if variant is not None else recognise_config(stored)
        model = build_from_config(_sized(config, input_size))
        load_weights(model, stored)
    model = fold_for_inference(model).to(device=resolved_device, dtype=resolved_dtype).eval()
    # coordinates lose a pixel in bfloat16
    model.prompt_encoder.position.to(torch.float32)
    return model.requires_grad_(requires_grad=False)


def default_weights(variant: str) -> Path:
    """Path of a variant's own weights; the official ones are downloaded if they are not there."""
    row = _variant(variant)
    if isinstance(row.weights, EmbeddedWeights):
        with as_file(files("sam2_backbone.weights") / row.weights.file_name) as path:
            return path
    target = cache_folder() / row.weights.file_name
    return download(row.weights.url, target, sha256=row.weights.sha256)


def _weights_path(variant: str | None, weights: str | Path | None) -> Path | None:
    if weights is None:
        return None
    if weights == "default":
        return default_weights(_variant(variant).name)
    return Path(weights)


def _variant(name: str | None) -> Variant:
    if name is None:
        raise ValueError("variant=None needs a path as `weights` to recognise the network from")
    if name not in VARIANTS:
        raise ValueError(f"unknown variant {name!r}; choose one of {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _sized(config: SAM2Config, input_size: int | None) -> SAM2Config:
    return config if input_size is None else replace(config, input_size=input_size)
