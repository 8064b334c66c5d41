"""Finds objects as SAM does: a grid of points on the whole frame, then on zoomed crops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torchvision.ops import nms

from sam2_backbone.inference.candidates import (
    Asked,
    Candidate,
    Progress,
    candidate_from_logits,
    stability_scores,
)
from sam2_backbone.inference.tiles import crop_views, grid_points
from sam2_backbone.inference.transforms import Intensities, View, to_model_input, to_view_size
from sam2_backbone.modeling.sam2 import SAM2, ImageFeatures, Prompts

_POINTS_PER_BATCH = 64
_MASKS_PER_BATCH = 16  # brought to the frame's pixels at a time
_NEAR_EDGE = 20.0  # pixels
# crops overlap by this part of the frame's shorter side in the first layer
_CROP_OVERLAP = 512 / 1500


@dataclass(frozen=True)
class GridSearchSettings:
    """The numbers of a search by grids; the defaults are those of the published generator."""

    points_per_side: int = 32
    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0


class GridSearch:
    """Automatic segmentation by a grid of points (Kirillov et al. 2023, appendix B).

    Boxes count as there, from the first to the last pixel's index, so that the same masks survive.
    """

    def __init__(self, model: SAM2, settings: GridSearchSettings) -> None:
        self.model = model
        self.settings = settings

    @torch.inference_mode()
    def find(
        self,
        frame: NDArray[np.generic],
        intensities: Intensities,
        progress: Progress | None = None,
    ) -> list[Candidate]:
        """Return the masks of a frame (H, W[, C]), best first."""
        size = (frame.shape[0], frame.shape[1])
        layers = crop_views(*size, self.settings.crop_n_layers, _CROP_OVERLAP)
        views = [view for layer in layers for view in layer]
        asked = Asked(len(views) * self.settings.points_per_side**2, progress)
        found: list[Candidate] = []
        for view in views:
            found += self._in_view(frame, intensities, view, asked)
        if len(layers) > 1:  # a mask from a smaller crop is the finer one
            areas = [1 / (c.view.height * c.view.width) for c in found]
            found = self._without_duplicates(found, torch.tensor(areas))
        return sorted(found, key=lambda c: c.worth, reverse=True)

    def _in_view(
        self,
        frame: NDArray[np.generic],
        intensities: Intensities,
        view: View,
        asked: Asked,
    ) -> list[Candidate]:
        side = self.model.config.input_size
        pixels = to_model_input(frame, view, intensities, input_size=side)
        features = self.model.encode_image(pixels[None].to(self.model.device))
        features = self.model.without_memory(features)
        size = (frame.shape[0], frame.shape[1])
        points = torch.from_numpy(grid_points(self.settings.points_per_side, view))
        found: list[Candidate] = []
        for start in range(0, len(points), _POINTS_PER_BATCH):
            part = points[start : start + _POINTS_PER_BATCH]
            found += [
                c for c in self._ask(features, part, view) if not _near_crop_edge(c, view, size)
            ]
            asked.more(len(part))
        return self._without_duplicates(found, torch.tensor([c.iou for c in found]))

    def _ask(self, features: ImageFeatures, points: Tensor, view: View) -> list[Candidate]:
        coords = view.to_model(points, self.model.config.input_size)[:, None]
        labels = torch.ones(coords.shape[:2], dtype=torch.int32)
        device = self.model.device
        prediction = self.model.predict_masks(
            features.select([0] * len(points)),
            Prompts(coords.to(device), labels.to(device)),
            multimask_output=True,
        )
        ious = prediction.iou_predictions
        rows, columns = (ious > self.settings.pred_iou_thresh).nonzero(as_tuple=True)
        found = []
        for start in range(0, len(rows), _MASKS_PER_BATCH):
            part = slice(start, start + _MASKS_PER_BATCH)
            row, column = rows[part], columns[part]
            sized = to_view_size(prediction.low_res_masks[row, column][:, None], view)[:, 0]
            stabilities = stability_scores(sized)
            for i in (stabilities >= self.settings.stability_score_thresh).nonzero()[:, 0].tolist():
                x, y = points[row[i]].tolist()
                iou = float(ious[row[i], column[i]])
                candidate = candidate_from_logits(
                    sized[i].cpu().numpy(),
                    view,
                    iou=iou,
                    stability=float(stabilities[i]),
                    point=(x, y),
                    worth=iou,
                )
                found += [] if candidate is None else [candidate]
        return found

    def _without_duplicates(self, found: list[Candidate], scores: Tensor) -> list[Candidate]:
        if not found:
            return found
        boxes = torch.tensor([(c.left, c.top, c.right - 1, c.bottom - 1) for c in found]).float()
        return [found[i] for i in nms(boxes, scores, self.settings.box_nms_thresh).tolist()]


def without_specks(candidate: Candidate, min_area: int) -> Candidate:
    """Fill holes and remove pieces below an area in pixels; the largest piece always stays."""
    # a margin, so that all of the outside is one piece
    logits = np.pad(candidate.logits, 1, constant_values=-1.0)
    for is_hole in (True, False):
        pieces, _ = ndimage.label((logits > 0) != is_hole, structure=np.ones((3, 3)))
        areas = np.bincount(pieces.ravel())
        small = areas < min_area
        small[[0, pieces[0, 0] if is_hole else 1 + int(areas[1:].argmax())]] = False
        filled = np.maximum(np.abs(logits), 1e-3) if is_hole else -np.abs(logits)
        logits = np.where(small[pieces], filled, logits)
    view = View(candidate.top - 1, candidate.left - 1, *logits.shape)
    cut = candidate_from_logits(
        logits.astype(np.float32),
        view,
        iou=candidate.iou,
        stability=candidate.stability,
        point=candidate.point,
        worth=candidate.worth,
    )
    return candidate if cut is None else replace(cut, view=candidate.view)


def _near_crop_edge(candidate: Candidate, view: View, size: tuple[int, int]) -> bool:
    """Whether a side of the box is near to one of the crop's that is not the frame's."""
    box = (candidate.left, candidate.top, candidate.right - 1, candidate.bottom - 1)
    crop = (view.left, view.top, view.left + view.width, view.top + view.height)
    frame = (0, 0, size[1], size[0])
    return any(
        abs(b - c) <= _NEAR_EDGE and abs(b - f) > _NEAR_EDGE
        for b, c, f in zip(box, crop, frame, strict=True)
    )
