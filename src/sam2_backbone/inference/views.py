"""Which parts of a frame an object's prompts are looked at through, as far as it is known."""

from __future__ import annotations

from sam2_backbone.config import SAM2Config
from sam2_backbone.inference.prompts import FramePrompts
from sam2_backbone.inference.transforms import View
from sam2_backbone.inference.video_state import ObjectState, VideoState
from sam2_backbone.inference.window import click_windows, window_around_extent


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
        still = state.num_frames == 1
        return [window_around_extent(extent, state.frame_size, still=still)]
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
