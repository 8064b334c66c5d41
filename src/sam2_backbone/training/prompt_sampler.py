"""The simulated annotator: first prompts from a mask, and correction clicks from the errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sam2_backbone.inference.postprocess import distance_inside
from sam2_backbone.modeling.sam2 import MASK_PROMPT_BIAS, MASK_PROMPT_SCALE

# shares of first clicks at the innermost pixel and near it; the others fall anywhere inside. Where
# a click is tells how far the object may reach, if clicks are as they are made in use
CLICK_INNERMOST, CLICK_NEAR = 0.5, 0.35
BOX_JITTERED = 0.5  # share of boxes that are drawn inexactly


@dataclass(frozen=True)
class ObjectPrompts:
    """Objects chosen in one crop, with a click and a box for each.

    Attributes
    ----------
    obj_ids : (K,) int64.
    clicks : (K, 2) x, y in model pixels.
    boxes : (K, 4) x0, y0, x1, y1 edges in model pixels, jittered.
    """

    obj_ids: NDArray[np.int64]
    clicks: NDArray[np.float32]
    boxes: NDArray[np.float32]


def innermost_pixel(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return (y, x) of the pixel farthest from the outside of `mask`."""
    distance = distance_inside(mask)
    y, x = np.unravel_index(int(distance.argmax()), mask.shape)
    return int(y), int(x)


def first_click(rng: np.random.Generator, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return x, y of a click on a mask: mostly at or near its centre, sometimes anywhere inside."""
    drawn = rng.random()
    if drawn < CLICK_INNERMOST + CLICK_NEAR:
        y, x = innermost_pixel(mask)
        if drawn < CLICK_INNERMOST:
            return float(x), float(y)
        spread = 0.12 * np.sqrt(mask.sum())
        near_y, near_x = np.rint(rng.normal((y, x), spread)).astype(int)
        inside = 0 <= near_y < mask.shape[0] and 0 <= near_x < mask.shape[1]
        if inside and mask[near_y, near_x]:
            y, x = int(near_y), int(near_x)
        return float(x), float(y)
    rows, columns = np.nonzero(mask)
    index = int(rng.integers(len(rows)))
    return float(columns[index]), float(rows[index])


def choose_objects(
    rng: np.random.Generator,
    labels: NDArray[np.int64],
    *,
    count: int,
    min_area: int,
    always: int | None = None,
) -> ObjectPrompts:
    """Choose `count` objects of a crop, with repeats where it has fewer, and prompt each.

    Objects below `min_area` pixels are left out, unless there are no others; `always` is an
    identifier that is chosen in any case (the object that the crop was drawn around).
    """
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    ids = np.flatnonzero(areas >= min_area)
    if len(ids) == 0:
        ids = np.array([int(areas.argmax())] if areas.any() else [], dtype=np.int64)
    if len(ids) == 0:
        empty = np.zeros((0, 4), dtype=np.float32)
        return ObjectPrompts(np.zeros(0, dtype=np.int64), empty[:, :2], empty)
    order = rng.permutation(ids)
    if always is not None and always in ids:
        order = np.concatenate(([always], order[order != always]))
    chosen = np.resize(order, count).astype(np.int64)
    places = ndimage.find_objects(labels)
    clicks, boxes = [], []
    for obj_id in chosen:
        place = places[obj_id - 1]
        top, left = place[0].start, place[1].start
        mask = labels[place] == obj_id
        x, y = first_click(rng, mask)
        clicks.append((x + left, y + top))
        box = np.array([left, top, place[1].stop, place[0].stop], dtype=np.float32)
        extent = np.array([mask.shape[1], mask.shape[0]] * 2, dtype=np.float32)
        is_exact = rng.random() >= BOX_JITTERED
        jitter = 0.0 if is_exact else np.clip(rng.normal(0, 0.05, 4) * extent, -20, 20)
        boxes.append(np.clip(box + jitter, 0, labels.shape[0]))
    return ObjectPrompts(
        chosen, np.asarray(clicks, dtype=np.float32), np.asarray(boxes, dtype=np.float32)
    )


def masks_of(labels: Tensor, rows: Tensor, obj_ids: Tensor, stride: int = 4) -> Tensor:
    """Return the coverage 0…1 of each object at the decoder's resolution, (N, 1, S/4, S/4)."""
    masks = (labels[rows] == obj_ids[:, None, None]).float()
    return F.avg_pool2d(masks[:, None], stride)


def others_of(labels: Tensor, rows: Tensor, target: Tensor, stride: int = 4) -> Tensor:
    """Return the coverage 0…1 by all objects of a frame but the `target` (N, 1, S/4, S/4)."""
    return F.avg_pool2d((labels > 0).float()[:, None], stride)[rows] - target


def true_logits(target: Tensor) -> Tensor:
    """Return logits of the coverage 0…1, as those of a mask prompt."""
    return target * MASK_PROMPT_SCALE + MASK_PROMPT_BIAS


@torch.no_grad()
def depth_inside(mask: Tensor, steps: int = 6) -> Tensor:
    """Return how many erosions each pixel of a {0, 1} mask (N, 1, h, w) survives."""
    depth = torch.zeros_like(mask)
    left = mask
    for _ in range(steps):
        depth = depth + left
        left = 1 - F.max_pool2d(1 - left, 3, stride=1, padding=1)
    return depth


@torch.no_grad()
def correction_clicks(
    mask_logits: Tensor,
    target: Tensor,
    *,
    stride: int,
    generator: torch.Generator | None = None,
    central: float = 0.85,
) -> tuple[Tensor, Tensor]:
    """Draw one click for each object from the error region of its mask.

    Parameters
    ----------
    mask_logits, target
        (N, 1, h, w) logits and coverage 0…1.
    stride
        Model pixels for each mask pixel.
    central
        Share of clicks put where a missing or a spilled part is deepest, the others anywhere in
        them.

    Returns
    -------
    coords, labels
        (N, 1, 2) x, y in model pixels and (N, 1): 1 where the object is missing, 0 where the mask
        spills over. Where there is no error the click falls on the object itself.
    """
    truth = (target > 0.5).float()
    error = ((mask_logits > 0).float() != truth).float()
    none = error.sum((1, 2, 3), keepdim=True) == 0
    error = torch.where(none, truth, error)
    count, _, _, width = error.shape
    device = error.device  # the draws are the same on every device
    noise = torch.rand(error.shape, generator=generator).to(device)
    pick_centre = torch.rand((count, 1, 1, 1), generator=generator).to(device) < central
    depth = depth_inside(error * truth) + depth_inside(error * (1 - truth))
    anywhere = error * (0.01 + noise)
    rank = torch.where(pick_centre, depth + noise * error, anywhere)
    index = rank.flatten(1).argmax(1)
    within = torch.rand((count, 2), generator=generator).to(device) * (stride - 1)
    x = (index % width).float() * stride + within[:, 0]
    y = torch.div(index, width, rounding_mode="floor").float() * stride + within[:, 1]
    labels = truth.flatten(1).gather(1, index[:, None]).long()
    return torch.stack((x, y), -1)[:, None], labels


def stack_prompts(prompts: Sequence[ObjectPrompts]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rows (N,), ids (N,), clicks (N, 2) and boxes (N, 4) of a batch of crops."""
    rows = np.concatenate([np.full(len(p.obj_ids), i) for i, p in enumerate(prompts)])
    return (
        torch.from_numpy(rows.astype(np.int64)),
        torch.from_numpy(np.concatenate([p.obj_ids for p in prompts])),
        torch.from_numpy(np.concatenate([p.clicks for p in prompts])),
        torch.from_numpy(np.concatenate([p.boxes for p in prompts])),
    )
