"""The command ``napari-sam2 evaluate``: its options, its progress, where its table goes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.session.atomic import written_whole

if TYPE_CHECKING:
    from sam2_backbone.evaluation.report import RunFacts
    from sam2_backbone.evaluation.targets import Row
    from sam2_backbone.modeling.sam2 import SAM2

ABOUT = "measure a network on labelled images and movies"
PARTS = ("clicks", "stacks", "videos", "clips", "automatic")
EPILOG = """\
DATA holds data sets: folders with images/ beside masks/ of equal file names (label images), of
which only a part named dev is used if there are parts train and dev; file names that are plain
numbers are the frames of a video. DATA/stacks holds NAME_images.tif beside NAME_masks.tif.

parts of the table:
  clicks     stills from 1, 3 and 5 simulated clicks and from a box, clicks to IoU 0.85
  stacks     objects of stacks followed from a mask and from a click on one slice
  videos     the same for videos, from their first frame
  clips      the same for 32-frame clips made of the stills
  automatic  fluorescence stills without a prompt

A page (.md) with the lines
  <!-- evaluate: begin; written by napari-sam2 evaluate -->
  <!-- evaluate: end -->
gets the table between them."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only this command has."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with data sets")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument(
        "--quick",
        action="store_const",
        const="quick",
        dest="extent",
        help="a small fixed part of the data, to compare networks while they are trained",
    )
    extent.add_argument(
        "--full",
        action="store_const",
        const="full",
        dest="extent",
        help="every object of every image",
    )
    parser.set_defaults(extent="default")
    parser.add_argument(
        "--objects", type=_count, default=0, metavar="N", help="objects of each still, at most"
    )
    parser.add_argument(
        "--only", type=_parts, default=(), metavar="PART,…", help="some parts of the table only"
    )
    parser.add_argument(
        "-o", "--out", type=_table, metavar="FILE", help="the table too: .md, .csv or .json"
    )


def run_evaluate(chosen: argparse.Namespace) -> None:
    """Evaluate and print the table, a row as soon as it is known."""
    out: Path | None = chosen.out
    from sam2_backbone.evaluation import report

    if out is not None and out.exists() and not (chosen.overwrite or report.has_section(out)):
        raise FileExistsError(f"{out} exists already: give --overwrite or another -o.")
    from tqdm import tqdm

    from sam2_backbone import VideoPredictor, build_sam2
    from sam2_backbone.evaluation.extent import EXTENTS
    from sam2_backbone.evaluation.run import evaluation_parts

    began = time.perf_counter()
    variant = chosen.variant or (None if chosen.weights else "micro")
    model = build_sam2(
        variant, chosen.weights or "default", device=chosen.device, dtype=chosen.dtype
    )
    rows: list[Row] = []
    parts = evaluation_parts(
        chosen.data,
        VideoPredictor(model),
        extent=EXTENTS[chosen.extent],
        objects=chosen.objects,
        only=chosen.only,
        window=chosen.window,
    )
    for number, part in enumerate(parts):
        if number == 0:
            _say(report.text_heading())
        # disable=None: tqdm looks for itself whether stderr is a terminal
        with tqdm(total=part.steps, desc=part.title, leave=False, disable=None) as bar:
            found = part.run(bar.update)
        for row in found:
            _say(report.text_line(report.cells(row)))
        rows += found
    if not rows:
        parts_asked = ", ".join(chosen.only or PARTS)
        raise ValueError(f"{chosen.data} holds nothing for these parts: {parts_asked}.")
    facts = _facts(chosen, model, time.perf_counter() - began)
    _say(f"\n{facts.sentence()}")
    if out is not None:
        text = report.rendered(out, rows, facts)
        with written_whole(out) as part_file:
            part_file.write_text(text, encoding="utf-8")
        _say(f"wrote {out}")


def _facts(chosen: argparse.Namespace, model: SAM2, seconds: float) -> RunFacts:
    import torch

    from napari_sam2.session.model_hub import file_sha256
    from sam2_backbone.build import default_weights
    from sam2_backbone.evaluation.report import RunFacts

    path = Path(chosen.weights) if chosen.weights else default_weights(chosen.variant or "micro")
    return RunFacts(
        variant=chosen.variant or ("own weights" if chosen.weights else "micro"),
        weights=f"{path.name} {(file_sha256(path) or '')[:12]}",
        extent=chosen.extent,
        input_size=model.config.input_size,
        device=model.device.type,
        threads=torch.get_num_threads(),
        seconds=seconds,
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the output of a command


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def _parts(text: str) -> Sequence[str]:
    names = text.split(",")
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"no part {name!r}: choose of {', '.join(PARTS)}")
    return names


def _table(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".md", ".csv", ".json"):
        raise argparse.ArgumentTypeError(f"{text} must end in .md, .csv or .json")
    return path
