"""The training loop: stages, schedule, averaged weights, checkpoints that resume to the step."""

from __future__ import annotations

import copy
import csv
import json
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sam2_backbone.checkpoint import save_weights
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
from sam2_backbone.training.step import StepLoss, StepResult

_log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
EXPORT = "weights.safetensors"


def new_network(config: SAM2Config, seed: int) -> SAM2:
    """Return a network at its first step."""
    torch.manual_seed(seed)
    model = SAM2(config)
    with torch.no_grad():  # a mask prompt starts as the logits that it stands for
        model.mask_to_prompt.weight.fill_(MASK_PROMPT_SCALE / model.mask_to_prompt.weight.numel())
        assert model.mask_to_prompt.bias is not None
        model.mask_to_prompt.bias.fill_(MASK_PROMPT_BIAS)
    return model


def parameter_groups(parts: Sequence[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices and kernels, none on biases, norms, tokens and embeddings."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    embeddings = {
        id(p)
        for part in parts
        for m in part.modules()
        if isinstance(m, nn.Embedding)
        for p in m.parameters()
    }
    for part in parts:
        for parameter in part.parameters():
            plain = parameter.ndim < 2 or id(parameter) in embeddings
            (others if plain else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


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
        Run folder: `checkpoint.pt`, `weights.safetensors`, `log.csv`, `args.json`.
    """

    def __init__(
        self,
        config: SAM2Config,
        sequences: Sequence[LabelledSequence],
        args: TrainingArgs,
        out: Path,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.config, self.sequences, self.args, self.out = config, sequences, args, out
        out.mkdir(parents=True, exist_ok=True)
        self.model = new_network(config, args.seed)
        self.model.image_encoder.to(memory_format=torch.channels_last)
        self.dense_head = DenseHead(config.hidden_dim)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        parts = (self.model, self.dense_head)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(parts, args.weight_decay), lr=args.learning_rate, fused=True
        )
        self.parameters = [p for part in parts for p in part.parameters()]
        self.step_loss = StepLoss(
            self.model,
            self.dense_head,
            weights=args.losses,
            autocast=torch.bfloat16 if bfloat16 else None,
        )
        self.step = 0
        self.minutes = 0.0
        self.stopped = False
        self._measured: dict[str, tuple[float, int]] = {}

    # checkpoints

    def save(self) -> None:
        """Write the checkpoint and the averaged weights; an interrupted write loses nothing."""
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

    # the loop

    def run(self) -> None:
        """Train until the minutes are used up, or `stopped` is set; then save."""
        (self.out / "args.json").write_text(json.dumps(asdict(self.args), indent=1))
        saved = self.minutes
        while self.minutes < self.args.minutes:
            index, stage = self.args.stage_at(self.minutes / self.args.minutes)
            self._prepare(stage)
            _log.info("step %d: stage %d, %s", self.step, index, stage)
            clock = time.monotonic()
            for batch in iterate(self.sequences, stage, index, self.args, self.step):
                self._train(batch, stage)
                now = time.monotonic()
                self.minutes += (now - clock) / 60
                clock = now
                if self.step % self.args.log_steps == 0:
                    self._report()
                if self.minutes - saved > self.args.checkpoint_minutes:
                    self.save()
                    saved = self.minutes
                progress = self.minutes / self.args.minutes
                if self.stopped or progress >= 1 or self.args.stage_at(progress)[0] != index:
                    break
            if self.stopped:
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
        generator = torch.Generator().manual_seed(self.args.seed * 1_000_003 + batch.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        result = self.step_loss(
            batch.stills,
            batch.clips,
            corrections=stage.corrections,
            prompts=stage.prompts,
            generator=generator,
        )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(result.loss)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.args.clip_gradient)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
        self.step += 1
        self._update_average()
        self._note(result, float(norm))

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

    def _note(self, result: StepResult, norm: float) -> None:
        measured = {**result.measured, "loss": (float(result.loss.detach()), 1), "norm": (norm, 1)}
        for name, (total, count) in measured.items():
            before = self._measured.get(name, (0.0, 0))
            self._measured[name] = (before[0] + total, before[1] + count)

    def _report(self) -> None:
        means = {k: total / max(count, 1) for k, (total, count) in self._measured.items()}
        self._measured = {}
        text = " ".join(f"{name} {value:.3f}" for name, value in sorted(means.items()))
        _log.info("step %d, %.1f min: %s", self.step, self.minutes, text)
        with (self.out / "log.csv").open("a", newline="") as table:
            writer = csv.writer(table)
            for name, value in sorted(means.items()):
                writer.writerow((self.step, f"{self.minutes:.3f}", name, f"{value:.5f}"))


def _set_size(model: SAM2, config: SAM2Config) -> None:
    """Let the network take crops of another size: no weight depends on it."""
    model.config = config
    model.prompt_encoder.input_size = config.input_size
    model.prompt_encoder.low_res_size = config.low_res_size
    model.prompt_encoder.embedding_size = config.embedding_size
