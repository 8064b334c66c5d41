"""What the network sees of frames: views, encoded together, each once, and kept where it pays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam2_backbone.inference.frames import FrameSource
from sam2_backbone.inference.memory_budget import MemoryBudget
from sam2_backbone.inference.transforms import View, to_model_input
from sam2_backbone.inference.video_state import VideoState
from sam2_backbone.modeling.sam2 import SAM2, ImageFeatures


class FrameEncoder:
    """Encodes views of the frames of a video.

    Parameters
    ----------
    reference_rules
        Resize frames as the reference does.
    budget
        How many views are encoded together.
    """

    def __init__(self, model: SAM2, *, reference_rules: bool, budget: MemoryBudget) -> None:
        self._model = model
        self._reference_rules = reference_rules
        self._lately: list[tuple[FrameSource, int, NDArray[np.generic]]] = []
        self.batch_rows = budget.batch_rows(model.config.embedding_size)
        """How many rows the network takes at a time."""

    def encode(
        self, state: VideoState, frame_idx: int, views: Sequence[View], *, keep: bool
    ) -> ImageFeatures:
        """Encode views of a frame, one row each; equal views are encoded once.

        Parameters
        ----------
        keep
            Put the features into the cache: for frames that a person looks at.
        """
        distinct = list(dict.fromkeys(views))
        found = {view: state.cache.get(frame_idx, view) for view in distinct}
        missing = [view for view in distinct if found[view] is None]
        if missing:
            frame = self._read(state, frame_idx)
            for start in range(0, len(missing), self.batch_rows):
                part = missing[start : start + self.batch_rows]
                inputs = torch.stack([self._input(state, frame, view) for view in part])
                features = self._model.encode_image(inputs.to(self._model.device))
                for row, view in enumerate(part):
                    found[view] = features.select([row]) if len(part) > 1 else features
        rows = []
        for view in distinct:
            features_of_view = found[view]
            assert features_of_view is not None
            if keep:
                state.cache.put(frame_idx, view, features_of_view)
            rows.append(features_of_view)
        index = [distinct.index(view) for view in views]
        return _stack(rows) if index == list(range(len(rows))) else _stack(rows).select(index)

    def grey(
        self, state: VideoState, frames: Sequence[int], views: Sequence[View], side: int
    ) -> Tensor:
        """Return the grey values (N, 1, side, side) of views, each of its own frame."""
        read = {frame_idx: self._read(state, frame_idx) for frame_idx in set(frames)}
        inputs = [
            to_model_input(read[frame_idx], view, state.intensities, input_size=side)
            for frame_idx, view in zip(frames, views, strict=True)
        ]
        return torch.stack(inputs).mean(1, keepdim=True).to(self._model.device)

    def _read(self, state: VideoState, frame_idx: int) -> NDArray[np.generic]:
        """Read a frame, unless it is one of the two that were read last: a movie may be slow."""
        for source, known, frame in self._lately:
            if source is state.source and known == frame_idx:
                return frame
        frame = state.source.read(frame_idx)
        self._lately = [*self._lately[-1:], (state.source, frame_idx, frame)]
        return frame

    def _input(self, state: VideoState, frame: NDArray[np.generic], view: View) -> Tensor:
        return to_model_input(
            frame,
            view,
            state.intensities,
            input_size=self._model.config.input_size,
            bicubic_8bit=self._reference_rules,
        )


def _stack(rows: Sequence[ImageFeatures]) -> ImageFeatures:
    if len(rows) == 1:
        return rows[0]
    return ImageFeatures(
        torch.cat([r.embedding for r in rows]),
        (torch.cat([r.high_res[0] for r in rows]), torch.cat([r.high_res[1] for r in rows])),
    )
