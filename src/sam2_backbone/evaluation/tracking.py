"""Tracking from one frame: J, F and presence of objects followed through a labelled movie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.evaluation.interactive import true_box
from sam2_backbone.evaluation.metrics import (
    PresenceCount,
    boundary_f,
    intersection_over_union,
)
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.training.prompt_sampler import innermost_pixel

PROMPTS = ("mask", "click", "box")


@dataclass(frozen=True)
class TrackScore:
    """How well one object was followed: means over the frames that count."""

    name: str
    obj_id: int
    j: float
    f: float
    frames: int

    @property
    def j_and_f(self) -> float:
        """Mean of J and F."""
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class FrameMask:
    """What was said of one object on one frame.

    Attributes
    ----------
    mask
        (H, W).
    present
        Whether the object was said to be there.
    """

    frame_idx: int
    obj_id: int
    mask: NDArray[np.bool_]
    present: bool


@dataclass
class TrackTally:
    """Compares masks with the truth, frame by frame.

    Parameters
    ----------
    labels
        (T, H, W), the same integer for an object over frames.
    start
        The prompted frame; it is not scored. Every other frame counts, those without the object
        too: absent in both is 1.
    """

    name: str
    labels: NDArray[np.integer]
    start: int
    with_boundary: bool = True
    presence: PresenceCount = field(default_factory=PresenceCount)
    _per_object: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, said: FrameMask) -> None:
        """Score one object on one frame."""
        if said.frame_idx == self.start:
            return
        truth = self.labels[said.frame_idx] == said.obj_id
        f = boundary_f(said.mask, truth) if self.with_boundary else float("nan")
        pair = (intersection_over_union(said.mask, truth), f)
        self._per_object.setdefault(said.obj_id, []).append(pair)
        self.presence.add(said=said.present, true=bool(truth.any()))

    def scores(self) -> tuple[TrackScore, ...]:
        """Return the means of each object over its frames."""
        scores = []
        for obj_id, pairs in self._per_object.items():
            j, f = np.mean(pairs, axis=0)
            scores.append(TrackScore(self.name, obj_id, float(j), float(f), len(pairs)))
        return tuple(scores)


def follow_objects(
    predictor: VideoPredictor,
    frames: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    obj_ids: Sequence[int],
    start: int = 0,
    prompt: str = "mask",
    window: str | int | None = "auto",
    value_range: tuple[float, float] | None = None,
) -> Iterator[list[FrameMask]]:
    """Prompt objects on one frame and follow them both ways; yields the objects of each frame.

    Parameters
    ----------
    frames, labels
        (T, H, W[, 3]) and (T, H, W) with the same integer for an object over frames.
    start
        The prompted frame.
    prompt
        "mask", "click" (at the innermost pixel) or "box".

    Raises
    ------
    ValueError
        If an object is not on the prompted frame, or the prompt is none of these.
    """
    if prompt not in PROMPTS:
        raise ValueError(f"prompt must be one of {', '.join(PROMPTS)}, not {prompt!r}")
    state = predictor.init_state(frames, window=window, value_range=value_range)
    for obj_id in obj_ids:
        truth = labels[start] == obj_id
        if not truth.any():
            raise ValueError(f"object {obj_id} is not on frame {start}: start where it is visible")
        if prompt == "mask":
            predictor.answer(state, start, int(obj_id), mask=truth)
        elif prompt == "box":
            predictor.answer(state, start, int(obj_id), box=true_box(truth))
        else:
            y, x = innermost_pixel(truth)
            predictor.answer(state, start, int(obj_id), points=[[x, y]], labels=[1])
    for result in predictor.propagate(state, direction="both"):
        masks = (result.mask_logits[:, 0] > 0).cpu().numpy()
        present = (result.object_scores > 0).tolist()
        yield [
            FrameMask(result.frame_idx, obj_id, masks[row], present[row])
            for row, obj_id in enumerate(result.obj_ids)
        ]
