"""The command `python -m sam2_backbone.training`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sam2_backbone.device import resolve_dtype
from sam2_backbone.training.args import TrainingArgs
from sam2_backbone.training.data import read_tree
from sam2_backbone.training.trainer import Trainer
from sam2_backbone.variants import MICRO_CONFIG


def main(argv: Sequence[str] | None = None) -> int:
    """Train `micro` on a folder of images and masks."""
    parser = argparse.ArgumentParser(prog="python -m sam2_backbone.training", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with images/ and masks/ at any depth")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the run")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    args = replace(
        TrainingArgs(), minutes=options.minutes, seed=options.seed, threads=options.threads
    )
    native = resolve_dtype("auto", torch.device("cpu")) is torch.bfloat16
    torch.set_num_threads(args.threads)
    sequences = read_tree(options.data)
    trainer = Trainer(MICRO_CONFIG, sequences, args, options.out, bfloat16=native)
    if options.resume:
        trainer.resume()

    def stop(number: int, frame: object) -> None:
        trainer.stopped = True  # the step is finished and saved

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    trainer.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
