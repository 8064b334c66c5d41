import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import imageio.v3 as iio
import pytest
import torch

from sam2_backbone.build import build_sam2
from sam2_backbone.training import command
from sam2_backbone.training.__main__ import main
from sam2_backbone.training.args import Stage, TrainingArgs, args_from_json
from sam2_backbone.training.batches import StepBatches
from sam2_backbone.training.command import tensorboard_writer
from sam2_backbone.training.dense import DenseHead
from sam2_backbone.training.losses import LossWeights
from sam2_backbone.training.progress import append_row, read_curves
from sam2_backbone.training.step import StepLoss
from sam2_backbone.training.trainer import Trainer, new_network
from sam2_backbone.variants import TEST_CONFIG

from .test_data import discs, write_still

MIXED = Stage(share=1.0, input_size=64, stills=2, objects=3, clips=((1, 3, 2),), clip_share=1.0)
ARGS = TrainingArgs(stages=(MIXED,), min_area=20, loader_workers=0, log_steps=1, warmup_steps=1)


def test_stages_follow_each_other() -> None:
    args = replace(ARGS, stages=(replace(MIXED, share=0.25), replace(MIXED, share=0.75)))
    assert [args.stage_at(p)[0] for p in (0.0, 0.2, 0.3, 0.99, 1.5)] == [0, 0, 1, 1, 1]


def test_every_part_learns_from_stills_and_clips() -> None:
    model = new_network(TEST_CONFIG, 0)
    for block in model.image_encoder.neck.blocks.values():  # as after the first step
        torch.nn.init.normal_(block.pointwise2.weight, std=0.01)
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
    for step in (1, 2, 3):  # the last one was reported after the checkpoint
        append_row(tmp_path / "broken" / "log.csv", step, step / 10, {"loss": float(step)})
    resumed = Trainer(TEST_CONFIG, [discs()], ARGS, tmp_path / "broken")
    resumed.resume()
    assert read_curves(tmp_path / "broken" / "log.csv") == {"loss": ([0.1, 0.2], [1.0, 2.0])}
    _steps(resumed, 2)
    assert resumed.step == 4
    for (name, a), b in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, msg=name)


def test_a_run_learns_and_exports_weights_that_open(tmp_path: Path) -> None:
    args = replace(ARGS, minutes=0.15, learning_rate=2e-3)
    # on a busy machine it takes as many steps
    trainer = Trainer(TEST_CONFIG, [discs()], args, tmp_path, timer=time.process_time)
    trainer.run()
    losses = read_curves(tmp_path / "log.csv")["loss"][1]
    assert len(losses) > 6
    assert sum(losses[-3:]) < sum(losses[:3])
    assert iio.imread(tmp_path / "curves.png").shape[0] > 300
    sheets = sorted((tmp_path / "samples").glob("step_*.png"))
    assert iio.imread(sheets[-1]).shape == (3 * 64, 8 * 64, 3)
    model = build_sam2(None, tmp_path / "weights.safetensors", device="cpu", dtype="float32")
    assert model.config == TEST_CONFIG


def test_slow_steps_are_reported_after_some_minutes(tmp_path: Path) -> None:
    args = replace(ARGS, minutes=0.02, log_steps=10**6, log_minutes=0.0)
    trainer = Trainer(TEST_CONFIG, [discs()], args, tmp_path)
    trainer.run()
    assert len(read_curves(tmp_path / "log.csv")["loss"][1]) == trainer.step


def test_the_end_of_input_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said, heard = [b"a word", b"another", b""], []
    monkeypatch.setattr(command.os, "read", lambda *_: said.pop(0))
    command._when_input_ends(lambda: heard.append(len(said)))
    assert heard == [0]


def test_resuming_nothing_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without --resume"):
        Trainer(TEST_CONFIG, [discs()], ARGS, tmp_path).resume()


def test_fine_tuning_starts_from_weights_and_spares_the_first_layers(tmp_path: Path) -> None:
    first = Trainer(TEST_CONFIG, [discs()], ARGS, tmp_path / "first")
    first.save()
    args = replace(ARGS, layer_decay=0.5, seed=3)
    start = tmp_path / "first" / "weights.safetensors"
    tuned = Trainer(TEST_CONFIG, [discs()], args, tmp_path / "tuned", start=start)
    for (name, a), b in zip(
        first.model.state_dict().items(), tuned.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3, msg=name)
    scales = [group["lr_scale"] for group in tuned.optimizer.param_groups]
    assert min(scales) < 0.5
    assert max(scales) == 1
    counted = sum(len(group["params"]) for group in tuned.optimizer.param_groups)
    assert counted == sum(1 for _ in tuned.step_loss.parameters())


def test_the_command_trains_resumes_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sam2_backbone.variants.SCRATCH_CONFIG", TEST_CONFIG)
    monkeypatch.setattr("sam2_backbone.training.args.DEFAULT_STAGES", (replace(MIXED, clips=()),))
    monkeypatch.setattr("sam2_backbone.training.args.TrainingArgs", partial(replace, ARGS))
    monkeypatch.setattr("sam2_backbone.training.args.RANDOM_TRUNK_STAGES", ARGS.stages)
    for stem in ("a", "b"):
        write_still(tmp_path / "data", stem, discs())
    run = tmp_path / "run"
    said = [str(tmp_path / "data"), "--out", str(run), "--workers", "0", "--threads", "1"]
    said += ["--trunk", "random"]
    assert main([*said, "--minutes", "0.02"]) == 0
    assert main([*said, "--minutes", "0.03"]) == 1
    assert "--resume" in capsys.readouterr().err
    before = (run / "log.csv").read_text().count("loss")
    # the run knows its recipe: only what is to change is said again
    assert main([*said[:-2], "--minutes", "0.06", "--resume"]) == 0
    assert (run / "log.csv").read_text().count("loss") > before
    assert args_from_json((run / "args.json").read_text()) == replace(
        ARGS, minutes=0.06, loader_workers=0, learning_rate=8e-4
    )
    assert main([*said, "--minutes", "0.02", "--overwrite"]) == 0
    steps = [int(line.split(",")[0]) for line in (run / "log.csv").read_text().splitlines()]
    assert steps == sorted(steps)  # the earlier run's are gone
    # weights that somebody keeps there are not replaced either
    for name in ("checkpoint.pt", "log.csv", "args.json", "curves.png"):
        (run / name).unlink()
    kept = (run / "weights.safetensors").read_bytes()
    assert main([*said, "--minutes", "0.02"]) == 1
    assert main([*said, "--resume"]) == 1
    assert "no checkpoint.pt" in capsys.readouterr().err
    assert (run / "weights.safetensors").read_bytes() == kept


def test_curves_for_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: Path) -> None:
            assert folder == tmp_path / "tensorboard"

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            written.append(("flushed", 0.0, 0))

    board = ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    trainer = Trainer(TEST_CONFIG, [discs()], replace(ARGS, minutes=0.01), tmp_path)
    trainer.on_report = tensorboard_writer(tmp_path)
    trainer.run()
    assert {"loss", "click", "norm"} <= {name for name, _, _ in written}
    assert max(step for _, _, step in written) == trainer.step
    monkeypatch.setattr("sam2_backbone.training.command.find_spec", lambda name: None)
    kept = (tmp_path / "weights.safetensors").read_bytes()
    assert main([str(tmp_path), "--out", str(tmp_path), "--overwrite", "--tensorboard"]) == 1
    assert (tmp_path / "weights.safetensors").read_bytes() == kept


@pytest.mark.slow
def test_two_processes_average_their_gradients(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_TWO_PROCESSES)
    for rank, run in enumerate(
        [
            subprocess.Popen(
                [sys.executable, str(script), str(tmp_path / "out")],
                env={
                    **os.environ,
                    "WORLD_SIZE": "2",
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": "29517",
                    "ACCELERATE_USE_CPU": "true",
                    "OMP_NUM_THREADS": "1",
                },
            )
            for rank in range(2)
        ]
    ):
        assert run.wait(timeout=300) == 0, rank
    first, second = (torch.load(tmp_path / f"out{rank}.pt") for rank in range(2))
    assert all(torch.equal(a, second[name]) for name, a in first.items() if "running" not in name)


_TWO_PROCESSES = f"""
import sys
from pathlib import Path
import torch
from dataclasses import replace
from functools import partial
from sam2_backbone.training.engine import choose_engine
from sam2_backbone.training.trainer import Trainer
from sam2_backbone.variants import TEST_CONFIG
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from training.test_trainer import ARGS
from training.test_data import discs
engine = choose_engine("cpu")
args = replace(ARGS, minutes=0.3)
trainer = Trainer(TEST_CONFIG, [discs()], args, Path(sys.argv[1]), engine=engine)
trainer.run()
assert trainer.step > 0
torch.save(trainer.model.state_dict(), f"{{sys.argv[1]}}{{engine.rank}}.pt")
"""
