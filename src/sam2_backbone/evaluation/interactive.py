"""A simulated annotator: clicks at the centre of the larger error or draws a box; it is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.evaluation.metrics import intersection_over_union
from sam2_backbone.inference.postprocess import distance_inside
from sam2_backbone.inference.results import FrameResult
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.inference.video_state import VideoState
from sam2_backbone.training.prompt_sampler import innermost_pixel

QUALITY = 0.85  # the IoU that NoC counts clicks to
MOST_CLICKS = 20  # an object that never gets there counts as this many


@dataclass(frozen=True)
class Attempt:
    """How one object was segmented.

    Attributes
    ----------
    image, kind, obj_id
        Which object, and the modality of its image.
    area
        Pixels of the true mask.
    clicks
        IoU after each click that was made.
    box
        IoU from the box, NaN if not asked.
    predicted
        IoU that the model predicted after the first click.
    click_yx
        Where the first click was.
    """

    image: str
    obj_id: int
    area: int
    clicks: tuple[float, ...]
    box: float
    predicted: float
    kind: str = ""
    click_yx: tuple[int, int] = (0, 0)

    def iou_after(self, clicks: int) -> float:
        """IoU after that many clicks; the last one where the annotator had stopped by then."""
        return self.clicks[min(clicks, len(self.clicks)) - 1]

    def clicks_to(self, quality: float = QUALITY, *, at_most: int = MOST_CLICKS) -> int:
        """Clicks until the IoU first reached `quality`; `at_most` if it never did."""
        reached = [i + 1 for i, iou in enumerate(self.clicks) if iou >= quality]
        return min(reached[0], at_most) if reached else at_most


def error_centre(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, bool] | None:
    """Return (y, x, positive): the centre of the larger of the missed and the spilled region.

    The centre is the pixel farthest from the region's outside, counting the frame's edge as
    outside. None if there is no error.
    """
    best: tuple[float, int, int, bool] | None = None
    for positive, error in ((True, truth & ~mask), (False, mask & ~truth)):
        if not error.any():
            continue
        rows, columns = np.nonzero(error)
        top, left = rows.min(), columns.min()
        distance = distance_inside(error[top : rows.max() + 1, left : columns.max() + 1])
        y, x = np.unravel_index(int(distance.argmax()), distance.shape)
        depth = float(distance[y, x])
        if best is None or depth > best[0]:
            best = (depth, int(y + top), int(x + left), positive)
    return None if best is None else best[1:]


def answer_mask(result: FrameResult) -> NDArray[np.bool_]:
    """Return the (H, W) mask of a result of one object."""
    mask: NDArray[np.bool_] = (result.mask_logits[0, 0] > 0).cpu().numpy()
    return mask


def click_object(
    predictor: VideoPredictor,
    state: VideoState,
    truth: NDArray[np.bool_],
    *,
    obj_id: int,
    clicks: int,
    at_most: int | None = None,
    quality: float = QUALITY,
    frame_idx: int = 0,
) -> tuple[list[float], float]:
    """Click an object; returns the IoU after each click and the first predicted IoU.

    The first click is at the object's innermost pixel. Nothing but clicks and the model's own
    answers reaches the model. A perfect mask needs no further click: the list ends there.

    Parameters
    ----------
    clicks
        Clicks in any case.
    at_most
        Go on to this many while no answer has reached `quality`; None: stop after `clicks`.
    """
    ious: list[float] = []
    predicted = float("nan")
    mask = np.zeros_like(truth)
    for turn in range(max(clicks, at_most or 0)):
        if turn >= clicks and max(ious) >= quality:
            break
        place = error_centre(mask, truth)
        if place is None:
            break
        y, x, positive = place
        result = predictor.answer(
            state,
            frame_idx,
            obj_id,
            points=[[x, y]],
            labels=[int(positive)],
            clear_old_points=turn == 0,
        )
        mask = answer_mask(result)
        ious.append(intersection_over_union(mask, truth))
        if turn == 0:
            predicted = float(result.ious[0])
    return ious, predicted


def true_box(truth: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1: the edges of a mask's box."""
    rows, columns = np.nonzero(truth)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def evaluate_image(
    predictor: VideoPredictor,
    image: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    name: str,
    obj_ids: Sequence[int],
    kind: str = "",
    clicks: int = 3,
    at_most: int | None = None,
    with_box: bool = True,
    window: str | int | None = "auto",
    value_range: tuple[float, float] | None = None,
) -> Iterator[Attempt]:
    """Segment some objects of one image from clicks and from boxes.

    Parameters
    ----------
    image, labels
        (H, W) or (H, W, 3), and (H, W).
    clicks, at_most
        As `click_object` takes them.
    """
    state = predictor.init_state(image[None], window=window, value_range=value_range)
    for obj_id in obj_ids:
        truth = labels == obj_id
        if not truth.any():
            raise ValueError(f"{name} has no object {obj_id}: give identifiers of its labels")
        ious, predicted = click_object(
            predictor, state, truth, obj_id=1, clicks=clicks, at_most=at_most
        )
        predictor.reset_state(state)
        from_box = float("nan")
        if with_box:
            result = predictor.answer(state, 0, 1, box=true_box(truth))
            from_box = intersection_over_union(answer_mask(result), truth)
            predictor.reset_state(state)
        yield Attempt(
            image=name,
            obj_id=int(obj_id),
            area=int(np.count_nonzero(truth)),
            clicks=tuple(ious),
            box=from_box,
            predicted=predicted,
            kind=kind,
            click_yx=innermost_pixel(truth),
        )
