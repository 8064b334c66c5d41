"""Stills: objects clicked and boxed by the simulated annotator, beside the classical baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from sam2_backbone.evaluation.baselines import BOX_BASELINES, CLICK_BASELINES, ClassicalImage
from sam2_backbone.evaluation.extent import SEED, Extent, fixed_choice
from sam2_backbone.evaluation.interactive import (
    MOST_CLICKS,
    QUALITY,
    Attempt,
    evaluate_image,
    true_box,
)
from sam2_backbone.evaluation.metrics import intersection_over_union, rank_correlation
from sam2_backbone.evaluation.targets import (
    BOX,
    CLICK_1,
    CLICK_3,
    CLICK_5,
    NOC,
    RANKS,
    Baseline,
    Row,
    gain_row,
    ranked,
    row,
)
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.training.data import LabelledSequence

CLICKS = 5  # made in any case
SMALLEST_OBJECT = 10  # pixels; less is a speck that nobody could click


@dataclass(frozen=True)
class ScoredObject:
    """The model's attempt at one object and the IoU of each baseline, from a click and a box."""

    attempt: Attempt
    from_click: Mapping[str, float]
    from_box: Mapping[str, float]


@dataclass(frozen=True)
class StillObjects:
    """A still and the objects of it that are evaluated."""

    still: LabelledSequence
    obj_ids: tuple[int, ...]

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W) or (H, W, 3)."""
        return plain_image(self.still)


def plain_image(still: LabelledSequence) -> NDArray[np.uint8]:
    """Return the (H, W) or (H, W, 3) image of a still."""
    pixels: NDArray[np.uint8] = still.frames[0]
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def choose_objects(
    stills: Sequence[LabelledSequence], extent: Extent, *, objects: int = 0
) -> list[StillObjects]:
    """Choose stills and objects of them by a fixed seed.

    Parameters
    ----------
    objects
        Of each image, at most; 0 leaves it to `extent`.
    """
    positions = fixed_choice(len(stills), extent.images)
    wanted = extent.objects_of(objects, len(positions))
    chosen = []
    for position in positions:
        still = stills[position]
        ids, counts = np.unique(still.labels[0], return_counts=True)
        large = ids[(ids > 0) & (counts >= SMALLEST_OBJECT)]
        order = default_rng((SEED, position)).permutation(large)[:wanted]
        chosen.append(StillObjects(still, tuple(sorted(int(i) for i in order))))
    return chosen


def score_stills(
    predictor: VideoPredictor,
    chosen: Sequence[StillObjects],
    *,
    window: str | int | None = "auto",
    baselines: bool = True,
) -> Iterator[ScoredObject]:
    """Click and box every chosen object; yields one result for each."""
    for item in chosen:
        classical = ClassicalImage(item.image) if baselines else None
        attempts = evaluate_image(
            predictor,
            item.image,
            item.still.labels[0],
            name=item.still.name,
            kind=item.still.kind,
            obj_ids=item.obj_ids,
            clicks=CLICKS,
            at_most=MOST_CLICKS,
            window=window,
        )
        for attempt in attempts:
            truth = item.still.labels[0] == attempt.obj_id
            yield ScoredObject(attempt, *_classical_scores(classical, attempt.click_yx, truth))


def _classical_scores(
    image: ClassicalImage | None, click: tuple[int, int], truth: NDArray[np.bool_]
) -> tuple[dict[str, float], dict[str, float]]:
    """IoU of each baseline from the click and from the box; nothing without an image."""
    if image is None:
        return {}, {}
    box = true_box(truth)
    from_click = {
        name: intersection_over_union(method(image, *click), truth)
        for name, method in CLICK_BASELINES.items()
    }
    from_box = {
        name: intersection_over_union(method(image, box), truth)
        for name, method in BOX_BASELINES.items()
    }
    return from_click, from_box


def ranked_means(scores: Sequence[Mapping[str, float]]) -> tuple[Baseline, ...]:
    """Return the methods by their mean over all objects, the best first."""
    return ranked({name: float(np.mean([each[name] for each in scores])) for name in scores[0]})


def still_rows(data: str, scored: Sequence[ScoredObject]) -> list[Row]:
    """Rows of a data set, then of each modality in it if there are several."""
    if not scored:
        return []
    by_kind: dict[str, list[ScoredObject]] = defaultdict(list)
    for each in scored:
        by_kind[each.attempt.kind].append(each)
    rows = _rows(data, scored)
    if len(by_kind) > 1:
        for kind in sorted(by_kind):
            rows += _rows(f"{data}: {kind}", by_kind[kind])
    return rows


def _rows(data: str, scored: Sequence[ScoredObject]) -> list[Row]:
    attempts = [each.attempt for each in scored]
    count = len(attempts)
    from_click = ranked_means([each.from_click for each in scored])
    from_box = ranked_means([each.from_box for each in scored])

    def mean(value: Callable[[Attempt], float]) -> float:
        return float(np.mean([value(attempt) for attempt in attempts]))

    first = np.array([attempt.clicks[0] for attempt in attempts])
    predicted = np.array([attempt.predicted for attempt in attempts])
    one_click = float(first.mean())
    rows = [
        row(CLICK_1, data, count, one_click, from_click),
        row(CLICK_3, data, count, mean(lambda a: a.iou_after(3))),
        row(CLICK_5, data, count, mean(lambda a: a.iou_after(5))),
        row(BOX, data, count, mean(lambda a: a.box), from_box),
        row(NOC, data, count, mean(lambda a: a.clicks_to(QUALITY, at_most=MOST_CLICKS))),
        row(RANKS, data, count, rank_correlation(first, predicted)),
    ]
    if ":" not in data and from_click:  # the target is for whole data sets
        rows.insert(1, gain_row(data, count, one_click, from_click))
    return rows
