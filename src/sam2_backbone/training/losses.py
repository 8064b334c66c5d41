"""The losses of SAM 2: focal and dice on masks, L1 on predicted IoU, presence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

KEPT_WEIGHT = 0.5  # of the mask with the highest predicted IoU, beside the best one
CHOICE_SOFTNESS = 0.05  # predicted IoU whose difference makes a choice between masks sure
ABSENT_WEIGHT = 3.0  # of an absent object in the presence term: few are


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms (arXiv 2408.00714, appendix D), and three of our own.

    `choice` is what the mask that is kept has less IoU than the best one, so that the order of
    predicted IoUs is learned beside their values. `dense` is the auxiliary task. `neighbours` is
    what a pixel of another object counts more in the focal loss: cells touch, and a mask must not
    run over into the next. `focal_alpha` is the weight of the object's pixels there, 0.25 in the
    paper: with that an uncertain pixel of the outline is left out, and on masks of 48 x 48 pixels
    outlines are a good part of a cell. `iou` is twice that of the paper: here it also decides
    between windows.
    """

    focal: float = 20.0
    focal_alpha: float = 0.5
    dice: float = 1.0
    iou: float = 2.0
    choice: float = 2.0
    presence: float = 1.0
    dense: float = 1.0
    neighbours: float = 2.0


def focal_loss(
    logits: Tensor,
    target: Tensor,
    pixel_weights: Tensor | float = 1.0,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Mean focal loss over pixels of (N, M, h, w) against soft targets 0…1; returns (N, M)."""
    probability = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    miss = probability + target - 2 * probability * target  # 1 - p of the true class
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (pixel_weights * weight * miss**gamma * entropy).flatten(2).mean(2)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Soft dice loss of (N, M, h, w); returns (N, M)."""
    probability = torch.sigmoid(logits).flatten(2)
    truth = target.flatten(2)
    overlap = 2 * (probability * truth).sum(2) + 1
    return 1 - overlap / (probability.sum(2) + truth.sum(2) + 1)


def mask_iou(logits: Tensor, target: Tensor, beyond: Tensor | None = None) -> Tensor:
    """IoU of `logits > 0` with `target > 0.5`, (N, M); 1 where both are empty.

    `beyond` is (N,) mask pixels of the object outside of the crop, which no mask can reach: a
    window that is too small must not look as good as one that shows the whole object.
    """
    predicted, truth = (logits > 0).flatten(2), (target > 0.5).flatten(2)
    overlap = (predicted & truth).sum(2).float()
    union = (predicted | truth).sum(2).float()
    if beyond is not None:
        union = union + beyond[:, None]
    return torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union))


def choice_loss(iou_predictions: Tensor, achieved: Tensor) -> Tensor:
    """IoU that is lost by keeping the mask whose predicted IoU is highest, softly; (N, M) to (N,).

    The predictions make a softmax over the masks, and the loss is the best IoU less the expected
    one: zero where the best mask is surely kept, or all are equally good.
    """
    kept = torch.softmax(iou_predictions / CHOICE_SOFTNESS, 1)
    return achieved.amax(1) - (kept * achieved).sum(1)


def prediction_loss(
    logits: Tensor,
    iou_predictions: Tensor,
    object_score_logits: Tensor,
    target: Tensor,
    weights: LossWeights,
    others: Tensor | None = None,
    beyond: Tensor | None = None,
) -> Tensor:
    """Loss of one prediction, the mean over objects.

    Parameters
    ----------
    logits, iou_predictions
        (N, M, h, w) and (N, M): of several masks the best is supervised, and the one with the
        highest predicted IoU; the IoU of all.
    object_score_logits
        (N, 1), supervised by whether the target has any pixel.
    target
        (N, 1, h, w) coverage 0…1; an absent object has no mask loss.
    others
        (N, 1, h, w) coverage 0…1 by the other objects of the frame; None where it does not matter.
    beyond
        (N,) as `mask_iou` takes it.
    """
    logits, iou_predictions = logits.float(), iou_predictions.float()
    present = (target.flatten(1).amax(1) > 0).float()
    truth = target.expand_as(logits)
    pixel_weights = 1.0 if others is None else 1 + weights.neighbours * others
    focal = focal_loss(logits, truth, pixel_weights, alpha=weights.focal_alpha)
    masks = weights.focal * focal + weights.dice * dice_loss(logits, truth)
    best = masks.min(1).values
    # the one that is kept in use must be good too, be it the best or not
    kept = masks.gather(1, iou_predictions.argmax(1, keepdim=True))[:, 0]
    with torch.no_grad():
        achieved = mask_iou(logits, truth, beyond)
    quality = weights.iou * (iou_predictions - achieved).abs().mean(1)
    quality = quality + weights.choice * choice_loss(iou_predictions, achieved)
    rarity = torch.where(present > 0, 1.0, ABSENT_WEIGHT)
    score = object_score_logits[:, 0].float()
    presence = F.binary_cross_entropy_with_logits(score, present, weight=rarity)
    seen = present.sum().clamp(min=1)
    supervised = ((best + KEPT_WEIGHT * kept + quality) * present).sum() / seen
    return supervised + weights.presence * presence
