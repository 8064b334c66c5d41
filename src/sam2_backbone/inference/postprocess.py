"""What is done to logits after the network: holes, far pieces, clicks, absent objects."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from sam2_backbone.modeling.sam2 import NO_OBJECT_LOGIT

MAX_HOLE_AREA = 8  # low-res pixels
FILLED_LOGIT = 0.1
DROPPED_LOGIT = -10.0
OBEYED_RADII = (0.8, 4.0)  # of what a click turns over, low-res pixels
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def fill_small_holes(low_res_masks: Tensor, max_area: int = MAX_HOLE_AREA) -> Tensor:
    """Lift background islands of up to `max_area` pixels of (N, 1, l, l) logits just above zero."""
    background = (low_res_masks <= 0).cpu().numpy()
    holes = np.zeros_like(background)
    for row, image in enumerate(background[:, 0]):
        if not image.any() or image.all():
            continue
        islands, _ = ndimage.label(image, structure=_EIGHT_NEIGHBOURS)
        areas = np.bincount(islands.ravel())
        areas[0] = max_area + 1  # label 0 is the foreground
        holes[row, 0] = areas[islands] <= max_area
    if not holes.any():
        return low_res_masks
    is_hole = torch.from_numpy(holes).to(low_res_masks.device)
    return torch.where(is_hole, FILLED_LOGIT, low_res_masks)


def drop_far_pieces(low_res_masks: Tensor, last: Tensor) -> Tensor:
    """Take pieces of tracked masks away that were no part of the last mask, where another was.

    Cells look alike: what memory finds again of one is easily also its neighbour. Both daughters
    of a cell lie in the mother's mask. An object that has left its last place keeps all pieces.

    Parameters
    ----------
    low_res_masks, last
        Logits (N, M, l, l) and (N, 1, l, l), of the same views.
    """
    masks, before = (low_res_masks > 0).cpu().numpy(), (last > 0).cpu().numpy()
    far = np.zeros_like(masks)
    for row, column in np.ndindex(masks.shape[:2]):
        pieces, count = ndimage.label(masks[row, column])
        if count > 1:
            kept = np.zeros(count + 1, bool)
            kept[pieces[before[row, 0]]] = True
            if kept[1:].any():
                far[row, column] = (pieces > 0) & ~kept[pieces]
    if not far.any():
        return low_res_masks
    is_far = torch.from_numpy(far).to(low_res_masks.device)
    return torch.where(is_far, DROPPED_LOGIT, low_res_masks)


def obey_clicks(low_res_masks: Tensor, places: Tensor, signs: Tensor) -> Tensor:
    """Bring masks in line with clicks that they contradict, about as far as the error reaches.

    A click that the network does not heed would leave a person without a way on: she clicks where
    the error is deepest, so half of its depth around the click is turned over.

    Parameters
    ----------
    low_res_masks
        Logits (N, M, l, l).
    places
        (N, P, 2) x, y of the clicks in low-res pixels, the first one's centre at 0.5.
    signs
        (P,) 1 positive, 0 negative; others are no clicks.
    """
    logits, side = low_res_masks.float().cpu().numpy().copy(), low_res_masks.shape[-1]
    y, x = np.mgrid[:side, :side] + 0.5
    changed = False
    for row, column in np.ndindex(logits.shape[:2]):
        for (at_x, at_y), sign in zip(places[row].tolist(), signs.tolist(), strict=True):
            image = logits[row, column]
            place = (min(max(int(at_y), 0), side - 1), min(max(int(at_x), 0), side - 1))
            if sign not in (0, 1) or (image[place] > 0) == bool(sign):
                continue
            wrong = (image > 0) != bool(sign)
            depth = float(ndimage.distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1][place])
            radius = np.clip(depth / 2, *OBEYED_RADII)
            near = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) * np.log(2) / radius**2)
            # at that radius half of the correction is left, which is where the sign changes
            image += (2 if sign else -2) * (np.abs(image) + 1) * near * wrong
            changed = True
    return torch.from_numpy(logits).to(low_res_masks) if changed else low_res_masks


def hide_absent(low_res_masks: Tensor, object_score_logits: Tensor) -> Tensor:
    """Set (N, M, l, l) logits to -1024 in rows whose object score (N, 1) is not positive."""
    return torch.where(object_score_logits[..., None, None] > 0, low_res_masks, NO_OBJECT_LOGIT)
