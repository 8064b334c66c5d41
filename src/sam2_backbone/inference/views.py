"""Through which part of a frame an object is looked at, and where it is seen there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from sam2_backbone.config import SAM2Config
from sam2_backbone.inference.prompts import FramePrompts
from sam2_backbone.inference.transforms import View
from sam2_backbone.inference.video_state import ObjectState, Sighting, VideoState
from sam2_backbone.inference.window import (
    BOX_MARGIN,
    OBJECT_MARGIN,
    click_windows,
    needs_other_window,
    window_around_extent,
)

if TYPE_CHECKING:
    from sam2_backbone.inference.frame_step import Answer


def views_to_try(
    state: VideoState,
    item: ObjectState,
    frame_idx: int,
    prompts: FramePrompts,
    config: SAM2Config,
) -> list[View]:
    """Views for points and a box: the one in use if it holds them, else by the rule."""
    if state.window is None:
        return [View.whole(*state.frame_size)]
    real = prompts.coords[prompts.kinds >= 0]
    seen = item.sightings.get(frame_idx)
    if seen is not None and seen.view.contains(real):
        return [seen.view]
    ys, xs = real[:, 1].tolist(), real[:, 0].tolist()
    if isinstance(state.window, int):
        centre = ((min(ys) + max(ys)) / 2, (min(xs) + max(xs)) / 2)
        return [View.around(centre, state.window, *state.frame_size)]
    if prompts.box is not None:
        extent = (min(ys), min(xs), max(ys), max(xs))
        margin = BOX_MARGIN if state.num_frames == 1 else OBJECT_MARGIN
        return [window_around_extent(extent, state.frame_size, margin=margin)]
    return click_windows(
        list(zip(ys, xs, strict=True)),
        state.frame_size,
        input_size=config.input_size,
        fractions=config.window_fractions,
    )


def mask_view(state: VideoState, extent: tuple[float, float, float, float] | None) -> View:
    """Choose the view for a mask of known extent."""
    if state.window is None or extent is None:
        return View.whole(*state.frame_size)
    return window_around_extent(extent, state.frame_size, side=state.fixed_side)


def next_view(state: VideoState, item: ObjectState, frame_idx: int, *, reverse: bool) -> View:
    """Choose the view of a tracked frame: where the object was seen last."""
    if state.window is None:
        return View.whole(*state.frame_size)
    before = item.sightings.get(frame_idx + (1 if reverse else -1))
    if before is None:
        nearest = min(item.bank.conditioning_frames, key=lambda t: abs(t - frame_idx))
        before = item.sightings[nearest]
    return follow(before, state.frame_size, side=state.fixed_side)


def follow(before: Sighting, frame_size: tuple[int, int], *, side: int | None = None) -> View:
    """Move a window so that the object as last seen is in its middle.

    Where no side is given it stays as it is until the object has grown or shrunk much, so that it
    does not flicker.
    """
    if before.extent is None:
        return before.view
    wanted = window_around_extent(before.extent, frame_size, side=side)
    if side is not None:
        return wanted
    if needs_other_window(before.view, wanted):
        return wanted
    side = max(before.view.height, before.view.width)
    return window_around_extent(before.extent, frame_size, side=side)


def sighting(answer: Answer, frame_size: tuple[int, int]) -> Sighting:
    """Where the largest piece of an answer's mask lies in the frame: a window follows no specks."""
    pieces, count = ndimage.label((answer.memory.low_res_masks[0] > 0).cpu().numpy())
    if count == 0:
        return Sighting(answer.view, None)
    largest = int(np.bincount(pieces.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(pieces)[largest]
    view, side = answer.view, pieces.shape[-1]
    extent = (
        view.top + rows.start * view.height / side,
        view.left + columns.start * view.width / side,
        view.top + rows.stop * view.height / side,
        view.left + columns.stop * view.width / side,
    )
    top, left = max(extent[0], 0.0), max(extent[1], 0.0)
    bottom, right = min(extent[2], float(frame_size[0])), min(extent[3], float(frame_size[1]))
    return Sighting(view, (top, left, bottom, right) if top < bottom and left < right else None)
