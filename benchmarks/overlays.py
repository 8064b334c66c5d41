"""Overlays of one-click answers on labelled images, worst to best, for a person to judge.

    python benchmarks/overlays.py FOLDER --out FILE.png [--variant micro] [--weights FILE]
        [--objects 48]

FOLDER holds `images/` and `masks/`. The true outline is green, the answer magenta, the click a
yellow cross.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from scipy import ndimage

from sam2_backbone import VideoPredictor, build_sam2
from sam2_backbone.evaluation.interactive import answer_mask
from sam2_backbone.evaluation.metrics import intersection_over_union
from sam2_backbone.training.data import read_folder
from sam2_backbone.training.prompt_sampler import innermost_pixel

TILE = 144
TRUE_COLOUR, ANSWER_COLOUR, CLICK_COLOUR = (60, 255, 60), (255, 60, 255), (255, 255, 0)


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that touch its outside."""
    return mask & ~ndimage.binary_erosion(mask)


def tile(
    image: np.ndarray, truth: np.ndarray, answer: np.ndarray, click: tuple[int, int]
) -> np.ndarray:
    """Draw the surroundings of one object, (TILE, TILE, 3) uint8."""
    rows, columns = np.nonzero(truth)
    extent = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    half = int(1.3 * extent) + 4
    centre = ((rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2)
    lines = np.linspace(centre[0] - half, centre[0] + half, TILE).round().astype(int)
    places = np.linspace(centre[1] - half, centre[1] + half, TILE).round().astype(int)
    outside = ((lines < 0) | (lines >= image.shape[0]))[:, None] | (
        (places < 0) | (places >= image.shape[1])
    )
    lines, places = lines.clip(0, image.shape[0] - 1), places.clip(0, image.shape[1] - 1)
    grid = np.ix_(lines, places)
    part = image[grid].astype(np.float32)
    low, high = np.percentile(part, (0.5, 99.8))
    part = np.clip((part - low) / max(high - low, 1), 0, 1) * 255
    out = np.broadcast_to(part, (TILE, TILE, 3)).astype(np.uint8).copy()
    out[outline(truth[grid])] = TRUE_COLOUR
    out[outline(answer[grid])] = ANSWER_COLOUR
    y, x = (
        int(np.abs(line - at).argmin()) for line, at in zip((lines, places), click, strict=True)
    )
    out[outside] = 64
    out[max(y - 3, 0) : y + 4, x] = CLICK_COLOUR
    out[y, max(x - 3, 0) : x + 4] = CLICK_COLOUR
    return out


def main() -> int:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variant", default="micro")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--objects", type=int, default=48)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    predictor = VideoPredictor(build_sam2(options.variant, options.weights))
    rng = np.random.default_rng(1)
    stills = read_folder(options.folder)
    tiles: list[tuple[float, np.ndarray]] = []
    for _ in range(options.objects):
        still = stills[rng.integers(len(stills))]
        truth = still.labels[0] == rng.choice(still.boxes[0][:, 0])
        y, x = innermost_pixel(truth)
        pixels = still.frames[0]
        image = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        state = predictor.init_state(image[None], window="auto")
        answer = answer_mask(predictor.answer(state, 0, 1, points=[[x, y]], labels=[1]))
        iou = intersection_over_union(answer, truth)
        tiles.append((iou, tile(pixels, truth, answer, (y, x))))
    tiles.sort(key=lambda each: each[0])
    sheet = [picture for _, picture in tiles]
    while len(sheet) % options.columns:
        sheet.append(np.zeros((TILE, TILE, 3), dtype=np.uint8))
    lines = [
        np.concatenate(sheet[i : i + options.columns], 1)
        for i in range(0, len(sheet), options.columns)
    ]
    iio.imwrite(options.out, np.concatenate(lines))
    ious = " ".join(f"{iou:.2f}" for iou, _ in tiles)
    sys.stdout.write(f"IoU, worst to best: {ious}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
