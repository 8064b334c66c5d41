"""A whole evaluation: the parts that a data folder allows, each giving rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.evaluation.automatic import automatic_rows, choose_stills
from sam2_backbone.evaluation.data_sets import (
    DataSet,
    Movie,
    find_data_sets,
    find_stacks,
    read_stack,
    video_movie,
)
from sam2_backbone.evaluation.extent import DEFAULT, Extent
from sam2_backbone.evaluation.made_clips import FRAMES, made_clips
from sam2_backbone.evaluation.movies import MEASURES, movie_rows, movie_steps, score_movie
from sam2_backbone.evaluation.stills import ScoredObject, choose_objects, score_stills, still_rows
from sam2_backbone.evaluation.targets import Row
from sam2_backbone.inference.frames import image_source
from sam2_backbone.inference.mask_generator import MaskGenerator, labels_of
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.training.data import LabelledSequence

Tick = Callable[[], object]
PARTS = ("clicks", "stacks", "videos", "clips", "automatic")


@dataclass(frozen=True)
class Part:
    """One part of an evaluation.

    Attributes
    ----------
    title
        What a progress bar says.
    steps
        How often `run` will call its argument.
    run
        Does the work and returns the rows.
    """

    title: str
    steps: int
    run: Callable[[Tick], list[Row]]


def evaluation_parts(
    root: Path,
    predictor: VideoPredictor,
    *,
    extent: Extent = DEFAULT,
    objects: int = 0,
    only: Sequence[str] = (),
    window: str | int | None = "auto",
) -> Iterator[Part]:
    """Yield the parts of an evaluation, to be run in turn.

    Parameters
    ----------
    root
        Folder with data sets; see `find_data_sets` and `find_stacks`.
    objects
        Objects of each still, at most; 0 leaves it to `extent`.
    only
        Names of `PARTS`; none is all of them.

    Raises
    ------
    ValueError
        If there is nothing to evaluate, or a name in `only` is unknown.
    """
    unknown = sorted(set(only) - set(PARTS))
    if unknown:
        raise ValueError(f"there is no part {unknown[0]!r}; choose of {', '.join(PARTS)}")
    sets = find_data_sets(root)
    run = _Run(predictor, extent, window)
    stills = [part for part in (_part_of(each, several=False) for each in sets) if part.sequences]
    videos = [part for part in (_part_of(each, several=True) for each in sets) if part.sequences]
    stacks = find_stacks(root)
    if not (stills or videos or stacks):
        raise ValueError(f"{root} holds nothing to evaluate: images/ beside masks/, or stacks/")
    wanted = set(only) or set(PARTS)
    if "clicks" in wanted:
        yield from (run.clicks(each, objects) for each in stills)
    if "stacks" in wanted:
        for name in stacks:
            if extent.stacks is None or name in extent.stacks:
                movie = read_stack(root, name, objects=extent.movie_objects)
                yield run.movies(f"stack {name}", name, [movie])
    if "videos" in wanted:
        for each in videos:
            movies = [
                video_movie(video, frames=extent.movie_frames, objects=extent.movie_objects)
                for video in each.sequences
            ]
            yield run.movies(f"videos, {each.name}", each.name, movies)
    if "clips" in wanted and stills:
        yield run.clips([still for each in stills for still in each.sequences])
    if "automatic" in wanted:
        for each in stills:
            glowing = choose_stills(each.sequences, extent.automatic_images)
            if glowing:
                yield run.automatic(each.name, glowing)


def _part_of(data: DataSet, *, several: bool) -> DataSet:
    """Return the videos of a data set, or its stills."""
    chosen = tuple(s for s in data.sequences if (s.num_frames > 1) == several)
    return DataSet(data.name, chosen)


@dataclass(frozen=True)
class _Run:
    """What all parts of one evaluation share, and how each kind of part is made."""

    predictor: VideoPredictor
    extent: Extent
    window: str | int | None

    def clicks(self, data: DataSet, objects: int) -> Part:
        chosen = choose_objects(data.sequences, self.extent, objects=objects)

        def run(tick: Tick) -> list[Row]:
            scored: list[ScoredObject] = []
            results = score_stills(
                self.predictor, chosen, window=self.window, baselines=self.extent.baselines
            )
            for each in results:
                scored.append(each)
                tick()
            return still_rows(data.name, scored)

        return Part(f"clicks, {data.name}", sum(len(item.obj_ids) for item in chosen), run)

    def movies(self, title: str, data: str, movies: Sequence[Movie]) -> Part:
        return Part(title, movie_steps(movies), lambda tick: self._follow(data, movies, tick))

    def clips(self, stills: Sequence[LabelledSequence]) -> Part:
        count = self.extent.clips

        def run(tick: Tick) -> list[Row]:
            return self._follow("made clips", made_clips(stills, count), tick)

        return Part("made clips", count * len(MEASURES) * (FRAMES - 1), run)

    def automatic(self, data: str, stills: Sequence[LabelledSequence]) -> Part:
        generator = MaskGenerator.tuned(self.predictor.model)

        def segment(image: NDArray[np.uint8]) -> NDArray[np.integer]:
            size = (image.shape[0], image.shape[1])
            return labels_of(generator.find(image_source(image)), size)

        def run(tick: Tick) -> list[Row]:
            return automatic_rows(data, stills, segment, tick=tick, baselines=self.extent.baselines)

        return Part(f"automatic, {data}", len(stills), run)

    def _follow(self, data: str, movies: Iterable[Movie], tick: Tick) -> list[Row]:
        scored = [
            score_movie(
                self.predictor,
                movie,
                prompt=prompt,
                tick=tick,
                window=self.window,
                baselines=self.extent.baselines,
            )
            for movie in movies
            if movie.obj_ids
            for prompt in MEASURES
        ]
        return movie_rows(data, scored)
