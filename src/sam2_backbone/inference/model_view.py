"""What the network is given of a frame, for a person to look at; never runs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sam2_backbone.inference.frame_step import FrameStep
from sam2_backbone.inference.transforms import IMAGE_MEAN, IMAGE_STD, View, to_model_input
from sam2_backbone.inference.video_state import VideoState
from sam2_backbone.inference.views import next_view


@dataclass(frozen=True)
class ModelView:
    """What the network sees of an object on a frame.

    Attributes
    ----------
    view
        The part of the frame that is cut out.
    pixels
        (S, S, 3) in 0…1, S the network's input size.
    """

    view: View
    pixels: NDArray[np.float32]


def model_view(step: FrameStep, state: VideoState, frame_idx: int, obj_id: int | None) -> ModelView:
    """Cut out and map what an object is looked at through on a frame.

    Where it was prompted or tracked, the view that gave the answer; elsewhere the one that tracking
    would begin with. Without a prompted object the whole frame.
    """
    state.check_frame(frame_idx)
    item = None if obj_id is None else state.objects.get(obj_id)
    view = View.whole(*state.frame_size)
    if item is not None and item.sightings and item.bank.conditioning_frames:
        seen = item.sightings.get(frame_idx)
        if seen is not None:
            view = seen.view
        else:
            backward = frame_idx < min(item.bank.conditioning_frames)
            view = next_view(state, item, frame_idx, reverse=backward)
    size = step.config.input_size
    channels = to_model_input(
        state.source.read(frame_idx),
        view,
        state.intensities,
        input_size=size,
        bicubic_8bit=step.reference_rules,
    )
    mean, std = torch.tensor(IMAGE_MEAN)[:, None, None], torch.tensor(IMAGE_STD)[:, None, None]
    pixels = (channels * std + mean).clamp(0, 1).permute(1, 2, 0)  # (S, S, 3)
    return ModelView(view, pixels.numpy().astype(np.float32))
