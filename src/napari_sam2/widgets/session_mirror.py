"""Carries what a session says, in whatever thread, over to the main thread."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from napari_sam2.session.masks import StoredMask
    from napari_sam2.session.session import Session

# of the 16 ms between two pictures on the screen, what drawing may take at a time
_BUDGET_S = 0.008


class SessionMirror(QObject):
    """Repeats the events of a session as Qt signals of the main thread.

    Changes of the same frame or prompt that pile up are told once. Changes that were made in the
    main thread itself, by a script, are told at once.
    """

    objects_changed = Signal()
    prompts_changed = Signal(int, int)
    masks_changed = Signal(int, object)
    all_changed = Signal()
    first_look = Signal(int, int, object)
    """What the answer to a prompt will be like; left out where the answer is there already."""
    noticed = Signal(str)
    _posted = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._main_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._masks: dict[int, set[int]] = {}
        self._prompts: dict[tuple[int, int], None] = {}
        self._notices: list[str] = []
        self._first_looks: dict[tuple[int, int], StoredMask] = {}
        self._objects = False
        self._all = False
        self._is_posted = False
        self._events = session.events
        self._events.objects_changed.connect(self._on_objects)
        self._events.prompts_changed.connect(self._on_prompts)
        self._events.masks_changed.connect(self._on_masks)
        self._events.all_changed.connect(self._on_all)
        self._events.first_look.connect(self._on_first_look)
        self._events.noticed.connect(self._on_noticed)
        self._posted.connect(self._on_posted, Qt.ConnectionType.QueuedConnection)

    @property
    def is_settled(self) -> bool:
        """Whether everything has been told."""
        with self._lock:
            return not self._is_waiting

    def tell(self, budget_s: float | None = None) -> None:
        """Tell what is waiting, in the main thread, until it is told or the time is up."""
        end = None if budget_s is None else time.monotonic() + budget_s
        while self._tell_one():
            if end is not None and time.monotonic() >= end:
                break

    def tell_masks_again(self, frames: list[int]) -> None:
        """Have all masks of these frames told, as time allows."""
        with self._lock:
            for frame_idx in frames:
                self._masks[frame_idx] = set()
        self._wake()

    def stop(self) -> None:
        """Listen no more."""
        self._events.objects_changed.disconnect(self._on_objects, missing_ok=True)
        self._events.prompts_changed.disconnect(self._on_prompts, missing_ok=True)
        self._events.masks_changed.disconnect(self._on_masks, missing_ok=True)
        self._events.all_changed.disconnect(self._on_all, missing_ok=True)
        self._events.first_look.disconnect(self._on_first_look, missing_ok=True)
        self._events.noticed.disconnect(self._on_noticed, missing_ok=True)
        with self._lock:
            self._masks.clear()
            self._prompts.clear()
            self._notices.clear()
            self._first_looks.clear()
            self._objects = self._all = False

    @property
    def _is_waiting(self) -> bool:
        """Whether there is something to be told; hold the lock."""
        waiting = (self._masks, self._prompts, self._notices, self._first_looks)
        return any(waiting) or self._objects or self._all

    def _tell_one(self) -> bool:
        with self._lock:
            notice = self._notices.pop(0) if self._notices else ""
            first_look = None if notice or not self._first_looks else self._first_looks.popitem()
        if notice:
            self.noticed.emit(notice)
            return True
        if first_look is not None:
            (obj_id, frame_idx), mask = first_look
            self.first_look.emit(obj_id, frame_idx, mask)
            return True
        with self._lock:
            tell_all, self._all = self._all, False
            tell_objects = self._objects and not tell_all
            if tell_objects:
                self._objects = False
            if tell_all or tell_objects:
                prompt = masks = None
            else:
                prompt = next(iter(self._prompts), None)
                if prompt is not None:
                    del self._prompts[prompt]
                masks = next(iter(self._masks), None) if prompt is None else None
                obj_ids = self._masks.pop(masks) if masks is not None else set()
        if tell_all:
            self.all_changed.emit()
        elif tell_objects:
            self.objects_changed.emit()
        elif prompt is not None:
            self.prompts_changed.emit(*prompt)
        elif masks is not None:
            self.masks_changed.emit(masks, tuple(sorted(obj_ids)) or None)
        else:
            return False
        return True

    def _on_objects(self) -> None:
        with self._lock:
            self._objects = True
        self._wake()

    def _on_prompts(self, obj_id: int, frame_idx: int) -> None:
        with self._lock:
            self._prompts[obj_id, frame_idx] = None
        self._wake()

    def _on_masks(self, frame_idx: int, obj_ids: tuple[int, ...]) -> None:
        with self._lock:
            for key in [key for key in self._first_looks if key[1] == frame_idx]:
                del self._first_looks[key]
            waiting = self._masks.get(frame_idx)
            if waiting is None:
                self._masks[frame_idx] = set(obj_ids)
            elif waiting:  # an empty set stands for all objects
                waiting.update(obj_ids)
        self._wake()

    def _on_first_look(self, obj_id: int, frame_idx: int, mask: StoredMask) -> None:
        with self._lock:
            self._first_looks[obj_id, frame_idx] = mask
        self._wake()

    def _on_all(self) -> None:
        with self._lock:
            self._all = True
        self._wake()

    def _on_noticed(self, sentence: str) -> None:
        with self._lock:
            self._notices.append(sentence)
        self._wake()

    def _wake(self) -> None:
        if threading.get_ident() == self._main_thread:
            self.tell(_BUDGET_S)
        self._post()

    def _post(self) -> None:
        """Have the main thread tell the rest when it comes round to it."""
        with self._lock:
            if self._is_posted or not self._is_waiting:
                return
            self._is_posted = True
        self._posted.emit()

    def _on_posted(self) -> None:
        with self._lock:
            self._is_posted = False
        self.tell(_BUDGET_S)
        self._post()
