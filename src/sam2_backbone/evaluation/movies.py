"""Movies: objects followed from one frame, beside linked regions and a mask that is not moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sam2_backbone.evaluation.data_sets import Movie
from sam2_backbone.evaluation.metrics import PresenceCount
from sam2_backbone.evaluation.movie_baselines import linked_regions, still_masks
from sam2_backbone.evaluation.targets import (
    BOTH_CLICK,
    BOTH_MASK,
    F_CLICK,
    F_MASK,
    J_CLICK,
    J_MASK,
    PRESENCE_CLICK,
    PRESENCE_MASK,
    Baseline,
    Row,
    ranked,
    row,
)
from sam2_backbone.evaluation.tracking import FrameMask, TrackScore, TrackTally, follow_objects
from sam2_backbone.inference.video_predictor import VideoPredictor

MEASURES = {
    "mask": (J_MASK, F_MASK, BOTH_MASK, PRESENCE_MASK),
    "click": (J_CLICK, F_CLICK, BOTH_CLICK, PRESENCE_CLICK),
}


@dataclass(frozen=True)
class MovieScores:
    """Scores of one movie from one prompt, the model's and those of each baseline."""

    kind: str
    prompt: str
    scores: tuple[TrackScore, ...]
    presence: PresenceCount
    baselines: dict[str, tuple[TrackScore, ...]]


def movie_steps(movies: Iterable[Movie]) -> int:
    """How often `score_movie` calls `tick` for these movies and both prompts."""
    return sum(len(MEASURES) * (len(movie.frames) - 1) for movie in movies if movie.obj_ids)


def score_movie(
    predictor: VideoPredictor,
    movie: Movie,
    *,
    prompt: str,
    tick: Callable[[], object],
    window: str | int | None = "auto",
    baselines: bool = True,
) -> MovieScores:
    """Follow the objects of a movie from one kind of prompt and score every other frame."""
    tally = TrackTally(movie.name, movie.labels, movie.start)
    followed = follow_objects(
        predictor,
        movie.frames,
        movie.labels,
        obj_ids=movie.obj_ids,
        start=movie.start,
        prompt=prompt,
        window=window,
    )
    for objects in followed:
        for said in objects:
            tally.add(said)
        tick()
    classical = {}
    if baselines:
        for name, method in (("linked Otsu + watershed", linked_regions), ("still", still_masks)):
            masks = method(
                movie.frames,
                movie.labels,
                obj_ids=movie.obj_ids,
                start=movie.start,
                prompt=prompt,
            )
            classical[name] = _tallied(movie, masks)
    return MovieScores(movie.kind, prompt, tally.scores(), tally.presence, classical)


def _tallied(movie: Movie, masks: Iterable[FrameMask]) -> tuple[TrackScore, ...]:
    tally = TrackTally(movie.name, movie.labels, movie.start)
    for said in masks:
        tally.add(said)
    return tally.scores()


def movie_rows(data: str, scored: Sequence[MovieScores]) -> list[Row]:
    """Rows of movies that belong together, then of each modality if there are several.

    All are means over objects.
    """
    rows = [each for prompt in MEASURES for each in _rows(data, scored, prompt)]
    kinds = sorted({each.kind for each in scored})
    if len(kinds) > 1:
        for kind in kinds:
            own = [each for each in scored if each.kind == kind]
            rows += [each for prompt in MEASURES for each in _rows(f"{data}: {kind}", own, prompt)]
    return rows


def _rows(data: str, scored: Sequence[MovieScores], prompt: str) -> list[Row]:
    parts = [each for each in scored if each.prompt == prompt]
    objects = [score for each in parts for score in each.scores]
    if not objects:
        return []
    j, f, both, presence = MEASURES[prompt]
    rows = []
    for measure, attribute in ((j, "j"), (f, "f"), (both, "j_and_f")):
        value = _mean(objects, attribute)
        rows.append(row(measure, data, len(objects), value, _baselines(parts, attribute)))
    count = PresenceCount()
    for each in parts:
        count.both += each.presence.both
        count.only_said += each.presence.only_said
        count.only_true += each.presence.only_true
    return [*rows, row(presence, data, len(objects), count.f1)]


def _mean(scores: Sequence[TrackScore], attribute: str) -> float:
    return float(np.mean([getattr(score, attribute) for score in scores]))


def _baselines(parts: Sequence[MovieScores], attribute: str) -> tuple[Baseline, ...]:
    return ranked(
        {
            name: _mean([score for each in parts for score in each.baselines[name]], attribute)
            for name in parts[0].baselines
        }
    )
