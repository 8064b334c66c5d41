"""What is done to logits after the network: holes, far pieces, clicks, absent objects."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sam2_backbone.modeling.sam2 import NO_OBJECT_LOGIT

MAX_HOLE_AREA = 8  # low-res pixels
FILLED_LOGIT = 0.1
DROPPED_LOGIT = -10.0
_OBEYING_ROUNDS = 4
# how far a correction reaches, low-res pixels: so many times as far as the next pixel that agrees
# with the click, and at least and at most; chosen on training images
_CORRECTION_REACH, _CORRECTION_SPAN = 4.0, (3.0, 8.0)
_LEAST_SPREAD = 0.8
_OBEYED_LOGIT, _ROUNDING = 1.0, 1e-3  # at least at a positive click, and at most its negative
# logits that a mask may be raised by to fill its box, and what each logit and the logarithm of its
# growth cost beside the gain in overlap of the boxes; chosen on training and development images,
# also with boxes that were drawn up to a fifth too wide
_RAISED = torch.arange(0, 4.01, 0.25)
_RAISING_COST, _GROWTH_COST = 0.05, 0.35
_BEYOND_BOX = -1.0  # highest logit outside of the box
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


def lean_on_last(low_res_masks: Tensor, last: Tensor, weight: float) -> Tensor:
    """Pull doubtful pixels of tracked masks towards the shape that the object had last.

    A network that draws every frame anew wanders off over many of them; what it is sure of it keeps
    here. The last mask is laid over each answer by the middles of both, so that it tells the shape
    and not the place; where one of them is empty it tells nothing.

    Parameters
    ----------
    low_res_masks, last
        Logits (N, M, l, l) and (N, 1, l, l), of the same views.
    weight
        The logit that a sure pixel of the last mask adds, or takes away.
    """
    masks, before = (low_res_masks > 0).float(), (last > 0).float()
    both = masks.flatten(2).any(2) & before.flatten(2).any(2)  # (N, M)
    moved = torch.where(both[..., None], _middles(masks) - _middles(before), 0.0)
    side, (rows, columns) = last.shape[-1], masks.shape[:2]
    line = torch.arange(side, dtype=torch.float32, device=last.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack((x, y), -1) - moved[:, :, None, None]  # (N, M, l, l, 2)
    shape = F.grid_sample(
        torch.tanh(last.float() / 2).expand(-1, columns, -1, -1).reshape(-1, 1, side, side),
        ((places + 0.5) / side * 2 - 1).reshape(-1, side, side, 2),
        padding_mode="border",
        align_corners=False,
    )
    pull = shape.view(rows, columns, side, side) * both[..., None, None]
    return low_res_masks + weight * pull


def _middles(masks: Tensor) -> Tensor:
    """Return x, y of the centre of mass of (N, M, l, l) masks, (N, M, 2)."""
    line = torch.arange(masks.shape[-1], dtype=torch.float32, device=masks.device)
    mass = masks.sum((2, 3)).clamp(min=1)
    return (
        torch.stack(((masks.sum(2) * line).sum(-1), (masks.sum(3) * line).sum(-1)), -1)
        / (mass[..., None])
    )


def obey_clicks(low_res_masks: Tensor, places: Tensor, signs: Tensor) -> Tensor:
    """Bring masks in line with clicks that they contradict or doubt, and what is around them.

    A click that the network does not heed would leave a person without a way on. What corrects the
    logit at the click is added around it too, the less the farther away: an outline that is wrong
    in one place is so beside it, and what the network is sure of stays. The deeper a click is in
    the error the farther it reaches, and no farther than a click of the other sign.

    Parameters
    ----------
    low_res_masks
        Logits (M, l, l).
    places
        (P, 2) x, y of the clicks in low-res pixels, the first one's centre at 0.5.
    signs
        (P,) 1 positive, 0 negative; others are no clicks.
    """
    logits = low_res_masks.float().cpu().numpy().copy()
    is_click = (signs == 0) | (signs == 1)
    clicks, wanted = places[is_click].numpy() - 0.5, signs[is_click].numpy() == 1
    result = low_res_masks
    # again: what corrects one click may contradict another
    for _ in range(_OBEYING_ROUNDS):
        changed = [
            _obey(image, click, positive, clicks[wanted != positive])
            for image in logits
            for click, positive in zip(clicks, wanted, strict=True)
        ]
        if not any(changed):
            break
        result = torch.from_numpy(logits).to(low_res_masks)
    return result


def _obey(
    image: NDArray[np.float32],
    click: NDArray[np.float32],
    positive: bool,
    others: NDArray[np.float32],
) -> bool:
    """Correct (l, l) logits around a click x, y, in place; False where they agree with it."""
    # the logits are interpolated when they are laid into the frame
    low = np.clip(np.floor(click), 0, len(image) - 2).astype(int)
    part = np.s_[low[1] : low[1] + 2, low[0] : low[0] + 2]
    along = np.clip(click - low, 0, 1)
    weights = np.outer([1 - along[1], along[1]], [1 - along[0], along[0]])
    sign, here = 1 if positive else -1, float((image[part] * weights).sum())
    if sign * here > _OBEYED_LOGIT - _ROUNDING:
        return False
    wrong = (image > 0) != positive
    row, column = np.clip(np.rint(click[::-1]), 0, len(image) - 1).astype(int)
    depth = distance_inside(wrong)[row, column]
    apart = np.linalg.norm(others - click, axis=1).min(initial=np.inf)
    spread = min(np.clip(_CORRECTION_REACH * depth, *_CORRECTION_SPAN), max(apart, _LEAST_SPREAD))
    y, x = np.mgrid[: len(image), : len(image)]
    distance = (x - click[0]) ** 2 + (y - click[1]) ** 2
    image += (sign * _OBEYED_LOGIT - here) * np.exp(-distance / (2 * spread**2))
    if (float((image[part] * weights).sum()) > 0) != positive:
        touched = image[part]
        touched[weights > 0] = np.where(
            sign * touched[weights > 0] > 0, touched[weights > 0], sign * FILLED_LOGIT
        )
    return True


def fill_box(low_res_masks: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Let masks grow to the sides of the box that a person drew, as far as they are in doubt.

    A box tells where the object ends, more exactly than a faint outline does. All logits in it are
    raised alike, by what brings the mask's own box closest to the one that was drawn; what is sure,
    as where the box was drawn wide, hardly moves.

    Parameters
    ----------
    low_res_masks
        Logits (M, l, l).
    box
        (4,) edges x0, y0, x1, y1 over the view's, 0…1.
    size
        Height and width of the view in pixels of the frame, in which boxes are compared.
    """
    scale = box.new_tensor((size[1], size[0])).repeat(2)
    left, top, right, bottom = (box * scale).round().int().clamp(min=0).tolist()
    pixels = F.interpolate(low_res_masks[None].float(), size, mode="bilinear", align_corners=False)[
        0, :, top:bottom, left:right
    ]
    if not pixels.numel():
        return low_res_masks
    raised = _RAISED.to(pixels.device)
    inside = pixels[:, None] > -raised[:, None, None]  # (M, steps, h, w)
    area = inside.sum((2, 3)).clamp(min=1)
    growth = torch.log(area / area[:, :1])
    filled = _filled_share(inside.any(3)) * _filled_share(inside.any(2))
    worth = filled - _RAISING_COST * raised - _GROWTH_COST * growth
    best = raised[worth.argmax(1)][:, None, None].to(low_res_masks.dtype)
    centres = (torch.arange(low_res_masks.shape[-1]).to(box) + 0.5) / low_res_masks.shape[-1]
    within_x, within_y = ((centres > low) & (centres < high) for low, high in box.view(2, 2).T)
    within = (within_y[:, None] & within_x).to(low_res_masks.device)
    beyond = low_res_masks.clamp(max=_BEYOND_BOX)
    return torch.where(within, low_res_masks + best, beyond)


def _filled_share(line: Tensor) -> Tensor:
    """From the first to the last True of (..., n), over n; 0 where there is none."""
    count = line.shape[-1]
    places = torch.arange(count, device=line.device)
    first = torch.where(line, places, count).amin(-1)
    last = torch.where(line, places, -1).amax(-1)
    return (last - first + 1).clamp(min=0) / count


def hide_absent(low_res_masks: Tensor, object_score_logits: Tensor) -> Tensor:
    """Set (N, M, l, l) logits to -1024 in rows whose object score (N, 1) is not positive."""
    return torch.where(object_score_logits[..., None, None] > 0, low_res_masks, NO_OBJECT_LOGIT)


def distance_inside(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far each pixel of (H, W) is from the outside of `mask`, the frame's edge too."""
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1))
    return distance[1:-1, 1:-1]
