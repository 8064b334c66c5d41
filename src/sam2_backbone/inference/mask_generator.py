"""Everything in an image without a prompt: records of masks, and masklets through a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from sam2_backbone.inference.candidates import Candidate, Progress, whole_mask
from sam2_backbone.inference.frames import (
    FrameSource,
    as_frame_source,
    choose_intensities,
    image_source,
)
from sam2_backbone.inference.grid_search import GridSearch, GridSearchSettings, without_specks
from sam2_backbone.inference.results import FrameResult
from sam2_backbone.inference.tile_search import TileSearch, TileSearchSettings
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.sam2 import SAM2


class MaskGenerator:
    """Automatic segmentation.

    Names and record keys are those of Meta's generator. A published network is asked by a grid of
    points on the whole frame and on crops. A network of small input that sees objects through
    windows (`micro`) looks through overlapping tiles of several sides, and its grid is part of
    each tile. The defaults are those of published networks; `tuned` takes the network's own.

    Parameters
    ----------
    model
        From `build_sam2`.
    points_per_side
        Points along a side of the grid; with tiles, at least so many along the frame's longer side.
    pred_iou_thresh
        Masks whose predicted IoU is less are dropped, 0…1.
    stability_score_thresh
        Masks that change more with the threshold of their logits are dropped, 0…1. Stability is
        measured 1 above and below zero, with tiles 0.1.
    box_nms_thresh
        Of two boxes with a greater IoU the better stays; with tiles masks are compared instead, and
        an overlap of 0.3 of either is too much already.
    crop_n_layers
        Layers of zoomed crops; tiles zoom by themselves.
    min_mask_region_area
        Holes and separate pieces below this area in pixels are filled and removed.
    """

    def __init__(
        self,
        model: SAM2,
        *,
        points_per_side: int = 32,
        pred_iou_thresh: float = 0.8,
        stability_score_thresh: float = 0.95,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        min_mask_region_area: int = 0,
    ) -> None:
        if points_per_side < 1:
            raise ValueError(f"points_per_side must be at least 1, not {points_per_side}")
        if crop_n_layers < 0 or min_mask_region_area < 0:
            raise ValueError("crop_n_layers and min_mask_region_area must not be negative")
        self.model = model
        self.min_mask_region_area = min_mask_region_area
        self._search: GridSearch | TileSearch
        if len(model.config.window_fractions) > 1:
            own = TileSearchSettings()
            row = replace(
                own,
                pred_iou_thresh=pred_iou_thresh,
                stability_score_thresh=stability_score_thresh,
                rules=replace(own.rules, duplicate_iou=box_nms_thresh),
            )
            self._search = TileSearch(model, row, min_points_per_side=points_per_side)
        else:
            self._search = GridSearch(
                model,
                GridSearchSettings(
                    points_per_side=points_per_side,
                    pred_iou_thresh=pred_iou_thresh,
                    stability_score_thresh=stability_score_thresh,
                    box_nms_thresh=box_nms_thresh,
                    crop_n_layers=crop_n_layers,
                ),
            )

    @classmethod
    def tuned(cls, model: SAM2) -> MaskGenerator:
        """Make a generator with the numbers that find most objects with this network.

        Those of `micro` were chosen on training images: it judges itself by the truth rather than
        too well, so masks of a lower predicted IoU are worth keeping, and its tiles have their own
        grid. Published networks have their defaults.
        """
        if len(model.config.window_fractions) <= 1:
            return cls(model)
        own = TileSearchSettings()
        return cls(
            model,
            points_per_side=1,
            pred_iou_thresh=own.pred_iou_thresh,
            stability_score_thresh=own.stability_score_thresh,
            box_nms_thresh=own.rules.duplicate_iou,
        )

    def generate(
        self, image: object, *, value_range: tuple[float, float] | None = None
    ) -> list[dict[str, Any]]:
        """Segment everything in an image.

        Parameters
        ----------
        image
            (H, W) or (H, W, 1|3|4), any real dtype.
        value_range
            Pixel values that become 0 and 1; None: the range of uint8, else robust percentiles.

        Returns
        -------
        list of dict
            Best first: `segmentation` (H, W) bool; `area` in pixels; `bbox` and `crop_box`
            [x, y, width, height] in pixels; `predicted_iou`; `stability_score`; `point_coords`
            [[x, y]] of the prompt.
        """
        source = image_source(image)
        size = (source.height, source.width)
        return [_record(c, size) for c in self.find(source, value_range=value_range)]

    def generate_masklets(
        self, frames: object, *, value_range: tuple[float, float] | None = None
    ) -> Iterator[FrameResult]:
        """Segment everything on the first frame of a video and follow it through all others.

        Parameters
        ----------
        frames
            As `VideoPredictor.init_state` takes them.

        Yields
        ------
        FrameResult
            Every frame, each once; object i + 1 is record i of `generate` on the first.
        """
        source = as_frame_source(frames)
        intensities = choose_intensities(source, value_range)
        mapping = (intensities.low, intensities.high)
        predictor = VideoPredictor(self.model)
        state = predictor.init_state(
            source,
            value_range=mapping if mapping[0] < mapping[1] else None,
            window="auto" if len(self.model.config.window_fractions) > 1 else None,
        )
        size = (source.height, source.width)
        for obj_id, candidate in enumerate(self.find(source, value_range=value_range), start=1):
            predictor.answer(state, 0, obj_id, mask=whole_mask(candidate, size))
        if state.objects:
            yield from predictor.propagate(state, direction="forward")

    def find(
        self,
        source: FrameSource,
        *,
        frame_idx: int = 0,
        value_range: tuple[float, float] | None = None,
        progress: Progress | None = None,
    ) -> list[Candidate]:
        """Return the masks of one frame of a source with their logits, best first.

        `progress` is told how many of how many points of the grid have been asked.
        """
        intensities = choose_intensities(source, value_range)
        found = self._search.find(source.read(frame_idx), intensities, progress)
        if self.min_mask_region_area:
            found = [without_specks(c, self.min_mask_region_area) for c in found]
        return found


def _record(candidate: Candidate, size: tuple[int, int]) -> dict[str, Any]:
    height, width = candidate.logits.shape
    view = candidate.view
    return {
        "segmentation": whole_mask(candidate, size),
        "area": candidate.area,
        "bbox": [candidate.left, candidate.top, width, height],
        "predicted_iou": candidate.iou,
        "point_coords": [list(candidate.point)],
        "stability_score": candidate.stability,
        "crop_box": [view.left, view.top, view.width, view.height],
    }


def labels_of(candidates: list[Candidate], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Lay masks into labels 1…N of (H, W), uint16 or uint32; overlaps go to the higher logit."""
    dtype = np.uint16 if len(candidates) <= np.iinfo(np.uint16).max else np.uint32
    labels, highest = np.zeros(size, dtype), np.zeros(size, np.float32)
    for number, candidate in enumerate(candidates, start=1):
        part = np.s_[candidate.top : candidate.bottom, candidate.left : candidate.right]
        wins = candidate.logits > highest[part]
        labels[part][wins] = number
        highest[part][wins] = candidate.logits[wins]
    # a mask may have lost every pixel
    consecutive = np.unique(np.append(0, labels), return_inverse=True)[1]
    return consecutive[1:].reshape(size).astype(dtype)
