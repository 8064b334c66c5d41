"""What happens on one frame: encode views, recall memories, predict masks, remember them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sam2_backbone.inference.anchored_shapes import AnchoredShapes
from sam2_backbone.inference.encoding import FrameEncoder
from sam2_backbone.inference.exclusion import claim, settled
from sam2_backbone.inference.memory_budget import MemoryBudget
from sam2_backbone.inference.motion import MOTION_SIDE, Carried, carry_along
from sam2_backbone.inference.postprocess import (
    drop_far_pieces,
    fill_box,
    fill_small_holes,
    hide_absent,
    lean_on_last,
    obey_clicks,
)
from sam2_backbone.inference.prompts import FramePrompts
from sam2_backbone.inference.recollection import Recollection
from sam2_backbone.inference.transforms import (
    View,
    mask_to_model,
    within_frame,
)
from sam2_backbone.inference.video_state import ObjectState, VideoState
from sam2_backbone.inference.views import next_view, sighting
from sam2_backbone.memory.bank import FrameMemory
from sam2_backbone.memory.selection import Recall
from sam2_backbone.modeling.sam2 import (
    SAM2,
    ImageFeatures,
    MaskPrediction,
    Prompts,
)

MIRRORED_CLAMP = 10.0  # of logits, so that one sure answer does not outvote the others
DOUBTED_IOU = 0.8  # predicted IoU below which a tracked mask is no sign of an object
# of a tracked mask within the frame, below which its object has left where the network doubts the
# mask much (predicted IoU below), and the highest object score then
LEFT_SHARE, LEFT_IOU, LEFT_SCORE = 0.3, 0.5, -1.0
SHOWN_SCORE = 0.1  # least object score where a person shows that the object is there


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
        self.config = model.config
        self.reference_rules = reference_rules
        self.encoder = FrameEncoder(
            model, reference_rules=reference_rules, budget=budget or MemoryBudget()
        )
        self._memories = Recollection(model, self.encoder)
        self._shapes = AnchoredShapes(self.encoder)

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
        seen = self.seen_views(item, frame_idx, views)
        features = self.encoder.encode(state, frame_idx, seen, keep=True)
        if _recalls(item, frame_idx):
            reverse = item.visited[frame_idx]
            recall = self._memories.choose(state, item, frame_idx, reverse=reverse)
            memory = self._memories.recalled(state, [item], [recall])
            memory = replace(
                memory,
                features=memory.features.expand(len(views), -1, -1, -1, -1),
                pointers=memory.pointers.expand(len(views), -1, -1),
            )
            conditioned = self.model.attend_memory(features, memory)
        else:
            conditioned = self.model.without_memory(features)
        prediction = self.model.predict_masks(
            conditioned,
            self._prompts(item, frame_idx, prompts, seen),
            multimask_output=prompts.kinds.shape[0] <= 1,
        )
        if len(seen) > len(views):
            prediction = _averaged(prediction, seen)
        if shown:
            scores = prediction.object_score_logits.clamp(min=SHOWN_SCORE)
            answers = self._answers(
                replace(prediction, object_score_logits=scores), views, prompted=True
            )
            # the pointer that came with the mask may say that the object is absent
            return [replace(a, memory=replace(a.memory, obj_ptr=None)) for a in answers]
        return self._answers(self._gated(state, prediction), views, prompted=True)

    def seen_views(
        self, item: ObjectState, frame_idx: int, views: Sequence[View]
    ) -> Sequence[View]:
        """Return what is looked at for points and a box: one view in its mirror images too.

        Not where memory is recalled, which is not mirrored, and not where many windows are tried:
        that takes its time, and tells as much.
        """
        if not self.config.average_mirrored or len(views) > 1 or _recalls(item, frame_idx):
            return views
        return views[0].mirror_images

    def obeying(self, answer: Answer, prompts: FramePrompts) -> Answer:
        """Return an answer that says nothing which a person's clicks or box contradict."""
        memory, candidates = answer.memory, answer.candidates
        side, masks = self.config.low_res_size, answer.memory.low_res_masks
        if self.config.fill_boxes and prompts.is_box_alone:
            box = answer.view.to_model(prompts.coords, 1).flatten()
            masks = fill_box(masks, box, (answer.view.height, answer.view.width))
        if self.config.obey_clicks:
            # a click's integer is the centre of its pixel
            places = answer.view.to_model(prompts.points + 0.5, side)
            masks = obey_clicks(masks, places, prompts.labels)
            if candidates is not None:
                candidates = obey_clicks(candidates, places, prompts.labels)
        return replace(answer, memory=replace(memory, low_res_masks=masks), candidates=candidates)

    def answer_mask(
        self, state: VideoState, frame_idx: int, prompts: FramePrompts, view: View
    ) -> Answer:
        """Take a mask given by a person as it is."""
        assert prompts.mask is not None
        features = self.encoder.encode(state, frame_idx, [view], keep=True)
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

    # -- inside ------------------------------------------------------------------------------

    def _prompts(
        self, item: ObjectState, frame_idx: int, prompts: FramePrompts, views: Sequence[View]
    ) -> Prompts:
        """Return points, box and what was answered before as they are in each view."""
        read, device = prompts.newest(self.config.max_clicks), self.model.device
        size = self.config.input_size
        places = [view.to_model(_as_seen(read, view), size) for view in views]
        kinds = read.kinds[None].expand(len(views), -1)
        previous = self._memories.previous_logits(item, frame_idx, views)
        return Prompts(torch.stack(places).to(device), kinds.to(device), previous)

    def _predicted(
        self, state: VideoState, items: Sequence[ObjectState], frame_idx: int, *, reverse: bool
    ) -> Iterator[_Tracked]:
        """Predict masks in batches of objects that recall alike."""
        groups: dict[object, list[tuple[ObjectState, Recall]]] = defaultdict(list)
        for item in items:
            recall = self._memories.choose(state, item, frame_idx, reverse=reverse)
            groups[recall.structure].append((item, recall))
        for members in groups.values():
            for start in range(0, len(members), self.encoder.batch_rows):
                part = members[start : start + self.encoder.batch_rows]
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
        views = [next_view(state, item, frame_idx, reverse=reverse) for item in items]
        features = self.encoder.encode(state, frame_idx, views, keep=False)
        memory = self._memories.recalled(state, items, [recall for _, recall in members])
        side, size = self.config.low_res_size, state.frame_size
        within = torch.stack([within_frame(view, size, side) for view in views])[:, None]
        within = within.to(self.model.device)
        last, pull, carried = None, None, None
        if self.config.draw_last_mask:
            last, frames = self._memories.last_masks(members, frame_idx, views)
            if self.config.carried_shape_weight:
                before = self.encoder.grey(state, frames, views, MOTION_SIDE)
                now = self.encoder.grey(state, [frame_idx] * len(views), views, MOTION_SIDE)
                carried = carry_along(last, before, now, within)
                last, pull = carried.masks, self.config.carried_shape_weight * carried.pull
                if self.config.anchored_shape_weight:
                    said = self._shapes.pull(state, items, frames, frame_idx, views, carried, now)
                    pull = pull + self.config.anchored_shape_weight * said
        prediction = self.model.predict_masks(
            self.model.attend_memory(features, memory),
            Prompts(mask_input=last),
            multimask_output=True,
        )
        if last is not None:
            prediction = self._shaped(prediction, last, pull)
        if self.config.gate_object_score:
            prediction = self._judged_there(prediction, carried, within)
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

    def _shaped(
        self, prediction: MaskPrediction, last: Tensor, pull: Tensor | None
    ) -> MaskPrediction:
        """Let doubtful pixels follow the shapes that objects had before."""
        masks = prediction.low_res_masks
        if self.config.last_shape_weight:
            masks = lean_on_last(masks, last, self.config.last_shape_weight)
        if pull is not None:
            masks = masks + pull
        if self.config.drop_far_pieces:
            masks = drop_far_pieces(masks, last)
        return replace(prediction, low_res_masks=masks)

    def _judged_there(
        self, prediction: MaskPrediction, carried: Carried | None, within: Tensor
    ) -> MaskPrediction:
        """Weigh what tells whether objects are there: the network, the picture's motion, the frame.

        `within` is (N, 1, l, l) bool: which pixels of the views lie in it.
        """
        quality = prediction.iou_predictions.amax(1, keepdim=True)
        in_doubt = quality < DOUBTED_IOU
        scores = prediction.object_score_logits - self.config.presence_margin * in_doubt
        if carried is not None:
            scores = scores + self.config.carried_presence * carried.still_seen[:, None]
        shown = prediction.best.low_res_masks > 0
        is_beyond = (shown & within).sum((2, 3)) < LEFT_SHARE * shown.sum((2, 3))
        has_left = is_beyond & (quality < LEFT_IOU)
        scores = torch.where(has_left, scores.clamp(max=LEFT_SCORE), scores)
        absent = self.model.no_object_pointer.to(prediction.obj_ptr.dtype)
        pointers = torch.where(scores > 0, prediction.shown_ptr, absent)
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


def _recalls(item: ObjectState, frame_idx: int) -> bool:
    """Whether a prompt of this frame is answered with memories: propagation has been on it."""
    return frame_idx in item.visited and bool(item.bank.conditioning_frames)


def _as_seen(prompts: FramePrompts, view: View) -> Tensor:
    """Return the box, its upper left corner first, and points where a mirror image shows them."""
    is_corner = prompts.kinds >= 2
    places = view.flip_points(prompts.coords, is_corner)
    if bool(is_corner.any()):
        corners = places[is_corner]
        places[is_corner] = torch.stack((corners.amin(0), corners.amax(0)))
    return places


def _averaged(prediction: MaskPrediction, views: Sequence[View]) -> MaskPrediction:
    """Return one row: the mean of the answers through mirror images, the pointer of the first."""
    masks = torch.stack(
        [view.flip(m) for view, m in zip(views, prediction.low_res_masks, strict=True)]
    )
    return replace(
        prediction,
        low_res_masks=masks.clamp(-MIRRORED_CLAMP, MIRRORED_CLAMP).mean(0, keepdim=True),
        iou_predictions=prediction.iou_predictions.mean(0, keepdim=True),
        object_score_logits=prediction.object_score_logits.mean(0, keepdim=True),
        obj_ptr=prediction.obj_ptr[:1],
        shown_ptr=prediction.shown_ptr[:1],
    )


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
