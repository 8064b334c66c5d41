"""The training loop: stages, schedule, averaged weights, checkpoints that resume to the step."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import Tensor, nn

from sam2_backbone.checkpoint import load_weights, read_weights, save_weights
from sam2_backbone.config import SAM2Config
from sam2_backbone.modeling.sam2 import (
    MASK_PROMPT_BIAS,
    MASK_PROMPT_SCALE,
    SAM2,
)
from sam2_backbone.training.args import Stage, TrainingArgs
from sam2_backbone.training.batches import StepBatch, iterate
from sam2_backbone.training.data import LabelledSequence
from sam2_backbone.training.dense import DenseHead
from sam2_backbone.training.depthwise import differentiate_depthwise_in_float32
from sam2_backbone.training.engine import Engine, OneDevice
from sam2_backbone.training.pretrained import load_pretrained_trunk
from sam2_backbone.training.progress import Means, append_row, draw_curves, forget_rows_after
from sam2_backbone.training.samples import SampleSheet
from sam2_backbone.training.step import StepLoss, StepResult

_log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
EXPORT = "weights.safetensors"
LOG = "log.csv"
ARGS = "args.json"
CURVES = "curves.png"
RUN_FILES = (CHECKPOINT, EXPORT, LOG, ARGS, CURVES)


def new_network(config: SAM2Config, seed: int) -> SAM2:
    """Return a network at its first step."""
    torch.manual_seed(seed)
    model = SAM2(config)
    with torch.no_grad():  # a mask prompt starts as the logits that it stands for
        model.mask_to_prompt.weight.fill_(MASK_PROMPT_SCALE / model.mask_to_prompt.weight.numel())
        assert model.mask_to_prompt.bias is not None
        model.mask_to_prompt.bias.fill_(MASK_PROMPT_BIAS)
    return model


def parameter_groups(
    parts: Sequence[nn.Module], trunk: nn.Module, *, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Group parameters for the optimizer.

    Weight decay acts on matrices and kernels, not on biases, norms, tokens and embeddings. With a
    `layer_decay` below 1 the trunk's earlier layers learn more slowly (`lr_scale` of a group).
    """
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    apart = {id(p) for p in trunk.parameters()} if layer_decay < 1 else set()
    embeddings = {
        id(p)
        for part in parts
        for m in part.modules()
        if isinstance(m, nn.Embedding)
        for p in m.parameters()
    }
    for part in parts:
        for parameter in part.parameters():
            if id(parameter) not in apart:
                plain = parameter.ndim < 2 or id(parameter) in embeddings
                (others if plain else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": others, "weight_decay": 0.0, "lr_scale": 1.0},
    ]
    if apart:
        groups += param_groups_layer_decay(trunk, weight_decay, layer_decay=layer_decay)
    return groups


class Trainer:
    """Trains one network in a run folder.

    Parameters
    ----------
    config
        The network; its `input_size` is that of the exported weights.
    sequences
        Labelled images and videos.
    args
        Recipe. The schedule follows the minutes trained, so that a slower machine does fewer
        steps of the same course.
    out
        Run folder: `checkpoint.pt`, `weights.safetensors`, `log.csv`, `curves.png`, `args.json`
        and `samples/`.
    engine
        One device or several.
    start
        Weights to start from, for fine-tuning; None starts at random, but for the trunk if
        `args.pretrained_trunk` is set.
    timer
        Seconds that count as trained; `time.process_time` to compare recipes on a busy machine.
    """

    def __init__(
        self,
        config: SAM2Config,
        sequences: Sequence[LabelledSequence],
        args: TrainingArgs,
        out: Path,
        *,
        bfloat16: bool = False,
        engine: Engine | None = None,
        start: Path | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timer = timer
        self.config, self.sequences, self.args, self.out = config, sequences, args, out
        self.engine = engine or OneDevice("cpu")
        out.mkdir(parents=True, exist_ok=True)
        self.model = new_network(config, args.seed)
        if start is not None:
            load_weights(self.model, read_weights(start))
        elif args.pretrained_trunk:
            load_pretrained_trunk(self.model.image_encoder.trunk, config.trunk.timm_name)
        self.model.image_encoder.to(memory_format=torch.channels_last)
        self.dense_head = DenseHead(config.hidden_dim)
        step_loss = StepLoss(
            self.model,
            self.dense_head,
            weights=args.losses,
            autocast=torch.bfloat16 if bfloat16 else None,
        )
        self.step_loss = self.engine.prepare(step_loss)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        differentiate_depthwise_in_float32(self.model.image_encoder)
        groups = parameter_groups(
            (self.model, self.dense_head),
            self.model.image_encoder.trunk,
            weight_decay=args.weight_decay,
            layer_decay=args.layer_decay,
        )
        self.optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, fused=True)
        self.parameters = [p for group in groups for p in group["params"]]
        self.samples = SampleSheet(sequences, config.input_size, seed=args.seed)
        self.step = 0
        self.minutes = 0.0
        self.stopped = False
        self.on_step: Callable[[], object] | None = None
        """Called after every step."""
        self.on_report: Callable[[int, dict[str, float]], object] | None = None
        """Called with the step and the means of what was measured since the last call."""
        self.means = Means()

    # checkpoints

    def save(self) -> None:
        """Write the checkpoint and the averaged weights; an interrupted write loses nothing."""
        if self.engine.rank > 0:
            return
        state = {
            "model": self.model.state_dict(),
            "dense_head": self.dense_head.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
        }
        temporary = self.out / (CHECKPOINT + ".part")
        torch.save(state, temporary)
        os.replace(temporary, self.out / CHECKPOINT)
        exported = self.out / ("new-" + EXPORT)
        save_weights(self.average, exported)
        os.replace(exported, self.out / EXPORT)
        draw_curves(self.out / LOG, self.out / CURVES)
        self.samples.draw(self.average, self.out / "samples" / f"step_{self.step:06d}.png")

    def resume(self) -> None:
        """Continue from the run folder's checkpoint."""
        path = self.out / CHECKPOINT
        if not path.exists():
            raise ValueError(f"{path} does not exist: start the run without --resume")
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.dense_head.load_state_dict(state["dense_head"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["fused"] = True
        self.step, self.minutes = int(state["step"]), float(state["minutes"])
        if self.engine.rank == 0:
            forget_rows_after(self.out / LOG, self.step)

    # the loop

    def run(self) -> None:
        """Train until the minutes are used up, or `stopped` is set; then save."""
        if self.engine.rank == 0:
            (self.out / ARGS).write_text(json.dumps(asdict(self.args), indent=1))
        saved = reported = self.minutes
        while self.minutes < self.args.minutes and not self.stopped:
            index, stage = self.args.stage_at(self.minutes / self.args.minutes)
            self._prepare(stage)
            _log.info("step %d: stage %d, %s", self.step, index, stage)
            clock = self.timer()
            batches = iterate(self.sequences, stage, index, self.args, self.step, self.engine.rank)
            for batch in batches:
                waited = self.timer() - clock
                self._train(batch, stage)
                spent = self.timer() - clock
                clock += spent
                self.means.add("step_seconds", spent)
                self.means.add("waiting_seconds", waited)
                # all processes follow the first one's clock, and end together
                self.minutes = self.engine.agree(self.minutes + spent / 60)
                self.stopped = bool(self.engine.agree(float(self.stopped)))
                late = self.minutes - reported > self.args.log_minutes
                if late or self.step % self.args.log_steps == 0:
                    self._report()
                    reported = self.minutes
                if self.on_step is not None:
                    self.on_step()
                if self.minutes - saved > self.args.checkpoint_minutes:
                    self.save()
                    saved, clock = self.minutes, self.timer()
                progress = self.minutes / self.args.minutes
                if self.stopped or progress >= 1 or self.args.stage_at(progress)[0] != index:
                    break
        self.save()

    def _prepare(self, stage: Stage) -> None:
        self.model.train()
        self.dense_head.train()
        size = replace(self.config, input_size=stage.input_size)
        _set_size(self.model, size)
        if stage.freeze_norm:
            for module in self.model.image_encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def _train(self, batch: StepBatch, stage: Stage) -> None:
        seed = (self.args.seed * 1_000_003 + batch.step) * 1_009 + self.engine.rank
        generator = torch.Generator().manual_seed(seed)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate() * group["lr_scale"]
        result: StepResult = self.step_loss(
            batch.stills,
            batch.clips,
            corrections=stage.corrections,
            prompts=stage.prompts,
            generator=generator,
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.engine.backward(result.loss)
        norm = self.engine.clip(self.parameters, self.args.clip_gradient)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
        self.step += 1
        self._update_average()
        self._note(batch, result, float(norm))

    def _rate(self) -> float:
        progress = min(self.minutes / self.args.minutes, 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        floor = self.args.final_rate
        warm = min(1.0, (self.step + 1) / self.args.warmup_steps)
        return self.args.learning_rate * warm * (floor + (1 - floor) * cosine)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.args.ema_decay, (1 + self.step) / (10 + self.step))
        current, average = self.model.state_dict(), self.average.state_dict()
        names = [name for name, value in average.items() if value.is_floating_point()]
        torch._foreach_lerp_([average[n] for n in names], [current[n] for n in names], 1 - decay)
        for name in average.keys() - set(names):
            average[name].copy_(current[name])

    def _note(self, batch: StepBatch, result: StepResult, norm: float) -> None:
        for name, (total, count) in result.measured.items():
            self.means.add(name, total, count)
        self.means.add("loss", float(result.loss.detach()))
        self.means.add("norm", norm)
        self.means.add("images", batch.num_images)
        self.means.add("data_seconds", batch.seconds)

    def _report(self) -> None:
        means = self.means.take()
        if self.engine.rank > 0:
            return
        text = " ".join(f"{name} {value:.3f}" for name, value in sorted(means.items()))
        _log.info("step %d, %.1f min: %s", self.step, self.minutes, text)
        append_row(self.out / LOG, self.step, self.minutes, means)
        if self.on_report is not None:
            self.on_report(self.step, means)


def _set_size(model: SAM2, config: SAM2Config) -> None:
    """Let the network take crops of another size: no weight depends on it."""
    model.config = config
    model.prompt_encoder.input_size = config.input_size
    model.prompt_encoder.low_res_size = config.low_res_size
    model.prompt_encoder.embedding_size = config.embedding_size
