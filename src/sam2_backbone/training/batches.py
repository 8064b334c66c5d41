"""Batches for each step of a stage, drawn in worker processes from the step's own seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sam2_backbone.training.args import Stage, TrainingArgs
from sam2_backbone.training.data import CropDrawer, LabelledSequence
from sam2_backbone.training.prompt_sampler import ObjectPrompts, choose_objects, stack_prompts
from sam2_backbone.training.step import BOX, CLICK, MASK, ClipBatch, StillBatch
from sam2_backbone.training.synthetic import ClipMaker, MotionRange


@dataclass(frozen=True)
class StepBatch:
    """What one step is computed on, and how long it took to draw."""

    step: int
    stills: StillBatch | None
    clips: ClipBatch | None
    seconds: float = 0.0

    @property
    def num_images(self) -> int:
        """Stills and frames of clips."""
        stills = 0 if self.stills is None else self.stills.images.shape[0]
        return stills + (0 if self.clips is None else self.clips.images.shape[:2].numel())


class StepBatches(Dataset[StepBatch]):
    """The batch of each step; a pure function of the seed, the stage, the step and the rank."""

    def __init__(
        self,
        sequences: Sequence[LabelledSequence],
        stage: Stage,
        stage_index: int,
        args: TrainingArgs,
        rank: int = 0,
    ) -> None:
        self.rank = rank
        self.stage = stage
        self.stage_index = stage_index
        self.args = args
        self.drawer, self.far_drawer, followed = (
            CropDrawer(
                sequences,
                size=stage.input_size,
                zoom=zoom,
                favoured=args.favoured,
                plain_share=stage.plain_share,
                coarsest_grain=stage.coarsest_grain,
            )
            for zoom in (stage.zoom, stage.far_zoom, stage.clip_zoom)
        )
        lengths = {num_frames for _, num_frames, _ in stage.clips}
        self.clips = {n: ClipMaker(followed, MotionRange().over(n)) for n in lengths}

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, step: int) -> StepBatch:
        torch.set_num_threads(1)  # the cores belong to the network
        began = time.perf_counter()
        seed = (self.args.seed, self.stage_index, step, self.rank)
        rng = np.random.default_rng(seed)
        stills = self._stills(rng) if self.stage.stills else None
        clips = None
        if self.stage.clips and rng.random() < self.stage.clip_share:
            shape = self.stage.clips[rng.integers(len(self.stage.clips))]
            clips = self._clips(rng, *shape)
        return StepBatch(step, stills, clips, time.perf_counter() - began)

    def _stills(self, rng: np.random.Generator) -> StillBatch:
        stage, args = self.stage, self.args
        drawn = [
            (self.far_drawer if rng.random() < stage.far_share else self.drawer).draw(rng)
            for _ in range(stage.stills)
        ]
        prompts = [
            choose_objects(
                rng,
                crop.labels.numpy(),
                count=stage.objects,
                min_area=args.min_area,
                always=crop.obj_id,
            )
            for crop in drawn
        ]
        rows, obj_ids, clicks, boxes = stack_prompts(prompts)
        beyond = [
            drawn[row].beyond.get(obj_id, 0.0)
            for row, obj_id in zip(rows.tolist(), obj_ids.tolist(), strict=True)
        ]
        # the same number of each kind in every step: shapes that come back are compiled once
        boxes_asked, masks_asked = (
            round(share * len(rows)) for share in (args.box_share, args.mask_share)
        )
        kinds = np.full(len(rows), CLICK)
        kinds[:boxes_asked] = BOX
        kinds[boxes_asked : boxes_asked + masks_asked] = MASK
        kinds = rng.permutation(kinds)
        return StillBatch(
            images=torch.stack([to_bytes(crop.image) for crop in drawn]),
            labels=torch.stack([crop.labels for crop in drawn]),
            complete=torch.tensor([crop.complete for crop in drawn]),
            rows=rows,
            obj_ids=obj_ids,
            clicks=clicks,
            boxes=boxes,
            kinds=torch.from_numpy(kinds),
            beyond=torch.tensor(beyond),
        )

    def _clips(
        self, rng: np.random.Generator, count: int, num_frames: int, objects: int
    ) -> ClipBatch:
        prompts: list[ObjectPrompts] = []
        images: list[Tensor] = []
        labels: list[Tensor] = []
        complete: list[bool] = []
        while len(images) < count:
            clip = self.clips[num_frames].draw(rng, num_frames)
            chosen = choose_objects(
                rng,
                clip.labels[0].numpy(),
                count=objects,
                min_area=self.args.min_area,
                always=clip.obj_id,
            )
            if len(chosen.obj_ids):
                prompts.append(chosen)
                images.append(to_bytes(clip.images))
                labels.append(clip.labels)
                complete.append(clip.complete)
        rows, obj_ids, clicks, boxes = stack_prompts(prompts)
        correct_at = int(rng.integers(1, num_frames)) if rng.random() < 0.3 else None
        return ClipBatch(
            images=torch.stack(images),
            labels=torch.stack(labels),
            complete=torch.tensor(complete),
            rows=rows,
            obj_ids=obj_ids,
            clicks=clicks,
            boxes=boxes,
            kind=int(rng.choice((CLICK, BOX, MASK), p=(0.35, 0.2, 0.45))),
            correct_at=correct_at,
        )


def to_bytes(image: Tensor) -> Tensor:
    """Return uint8 from 0…1."""
    return (image * 255).round().to(torch.uint8)


def iterate(
    sequences: Sequence[LabelledSequence],
    stage: Stage,
    stage_index: int,
    args: TrainingArgs,
    first_step: int,
    rank: int = 0,
) -> Iterator[StepBatch]:
    """Yield the batches of a stage from `first_step` on, without end."""
    batches = StepBatches(sequences, stage, stage_index, args, rank)
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first_step, len(batches)),
        num_workers=args.loader_workers,
        prefetch_factor=4 if args.loader_workers else None,
    )
    yield from loader
