from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sam2_backbone.build import build_sam2
from sam2_backbone.training.args import Stage, TrainingArgs
from sam2_backbone.training.batches import StepBatches
from sam2_backbone.training.dense import DenseHead
from sam2_backbone.training.losses import LossWeights
from sam2_backbone.training.step import StepLoss
from sam2_backbone.training.trainer import Trainer, new_network
from sam2_backbone.variants import TEST_CONFIG

from .test_data import discs

MIXED = Stage(share=1.0, input_size=64, stills=2, objects=3, clips=((1, 3, 2),), clip_share=1.0)
ARGS = TrainingArgs(stages=(MIXED,), min_area=20, loader_workers=0, log_steps=1, warmup_steps=1)


def test_stages_follow_each_other() -> None:
    args = replace(ARGS, stages=(replace(MIXED, share=0.25), replace(MIXED, share=0.75)))
    assert [args.stage_at(p)[0] for p in (0.0, 0.2, 0.3, 0.99, 1.5)] == [0, 0, 1, 1, 1]


def test_every_part_learns_from_stills_and_clips() -> None:
    model = new_network(TEST_CONFIG, 0)
    head = DenseHead(TEST_CONFIG.hidden_dim)
    step_loss = StepLoss(model, head, weights=LossWeights(), autocast=None)
    long_clips = replace(MIXED, clips=((1, 6, 4),))  # long enough to recall an absent object
    batches = StepBatches([discs()], long_clips, 0, ARGS)
    seen: set[str] = set()
    for index in range(8):
        batch = batches[index]
        result = step_loss(
            batch.stills,
            batch.clips,
            corrections=1,
            prompts=True,
            generator=torch.Generator().manual_seed(index),
        )
        torch.autograd.backward(result.loss)
        seen |= set(result.measured)
    assert {"click", "click+1", "box", "track", "dense"} <= seen
    idle = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.any())
    ]
    # drawn prompts take the place of the missing mask, and absence is not gated
    assert {n for n in idle if "trunk" not in n} <= {
        "prompt_encoder.no_mask.weight",
        "no_object_memory",
    }


def test_a_batch_depends_on_its_step_alone() -> None:
    first, again = (StepBatches([discs()], MIXED, 0, ARGS)[5] for _ in range(2))
    assert first.stills is not None
    assert again.stills is not None
    assert torch.equal(first.stills.images, again.stills.images)
    assert torch.equal(first.stills.clicks, again.stills.clicks)
    assert first.clips is not None
    assert again.clips is not None
    assert torch.equal(first.clips.images, again.clips.images)


def _steps(trainer: Trainer, count: int) -> None:
    trainer._prepare(MIXED)
    batches = StepBatches([discs()], MIXED, 0, ARGS)
    for _ in range(count):
        trainer._train(batches[trainer.step], MIXED)


def test_a_resumed_run_takes_the_same_steps(tmp_path: Path) -> None:
    whole = Trainer(TEST_CONFIG, [discs()], ARGS, tmp_path / "whole")
    _steps(whole, 4)
    broken = Trainer(TEST_CONFIG, [discs()], ARGS, tmp_path / "broken")
    _steps(broken, 2)
    broken.save()
    resumed = Trainer(TEST_CONFIG, [discs()], ARGS, tmp_path / "broken")
    resumed.resume()
    _steps(resumed, 2)
    assert resumed.step == 4
    for (name, a), b in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, msg=name)


def test_a_run_learns_and_exports_weights_that_open(tmp_path: Path) -> None:
    args = replace(ARGS, minutes=0.15, learning_rate=2e-3)
    trainer = Trainer(TEST_CONFIG, [discs()], args, tmp_path)
    trainer.run()
    rows = [r.split(",") for r in (tmp_path / "log.csv").read_text().splitlines()]
    losses = [float(value) for _, _, name, value in rows if name == "loss"]
    assert len(losses) > 6
    assert sum(losses[-3:]) < sum(losses[:3])
    model = build_sam2(None, tmp_path / "weights.safetensors", device="cpu", dtype="float32")
    assert model.config == TEST_CONFIG


def test_resuming_nothing_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without --resume"):
        Trainer(TEST_CONFIG, [discs()], ARGS, tmp_path).resume()
