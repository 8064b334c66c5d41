"""A video predictor that answers with discs, and frames that are made up: no network, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FakeFrames:
    """A `FrameSource` over an array ``(T, H, W[, 3])`` that counts what it reads."""

    array: np.ndarray
    reads: list[int] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return self.array.shape[0]

    @property
    def height(self) -> int:
        return self.array.shape[1]

    @property
    def width(self) -> int:
        return self.array.shape[2]

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def is_rgb(self) -> bool:
        return self.array.ndim == 4

    def read(self, frame_idx: int) -> np.ndarray:
        self.reads.append(frame_idx)
        return self.array[frame_idx]


@dataclass(frozen=True)
class FakeObjectMask:
    obj_id: int
    top: int
    left: int
    logits: np.ndarray


@dataclass(frozen=True)
class FakeResult:
    frame_idx: int
    obj_ids: tuple[int, ...]
    object_scores: np.ndarray
    ious: np.ndarray
    object_masks: tuple[FakeObjectMask, ...]
    candidates: tuple[FakeObjectMask, ...] = ()
    candidate_ious: tuple[float, ...] = ()


@dataclass(frozen=True)
class FakeView:
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class FakeModelView:
    view: FakeView
    pixels: np.ndarray


@dataclass(frozen=True)
class _Heard:
    """What was said on one frame; `count` stands for the logits of earlier answers."""

    points: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, ...] | None = None
    mask: np.ndarray | None = None
    count: int = 0


@dataclass
class FakeState:
    source: Any
    num_frames: int
    height: int
    width: int
    heard: dict[int, dict[int, _Heard]] = field(default_factory=dict)
    tracked: dict[int, set[int]] = field(default_factory=dict)

    @property
    def obj_ids(self) -> tuple[int, ...]:
        return tuple(self.heard)

    def prompted_frames(self, obj_id: int) -> tuple[int, ...]:
        return tuple(sorted(self.heard[obj_id]))


class FakePredictor:
    """
    Discs of a radius that grows by half a pixel with each answer, drifting one pixel a frame.

    Takes the settings as `Session(predictor_factory=FakePredictor)` gives them. `calls` lists the
    methods called; set `fail_next` to an exception to have the next answer raise it. Where it
    `looks_twice`, the first look is a larger disc than the answer, and an error comes after it.
    """

    radius = 6.0
    looks_twice = False

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings
        self.calls: list[tuple[Any, ...]] = []
        self.fail_next: Exception | None = None

    def init_state(self, frames: Any, *, value_range: Any = None, window: Any = None) -> FakeState:
        self.calls.append(("init_state", value_range, window))
        self.value_range = value_range or (0, 255)
        if hasattr(frames, "num_frames"):
            return FakeState(frames, frames.num_frames, frames.height, frames.width)
        return FakeState(frames, *np.shape(frames)[:3])

    def answer(
        self,
        state: FakeState,
        frame_idx: int,
        obj_id: int,
        *,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        box: Any = None,
        mask: Any = None,
        on_first_look: Any = None,
    ) -> FakeResult:
        self.calls.append(("answer", frame_idx, obj_id))
        if self.looks_twice and on_first_look is not None:
            said = [(float(x), float(y), int(v)) for (x, y), v in zip(points, labels, strict=True)]
            logits = self._logits(_Heard(tuple(said), count=20), 0, state.height, state.width)
            first = FakeObjectMask(obj_id, 0, 0, logits)
            ones = np.ones(1, np.float32)
            on_first_look(FakeResult(frame_idx, (obj_id,), ones, ones, (first,)))
            self.after_first_look()
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        frames = state.heard.setdefault(obj_id, {})
        heard = _Heard() if clear_old_points else frames.get(frame_idx, _Heard())
        new_points = () if points is None else zip(*np.asarray(points).T, labels, strict=True)
        frames[frame_idx] = _Heard(
            points=heard.points + tuple((float(x), float(y), int(v)) for x, y, v in new_points),
            box=heard.box if box is None else tuple(np.asarray(box, float).tolist()),
            mask=heard.mask if mask is None else np.asarray(mask, bool),
            count=heard.count + 1,
        )
        state.tracked[obj_id] = set()
        result = self._result(state, frame_idx, (obj_id,))
        if clear_old_points and box is None and mask is None and len(points) == 1:
            sizes = [self._logits(replace(frames[frame_idx], count=n), 0, state.height, state.width)
                     for n in (1, 9, 17)]  # fmt: skip
            candidates = tuple(FakeObjectMask(obj_id, 0, 0, logits) for logits in sizes)
            result = replace(result, candidates=candidates, candidate_ious=(0.9, 0.7, 0.5))
        return result

    def after_first_look(self) -> None:
        """Between the first look and the answer; nothing here."""

    def anticipate_click(
        self, state: FakeState, frame_idx: int, point: Any, obj_id: int | None = None
    ) -> None:
        self.calls.append(("anticipate_click", frame_idx, tuple(map(float, point)), obj_id))

    def propagate(
        self,
        state: FakeState,
        direction: str = "both",
        obj_ids: Sequence[int] | None = None,
        frames: Iterable[int] | None = None,
    ) -> Iterator[FakeResult]:
        self.calls.append(("propagate", direction, obj_ids, frames))
        chosen = [i for i in (state.obj_ids if obj_ids is None else obj_ids) if state.heard.get(i)]
        wanted = range(state.num_frames) if frames is None else sorted(frames)
        for step in ("forward", "backward"):
            if direction not in (step, "both"):
                continue
            for frame_idx in wanted if step == "forward" else reversed(wanted):
                ready = tuple(
                    obj_id
                    for obj_id in chosen
                    if frame_idx not in state.tracked[obj_id]
                    and _reaches(step, frame_idx, state.heard[obj_id])
                )
                if not ready:
                    continue
                if self.fail_next is not None:
                    error, self.fail_next = self.fail_next, None
                    raise error
                for obj_id in ready:
                    state.tracked[obj_id].add(frame_idx)
                yield self._result(state, frame_idx, ready)

    def model_input(self, state: FakeState, frame_idx: int, obj_id: int | None) -> Any:
        self.calls.append(("model_input", frame_idx, obj_id))
        low, high = self.value_range
        frame = np.asarray(state.source.read(frame_idx), np.float32)
        frame = np.clip((frame - low) / (high - low), 0, 1)
        view = FakeView(0, 0, state.height, state.width)
        if obj_id is not None:
            points = next(iter(state.heard[obj_id].values())).points
            x, y, _ = points[0] if points else (20, 20, 1)
            view = FakeView(int(y) - 8, int(x) - 8, 16, 16)
        part = frame[max(view.top, 0) :, max(view.left, 0) :][: view.height, : view.width]
        pixels = part if part.ndim == 3 else np.repeat(part[..., None], 3, axis=-1)
        return FakeModelView(view, pixels)

    def load_mask(self, state: FakeState, frame_idx: int, obj_id: int, mask: Any) -> None:
        self.calls.append(("load_mask", frame_idx, obj_id))
        state.tracked[obj_id].add(frame_idx)

    def clear_all_prompts_in_frame(self, state: FakeState, frame_idx: int, obj_id: int) -> None:
        self.calls.append(("clear_all_prompts_in_frame", frame_idx, obj_id))
        state.heard[obj_id].pop(frame_idx, None)
        state.tracked[obj_id] = set()

    def remove_object(self, state: FakeState, obj_id: int) -> None:
        self.calls.append(("remove_object", obj_id))
        if obj_id not in state.heard:
            raise ValueError(f"there is no object {obj_id}")
        del state.heard[obj_id], state.tracked[obj_id]

    def reset_state(self, state: FakeState) -> None:
        state.heard.clear()
        state.tracked.clear()

    def _result(self, state: FakeState, frame_idx: int, obj_ids: tuple[int, ...]) -> FakeResult:
        masks = []
        for obj_id in obj_ids:
            heard = state.heard[obj_id]
            anchor = min(heard, key=lambda prompted: (abs(prompted - frame_idx), prompted))
            logits = self._logits(heard[anchor], frame_idx - anchor, state.height, state.width)
            masks.append(FakeObjectMask(obj_id, 0, 0, logits))
        inside = [mask.logits[mask.logits > 0] for mask in masks]
        scores = [1.0 + float(values.max()) if values.size else -1.0 for values in inside]
        return FakeResult(
            frame_idx=frame_idx,
            obj_ids=obj_ids,
            object_scores=np.array(scores, np.float32),
            ious=np.full(len(obj_ids), 0.9, np.float32),
            object_masks=tuple(masks),
        )

    def _logits(self, heard: _Heard, drift: int, height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        x = x - drift
        logits = np.full((height, width), -1024.0, np.float32)
        if heard.mask is not None:
            columns = np.clip(np.arange(width) - drift, 0, width - 1)
            logits = np.maximum(logits, np.where(heard.mask[:, columns], 8.0, -8.0))
        if heard.box is not None:
            x0, y0, x1, y1 = heard.box
            inside = np.minimum.reduce([x - x0 + 0.5, x1 - x - 0.5, y - y0 + 0.5, y1 - y - 0.5])
            logits = np.maximum(logits, inside)
        radius = self.radius + 0.5 * heard.count
        for px, py, label in heard.points:
            disc = radius - np.hypot(y - py, x - px)
            logits = np.maximum(logits, disc) if label else np.minimum(logits, -disc)
        return logits.astype(np.float32)


def _reaches(step: str, frame_idx: int, heard: dict[int, _Heard]) -> bool:
    return frame_idx >= min(heard) if step == "forward" else frame_idx <= max(heard)


def moving_discs(num_frames: int = 8, height: int = 48, width: int = 64) -> np.ndarray:
    """Three bright discs that move one pixel a frame, ``(T, H, W)`` uint8."""
    y, x = np.mgrid[:height, :width]
    frames = np.zeros((num_frames, height, width), np.uint8)
    for frame_idx in range(num_frames):
        for cy, cx in ((12, 12), (30, 20), (24, 44)):
            frames[frame_idx][np.hypot(y - cy, x - cx - frame_idx) < 6] = 200
    return frames


__all__ = ["FakeFrames", "FakePredictor", "moving_discs"]
