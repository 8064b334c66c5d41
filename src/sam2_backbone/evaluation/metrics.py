"""Region and boundary metrics of masks: IoU (J), boundary F, presence F1, all on NumPy arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

BOUND_SHARE = 0.008  # of the diagonal: how far a boundary may be off (DAVIS 2016)


def intersection_over_union(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """J of two (H, W) masks; 1 where both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def mask_boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of (H, W) whose right, lower or lower right neighbour is on the other side.

    As DAVIS draws boundaries (Perazzi et al. 2016): one pixel wide, and none at the far edges of
    the frame, where there is no neighbour.
    """
    right = np.pad(mask[:, 1:], ((0, 0), (0, 1)), mode="edge")
    if mask.shape[1] == 1:
        right = mask
    below = np.pad(mask[1:], ((0, 1), (0, 0)), mode="edge") if mask.shape[0] > 1 else mask
    diagonal = np.zeros_like(mask)
    diagonal[:-1, :-1] = mask[1:, 1:]
    diagonal[-1, :] = mask[-1, :]
    diagonal[:, -1] = mask[:, -1]
    boundary: NDArray[np.bool_] = (mask != right) | (mask != below) | (mask != diagonal)
    boundary[-1, :] = mask[-1, :] != right[-1, :]
    boundary[:, -1] = mask[:, -1] != below[:, -1]
    boundary[-1, -1] = False
    return boundary


def boundary_f(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """F measure of boundaries that agree within 0.8 % of the diagonal; 1 where both are empty."""
    bound = math.ceil(BOUND_SHARE * math.hypot(*mask.shape))
    if not mask.any() and not truth.any():
        return 1.0
    mask, truth = _common_part(mask, truth)
    line, true_line = mask_boundary(mask), mask_boundary(truth)
    if not line.any() and not true_line.any():
        return 1.0
    if not line.any() or not true_line.any():
        return 0.0
    # a disk of this radius around each boundary pixel
    near_truth = ndimage.distance_transform_edt(~true_line) <= bound
    near_mask = ndimage.distance_transform_edt(~line) <= bound
    precision = np.count_nonzero(line & near_truth) / np.count_nonzero(line)
    recall = np.count_nonzero(true_line & near_mask) / np.count_nonzero(true_line)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _common_part(
    mask: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cut both to the box that holds them and a rim of one pixel; boundaries stay what they are."""
    rows, columns = np.nonzero(mask | truth)
    box = (
        slice(max(int(rows.min()) - 1, 0), int(rows.max()) + 2),
        slice(max(int(columns.min()) - 1, 0), int(columns.max()) + 2),
    )
    return mask[box], truth[box]


@dataclass
class PresenceCount:
    """Counts of said and true presence of objects on frames."""

    both: int = 0
    only_said: int = 0
    only_true: int = 0

    def add(self, *, said: bool, true: bool) -> None:
        """Count one object on one frame."""
        self.both += said and true
        self.only_said += said and not true
        self.only_true += true and not said

    @property
    def f1(self) -> float:
        """F1 of presence; 1 where nothing was present and nothing was said to be."""
        wrong = self.only_said + self.only_true
        return 2 * self.both / (2 * self.both + wrong) if self.both + wrong else 1.0


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's correlation; NaN for fewer than three pairs, or where one is constant."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])
