"""Finds objects of all sizes with a network of small input, by looking through tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from sam2_backbone.inference.candidates import (
    Asked,
    Candidate,
    OverlapRules,
    Progress,
    candidate_from_logits,
    choose_objects,
    first_of_duplicates,
    mask_ious,
    piece_at,
    stability_scores,
)
from sam2_backbone.inference.postprocess import fill_small_holes
from sam2_backbone.inference.tiles import (
    evident_background,
    interleaved_points,
    nearest_tiles,
    tile_sides,
    tile_views,
)
from sam2_backbone.inference.transforms import (
    Intensities,
    View,
    cut_by_view,
    to_model_input,
    to_view_size,
    with_channels,
)
from sam2_backbone.modeling.sam2 import SAM2, ImageFeatures, Prompts

_WAVES = range(4)  # of `interleaved_points`
_TILES_PER_BATCH = 16
_POINTS_PER_BATCH = 64


@dataclass(frozen=True)
class TileSearchSettings:
    """The numbers of a search through tiles; chosen on training images.

    Attributes
    ----------
    step
        From tile to tile, over the side.
    spacing
        From grid point to grid point, over the side.
    pred_iou_thresh, stability_score_thresh
        Masks below are dropped.
    stability_offset
        Logits above and below zero between which stability is measured: less than the 1 of
        published networks, since these logits rise less steeply at outlines.
    shares
        Square root of a mask's area over its tile's: masks outside are dropped, because a network
        trained on objects of about a seventh to three quarters of its input guesses there.
    ideal_share, share_weight
        A mask's worth falls by this weight with each octave from the ideal share.
    agreement_weight
        What the best IoU with a mask found through another tile adds to the worth.
    support_iou
        Masks of one tile with this IoU are one.
    confident_iou
        Grid points under masks of such a predicted IoU are not asked again.
    always_fraction
        Tiles smaller than this part of the input size are looked through only where a larger tile
        showed something too small for it, or was not sure.
    rules
        Which masks exclude each other.
    """

    step: float = 0.5
    spacing: float = 0.125
    pred_iou_thresh: float = 0.65
    stability_score_thresh: float = 0.95
    stability_offset: float = 0.1
    shares: tuple[float, float] = (0.2, 0.8)
    ideal_share: float = 0.35
    share_weight: float = 0.1
    agreement_weight: float = 0.3
    support_iou: float = 0.7
    confident_iou: float = 0.77
    always_fraction: float = 0.33
    rules: OverlapRules = field(default_factory=lambda: OverlapRules(0.3, 0.3, 0.3, 0))


@dataclass
class _Scale:
    """What is found through the tiles of one side."""

    side: int
    views: list[View]
    features: dict[int, ImageFeatures] = field(default_factory=dict)
    tiles: list[int] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    stabilities: list[float] = field(default_factory=list)


class TileSearch:
    """Automatic segmentation through tiles at native resolution and coarser.

    Parameters
    ----------
    model
        A network with several window fractions.
    settings
        Its thresholds.
    min_points_per_side
        The grid has at least so many points along the frame's longer side.
    """

    def __init__(
        self, model: SAM2, settings: TileSearchSettings, *, min_points_per_side: int = 1
    ) -> None:
        self.model = model
        self.settings = settings
        self.min_points_per_side = min_points_per_side

    def find(
        self,
        frame: NDArray[np.generic],
        intensities: Intensities,
        progress: Progress | None = None,
    ) -> list[Candidate]:
        """Return the objects of a frame (H, W[, C]), best first."""
        proposed = self.propose(frame, intensities, progress)
        return choose_objects(agreed(proposed, self.settings), self.settings.rules)

    @torch.inference_mode()
    def propose(
        self,
        frame: NDArray[np.generic],
        intensities: Intensities,
        progress: Progress | None = None,
    ) -> list[Candidate]:
        """Return masks of all scales that pass the thresholds; many show the same object."""
        size = (frame.shape[0], frame.shape[1])
        mapped = intensities.apply(with_channels(frame))
        config = self.model.config
        sides = tile_sides(size, input_size=config.input_size, fractions=config.tile_fractions)
        skipped, small = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        background: NDArray[np.bool_] | None = None
        found: list[Candidate] = []
        grids = [interleaved_points(size, self._spacing(side, size)) for side in sides]
        asked = Asked(sum(len(points) for points, _ in grids), progress)
        for side, (points, waves) in zip(sides, grids, strict=True):
            if background is None and side < max(size):
                background = evident_background(mapped)
                skipped |= background
            if side < self.settings.always_fraction * config.input_size:
                skipped |= ~ndimage.binary_dilation(small, iterations=max(1, side // 8))
            scale = _Scale(side, tile_views(size, side, self.settings.step))
            small = np.zeros(size, dtype=bool)
            for wave in _WAVES:
                all_due = points[waves == wave]
                at = all_due.round().astype(int)
                due = all_due[~skipped[at[:, 1], at[:, 0]]]
                self._ask(scale, due, mapped, size, skipped, small)
                asked.more(len(all_due))
            found += self._distinct(scale)
        return found

    def _spacing(self, side: int, size: tuple[int, int]) -> float:
        """From grid point to grid point in tiles of a side, in pixels."""
        return min(self.settings.spacing * side, max(size) / self.min_points_per_side)

    def _ask(
        self,
        scale: _Scale,
        points: NDArray[np.float32],
        mapped: NDArray[np.float32],
        size: tuple[int, int],
        skipped: NDArray[np.bool_],
        small: NDArray[np.bool_],
    ) -> None:
        """Prompt points, each through the tile that has it nearest to its middle."""
        tiles = nearest_tiles(points, size, scale.side, self.settings.step)
        order = np.argsort(tiles, kind="stable")
        points, tiles = points[order], tiles[order]
        self._encode(scale, [int(t) for t in np.unique(tiles)], mapped)
        for start in range(0, len(points), _POINTS_PER_BATCH):
            part = slice(start, start + _POINTS_PER_BATCH)
            self._predict(scale, points[part], [int(t) for t in tiles[part]], size, skipped, small)

    def _encode(self, scale: _Scale, tiles: Sequence[int], mapped: NDArray[np.float32]) -> None:
        missing = [t for t in tiles if t not in scale.features]
        side = self.model.config.input_size
        for start in range(0, len(missing), _TILES_PER_BATCH):
            part = missing[start : start + _TILES_PER_BATCH]
            inputs = torch.stack(
                [
                    to_model_input(mapped, scale.views[t], Intensities(0.0, 1.0), input_size=side)
                    for t in part
                ]
            )
            features = self.model.encode_image(inputs.to(self.model.device))
            features = self.model.without_memory(features)
            for row, tile in enumerate(part):
                scale.features[tile] = features.select([row])

    def _predict(
        self,
        scale: _Scale,
        points: NDArray[np.float32],
        tiles: Sequence[int],
        size: tuple[int, int],
        skipped: NDArray[np.bool_],
        small: NDArray[np.bool_],
    ) -> None:
        settings, side = self.settings, self.model.config.input_size
        coords = torch.stack(
            [
                scale.views[t].to_model(torch.from_numpy(point), side)
                for t, point in zip(tiles, points, strict=True)
            ]
        )[:, None].to(self.model.device)
        labels = torch.ones(coords.shape[:2], dtype=torch.int32, device=coords.device)
        prediction = self.model.predict_masks(
            _rows(scale.features, tiles), Prompts(coords, labels), multimask_output=True
        )
        logits, ious = prediction.low_res_masks.cpu(), prediction.iou_predictions.cpu()
        stabilities = stability_scores(logits, settings.stability_offset)
        shares = (logits > 0).flatten(2).float().mean(-1).sqrt()  # (N, M)
        good = (ious >= settings.pred_iou_thresh) & (stabilities >= settings.stability_score_thresh)
        good &= shares <= settings.shares[1]
        for row, column in good.nonzero().tolist():
            view = scale.views[tiles[row]]
            # cells look alike: what is not under the point is another one
            mask = _piece_under(logits[row, column], coords[row, 0] / side)
            is_small = float((mask > 0).float().mean()) ** 0.5 < settings.shares[0]
            if is_small or ious[row, column] < settings.confident_iou:
                _mark(small, mask, view)
            if is_small:
                continue
            if bool(cut_by_view(mask[None] > 0, view, size)[0]):
                continue
            iou = float(ious[row, column])
            scale.tiles.append(tiles[row])
            scale.points.append((float(points[row, 0]), float(points[row, 1])))
            scale.logits.append(mask)
            scale.ious.append(iou)
            scale.stabilities.append(float(stabilities[row, column]))
            if iou >= settings.confident_iou:
                _mark(skipped, mask, view)

    def _distinct(self, scale: _Scale) -> list[Candidate]:
        """Return the masks of a scale without the duplicates inside each tile."""
        found = []
        tiles = np.asarray(scale.tiles, dtype=np.int64)
        for tile in np.unique(tiles):
            index = np.flatnonzero(tiles == tile)
            masks = torch.stack([scale.logits[i] for i in index])
            shares = (masks > 0).flatten(1).float().mean(-1).sqrt().tolist()
            worth = [
                self._worth(scale.ious[i], share) for i, share in zip(index, shares, strict=True)
            ]
            order = sorted(range(len(index)), key=lambda i: worth[i], reverse=True)
            kept = first_of_duplicates(mask_ious(masks > 0), order, self.settings.support_iou)
            view = scale.views[int(tile)]
            sized = to_view_size(fill_small_holes(masks[kept][:, None]), view)[:, 0].numpy()
            for row, position in enumerate(kept):
                number = int(index[position])
                candidate = candidate_from_logits(
                    sized[row],
                    view,
                    iou=scale.ious[number],
                    stability=scale.stabilities[number],
                    point=scale.points[number],
                    worth=worth[position],
                )
                found += [] if candidate is None else [candidate]
        return found

    def _worth(self, iou: float, share: float) -> float:
        octaves = abs(math.log2(max(share, 1e-3) / self.settings.ideal_share))
        return iou - self.settings.share_weight * octaves


def agreed(candidates: Sequence[Candidate], settings: TileSearchSettings) -> list[Candidate]:
    """Raise the worth of masks that another tile shows too."""
    boxes = np.array([(c.top, c.left, c.bottom, c.right) for c in candidates]).reshape(-1, 4)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    out = []
    for i, candidate in enumerate(candidates):
        low = np.maximum(boxes[i, :2], boxes[:, :2])
        high = np.minimum(boxes[i, 2:], boxes[:, 2:])
        shared = np.prod((high - low).clip(min=0), axis=1)
        overlap = shared / np.maximum(areas + areas[i] - shared, 1)
        overlap[[c.view == candidate.view for c in candidates]] = 0
        best = float(overlap.max()) if len(candidates) else 0.0
        out.append(replace(candidate, worth=candidate.worth + settings.agreement_weight * best))
    return out


def _rows(features: dict[int, ImageFeatures], tiles: Sequence[int]) -> ImageFeatures:
    distinct = list(dict.fromkeys(tiles))
    parts = [features[t] for t in distinct]
    stacked = ImageFeatures(
        torch.cat([p.embedding for p in parts]),
        (torch.cat([p.high_res[0] for p in parts]), torch.cat([p.high_res[1] for p in parts])),
    )
    return stacked.select([distinct.index(t) for t in tiles])


def _piece_under(mask: Tensor, place: Tensor) -> Tensor:
    """Return low-res logits (l, l) with the piece at a place x, y in 0…1 only."""
    x, y = (place * mask.shape[-1] - 0.5).tolist()
    return torch.from_numpy(piece_at(mask.numpy(), (x, y)))


def _mark(skipped: NDArray[np.bool_], mask: Tensor, view: View) -> None:
    """Mark the pixels of a low-resolution mask in its view."""
    sized = to_view_size(mask[None, None], view)[0, 0].numpy() > 0
    skipped[view.top : view.top + view.height, view.left : view.left + view.width] |= sized
