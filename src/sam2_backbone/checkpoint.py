"""Weights files: safe reading, the table from Meta's keys to ours, a strict report, writing."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import struct
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sam2_backbone.config import (
    MaskDecoderConfig,
    MemoryConfig,
    PromptEncoderConfig,
    SAM2Config,
    TrunkConfig,
)
from sam2_backbone.errors import CheckpointError
from sam2_backbone.modeling.sam2 import SAM2
from sam2_backbone.variants import SCRATCH_CONFIG, VARIANTS
from sam2_backbone.weights_names import published_variant

# Meta's key, as a pattern over its beginning or inside, and ours; applied in this order
_KEY_TABLE: tuple[tuple[str, str], ...] = (
    (r"^image_encoder\.trunk\.(.*)\.mlp\.layers\.0\.", r"image_encoder.trunk.\1.mlp.fc1."),
    (r"^image_encoder\.trunk\.(.*)\.mlp\.layers\.1\.", r"image_encoder.trunk.\1.mlp.fc2."),
    (r"^image_encoder\.neck\.convs\.0\.conv\.", r"image_encoder.neck.lateral.3."),
    (r"^image_encoder\.neck\.convs\.1\.conv\.", r"image_encoder.neck.lateral.2."),
    (r"^image_encoder\.neck\.convs\.2\.conv\.", r"image_encoder.neck.lateral.1."),
    (r"^image_encoder\.neck\.convs\.3\.conv\.", r"image_encoder.neck.lateral.0."),
    (
        r"^sam_prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$",
        r"prompt_encoder.position.frequencies",
    ),
    (r"^sam_prompt_encoder\.point_embeddings\.(\d)\.weight$", r"prompt_encoder.point_types.\1"),
    (r"^sam_prompt_encoder\.not_a_point_embed\.", r"prompt_encoder.padding."),
    (r"^sam_prompt_encoder\.no_mask_embed\.", r"prompt_encoder.no_mask."),
    (r"^sam_prompt_encoder\.mask_downscaling\.", r"prompt_encoder.mask_branch."),
    (r"^sam_mask_decoder\.transformer\.layers\.", r"mask_decoder.blocks."),
    (
        r"^sam_mask_decoder\.transformer\.final_attn_token_to_image\.",
        r"mask_decoder.final_attention.",
    ),
    (r"^sam_mask_decoder\.transformer\.norm_final_attn\.", r"mask_decoder.final_norm."),
    (r"^sam_mask_decoder\.obj_score_token\.", r"mask_decoder.object_score_token."),
    (r"^sam_mask_decoder\.output_upscaling\.0\.", r"mask_decoder.upscale1."),
    (r"^sam_mask_decoder\.output_upscaling\.1\.", r"mask_decoder.upscale_norm."),
    (r"^sam_mask_decoder\.output_upscaling\.3\.", r"mask_decoder.upscale2."),
    (r"^sam_mask_decoder\.conv_s0\.", r"mask_decoder.skip_stride4."),
    (r"^sam_mask_decoder\.conv_s1\.", r"mask_decoder.skip_stride8."),
    (r"^sam_mask_decoder\.output_hypernetworks_mlps\.", r"mask_decoder.mask_heads."),
    (r"^sam_mask_decoder\.iou_prediction_head\.", r"mask_decoder.iou_head."),
    (r"^sam_mask_decoder\.pred_obj_score_head\.", r"mask_decoder.object_score_head."),
    (r"^sam_mask_decoder\.", r"mask_decoder."),
    (r"^memory_encoder\.mask_downsampler\.encoder\.", r"memory_encoder.mask_branch."),
    (r"^memory_encoder\.pix_feat_proj\.", r"memory_encoder.frame_projection."),
    (r"^memory_encoder\.fuser\.layers\.(\d+)\.gamma$", r"memory_encoder.fuser.\1.scale"),
    (r"^memory_encoder\.fuser\.layers\.(\d+)\.dwconv\.", r"memory_encoder.fuser.\1.depthwise."),
    (r"^memory_encoder\.fuser\.layers\.(\d+)\.pwconv", r"memory_encoder.fuser.\1.pointwise"),
    (r"^memory_encoder\.fuser\.layers\.", r"memory_encoder.fuser."),
    (r"^memory_encoder\.out_proj\.", r"memory_encoder.out_projection."),
    (r"\.self_attn\.", r".self_attention."),
    (r"\.cross_attn_token_to_image\.", r".token_to_image."),
    (r"\.cross_attn_image_to_token\.", r".image_to_token."),
    (r"\.cross_attn_image\.", r".cross_attention."),
    (r"^maskmem_tpos_enc$", r"temporal_encoding"),
    (r"^no_mem_embed$", r"no_memory_embedding"),
    (r"^no_obj_ptr$", r"no_object_pointer"),
    (r"^no_obj_embed_spatial$", r"no_object_memory"),
    (r"^obj_ptr_proj\.", r"pointer_projection."),
    (r"^obj_ptr_tpos_proj\.", r"pointer_time_projection."),
    (r"^mask_downsample\.", r"mask_to_prompt."),
)
# read by a code path that no published variant takes
_UNUSED_META_KEYS = frozenset({"no_mem_pos_enc"})
_MAX_KEYS_SHOWN = 5


# what torch's reader raises on files of other kinds, which it takes for a pickle's instructions
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError,
    TypeError, AttributeError, AssertionError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class StoredWeights:
    """A weights file in memory, under our keys.

    Attributes
    ----------
    tensors
        By our key, on the CPU.
    config
        The architecture, where the file says it (ours does, Meta's does not).
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: SAM2Config | None


def rename_key(key: str) -> str:
    """Our name of one of Meta's keys; a key that the table does not know comes back unchanged."""
    for pattern, replacement in _KEY_TABLE:
        key = re.sub(pattern, replacement, key)
    return key


def read_weights(path: str | Path) -> StoredWeights:
    """Read Meta's ``.pt`` (``{"model": …}``) or our ``.safetensors`` without running code in it.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, or a pickle that holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}; check the path")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_meta(path)


def load_weights(model: SAM2, stored: StoredWeights) -> None:
    """Load exactly the weights of a network; nothing is loaded if a key or a shape is off.

    Raises
    ------
    CheckpointError
        Names the file and the keys that are missing, left over or of another shape.
    """
    own = model.state_dict()
    missing = sorted(own.keys() - stored.tensors.keys())
    left_over = sorted(stored.tensors.keys() - own.keys())
    shapes = sorted(
        f"{key} {tuple(stored.tensors[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own.keys() & stored.tensors.keys()
        if _squeezed(stored.tensors[key]) != _squeezed(own[key])
    )
    problems = [
        f"{name}: {_listed(keys)}"
        for name, keys in (("missing", missing), ("left over", left_over), ("shape", shapes))
        if keys
    ]
    if problems:
        raise CheckpointError(
            f"{stored.path} does not hold this network's weights ({'; '.join(problems)}); "
            "choose the variant that it was saved from, or variant=None to recognise it"
        )
    model.load_state_dict(
        {key: stored.tensors[key].reshape(own[key].shape) for key in own}, strict=True
    )


def save_weights(model: SAM2, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write a network as safetensors, its configuration in the metadata."""
    tensors = {
        key: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
        for key, value in model.state_dict().items()
    }
    metadata = {"config": json.dumps(dataclasses.asdict(model.config))}
    save_file(tensors, str(path), metadata=metadata)


def recognise_config(stored: StoredWeights) -> SAM2Config:
    """Find the configuration of a weights file from its metadata or its tensors.

    A network of a known kind is used as that kind is now, not as it was when the file was written.

    Raises
    ------
    CheckpointError
        If no variant has these tensors.
    """
    if stored.config is not None:
        known = (*(variant.config for variant in VARIANTS.values()), SCRATCH_CONFIG)
        same = (config for config in known if config.network == stored.config.network)
        return next(same, stored.config)
    found = published_variant(stored.tensors)
    if found is None:
        raise CheckpointError(
            f"{stored.path} is no SAM 2 network that is known here; "
            "name the variant that it was made from"
        )
    return VARIANTS[found].config


def _read_safetensors(path: Path) -> StoredWeights:
    try:
        tensors = load_file(str(path))
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no readable safetensors file ({error})") from error
    config = _config_from_json(path, metadata["config"]) if "config" in metadata else None
    return StoredWeights(path, MappingProxyType(tensors), config)


def _read_meta(path: Path) -> StoredWeights:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "cut short"
        raise CheckpointError(
            f"{path} is no checkpoint that can be loaded safely ({reason}); "
            "it may be truncated, of another kind, or hold code"
        ) from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(isinstance(v, Tensor) for v in model.values()):
        raise CheckpointError(
            f"{path} has no table of tensors under 'model'; Meta's SAM 2 checkpoints have one"
        )
    tensors = {rename_key(key): v for key, v in model.items() if key not in _UNUSED_META_KEYS}
    return StoredWeights(path, MappingProxyType(tensors), None)


def _config_from_json(path: Path, text: str) -> SAM2Config:
    try:
        return _dataclass_from_json(SAM2Config, json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"the configuration inside {path} is not understood ({error}); "
            "it may come from a newer version"
        ) from error


_Config = typing.TypeVar("_Config")
_NESTED = {
    "trunk": TrunkConfig,
    "prompt_encoder": PromptEncoderConfig,
    "mask_decoder": MaskDecoderConfig,
    "memory": MemoryConfig,
}


def _dataclass_from_json(kind: type[_Config], values: Mapping[str, object]) -> _Config:
    built: dict[str, object] = {}
    for name, value in values.items():
        if name in _NESTED and isinstance(value, dict):
            built[name] = _dataclass_from_json(_NESTED[name], value)
        else:
            built[name] = _tuples(value)
    return kind(**built)


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _squeezed(tensor: Tensor) -> tuple[int, ...]:
    """Shape without axes of length 1: Meta keeps some parameters with leading ones."""
    return tuple(n for n in tensor.shape if n != 1)


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:_MAX_KEYS_SHOWN])
    more = len(keys) - _MAX_KEYS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
