"""Which numbers: frozen dataclasses of every architectural number of a SAM 2 network.

Source of the published numbers: Ravi et al., arXiv 2408.00714, and the public checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class TrunkConfig:
    """The feature trunk: a timm model that yields maps at strides 4, 8, 16 and 32.

    Attributes
    ----------
    timm_name
        Name for ``timm.create_model``.
    channels
        Channels of the maps at strides 4, 8, 16, 32.
    options
        Keyword arguments for timm, as (name, value) pairs.
    levels
        Which of the trunk's maps have those strides; None: it has exactly these four.
    """

    timm_name: str
    channels: tuple[int, int, int, int]
    options: tuple[tuple[str, object], ...] = ()
    levels: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class PromptEncoderConfig:
    """Prompt encoder.

    Attributes
    ----------
    mask_channels
        Width of the second convolution over the mask prompt.
    draw_prompts
        Draw clicks and boxes into the mask prompt as two further channels. From-scratch training
        needs this (see ``docs/model_card.md``); the published variants do not have it.
    disk_sigma
        Standard deviation of a drawn click, in low-resolution mask pixels.
    """

    mask_channels: int = 16
    draw_prompts: bool = False
    disk_sigma: float = 2.0


@dataclass(frozen=True)
class MaskDecoderConfig:
    """Mask decoder: a two-way transformer and its heads."""

    depth: int = 2
    num_heads: int = 8
    mlp_dim: int = 2048
    attention_downsample: int = 2
    num_multimasks: int = 3
    iou_head_dim: int = 256
    # single-mask output falls back to the best of the three where it is unstable
    stability_delta: float = 0.05
    stability_threshold: float = 0.98


@dataclass(frozen=True)
class MemoryConfig:
    """Memory attention, memory encoder and what is recalled.

    Attributes
    ----------
    num_memories
        Rows of the temporal encoding: that many minus one recent frames, and one row for prompted
        frames.
    max_pointers
        Object pointers recalled at most, from as many frames.
    max_prompted
        Prompted frames recalled at most; None recalls them all.
    signed_pointer_time
        Add a projected encoding of the signed distance in time to each pointer (SAM 2.1).
    no_object_embedding
        Add a learned embedding to the memory of a frame where the object is absent (SAM 2.1).
    """

    dim: int = 64
    num_layers: int = 4
    num_heads: int = 1
    mlp_dim: int = 2048
    rope_theta: float = 10_000.0
    num_fuser_blocks: int = 2
    mask_scale: float = 20.0
    mask_bias: float = -10.0
    num_memories: int = 7
    max_pointers: int = 16
    max_prompted: int | None = None
    signed_pointer_time: bool = True
    no_object_embedding: bool = True


# fields of `SAM2Config` that say how a network is used; any of its kind can be used so
_USE = frozenset(
    {
        "drop_far_pieces",
        "last_shape_weight",
        "carried_shape_weight",
        "carried_presence",
        "anchored_shape_weight",
        "exclusive_objects",
        "obey_clicks",
        "fill_boxes",
        "average_mirrored",
        "max_clicks",
        "gate_object_score",
        "presence_margin",
        "window_fractions",
        "tile_fractions",
    }
)


@dataclass(frozen=True)
class SAM2Config:
    """Every number of one network.

    Attributes
    ----------
    input_size
        Side of the square model input in pixels; a multiple of 32.
    top_down_levels
        Levels of the neck (0 is stride 4, 3 is stride 32) that receive the coarser level.
    block_levels
        Levels of the neck that a residual 3x3 block smooths; the published variants have none.
    draw_last_mask
        Give tracked frames the logits of the frame before as a mask prompt. A small network learns
        to follow that way in a fraction of the steps that memory attention alone needs; the
        published variants do not have it.
    drop_far_pieces
        Drop pieces of tracked masks that were no part of the last mask where another piece was; for
        networks that look for what is like the object. Only with `draw_last_mask`.
    last_shape_weight
        How much doubtful pixels of a tracked mask follow the shape that the object had last, a
        logit; 0 in the published variants. Only with `draw_last_mask`.
    carried_shape_weight
        How much doubtful pixels of a tracked mask follow the last mask moved along with the
        picture, a logit where it is sure how that moved; the last mask is drawn there too then. 0
        in the published variants. Only with `draw_last_mask`.
    carried_presence
        What is added to the object score (a logit) of a tracked frame where the picture shows where
        the last mask went and what is in it stands out more than before: however it has changed, it
        is not gone. 0 in the published variants.
    anchored_shape_weight
        How much doubtful pixels of a tracked mask follow the shape that the object had where it was
        prompted, moved along from frame to frame, a logit where all of that motion is sure, and up
        to four where the object looks as it did; 0 in the published variants. Only with
        `carried_shape_weight`.
    exclusive_objects
        Objects that are tracked together never have the same pixels: where they touch, each keeps
        what it claims more strongly.
    obey_clicks
        A mask holds every positive click and no negative one, and a person who clicks an object is
        right that it is there; the published variants may say otherwise.
    fill_boxes
        A mask from a box alone grows to the sides of the box where its outline is in doubt; the
        published variants leave it as the network drew it.
    average_mirrored
        Where one view is looked through, the answer to prompts is the mean of what is seen in it
        and in its three mirror images; the published variants look once.
    max_clicks
        Clicks of one object on a frame that the network reads: the first one and the newest. None
        reads all; a network that was trained with few does not understand many.
    gate_object_score
        Hide the mask (logits -1024) where the object score says that the object is absent.
    presence_margin
        What the object score (a logit) of a tracked frame must exceed for the object to be there
        where the network doubts its mask (predicted IoU below 0.8); 0 in the published variants.
        Which error is worse, a network cannot know.
    window_fractions
        Sides of the windows that ``window="auto"`` tries for a click, over the input size.
    tile_fractions
        Sides of the tiles of automatic segmentation, over the input size; where there are several
        `window_fractions`.
    """

    trunk: TrunkConfig
    input_size: int = 1024
    hidden_dim: int = 256
    top_down_levels: tuple[int, ...] = (2, 3)
    block_levels: tuple[int, ...] = ()
    prompt_encoder: PromptEncoderConfig = field(default_factory=PromptEncoderConfig)
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    draw_last_mask: bool = False
    drop_far_pieces: bool = False
    last_shape_weight: float = 0.0
    carried_shape_weight: float = 0.0
    carried_presence: float = 0.0
    anchored_shape_weight: float = 0.0
    exclusive_objects: bool = False
    obey_clicks: bool = False
    fill_boxes: bool = False
    average_mirrored: bool = False
    max_clicks: int | None = None
    gate_object_score: bool = True
    presence_margin: float = 0.0
    window_fractions: tuple[float, ...] = (1.0,)
    tile_fractions: tuple[float, ...] = (1 / 6, 1 / 3, 2 / 3, 4 / 3)

    @property
    def network(self) -> SAM2Config:
        """What is trained: the same with nothing said of how the network is used."""
        used: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name in _USE}
        return replace(self, **used)

    @property
    def embedding_size(self) -> int:
        """Side of the stride-16 image embedding."""
        return self.input_size // 16

    @property
    def low_res_size(self) -> int:
        """Side of the stride-4 masks that the decoder predicts."""
        return self.input_size // 4

    @property
    def memory_dim(self) -> int:
        """Channels of a spatial memory."""
        return self.memory.dim

    @property
    def draw_prompts(self) -> bool:
        """Whether clicks and boxes are drawn into the mask prompt."""
        return self.prompt_encoder.draw_prompts
