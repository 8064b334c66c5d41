"""Which published networks: the eight variants of SAM 2 and `micro` as rows of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from sam2_backbone.config import (
    MaskDecoderConfig,
    MemoryConfig,
    PromptEncoderConfig,
    SAM2Config,
    TrunkConfig,
)

_BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything_2/"


@dataclass(frozen=True)
class PublishedWeights:
    """An official checkpoint: where it is and how it is recognised."""

    url: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Last part of the address, the name in the cache folder."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class EmbeddedWeights:
    """A file inside the package ``sam2_backbone.weights``."""

    file_name: str


@dataclass(frozen=True)
class Variant:
    """One network with its weights and their licence."""

    name: str
    config: SAM2Config
    weights: PublishedWeights | EmbeddedWeights
    licence: str


SAM21_MEMORY = MemoryConfig()
SAM20_MEMORY = MemoryConfig(signed_pointer_time=False, no_object_embedding=False)

_TRUNKS = {
    "tiny": TrunkConfig("sam2_hiera_tiny", (96, 192, 384, 768)),
    "small": TrunkConfig("sam2_hiera_small", (96, 192, 384, 768)),
    "base_plus": TrunkConfig("sam2_hiera_base_plus", (112, 224, 448, 896)),
    "large": TrunkConfig("sam2_hiera_large", (144, 288, 576, 1152)),
}

_HASHES = {
    "072824/sam2_hiera_tiny.pt": (
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"
    ),
    "072824/sam2_hiera_small.pt": (
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"
    ),
    "072824/sam2_hiera_base_plus.pt": (
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"
    ),
    "072824/sam2_hiera_large.pt": (
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"
    ),
    "092824/sam2.1_hiera_tiny.pt": (
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"
    ),
    "092824/sam2.1_hiera_small.pt": (
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"
    ),
    "092824/sam2.1_hiera_base_plus.pt": (
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"
    ),
    "092824/sam2.1_hiera_large.pt": (
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"
    ),
}


def _published(path: str, sha256: str) -> Variant:
    name = path.split("/")[1].removesuffix(".pt")
    version, size = name.split("_hiera_")
    memory = SAM21_MEMORY if version == "sam2.1" else SAM20_MEMORY
    return Variant(
        name=name,
        config=SAM2Config(trunk=_TRUNKS[size], memory=memory),
        weights=PublishedWeights(url=_BASE_URL + path, sha256=sha256),
        licence="Apache-2.0",
    )


MICRO_CONFIG = SAM2Config(
    trunk=TrunkConfig("tf_efficientnet_lite2", (24, 48, 120, 352), levels=(1, 2, 3, 4)),
    input_size=192,  # cells are seen through windows; see docs/model_card.md
    hidden_dim=128,
    top_down_levels=(0, 1, 2, 3),
    block_levels=(0, 1, 2),
    prompt_encoder=PromptEncoderConfig(mask_channels=64, draw_prompts=True),
    mask_decoder=MaskDecoderConfig(num_heads=4, mlp_dim=512, iou_head_dim=128),
    memory=MemoryConfig(dim=64, num_layers=2, mlp_dim=512),
    draw_last_mask=True,
    drop_far_pieces=True,
    last_shape_weight=0.5,
    carried_shape_weight=1.0,
    carried_presence=16.0,
    anchored_shape_weight=1.0,
    exclusive_objects=True,
    obey_clicks=True,
    fill_boxes=True,
    average_mirrored=True,
    max_clicks=7,
    presence_margin=0.7,
    window_fractions=(1 / 8, 1 / 6, 1 / 3, 1 / 2, 1, 4 / 3),
)

# a network of the same cost whose trunk learns well from nothing; see docs/train.md
SCRATCH_CONFIG = replace(
    MICRO_CONFIG, trunk=TrunkConfig("repvit_m0_9", (48, 96, 192, 384)), block_levels=()
)

# the code paths of micro at a size that tests can afford; untrained scores must hide nothing
TEST_CONFIG = replace(
    MICRO_CONFIG,
    exclusive_objects=False,
    gate_object_score=False,
    window_fractions=(0.25, 0.5, 1.0, 2.0),
    tile_fractions=(0.25, 0.5, 1.0, 2.0),
    trunk=TrunkConfig(
        "repvit_m0_9", (8, 16, 24, 32), (("embed_dim", (8, 16, 24, 32)), ("depth", (1, 1, 1, 1)))
    ),
    input_size=64,
    hidden_dim=32,
    prompt_encoder=PromptEncoderConfig(mask_channels=16, draw_prompts=True),
    mask_decoder=MaskDecoderConfig(num_heads=2, mlp_dim=64, iou_head_dim=32),
    memory=MemoryConfig(dim=16, num_layers=1, mlp_dim=64),
)

# what it has learned here is ours, the start of its trunk is Google's; see NOTICE
_MICRO_LICENCE = "BSD-3-Clause AND Apache-2.0"

_MICRO = Variant("micro", MICRO_CONFIG, EmbeddedWeights("micro.safetensors"), _MICRO_LICENCE)

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {v.name: v for v in (_MICRO, *(_published(path, h) for path, h in _HASHES.items()))}
)


def list_variants() -> list[str]:
    """Names of all variants, `micro` first."""
    return list(VARIANTS)
