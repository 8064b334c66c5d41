"""Prompt any frame of a video, then follow the objects through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sam2_backbone.inference.answering import PromptAnswering
from sam2_backbone.inference.feature_cache import FeatureCache
from sam2_backbone.inference.frame_step import Answer, FrameStep
from sam2_backbone.inference.frames import as_frame_source, choose_intensities
from sam2_backbone.inference.memory_budget import DEFAULT_BUDGET, MemoryBudget
from sam2_backbone.inference.model_view import ModelView, model_view
from sam2_backbone.inference.packed_mask import PackedMask
from sam2_backbone.inference.prompts import (
    FramePrompts,
    check_box,
    check_mask,
    check_points,
    merge_prompts,
)
from sam2_backbone.inference.results import FrameResult, ResultLayout
from sam2_backbone.inference.video_state import ObjectState, Sighting, VideoState
from sam2_backbone.inference.views import mask_view, next_view, sighting, views_to_try
from sam2_backbone.memory.bank import ARCHIVED_LOGIT, FrameMemory, MemoryBank
from sam2_backbone.modeling.sam2 import SAM2

MaskLogits = tuple[int, list[int], Tensor]
_DIRECTIONS = ("forward", "backward", "both")


class VideoPredictor:
    """Promptable segmentation of videos with a streaming memory.

    Method names, argument order and array conventions are those of Meta's video predictor. Results
    are float32 tensors on the model's device; a mask is where logits are positive.

    Parameters
    ----------
    model
        From `build_sam2`.
    reference_rules
        Follow every rule of the reference: a correction of a tracked frame is no conditioning
        frame, every object is tracked from the first prompt of any, frames are resized bicubically
        on 8 bits, holes are filled on CUDA only.
    memory_budget
        Bytes, about, for kept features of each video and for objects computed together.
    """

    def __init__(
        self, model: SAM2, *, reference_rules: bool = False, memory_budget: int = DEFAULT_BUDGET
    ) -> None:
        self.model = model
        self.reference_rules = reference_rules
        self._budget = MemoryBudget(memory_budget)
        self._step = FrameStep(model, reference_rules=reference_rules, budget=self._budget)
        self._answering = PromptAnswering(self._step)
        self._layout = ResultLayout(model.device, reference_rules=reference_rules)

    def init_state(
        self,
        frames: object,
        *,
        value_range: tuple[float, float] | None = None,
        window: str | int | None = None,
    ) -> VideoState:
        """Open a video; no frame is encoded yet.

        Parameters
        ----------
        frames
            (T, H, W[, C]) array-like (NumPy, dask, zarr, tensorstore: read a frame at a time), a
            `FrameSource`, a folder of images or a video file.
        value_range
            Pixel values that become 0 and 1. None: the range of uint8, else percentiles 0.1 and
            99.9 sampled over the stack.
        window
            None: the model sees whole frames. "auto": it looks through a window around the prompts
            that follows the object. A number: the side of that window in pixels.

        Raises
        ------
        TypeError, ValueError, FrameReadError
            If the frames are not a video of real numbers.
        """
        if not (window is None or window == "auto" or (isinstance(window, int) and window > 0)):
            raise ValueError(f"window must be None, 'auto' or a side in pixels, not {window!r}")
        source = as_frame_source(frames)
        mapping, cache = choose_intensities(source, value_range), FeatureCache(self._budget)
        return VideoState(source, mapping, window=window, cache=cache)

    # -- prompts -----------------------------------------------------------------------------

    def add_new_points_or_box(
        self,
        state: VideoState,
        frame_idx: int,
        obj_id: int,
        points: ArrayLike | Tensor | None = None,
        labels: ArrayLike | Tensor | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: ArrayLike | Tensor | None = None,
    ) -> MaskLogits:
        """Prompt an object with points and a box, and answer for that frame.

        Parameters
        ----------
        points, labels
            (N, 2) x, y and (N,) 1 positive, 0 negative.
        clear_old_points
            Replace the points given on this frame before; else they are added to.
        normalize_coords
            Coordinates are pixels; False: they are 0…1 already.
        box
            x0, y0, x1, y1.

        Returns
        -------
        frame_idx, obj_ids, mask_logits
            (N, 1, H, W) for all objects; -1024 where an object has no answer on this frame.
        """
        if not normalize_coords:
            size = torch.tensor((state.width, state.height), dtype=torch.float32)
            points = None if points is None else torch.as_tensor(points).float() * size
            box = None if box is None else (torch.as_tensor(box).float().reshape(2, 2) * size)
        self.answer(
            state,
            frame_idx,
            obj_id,
            points=points,
            labels=labels,
            clear_old_points=clear_old_points,
            box=box,
        )
        return self._layout.whole_frame(state, frame_idx)

    def add_new_mask(
        self, state: VideoState, frame_idx: int, obj_id: int, mask: ArrayLike | Tensor
    ) -> MaskLogits:
        """Prompt an object with a (H, W) mask; returns as `add_new_points_or_box`."""
        self.answer(state, frame_idx, obj_id, mask=mask)
        return self._layout.whole_frame(state, frame_idx)

    @torch.inference_mode()
    def answer(
        self,
        state: VideoState,
        frame_idx: int,
        obj_id: int,
        *,
        points: ArrayLike | Tensor | None = None,
        labels: ArrayLike | Tensor | None = None,
        clear_old_points: bool = True,
        box: ArrayLike | Tensor | None = None,
        mask: ArrayLike | Tensor | PackedMask | None = None,
        on_first_look: Callable[[FrameResult], None] | None = None,
    ) -> FrameResult:
        """Prompt one object and answer for it alone, with scores and candidates.

        Nothing is changed if the prompt is refused.

        Parameters
        ----------
        points, labels
            (N, 2) x, y and (N,) 1 positive, 0 negative, in pixels.
        clear_old_points
            Replace the points given on this frame before; else they are added to.
        box
            x0, y0, x1, y1.
        mask
            (H, W); it is taken as it is.
        on_first_look
            Called, where the object is looked at once more before it is answered, with what was
            seen at first: sooner by a third, and nothing is kept of it.

        Raises
        ------
        ValueError
            If the frame does not exist, or a prompt is empty, malformed or outside.
        """
        state.check_frame(frame_idx)
        known = state.objects.get(obj_id)
        if mask is not None:
            prompts = FramePrompts(
                torch.zeros(0, 2),
                torch.zeros(0, dtype=torch.int32),
                mask=check_mask(mask, state.frame_size),
            )
        else:
            prompts = merge_prompts(
                FramePrompts(
                    *check_points(points, labels, state.frame_size),
                    box=check_box(box, state.frame_size),
                ),
                None if known is None else known.prompts.get(frame_idx),
                replace_old=clear_old_points,
            )
        item = known or ObjectState(obj_id, self._bank())

        def tell(first: Answer) -> None:
            if on_first_look is not None:
                on_first_look(self._layout.unkept(state, frame_idx, item, first))

        answer = self._answering.answer(
            state,
            item,
            frame_idx,
            prompts,
            on_first_look=None if on_first_look is None else tell,
        )
        state.objects[obj_id] = item
        self._keep(state, item, frame_idx, prompts, answer)
        return self._layout.result(state, frame_idx, [item], answer=answer)

    @torch.inference_mode()
    def anticipate_click(
        self, state: VideoState, frame_idx: int, point: ArrayLike, obj_id: int | None = None
    ) -> None:
        """Encode what a click would be looked at through, so that its answer is there sooner.

        Changes no answer: the same views are encoded together as for the click itself.

        Parameters
        ----------
        point
            (2,) x, y in pixels.
        obj_id
            The object that is clicked; None, or an unknown one, for another object.
        """
        state.check_frame(frame_idx)
        known = None if obj_id is None else state.objects.get(obj_id)
        item = known or ObjectState(-1, self._bank())
        before = item.prompts.get(frame_idx)
        if before is not None and before.box is not None:
            return
        click = FramePrompts(*check_points(np.reshape(point, (1, 2)), [1], state.frame_size))
        prompts = merge_prompts(click, before, replace_old=False)
        views = views_to_try(state, item, frame_idx, prompts, self.model.config)
        seen = self._step.seen_views(item, frame_idx, views)
        self._step.encoder.encode(state, frame_idx, seen, keep=True)

    def model_input(
        self, state: VideoState, frame_idx: int, obj_id: int | None = None
    ) -> ModelView:
        """Return what the network is given of an object, or of no object, on a frame."""
        return model_view(self._step, state, frame_idx, obj_id)

    @torch.inference_mode()
    def load_mask(
        self, state: VideoState, frame_idx: int, obj_id: int, mask: ArrayLike | Tensor | PackedMask
    ) -> None:
        """Restore a filled-in frame of a prompted object from its (H, W) mask."""
        state.check_frame(frame_idx)
        item = state.get(obj_id)
        packed = check_mask(mask, state.frame_size)
        extent = packed.extent
        backward = min(item.bank.conditioning_frames) > frame_idx
        if extent is None:  # where tracking would look for it
            view = next_view(state, item, frame_idx, reverse=backward)
        else:
            view = mask_view(state, extent)
        cut = packed.cut(view.top, view.left, view.height, view.width)
        part = torch.from_numpy(cut.astype("float32"))[None, None]
        side = self.model.config.low_res_size
        low_res = torch.nn.functional.interpolate(
            part, size=(side, side), mode="bilinear", antialias=True
        )
        logits = (low_res[0] * 2 - 1) * ARCHIVED_LOGIT
        present = 1.0 if extent is not None else -1.0
        memory = FrameMemory(logits, None, present * ARCHIVED_LOGIT, 1.0, prompted=False)
        item.bank.put_tracked(frame_idx, memory)
        item.sightings[frame_idx] = Sighting(view, extent)
        item.recallable.add(frame_idx)
        item.visited.setdefault(frame_idx, backward)
        item.stale.discard(frame_idx)

    @torch.inference_mode()
    def clear_all_prompts_in_frame(
        self, state: VideoState, frame_idx: int, obj_id: int
    ) -> MaskLogits:
        """Take back what was said of an object on a frame, with its answer there."""
        state.check_frame(frame_idx)
        item = state.get(obj_id)
        item.prompt_changed(frame_idx, reach=self._reach)
        item.prompts.pop(frame_idx, None)
        item.bank.drop_conditioning(frame_idx)
        item.bank.drop_tracked(frame_idx)
        item.sightings.pop(frame_idx, None)
        if self.reference_rules:  # else it stays a frame of a pass, to be corrected anew
            item.visited.pop(frame_idx, None)
        return self._layout.whole_frame(state, frame_idx)

    def remove_object(self, state: VideoState, obj_id: int) -> list[int]:
        """Forget an object; returns the ids that are left."""
        state.get(obj_id)
        del state.objects[obj_id]
        return list(state.objects)

    def reset_state(self, state: VideoState) -> None:
        """Forget all objects; the video stays open."""
        state.objects.clear()

    # -- following ---------------------------------------------------------------------------

    @torch.inference_mode()
    def propagate_in_video(
        self,
        state: VideoState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[MaskLogits]:
        """Follow all objects and yield every frame once, prompted frames too.

        Parameters
        ----------
        start_frame_idx
            None: the first prompted frame in the direction of tracking.
        max_frame_num_to_track
            How many frames after the first; None: to the end.

        Yields
        ------
        frame_idx, obj_ids, mask_logits
            (N, 1, H, W) for all objects, -1024 where an object has no anchor yet.

        Raises
        ------
        ValueError
            If no object has a prompt, or the frame does not exist.
        """
        for frame_idx in self._range(state, start_frame_idx, max_frame_num_to_track, reverse):
            self._visit(state, list(state.iterate()), frame_idx, reverse=reverse, again=True)
            yield self._layout.whole_frame(state, frame_idx, reverse=reverse)

    @torch.inference_mode()
    def propagate(
        self,
        state: VideoState,
        direction: str = "both",
        obj_ids: Sequence[int] | None = None,
        frames: Iterable[int] | None = None,
    ) -> Iterator[FrameResult]:
        """Follow objects where their result is missing or out of date.

        May be stopped at any time and called again. After a correction only the objects and frames
        that it can change are computed: those that tracking reaches through the corrected frame.

        Parameters
        ----------
        direction
            "forward" from each object's first prompted frame, "backward" from its last, or "both":
            forward, then backward from the first.
        obj_ids
            None: all objects.
        frames
            Restrict the frames that are computed; None: all.

        Yields
        ------
        FrameResult
            The objects whose result on that frame is new.
        """
        if direction not in _DIRECTIONS:
            raise ValueError(
                f"direction must be one of {', '.join(_DIRECTIONS)}, not {direction!r}"
            )
        items = list(state.iterate(obj_ids))
        if not any(item.prompts for item in items):
            raise ValueError("there is nothing to follow: prompt an object on some frame first")
        wanted = None if frames is None else {int(t) for t in frames}
        for t in wanted or ():
            state.check_frame(t)
        for reverse in {"forward": (False,), "backward": (True,), "both": (False, True)}[direction]:
            for frame_idx in range(state.num_frames)[:: -1 if reverse else 1]:
                if wanted is not None and frame_idx not in wanted:
                    continue
                due = [i for i in items if state.objects.get(i.obj_id) is i and i.prompts]
                if direction == "both" and reverse:
                    due = [i for i in due if frame_idx < min(i.bank.conditioning_frames)]
                due = [i for i in due if i.anchored(frame_idx, reverse=reverse)]
                due = [i for i in due if not i.fresh(frame_idx)]
                if due:
                    self._visit(state, due, frame_idx, reverse=reverse, again=False)
                    yield self._layout.result(state, frame_idx, due)

    # -- inside ------------------------------------------------------------------------------

    @property
    def _reach(self) -> int:
        return self.model.config.memory.num_memories - 1

    def _bank(self) -> MemoryBank:
        # one more than can be recalled, so that a frame is packed only when out of reach
        return MemoryBank(keep=self.model.config.memory.max_pointers + 1)

    def _keep(
        self,
        state: VideoState,
        item: ObjectState,
        frame_idx: int,
        prompts: FramePrompts,
        answer: Answer,
    ) -> None:
        item.prompts[frame_idx] = prompts
        item.sightings[frame_idx] = sighting(answer, state.frame_size)
        if self.reference_rules and frame_idx in item.visited:
            item.bank.put_tracked(frame_idx, answer.memory)
            item.recallable.add(frame_idx)
            return
        item.prompt_changed(frame_idx, reach=self._reach)
        item.bank.put_conditioning(frame_idx, answer.memory)

    def _visit(
        self,
        state: VideoState,
        items: Sequence[ObjectState],
        frame_idx: int,
        *,
        reverse: bool,
        again: bool,
    ) -> None:
        """Make the results of objects on a frame current."""
        due, seen = [], []
        for item in items:
            if frame_idx in item.bank.conditioning_frames:
                item.bank.drop_tracked(frame_idx)
            elif item.bank.conditioning_frames and (
                self.reference_rules or item.anchored(frame_idx, reverse=reverse)
            ):
                due.append(item)
            else:
                continue
            seen.append(item)
        if due:
            self._step.track(state, due, frame_idx, reverse=reverse)
        for item in seen:  # now, since a frame that fails has to be computed again
            if again or not item.fresh(frame_idx):
                item.visited[frame_idx] = reverse
                item.stale.discard(frame_idx)

    def _range(
        self, state: VideoState, start: int | None, count: int | None, reverse: bool
    ) -> range:
        anchors = [t for item in state.iterate() for t in item.bank.conditioning_frames]
        if not anchors:
            raise ValueError("there is nothing to follow: prompt an object on some frame first")
        if start is None:
            start = max(anchors) if reverse and not self.reference_rules else min(anchors)
        state.check_frame(start)
        last = 0 if reverse else state.num_frames - 1
        if count is not None:
            last = max(start - count, 0) if reverse else min(start + count, last)
        if reverse:
            nothing = self.reference_rules and start == 0
            return range(0) if nothing else range(start, last - 1, -1)
        return range(start, last + 1)
