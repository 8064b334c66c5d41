"""Which numbers a training run has: frozen dataclasses, and the default recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sam2_backbone.training.losses import LossWeights


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes
    ----------
    share
        Part of the run's minutes; the shares of a run add up to 1.
    input_size
        Side of the crops; the network has no weight that depends on it.
    stills
        Still crops in a batch.
    objects
        Prompts for each still crop.
    corrections
        Correction clicks after the first prompt; each turn corrects half of the objects that are
        left.
    zoom
        Side of a crop in units of its central object's size, smallest and largest.
    far_share, far_zoom
        This share of the crops has another range of zooms, that of the windows which are tried
        for a click: what is cut, or tiny, must be known for a bad view of the object.
    plain_share
        This share of the still crops looks as the images do: turned and stretched, but not
        inverted, coloured, blurred or made noisy. For a network that has seen enough to be robust.
    coarsest_grain
        Noise has grains of one to so many pixels of a crop, as windows magnify small objects.
    clips
        (clips, frames, objects) triples; a step with clips draws one of them. Empty: stills only.
    clip_share
        Share of the steps that have clips beside the stills.
    clip_zoom
        As `zoom`, for clips: a window that follows an object shows it so.
    freeze_norm
        Keep the trunk's batch statistics.
    prompts
        Whether masks are predicted at all; False trains the dense task alone.
    """

    share: float
    input_size: int = 192
    stills: int = 12
    objects: int = 4
    corrections: int = 2
    zoom: tuple[float, float] = (1.2, 4.0)
    far_share: float = 0.25
    far_zoom: tuple[float, float] = (0.5, 8.0)
    plain_share: float = 0.0
    coarsest_grain: float = 4.0
    clips: tuple[tuple[int, int, int], ...] = ()
    clip_share: float = 0.6
    clip_zoom: tuple[float, float] = (1.6, 3.8)
    freeze_norm: bool = False
    prompts: bool = True


# clicks and boxes first, then memory beside them, at last with the trunk's statistics at rest
DEFAULT_STAGES = (
    Stage(share=0.27, objects=6),
    Stage(
        share=0.4,
        stills=8,
        objects=6,
        clips=((2, 4, 6), (3, 3, 6), (1, 8, 8), (2, 6, 5), (1, 12, 6)),
        clip_share=0.65,
        corrections=5,
    ),
    Stage(
        share=0.33,
        stills=6,
        objects=6,
        clips=((2, 6, 6), (1, 12, 8), (1, 8, 8), (1, 16, 6)),
        clip_share=0.85,
        freeze_norm=True,
        corrections=5,
    ),
)

# a trunk that starts at random learns from the dense task before anything is asked of it
RANDOM_TRUNK_STAGES = (
    Stage(share=0.08, objects=0, prompts=False),
    replace(DEFAULT_STAGES[0], share=0.32),
    replace(DEFAULT_STAGES[1], share=0.36),
    replace(DEFAULT_STAGES[2], share=0.24),
)

# trained weights go on with clicks, boxes and clips at once
FINE_TUNING_STAGES = (
    replace(DEFAULT_STAGES[1], share=0.5, stills=10, objects=8, clip_share=0.7),
    replace(DEFAULT_STAGES[2], share=0.5, stills=8, objects=8),
)


@dataclass(frozen=True)
class TrainingArgs:
    """Everything that decides a run, apart from the data.

    Attributes
    ----------
    pretrained_trunk
        Start the trunk from weights trained on ImageNet; see `pretrained`. Where the whole network
        starts from given weights this has no effect.
    layer_decay
        From layer to layer of the trunk, the earlier ones learn more slowly by this factor.
    box_share, mask_share
        Of the prompts on stills; the others are clicks. The masks are wrong ones to be corrected.
    favoured
        (kind, factor): kinds of data that are drawn that many times more often.
    min_area
        Smaller objects are not asked for, in pixels of a crop.
    log_steps, log_minutes
        The means are written after so many steps, or after so many minutes if these are over first.
    """

    minutes: float = 60.0
    seed: int = 0
    stages: tuple[Stage, ...] = DEFAULT_STAGES
    pretrained_trunk: bool = False
    learning_rate: float = 6e-4
    final_rate: float = 0.02
    warmup_steps: int = 100
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    clip_gradient: float = 1.0
    ema_decay: float = 0.998
    box_share: float = 0.3
    mask_share: float = 0.12
    min_area: int = 100
    favoured: tuple[tuple[str, float], ...] = ()
    loader_workers: int = 1
    checkpoint_minutes: float = 3.0
    log_steps: int = 20
    log_minutes: float = 0.5
    losses: LossWeights = field(default_factory=LossWeights)

    def stage_at(self, progress: float) -> tuple[int, Stage]:
        """Return the index and the stage at `progress` 0…1 of the run."""
        passed = 0.0
        for index, stage in enumerate(self.stages):
            passed += stage.share
            if progress < passed:
                return index, stage
        return len(self.stages) - 1, self.stages[-1]


def args_from_json(text: str) -> TrainingArgs:
    """Read what a run folder's `args.json` says.

    Raises
    ------
    ValueError
        If it is of another version, or damaged.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        values["stages"] = tuple(_stage(stage) for stage in values["stages"])
        values["losses"] = LossWeights(**values["losses"])
        values["favoured"] = tuple((kind, factor) for kind, factor in values["favoured"])
        return TrainingArgs(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"the recipe of this run is not understood ({error}); it may come from another version"
        ) from error


def _stage(values: Mapping[str, Any]) -> Stage:
    tuples = {name: tuple(values[name]) for name in ("zoom", "far_zoom", "clip_zoom")}
    tuples["clips"] = tuple(map(tuple, values["clips"]))
    return Stage(**{**values, **tuples})
