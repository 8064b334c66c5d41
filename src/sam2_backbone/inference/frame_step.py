"""What happens on one frame: encode views, recall memories, predict masks, remember them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from sam2_backbone.inference.exclusion import claim, settled
from sam2_backbone.inference.memory_budget import MemoryBudget
from sam2_backbone.inference.postprocess import (
    drop_far_pieces,
    fill_small_holes,
    hide_absent,
    lean_on_last,
    obey_clicks,
)
from sam2_backbone.inference.prompts import FramePrompts
from sam2_backbone.inference.transforms import (
    View,
    mask_to_model,
    resample_logits,
    to_model_input,
)
from sam2_backbone.inference.video_state import ObjectState, Sighting, VideoState
from sam2_backbone.inference.window import needs_other_window, window_around_extent
from sam2_backbone.memory.bank import FrameMemory
from sam2_backbone.memory.selection import Recall, select_memories
from sam2_backbone.modeling.sam2 import (
    SAM2,
    ImageFeatures,
    MaskPrediction,
    Prompts,
    RecalledMemory,
)

SHOWN_SCORE = 0.1  # least object score where a person shows that the object is there
PREVIOUS_LOGITS_CLAMP = 32.0  # of logits that are given back with a new click


@dataclass(frozen=True)
class Answer:
    """One object's answer on a frame.

    Attributes
    ----------
    view
        What the model looked at.
    memory
        The chosen mask with its scores.
    candidates
        (M, 4h, 4w) logits of an ambiguous click, best first, or None.
    candidate_ious
        M predicted IoU, of the candidates.
    """

    view: View
    memory: FrameMemory
    candidates: Tensor | None = None
    candidate_ious: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Tracked:
    """What is predicted of some objects of a frame, one row each."""

    items: Sequence[ObjectState]
    views: Sequence[View]
    features: ImageFeatures
    prediction: MaskPrediction


class FrameStep:
    """Runs the network on frames of a video for batches of objects.

    Parameters
    ----------
    reference_rules
        Resize frames as the reference does, and fill holes only where it can.
    budget
        How many objects are computed together.
    """

    def __init__(
        self, model: SAM2, *, reference_rules: bool, budget: MemoryBudget | None = None
    ) -> None:
        self.model = model
        self.budget = MemoryBudget() if budget is None else budget
        self.config = model.config
        self.reference_rules = reference_rules

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
            frame = state.source.read(frame_idx)
            for start in range(0, len(missing), self._chunk):
                part = missing[start : start + self._chunk]
                inputs = torch.stack([self._input(state, frame, view) for view in part])
                features = self.model.encode_image(inputs.to(self.model.device))
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

    def answer_points(
        self,
        state: VideoState,
        item: ObjectState,
        frame_idx: int,
        prompts: FramePrompts,
        views: Sequence[View],
        *,
        shown: bool = False,
    ) -> list[Answer]:
        """Answer points and a box, once through each view.

        Memory is recalled only on a frame that propagation has been on. Where a person has `shown`
        that the object is there, its score does not hide it.
        """
        features = self.encode(state, frame_idx, views, keep=True)
        size = self.config.input_size
        read = prompts.newest(self.config.max_clicks)
        coords = torch.stack([view.to_model(read.coords, size) for view in views])
        kinds = read.kinds[None].expand(len(views), -1)
        previous = self._previous_logits(item, frame_idx, views)
        if frame_idx in item.visited and item.bank.conditioning_frames:
            recall = self.recall(state, item, frame_idx, reverse=item.visited[frame_idx])
            memory = self._recalled(state, [item], [recall], frame_idx)
            memory = replace(
                memory,
                features=memory.features.expand(len(views), -1, -1, -1, -1),
                pointers=memory.pointers.expand(len(views), -1, -1),
            )
            conditioned = self.model.attend_memory(features, memory)
        else:
            conditioned = self.model.without_memory(features)
        device = self.model.device
        prediction = self.model.predict_masks(
            conditioned,
            Prompts(coords.to(device), kinds.to(device), previous),
            multimask_output=prompts.kinds.shape[0] <= 1,
        )
        if shown:
            scores = prediction.object_score_logits.clamp(min=SHOWN_SCORE)
            answers = self._answers(
                replace(prediction, object_score_logits=scores), views, prompted=True
            )
            # the pointer that came with the mask may say that the object is absent
            return [replace(a, memory=replace(a.memory, obj_ptr=None)) for a in answers]
        return self._answers(self._gated(state, prediction), views, prompted=True)

    def obeying(self, answer: Answer, prompts: FramePrompts) -> Answer:
        """Return an answer that says nothing which a person's clicks contradict."""
        # a click's integer is the centre of its pixel
        side = self.config.low_res_size
        places = answer.view.to_model(prompts.points + 0.5, side)
        memory, candidates = answer.memory, answer.candidates
        masks = obey_clicks(memory.low_res_masks, places, prompts.labels)
        if candidates is not None:
            candidates = obey_clicks(candidates, places, prompts.labels)
        return replace(answer, memory=replace(memory, low_res_masks=masks), candidates=candidates)

    def answer_mask(
        self, state: VideoState, frame_idx: int, prompts: FramePrompts, view: View
    ) -> Answer:
        """Take a mask given by a person as it is."""
        assert prompts.mask is not None
        features = self.encode(state, frame_idx, [view], keep=True)
        whole = prompts.mask.to_array()
        mask = mask_to_model(whole, view, self.config.input_size).to(self.model.device)
        prediction = self.model.adopt_mask(features, mask)
        return self._answers(prediction, [view], prompted=True)[0]

    def track(
        self, state: VideoState, items: Sequence[ObjectState], frame_idx: int, *, reverse: bool
    ) -> None:
        """Fill in a frame for objects that have been prompted elsewhere, and remember it."""
        tracked = self._predicted(state, items, frame_idx, reverse=reverse)
        if self.config.exclusive_objects and len(items) > 1:
            tracked = _exclusive(list(tracked))
        for part in tracked:
            self._remember(state, part, frame_idx)

    def recall(
        self, state: VideoState, item: ObjectState, frame_idx: int, *, reverse: bool
    ) -> Recall:
        """Choose what an object recalls on a frame."""
        return select_memories(
            frame_idx,
            prompted=item.bank.conditioning_frames,
            tracked=item.recallable,
            num_frames=state.num_frames,
            reverse=reverse,
            config=self.config.memory,
        )

    def next_view(
        self, state: VideoState, item: ObjectState, frame_idx: int, *, reverse: bool
    ) -> View:
        """Choose the view of a tracked frame: where the object was seen last."""
        if state.window is None:
            return View.whole(*state.frame_size)
        before = item.sightings.get(frame_idx + (1 if reverse else -1))
        if before is None:
            nearest = min(item.bank.conditioning_frames, key=lambda t: abs(t - frame_idx))
            before = item.sightings[nearest]
        return follow(before, state.frame_size, side=state.fixed_side)

    # -- inside ------------------------------------------------------------------------------

    @property
    def _chunk(self) -> int:
        return self.budget.batch_rows(self.config.embedding_size)

    def _input(self, state: VideoState, frame: object, view: View) -> Tensor:
        return to_model_input(
            frame,  # type: ignore[arg-type]
            view,
            state.intensities,
            input_size=self.config.input_size,
            bicubic_8bit=self.reference_rules,
        )

    def _predicted(
        self, state: VideoState, items: Sequence[ObjectState], frame_idx: int, *, reverse: bool
    ) -> Iterator[_Tracked]:
        """Predict masks in batches of objects that recall alike."""
        groups: dict[object, list[tuple[ObjectState, Recall]]] = defaultdict(list)
        for item in items:
            recall = self.recall(state, item, frame_idx, reverse=reverse)
            groups[recall.structure].append((item, recall))
        for members in groups.values():
            for start in range(0, len(members), self._chunk):
                part = members[start : start + self._chunk]
                yield self._predict_batch(state, part, frame_idx, reverse=reverse)

    def _predict_batch(
        self,
        state: VideoState,
        members: Sequence[tuple[ObjectState, Recall]],
        frame_idx: int,
        *,
        reverse: bool,
    ) -> _Tracked:
        items = [item for item, _ in members]
        views = [self.next_view(state, item, frame_idx, reverse=reverse) for item in items]
        features = self.encode(state, frame_idx, views, keep=False)
        memory = self._recalled(state, items, [recall for _, recall in members], frame_idx)
        last = self._last_masks(members, frame_idx, views) if self.config.draw_last_mask else None
        prediction = self.model.predict_masks(
            self.model.attend_memory(features, memory),
            Prompts(mask_input=last),
            multimask_output=True,
        )
        if last is not None and self.config.last_shape_weight:
            leaning = lean_on_last(prediction.low_res_masks, last, self.config.last_shape_weight)
            prediction = replace(prediction, low_res_masks=leaning)
        if last is not None and self.config.drop_far_pieces:
            near = drop_far_pieces(prediction.low_res_masks, last)
            prediction = replace(prediction, low_res_masks=near)
        if self.config.gate_object_score and self.config.presence_margin:
            prediction = self._surely_there(prediction)
        return _Tracked(items, views, features, self._gated(state, prediction).best)

    def _remember(self, state: VideoState, tracked: _Tracked, frame_idx: int) -> None:
        best = tracked.prediction
        encoded = self.model.encode_memory(
            tracked.features, best.low_res_masks, best.object_score_logits, prompted=False
        ).to(torch.bfloat16)
        answers = self._answers(best, tracked.views, prompted=False)
        for item, answer, row in zip(tracked.items, answers, encoded, strict=True):
            item.bank.put_tracked(frame_idx, replace(answer.memory, features=row))
            item.recallable.add(frame_idx)
            item.sightings[frame_idx] = sighting(answer, state.frame_size)

    def _surely_there(self, prediction: MaskPrediction) -> MaskPrediction:
        """Take objects whose score does not exceed the margin for absent, their pointers too."""
        scores = prediction.object_score_logits - self.config.presence_margin
        absent = self.model.no_object_pointer.to(prediction.obj_ptr.dtype)
        pointers = torch.where(scores > 0, prediction.obj_ptr, absent)
        return replace(prediction, object_score_logits=scores, obj_ptr=pointers)

    def _gated(self, state: VideoState, prediction: MaskPrediction) -> MaskPrediction:
        # a person shows an image because the object is there: one image is never gated
        if not self.config.gate_object_score or (
            state.num_frames == 1 and not self.reference_rules
        ):
            return prediction
        masks = hide_absent(prediction.low_res_masks, prediction.object_score_logits)
        return replace(prediction, low_res_masks=masks)

    def _answers(
        self, prediction: MaskPrediction, views: Sequence[View], *, prompted: bool
    ) -> list[Answer]:
        best = prediction.best
        masks = self._filled(best.low_res_masks)
        if self.model.dtype != torch.float32:
            masks = masks.to(torch.float16)  # half the size; -1024 and +-32 are exact enough
        scores = best.object_score_logits[:, 0].tolist()
        ious = best.iou_predictions[:, 0].tolist()
        answers = []
        for row, view in enumerate(views):
            memory = FrameMemory(
                low_res_masks=masks[row],
                obj_ptr=best.obj_ptr[row],
                object_score=scores[row],
                iou=ious[row],
                prompted=prompted,
            )
            answer = Answer(view, memory)
            if prompted and prediction.low_res_masks.shape[1] > 1:
                sorted_ious, order = prediction.iou_predictions[row].sort(descending=True)
                answer = replace(
                    answer,
                    candidates=self._filled(prediction.low_res_masks[row, order][:, None])[:, 0],
                    candidate_ious=tuple(sorted_ious.tolist()),
                )
            answers.append(answer)
        return answers

    def _filled(self, masks: Tensor) -> Tensor:
        """Fill holes in (N, 1, l, l) logits, where the rules have it so."""
        return fill_small_holes(masks) if not self.reference_rules or masks.is_cuda else masks

    def _last_masks(
        self,
        members: Sequence[tuple[ObjectState, Recall]],
        frame_idx: int,
        views: Sequence[View],
    ) -> Tensor:
        """Bring the nearest recalled mask of each object into the view of this frame."""
        rows = []
        for (item, recall), view in zip(members, views, strict=True):
            nearest = min((t for t, _ in recall.spatial), key=lambda t: abs(t - frame_idx))
            memory = item.bank.get(nearest)
            assert memory is not None
            logits = memory.low_res_masks[None].float().to(self.model.device)
            seen = item.sightings[nearest].view
            rows.append(logits if view == seen else resample_logits(logits, seen, view))
        return torch.cat(rows)

    def _previous_logits(
        self, item: ObjectState, frame_idx: int, views: Sequence[View]
    ) -> Tensor | None:
        known = item.bank.get_tracked(frame_idx) or item.bank.get(frame_idx)
        if known is None:
            return None
        logits = known.low_res_masks[None].float().to(self.model.device)
        seen = item.sightings[frame_idx].view
        rows = [logits if view == seen else resample_logits(logits, seen, view) for view in views]
        clamp = PREVIOUS_LOGITS_CLAMP
        return torch.cat(rows).clamp(-clamp, clamp)

    def _recalled(
        self,
        state: VideoState,
        items: Sequence[ObjectState],
        recalls: Sequence[Recall],
        frame_idx: int,
    ) -> RecalledMemory:
        features, pointers = [], []
        for item, recall in zip(items, recalls, strict=True):
            spatial = [self._with_features(state, item, t) for t, _ in recall.spatial]
            features.append(torch.stack([m.features for m in spatial if m.features is not None]))
            remembered = [self._with_pointer(state, item, t) for t, _ in recall.pointers]
            pointers.append(
                torch.stack([m.obj_ptr for m in remembered if m.obj_ptr is not None])
                if remembered
                else features[-1].new_zeros(0, self.config.hidden_dim)
            )
        recall = recalls[0]
        return RecalledMemory(
            features=torch.stack(features).to(self.model.device),
            temporal_rows=tuple(row for _, row in recall.spatial),
            pointers=torch.stack(pointers).to(self.model.device),
            pointer_distances=tuple(float(distance) for _, distance in recall.pointers),
            pointer_span=recall.pointer_span,
        )

    def _with_features(self, state: VideoState, item: ObjectState, frame_idx: int) -> FrameMemory:
        """Encode a memory when it is first recalled."""
        memory = item.bank.get(frame_idx)
        assert memory is not None
        if memory.features is not None:
            return memory
        view = item.sightings[frame_idx].view
        device = self.model.device
        encoded = self.model.encode_memory(
            self.encode(state, frame_idx, [view], keep=False),
            memory.low_res_masks[None].float().to(device),
            torch.tensor([[memory.object_score]], device=device),
            prompted=memory.prompted,
        )
        memory = replace(memory, features=encoded[0].to(torch.bfloat16))
        item.bank.update(frame_idx, memory)
        return memory

    def _with_pointer(self, state: VideoState, item: ObjectState, frame_idx: int) -> FrameMemory:
        """Compute the pointer of a frame of which only a mask is known."""
        memory = item.bank.get(frame_idx)
        assert memory is not None
        if memory.obj_ptr is not None:
            return memory
        view = item.sightings[frame_idx].view
        size = self.config.input_size
        logits = memory.low_res_masks[None].float().to(self.model.device)
        mask = torch.nn.functional.interpolate(logits, size=(size, size), mode="bilinear") > 0
        features = self.encode(state, frame_idx, [view], keep=False)
        memory = replace(memory, obj_ptr=self.model.adopt_mask(features, mask).obj_ptr[0])
        item.bank.update(frame_idx, memory)
        return memory


def _exclusive(batches: Sequence[_Tracked]) -> Iterator[_Tracked]:
    """Let no two objects of a frame have the same pixels."""
    claims = [
        claim(logits, view)
        for batch in batches
        for logits, view in zip(batch.prediction.low_res_masks, batch.views, strict=True)
    ]
    rows = iter(settled(claims))
    for batch in batches:
        masks = torch.stack([next(rows) for _ in batch.items])
        yield replace(batch, prediction=replace(batch.prediction, low_res_masks=masks))


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


def _stack(rows: Sequence[ImageFeatures]) -> ImageFeatures:
    if len(rows) == 1:
        return rows[0]
    return ImageFeatures(
        torch.cat([r.embedding for r in rows]),
        (torch.cat([r.high_res[0] for r in rows]), torch.cat([r.high_res[1] for r in rows])),
    )
