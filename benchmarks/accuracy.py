"""Accuracy of a variant on labelled images and stacks: prints a table and writes JSON.

    python benchmarks/accuracy.py DATA [--variant micro] [--weights FILE] [--objects 5]
        [--images 1000] [--out accuracy.json] [--skip-tracking]

DATA is a folder with `dsb2018/dev`, `usiigaci_2d/dev` and `stacks`; what is missing is skipped.
At most `--objects` objects of each image are clicked, chosen by a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import tifffile

from sam2_backbone import VideoPredictor, build_sam2
from sam2_backbone.evaluation.interactive import Attempt, evaluate_image
from sam2_backbone.evaluation.metrics import rank_correlation
from sam2_backbone.evaluation.tracking import track_objects
from sam2_backbone.training.data import LabelledSequence, read_tree

STACKS = {
    # name: first and last slice, prompted slice, objects of at least this area there
    "cells3d_nuclei_3d": (20, 50, 35, 60),
    "laptrack_nuclei": (0, 6, 0, 30),
    "cancer_migration": (0, 48, 0, 40),
    "stardist_sample_3d": (0, 31, 15, 20),
}


def still_rows(
    predictor: VideoPredictor, stills: list[LabelledSequence], objects: int, images: int
) -> dict[str, list[Attempt]]:
    """Return the attempts on each kind of image."""
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(stills))[:images]
    for index in sorted(order):
        still = stills[index]
        labels = still.labels[0]
        ids = [int(row[0]) for row in still.boxes[0]]
        chosen = rng.choice(ids, size=min(objects, len(ids)), replace=False)
        pixels = still.frames[0]
        image = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        done = evaluate_image(
            predictor, image, labels, name=still.name, obj_ids=[int(i) for i in chosen]
        )
        attempts[still.kind] += done
    return attempts


def summary(attempts: list[Attempt]) -> dict[str, float]:
    """Return mean IoU after 1 and 3 clicks and from a box, and how well IoU was predicted."""
    first = np.array([a.clicks[0] for a in attempts])
    predicted = np.array([a.predicted for a in attempts])
    return {
        "objects": len(attempts),
        "click_1": float(first.mean()),
        "click_3": float(np.mean([a.clicks[-1] for a in attempts])),
        "box": float(np.mean([a.box for a in attempts])),
        "iou_rank_correlation": rank_correlation(first, predicted),
    }


def track_rows(predictor: VideoPredictor, folder: Path) -> dict[str, dict[str, float]]:
    """Return J and F of the stacks, from masks and from clicks on one frame."""
    rows = {}
    for name, (first, last, start, area) in STACKS.items():
        path = folder / f"{name}_images.tif"
        if not path.exists():
            continue
        frames = tifffile.imread(path)[first:last]
        labels = tifffile.imread(folder / f"{name}_masks.tif")[first:last]
        ids, counts = np.unique(labels[start - first], return_counts=True)
        chosen = [int(i) for i, n in zip(ids, counts, strict=True) if i > 0 and n >= area]
        for prompt in ("mask", "click"):
            began = time.perf_counter()
            result = track_objects(
                predictor,
                frames,
                labels,
                name=name,
                obj_ids=chosen,
                start=start - first,
                prompt=prompt,
            )
            rows[f"{name} from {prompt}"] = {
                "objects": len(chosen),
                "j": result.j,
                "f": result.f,
                "presence_f1": result.presence.f1,
                "seconds": time.perf_counter() - began,
            }
    return rows


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--variant", default="micro")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--objects", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--skip-tracking", action="store_true")
    options = parser.parse_args()
    predictor = VideoPredictor(build_sam2(options.variant, options.weights))
    report: dict[str, dict[str, dict[str, float]]] = {"stills": {}, "tracking": {}}
    for name in ("dsb2018", "usiigaci_2d"):
        if not (options.data / name / "dev").exists():
            continue
        stills = read_tree(options.data / name / "dev", split="dev")
        by_kind = still_rows(predictor, stills, options.objects, options.images)
        everything = [a for attempts in by_kind.values() for a in attempts]
        rows = {f"{name}/dev": summary(everything)}
        if len(by_kind) > 1:
            rows |= {f"- {kind}": summary(by_kind[kind]) for kind in sorted(by_kind)}
        report["stills"] |= rows
        for row in rows.items():
            sys.stdout.write(_line(*row))
        sys.stdout.flush()
    if not options.skip_tracking and (options.data / "stacks").exists():
        report["tracking"] = track_rows(predictor, options.data / "stacks")
        for row in report["tracking"].items():
            sys.stdout.write(_line(*row))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1))
    return 0


def _line(name: str, values: dict[str, float]) -> str:
    numbers = "  ".join(f"{key} {value:.3f}" for key, value in values.items() if key != "objects")
    return f"{name:36s} {values['objects']:5.0f} objects  {numbers}\n"


if __name__ == "__main__":
    sys.exit(main())
