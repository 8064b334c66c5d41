"""What the model answers: a predictor and its memory, kept equal to what the person has said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_sam2.session.history import Direction
from napari_sam2.session.intensities import as_seen
from napari_sam2.session.masks import (
    Candidate,
    StoredMask,
    stability_of,
    store_drawn,
    store_logits,
)
from napari_sam2.session.objects import ObjectState
from napari_sam2.session.predictor import FrameResultLike, ModelViewLike, Predictor, as_array
from napari_sam2.session.prompts import FramePrompts, questions
from napari_sam2.session.settings import SessionSettings

if TYPE_CHECKING:
    from psygnal import SignalInstance

    from sam2_backbone.inference.frames import FrameSource
    from sam2_backbone.inference.packed_mask import PackedMask


_PREVIEW_ID = -1  # no person's object


class Segmentation:
    """
    The predictor of one session.

    An object is *stale* when the predictor's memory of it may differ from the session's, after an
    undo, a failed prompt or a reload; it is then told everything again before its next answer.
    """

    def __init__(
        self,
        source: FrameSource,
        settings: SessionSettings,
        predictor_factory: Callable[[SessionSettings], Predictor],
    ) -> None:
        self.source = source
        """The frames that are asked about."""
        self.settings = settings
        """What decides the answers beside the prompts."""
        self._predictor_factory = predictor_factory
        self._predictor: Predictor | None = None
        self._state: Any = None
        self._known: set[int] = set()
        self._stale: set[int] = set()
        self.first_look: SignalInstance | None = None
        """Emitted with object, frame and mask as seen at first, where it is looked at once more."""
        self.candidates: dict[tuple[int, int], tuple[Candidate, ...]] = {}
        """Answers to the first click by object and frame, as far as it was ambiguous."""

    def use_settings(self, settings: SessionSettings, source: FrameSource | None = None) -> None:
        """Forget everything; the next question is asked with these settings, of this source."""
        self.settings = settings
        self.source = self.source if source is None else source
        self._predictor = self._state = None
        self._known.clear()
        self._stale.clear()
        self.candidates.clear()

    def mark_stale(self, obj_id: int) -> None:
        """Tell the predictor everything about this object before it next answers."""
        self._stale.add(obj_id)

    def forget(self, obj_id: int) -> None:
        """Remove an object from the predictor's memory."""
        self._stale.discard(obj_id)
        for key in [key for key in self.candidates if key[0] == obj_id]:
            del self.candidates[key]
        if obj_id in self._known:
            self._known.discard(obj_id)
            with suppress(ValueError):  # unknown where the first answer failed already
                self._require().remove_object(self._state, obj_id)

    def ask(self, state: ObjectState, frame_idx: int, prompts: FramePrompts) -> StoredMask | None:
        """
        Replace the prompts of one object on one frame and return its mask there.

        Parameters
        ----------
        state
            The object before the change.
        frame_idx
            A frame.
        prompts
            All prompts of the frame; empty removes them, and the answer is then ``None``.
        """
        predictor = self._require()
        self._refresh(state)
        earlier = state.prompts.get(frame_idx)
        self._known.add(state.obj_id)
        try:
            if earlier is not None and prompts.extends(earlier) and not prompts.is_empty:
                heard = len(earlier.points)
                return self._ask_from(state, frame_idx, prompts, heard, is_awaited=True)
            self.candidates.pop((state.obj_id, frame_idx), None)
            if earlier is not None:
                predictor.clear_all_prompts_in_frame(self._state, frame_idx, state.obj_id)
            return self._ask_from(state, frame_idx, prompts, None, is_awaited=True)
        except BaseException:  # an interrupt too leaves it having heard a part only
            self._stale.add(state.obj_id)
            raise

    def preview(self, frame_idx: int, prompts: FramePrompts) -> StoredMask | None:
        """Return what a new object with these prompts would look like; nothing is remembered."""
        predictor, nobody = self._require(), ObjectState(_PREVIEW_ID, "")
        try:
            return self._ask_from(nobody, frame_idx, prompts, None)
        finally:
            self.candidates.pop((_PREVIEW_ID, frame_idx), None)
            with suppress(ValueError):  # unknown where the first answer failed already
                predictor.remove_object(self._state, _PREVIEW_ID)

    def anticipate(self, obj_id: int | None, frame_idx: int, prompts: FramePrompts) -> None:
        """Have the answer to a click prepared, the only point of `prompts`."""
        predictor = self._require()
        known = obj_id if obj_id in self._known and obj_id not in self._stale else None
        for question in questions(prompts):
            if question.points is not None:
                predictor.anticipate_click(self._state, frame_idx, question.points[0], known)

    def model_input(self, state: ObjectState | None, frame_idx: int) -> ModelViewLike:
        """Return what the network is given of an object on a frame; without one, the frame."""
        predictor = self._require()
        if state is None or not state.prompts:
            return predictor.model_input(self._state, frame_idx, None)
        self._refresh(state)
        return predictor.model_input(self._state, frame_idx, state.obj_id)

    def propagate(
        self,
        objects: Mapping[int, ObjectState],
        direction: Direction,
        frames: tuple[int, ...] | None,
    ) -> Iterator[FrameResultLike]:
        """Follow objects that have prompts; close the iterator before the next question."""
        predictor = self._require()
        for state in objects.values():
            self._refresh(state)
            # A prompt given since may have put accepted masks out of the memory.
            self._load(state, sorted(state.locked.intersection(state.trusted_frames)))
        return iter(predictor.propagate(self._state, direction, list(objects), frames))

    def _ask_from(
        self,
        state: ObjectState,
        frame_idx: int,
        prompts: FramePrompts,
        already_asked: int | None,
        *,
        is_awaited: bool = False,
    ) -> StoredMask | None:
        """Ask what was not asked already; where a person awaits it, tell the first look."""
        predictor = self._require()
        answer: StoredMask | None = None
        asked = list(questions(prompts, already_asked=already_asked))
        # false where nobody listens
        tells = is_awaited and not prompts.candidate and bool(self.first_look)
        for question in asked:
            result = predictor.answer(
                self._state,
                frame_idx,
                state.obj_id,
                points=question.points,
                labels=question.labels,
                clear_old_points=question.is_first,
                box=question.box,
                mask=question.mask,
                on_first_look=self._tell_first_look if tells and question is asked[-1] else None,
            )
            if question.mask is not None:
                answer = store_drawn(question.mask)
            else:
                answer = stored_masks(result)[state.obj_id]
            if question.is_ambiguous:
                self.candidates[state.obj_id, frame_idx] = candidates = _candidates(result)
                if prompts.candidate and candidates:
                    answer = self._adopt(state, frame_idx, candidates, prompts.candidate)
        if answer is None and not prompts.is_empty:
            answer = state.masks.get(frame_idx)
        return answer

    def _tell_first_look(self, result: FrameResultLike) -> None:
        assert self.first_look is not None
        for obj_id, mask in stored_masks(result).items():
            self.first_look.emit(obj_id, result.frame_idx, mask)

    def _adopt(
        self,
        state: ObjectState,
        frame_idx: int,
        candidates: Sequence[Candidate],
        candidate: int,
    ) -> StoredMask:
        """Tell the predictor that another candidate was meant: what follows builds on that."""
        mask = candidates[candidate % len(candidates)].mask
        self._tell(state, frame_idx, mask)
        return mask

    def _require(self) -> Predictor:
        if self._predictor is None:
            settings = self.settings
            predictor = self._predictor_factory(settings)
            frames, value_range = as_seen(self.source, settings.channels, settings.value_range)
            self._state = predictor.init_state(
                frames, value_range=value_range, window=settings.window
            )
            self._predictor = predictor
        return self._predictor

    def _refresh(self, state: ObjectState) -> None:
        """Tell the predictor all prompts of a stale or unknown object."""
        if state.obj_id in self._known and state.obj_id not in self._stale:
            return
        self.forget(state.obj_id)
        self._known.add(state.obj_id)
        self._stale.add(state.obj_id)
        for frame_idx, prompts in state.prompts.items():
            self._ask_again(state, frame_idx, prompts)
            # The next prompt is a correction: it is answered with what was tracked in memory.
            self._load(state, state.trusted_frames)
        self._stale.discard(state.obj_id)

    def _ask_again(self, state: ObjectState, frame_idx: int, prompts: FramePrompts) -> None:
        """Ask as once before; where that answer built on tracked masks, tell what it was."""
        answer, kept = self._ask_from(state, frame_idx, prompts, None), state.masks.get(frame_idx)
        if kept is not None and (answer is None or not self._look_alike(answer, kept)):
            self._tell(state, frame_idx, kept)

    def _tell(self, state: ObjectState, frame_idx: int, mask: StoredMask) -> None:
        """Have the predictor take a mask for the answer to a frame's prompts."""
        self._require().answer(self._state, frame_idx, state.obj_id, mask=self._packed(mask))

    def _look_alike(self, one: StoredMask, other: StoredMask) -> bool:
        return self._packed(one) == self._packed(other)

    def _packed(self, mask: StoredMask) -> PackedMask:
        return mask.packed(self.source.height, self.source.width)

    def _load(self, state: ObjectState, frame_idxs: Sequence[int]) -> None:
        """Put tracked masks into the predictor's memory."""
        for frame_idx in frame_idxs:
            mask = self._packed(state.masks[frame_idx])
            self._require().load_mask(self._state, frame_idx, state.obj_id, mask)


def stored_masks(result: FrameResultLike) -> dict[int, StoredMask]:
    """Return the masks of a result by object id, ready to be kept."""
    scores, ious = as_array(result.object_scores), as_array(result.ious)
    return {
        mask.obj_id: store_logits(
            as_array(mask.logits),
            top=mask.top,
            left=mask.left,
            object_score=float(scores[index]),
            iou=float(ious[index]),
        )
        for index, mask in enumerate(result.object_masks)
    }


def _candidates(result: FrameResultLike) -> tuple[Candidate, ...]:
    score = float(as_array(result.object_scores)[0])
    found = []
    for candidate, iou in zip(result.candidates, result.candidate_ious, strict=True):
        logits = as_array(candidate.logits)
        mask = store_logits(
            logits, top=candidate.top, left=candidate.left, object_score=score, iou=float(iou)
        )
        found.append(Candidate(mask, stability_of(logits)))
    return tuple(found)
