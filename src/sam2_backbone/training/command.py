"""The options of the training command, and the run that they ask for."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

if TYPE_CHECKING:
    from sam2_backbone.config import SAM2Config
    from sam2_backbone.training.args import TrainingArgs
    from sam2_backbone.training.trainer import Trainer

ABOUT = "train micro on labelled images and videos, or fine-tune it"
EPILOG = """\
DATA holds folders with images/ beside masks/ of equal file names (label images), at any depth.
File names that are plain numbers are the frames of a video. Where folders are named train and dev,
only train is read. An index.csv beside images/ with the columns id, modality names kinds of stills;
kinds are balanced against each other.

The run folder gets checkpoint.pt, weights.safetensors (averaged, ready to use), log.csv, args.json,
curves.png, and samples/ with the same crops from time to time: truth green, answer magenta.

several GPUs: accelerate launch -m sam2_backbone.training DATA --out RUN"""
DEFAULT_MINUTES = 60.0
FINE_TUNING_RATE, FINE_TUNING_DECAY = 2e-4, 0.9
PRETRAINED_DECAY = 0.96


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with data sets")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="run folder")
    parser.add_argument(
        "--minutes", type=_number_where(lambda n: n > 0, "above 0"), help="length of the run (60)"
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out from its last checkpoint, by its own recipe; --minutes "
        "may make it longer",
    )
    begin.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the run that --out holds, but for samples/, and begin anew",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="fine-tune from these weights; the word default: from the embedded ones",
    )
    parser.add_argument(
        "--trunk",
        choices=("imagenet", "random"),
        default="imagenet",
        help="without --weights: EfficientNet-Lite2 that starts from ImageNet (extra `train`), "
        "or RepViT-M0.9 from nothing (imagenet)",
    )
    parser.add_argument("--variant", choices=("micro",), default="micro", help="what to train")
    parser.add_argument(
        "--device", type=device_name, default="auto", help="auto, cpu, cuda, mps (auto)"
    )
    parser.add_argument(
        "--float32", action="store_true", help="no bfloat16, even where the device has it"
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="the curves for TensorBoard too, in RUN/tensorboard; needs the package tensorboard",
    )
    _add_recipe(parser)
    parser.add_argument(
        "--until-input-ends",
        action="store_true",
        help="stop, as on Ctrl+C, once standard input ends: for a program that starts a run and "
        "may end before it",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="threads of the CPU; 0: all (0)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that draw batches (1); 0: none"
    )


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options that change the recipe."""
    share = _number_where(lambda n: 0 <= n <= 1, "from 0 to 1")
    parser.add_argument(
        "--rate",
        type=_number_where(lambda n: 0 < n < 1, "between 0 and 1"),
        help=f"highest learning rate (that of the recipe; fine-tuning: {FINE_TUNING_RATE:g})",
    )
    parser.add_argument(
        "--favour",
        metavar="KIND=FACTOR",
        type=_favoured,
        action="append",
        default=[],
        help="draw a kind of images that many times more often; may be given for several kinds",
    )
    parser.add_argument(
        "--plain",
        metavar="SHARE",
        type=share,
        help="this share of the still crops is not inverted, coloured, blurred or made noisy: for "
        "the last run of a network that has become robust (0)",
    )
    parser.add_argument(
        "--clips",
        metavar="SHARE",
        type=share,
        help="share of the steps that have clips, where the recipe has some (that of the recipe)",
    )
    parser.add_argument(
        "--dice",
        metavar="WEIGHT",
        type=_number_where(lambda n: 0 <= n < math.inf, "from 0 on"),
        help="weight of the dice loss, which counts small objects like large ones (that of the "
        "recipe)",
    )


def device_name(text: str) -> str:
    """Return what names a device, be it here or not; the type of an option.

    Raises
    ------
    argparse.ArgumentTypeError
        If it names none.
    """
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        return text
    raise argparse.ArgumentTypeError(f"expected auto, cpu, mps, cuda or cuda:1, got {text!r}")


def _number(text: str) -> float:
    """Return a number, NaN where there is none: it fails every comparison."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _favoured(text: str) -> tuple[str, float]:
    kind, _, factor = text.rpartition("=")
    number = _number(factor)
    if not kind or not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected KIND=FACTOR, like nuclei=2, got {text!r}")
    return kind, number


def _number_where(is_allowed: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    """Return the type of an option that is a number with a condition."""

    def parse(text: str) -> float:
        number = _number(text)
        if not is_allowed(number):
            raise argparse.ArgumentTypeError(f"expected a number {expected}, got {text!r}")
        return number

    return parse


def run_training(chosen: argparse.Namespace) -> None:
    """Train as the options say, until the minutes are used up or the run is interrupted.

    Raises
    ------
    ValueError
        If there is nothing to train on, or to resume.
    FileExistsError
        If a run is in the way.
    """
    import torch

    from sam2_backbone.device import resolve_dtype
    from sam2_backbone.training.data import read_tree
    from sam2_backbone.training.engine import choose_engine
    from sam2_backbone.training.trainer import Trainer

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    engine = choose_engine(chosen.device)
    if chosen.tensorboard and find_spec("tensorboard") is None:
        raise ValueError("--tensorboard needs the package tensorboard: install it")
    start = None if chosen.resume else _start(chosen.weights)
    if not chosen.resume and engine.rank == 0:
        _make_room(chosen.out, overwrite=chosen.overwrite)
    config, args = _resumed(chosen) if chosen.resume else _begun(chosen, start)
    native = resolve_dtype("auto", engine.device) is torch.bfloat16
    trainer = Trainer(
        config,
        read_tree(chosen.data),
        args,
        chosen.out,
        bfloat16=native and not chosen.float32,
        engine=engine,
        start=start,
    )
    if chosen.resume:
        trainer.resume()
    if chosen.tensorboard and engine.rank == 0:
        trainer.on_report = tensorboard_writer(chosen.out)

    def stop(*_: object) -> None:
        trainer.stopped = True  # the step is finished and saved

    if chosen.until_input_ends:
        threading.Thread(target=_when_input_ends, args=(stop,), daemon=True).start()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with _bar(trainer):
            trainer.run()
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def tensorboard_writer(out: Path) -> Callable[[int, dict[str, float]], None]:
    """Return what writes the means of a run for TensorBoard, into its folder."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(out / "tensorboard")

    def write(step: int, means: dict[str, float]) -> None:
        for name, value in means.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return write


def _when_input_ends(then: Callable[[], None]) -> None:
    """Wait until whoever started this process ends its input, or ends itself."""
    while os.read(0, 1024):  # not sys.stdin, whose lock a daemon thread would keep to the end
        pass
    then()


@contextmanager
def _bar(trainer: Trainer) -> Iterator[None]:
    """Show on a terminal how much of the run is done; what is logged stands above."""
    total = round(60 * trainer.args.minutes)
    wanted = None if trainer.engine.rank == 0 else True  # None: tqdm looks for a terminal itself
    with (
        tqdm(total=total, desc="Training", unit="s", leave=False, disable=wanted) as bar,
        logging_redirect_tqdm(),
    ):
        trainer.on_step = lambda: bar.update(min(round(60 * trainer.minutes), total) - bar.n)
        yield


def _make_room(out: Path, *, overwrite: bool) -> None:
    """Delete an earlier run's files if that is wished, else refuse where there are some."""
    from sam2_backbone.training.trainer import RUN_FILES

    known = [out / name for name in RUN_FILES if (out / name).exists()]
    if known and not overwrite:
        raise FileExistsError(
            f"{known[0]} exists: add --resume to go on with that run, --overwrite to begin anew, "
            "or give another --out"
        )
    for path in known:
        path.unlink()
    shutil.rmtree(out / "tensorboard", ignore_errors=True)


def _begun(chosen: argparse.Namespace, start: Path | None) -> tuple[SAM2Config, TrainingArgs]:
    """Return network and recipe of a new run."""
    from sam2_backbone.checkpoint import read_weights, recognise_config
    from sam2_backbone.variants import MICRO_CONFIG, SCRATCH_CONFIG

    if start is not None:  # a run of either trunk can be fine-tuned
        config = recognise_config(read_weights(start))
    else:
        config = MICRO_CONFIG if chosen.trunk == "imagenet" else SCRATCH_CONFIG
    return config, training_args(chosen)


def _resumed(chosen: argparse.Namespace) -> tuple[SAM2Config, TrainingArgs]:
    """Return network and recipe of the run that is there."""
    from sam2_backbone.checkpoint import read_weights, recognise_config
    from sam2_backbone.training.args import args_from_json
    from sam2_backbone.training.trainer import ARGS, CHECKPOINT, EXPORT

    missing = [name for name in (CHECKPOINT, EXPORT, ARGS) if not (chosen.out / name).is_file()]
    if missing:
        raise ValueError(
            f"{chosen.out} has no {missing[0]}, so there is no run to go on with: start it without "
            "--resume"
        )
    args = args_from_json((chosen.out / ARGS).read_text(encoding="utf-8"))
    args = replace(args, loader_workers=chosen.workers)
    if chosen.minutes is not None:
        args = replace(args, minutes=chosen.minutes)
    return recognise_config(read_weights(chosen.out / EXPORT)), args


def training_args(chosen: argparse.Namespace) -> TrainingArgs:
    """Return the recipe that the options ask for."""
    from sam2_backbone.training.args import (
        FINE_TUNING_STAGES,
        RANDOM_TRUNK_STAGES,
        TrainingArgs,
    )

    args = replace(
        TrainingArgs(),
        minutes=DEFAULT_MINUTES if chosen.minutes is None else chosen.minutes,
        seed=chosen.seed,
        loader_workers=chosen.workers,
        favoured=tuple(chosen.favour),
    )
    if chosen.weights is not None:
        args = replace(
            args,
            stages=FINE_TUNING_STAGES,
            learning_rate=FINE_TUNING_RATE,
            layer_decay=FINE_TUNING_DECAY,
        )
    elif chosen.trunk == "random":
        args = replace(args, stages=RANDOM_TRUNK_STAGES, learning_rate=8e-4)
    else:
        args = replace(args, pretrained_trunk=True, layer_decay=PRETRAINED_DECAY)
    if chosen.rate is not None:
        args = replace(args, learning_rate=chosen.rate)
    if chosen.dice is not None:
        args = replace(args, losses=replace(args.losses, dice=chosen.dice))
    said = {"plain_share": chosen.plain, "clip_share": chosen.clips}
    changes = {name: share for name, share in said.items() if share is not None}
    return replace(args, stages=tuple(replace(stage, **changes) for stage in args.stages))


def _start(weights: str | None) -> Path | None:
    if weights is None:
        return None
    from sam2_backbone.build import default_weights

    return default_weights("micro") if weights == "default" else Path(weights)
