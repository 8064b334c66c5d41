"""What the network says of the same crops from time to time, so that a person sees it learn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from sam2_backbone.modeling.sam2 import SAM2, Prompts
from sam2_backbone.training.data import CropDrawer, LabelledSequence
from sam2_backbone.training.prompt_sampler import first_click
from sam2_backbone.training.step import normalise

TRUTH, ANSWER, CLICK_COLOUR = (60, 220, 60), (255, 0, 255), (255, 220, 0)
_COLUMNS = 8
_SEED = 7_919  # apart from the seeds of the steps


class SampleSheet:
    """A fixed set of crops with one click each, drawn with the truth and the network's answer."""

    def __init__(
        self, sequences: Sequence[LabelledSequence], size: int, *, seed: int, count: int = 24
    ) -> None:
        self._sequences, self._size, self._seed, self._count = sequences, size, seed, count

    @torch.no_grad()
    def draw(self, model: SAM2, target: Path) -> None:
        """Write the sheet as a PNG: truth green, answer magenta, click yellow."""
        rng = np.random.default_rng((_SEED, self._seed))
        drawer = CropDrawer(self._sequences, size=self._size, zoom=(1.3, 3.0))
        tiles: list[NDArray[np.uint8]] = []
        while len(tiles) < self._count:
            crop = drawer.draw(rng)
            truth = (crop.labels == crop.obj_id).numpy()
            if truth.any():
                pixels = (crop.image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
                tiles.append(self._tile(model, pixels, truth, first_click(rng, truth)))
        rows = [tiles[i : i + _COLUMNS] for i in range(0, len(tiles), _COLUMNS)]
        sheet = np.concatenate([np.concatenate(row, 1) for row in rows if len(row) == _COLUMNS])
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        iio.imwrite(part, sheet, extension=".png")
        os.replace(part, target)  # a window may look at any moment

    def _tile(
        self,
        model: SAM2,
        pixels: NDArray[np.uint8],
        truth: NDArray[np.bool_],
        click: tuple[float, float],
    ) -> NDArray[np.uint8]:
        device = model.device
        inputs = normalise(torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device))
        features = model.without_memory(model.encode_image(inputs))
        prompts = Prompts(
            torch.tensor([[click]], device=device),
            torch.ones((1, 1), dtype=torch.int32, device=device),
        )
        best = model.predict_masks(features, prompts, multimask_output=True).best.low_res_masks
        logits = torch.nn.functional.interpolate(best, size=truth.shape, mode="bilinear")
        answer = (logits[0, 0] > 0).cpu().numpy()
        tile = pixels.copy()
        tile[find_boundaries(truth, mode="inner")] = TRUTH
        tile[find_boundaries(answer, mode="inner")] = ANSWER
        x, y = round(click[0]), round(click[1])
        tile[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = CLICK_COLOUR
        return tile
