"""How prompts of a frame are answered: through which window, looked at again, clicks obeyed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sam2_backbone.inference.frame_step import Answer, FrameStep
from sam2_backbone.inference.judging import judged_together
from sam2_backbone.inference.prompts import FramePrompts
from sam2_backbone.inference.transforms import View
from sam2_backbone.inference.video_state import ObjectState, VideoState
from sam2_backbone.inference.views import mask_view, sighting, views_to_try
from sam2_backbone.inference.window import (
    OBJECT_MARGIN,
    STILL_MARGIN,
    choose_window,
    needs_other_window,
    window_around_extent,
)

# told an answer that will be looked at once more
FirstLook = Callable[[Answer], None]


class PromptAnswering:
    """Answers prompts as well as the network can, which may mean to ask it more than once."""

    def __init__(self, step: FrameStep) -> None:
        self._step = step

    def answer(
        self,
        state: VideoState,
        item: ObjectState,
        frame_idx: int,
        prompts: FramePrompts,
        *,
        on_first_look: FirstLook | None = None,
    ) -> Answer:
        """Answer all prompts of an object on a frame; nothing is remembered of it."""
        if prompts.mask is not None:
            view = mask_view(state, prompts.mask.extent)
            return self._step.answer_mask(state, frame_idx, prompts, view)
        answer = self._seen(state, item, frame_idx, prompts, on_first_look)
        config = self._step.config
        is_hidden = config.gate_object_score and answer.memory.object_score <= 0
        if config.obey_clicks and is_hidden and prompts.shows_object:
            (answer,) = self._step.answer_points(
                state, item, frame_idx, prompts, [answer.view], shown=True
            )
        return self._step.obeying(answer, prompts)

    def _seen(
        self,
        state: VideoState,
        item: ObjectState,
        frame_idx: int,
        prompts: FramePrompts,
        on_first_look: FirstLook | None,
    ) -> Answer:
        """Answer points and a box through the window that shows the object best."""
        views = views_to_try(state, item, frame_idx, prompts, self._step.config)
        answers = self._step.answer_points(state, item, frame_idx, prompts, views)
        if len(answers) == 1:
            answer = answers[0]
            follows = state.window == "auto" and len(self._step.config.window_fractions) > 1
            if prompts.box is not None or not follows:
                return answer
        else:
            answer = answers[choose_window(judged_together(answers, state.frame_size))]
        view = self._second_view(state, item, frame_idx, prompts, views, answer)
        if view is None:
            return answer
        if on_first_look is not None:
            on_first_look(self._step.obeying(answer, prompts))
        again = self._step.answer_points(state, item, frame_idx, prompts, [view])[0]
        return again if sighting(again, state.frame_size).extent is not None else answer

    def _second_view(
        self,
        state: VideoState,
        item: ObjectState,
        frame_idx: int,
        prompts: FramePrompts,
        tried: Sequence[View],
        answer: Answer,
    ) -> View | None:
        """Return what to look through once more: the window in which the object will be followed.

        After a correction too: a first answer that joined two cells has chosen too large a window.
        Where others were `tried` beside it, the mirror images of a window that fits have not been
        looked at yet.
        """
        view = self._following(state, prompts, answer)
        if view is None and len(tried) > 1:
            has_mirror_images = len(self._step.seen_views(item, frame_idx, [answer.view])) > 1
            view = answer.view if has_mirror_images else None
        return view

    def _following(self, state: VideoState, prompts: FramePrompts, answer: Answer) -> View | None:
        """Return the window in which the object will be followed, if it is quite another one."""
        extent = sighting(answer, state.frame_size).extent
        if extent is None:
            return None
        still = state.num_frames == 1
        margin = STILL_MARGIN if still else OBJECT_MARGIN
        view = window_around_extent(extent, state.frame_size, margin=margin)
        real = prompts.coords[prompts.kinds >= 0]
        is_other = needs_other_window(answer.view, view, still=still) and view.contains(real)
        return view if is_other else None
