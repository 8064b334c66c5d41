"""The session's ledger: document, history and model memory change together, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psygnal import Signal, SignalGroup

from napari_sam2.session.given_numbers import whole_number
from napari_sam2.session.history import Action, ChangeSettings, Group, History, Reload, SetPrompts
from napari_sam2.session.objects import Document, ObjectState
from napari_sam2.session.prompts import FramePrompts
from napari_sam2.session.segmentation import Segmentation
from napari_sam2.session.settings import SessionSettings
from napari_sam2.session.turns import TurnLock

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource


class SessionEvents(SignalGroup):
    """What changed; emitted in the thread that made the change, after its turn is over.

    A first look is no change: it is told at once, while the session is held.
    """

    objects_changed = Signal()
    prompts_changed = Signal(int, int)
    masks_changed = Signal(int, tuple)
    all_changed = Signal()
    first_look = Signal(int, int, object)
    """Object, frame, and its mask as it looks at first: the answer follows."""
    noticed = Signal(str)
    """A sentence that a person should read; nothing has failed."""


@dataclass
class Step:
    """A step of several actions, which goes on as long as nothing else is committed in between."""

    title: str
    actions: list[Action] = field(default_factory=list)
    edits: int = -1


class Ledger:
    """
    State of one session behind one lock.

    `document` is a value: readers take it without the lock and see one moment.
    """

    def __init__(self, segmentation: Segmentation) -> None:
        self.segmentation = segmentation
        self.document = Document()
        self.history = History((ChangeSettings(segmentation.settings),))
        self.events = SessionEvents()
        self.next_obj_id = 1
        self.edits = 0
        self.propagation: object | None = None
        self.open_step: object | None = None
        self._step: Step | None = None
        self._lock = TurnLock()
        self._pending: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        segmentation.first_look = self.events.first_look

    @property
    def source(self) -> FrameSource:
        """The frames of the session."""
        return self.segmentation.source

    @property
    def settings(self) -> SessionSettings:
        """The model, intensities and window in use."""
        return self.segmentation.settings

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock; events asked for inside are emitted once it is free again."""
        pending: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        try:
            with self._lock:
                try:
                    yield
                finally:
                    if self._lock.depth == 1:
                        pending, self._pending = self._pending, []
        finally:
            for emit, arguments in pending:
                emit(*arguments)

    def later(self, emit: Callable[..., object], *arguments: Any) -> None:
        """Emit an event when the turn is over."""
        self._pending.append((emit, arguments))

    def commit(self, title: str, document: Document, action: Action) -> None:
        """Make `document` the present, as one step that can be undone or as part of one."""
        step = self._step
        if step is None:
            self.history.record(title, self.document, action)
        elif step.actions and step.edits == self.edits:
            step.actions.append(action)
            self.history.extend_last(Group(step.title, tuple(step.actions)))
        else:
            step.actions = [action]
            self.history.record(step.title, self.document, Group(step.title, (action,)))
        self.document = document
        self.touch()
        if step is not None:
            step.edits = self.edits

    def new_step(self, title: str) -> Step:
        """Return a step that `in_step` takes."""
        return Step(title)

    @contextmanager
    def in_step(self, step: Step) -> Iterator[None]:
        """Let what is committed inside be part of `step`; hold the lock around it."""
        outer, self._step = self._step, step if self._step is None else self._step
        try:
            yield
        finally:
            self._step = outer

    @contextmanager
    def whole_step(self, title: str) -> Iterator[None]:
        """Let everything inside be one step, of which nothing stays if it fails."""
        with self.turn():
            before, step = self.document, self.new_step(title)
            try:
                with self.in_step(step):
                    yield
            except BaseException:  # an interrupt too must leave all or nothing
                if step.actions:
                    self.history.drop_last()
                    self.restore(before)
                raise

    def touch(self) -> None:
        """Note that a running propagation has to look again at what it does."""
        self.edits += 1
        self.open_step = None

    def object(self, obj_id: int) -> ObjectState:
        """Return an object by its id."""
        obj_id = whole_number(obj_id, "obj_id")
        state = self.document.objects.get(obj_id)
        if state is None:
            known = ", ".join(map(str, self.document.objects)) or "none yet"
            raise ValueError(f"There is no object {obj_id}; the session has: {known}.")
        return state

    def frame(self, frame_idx: int) -> int:
        """Return a checked frame index."""
        frame_idx = whole_number(frame_idx, "frame_idx")
        if not 0 <= frame_idx < self.source.num_frames:
            last = self.source.num_frames - 1
            raise ValueError(f"There is no frame {frame_idx}; frames go from 0 to {last}.")
        return frame_idx

    def ask(self, state: ObjectState, frame_idx: int, prompts: FramePrompts) -> None:
        """Replace the prompts of a frame, take the model's answer, and record both as one step."""
        if state.protects(frame_idx):
            what = "" if state.accepted else f"Frame {frame_idx} of object "
            raise ValueError(
                f"{what or 'Object '}{state.obj_id} is locked: unlock it to change it."
            )
        earlier = state.prompts.get(frame_idx, FramePrompts())
        if prompts == earlier:
            return
        mask = self.segmentation.ask(state, frame_idx, prompts)
        after = state.with_answer(frame_idx, prompts, mask)
        if not after.prompts:
            self.segmentation.forget(state.obj_id)
        self.commit(
            "Clear prompts" if prompts.is_empty else "Prompt",
            self.document.with_object(after),
            SetPrompts(state.obj_id, frame_idx, prompts),
        )
        self.later(self.events.prompts_changed.emit, state.obj_id, frame_idx)
        dropped = state.masks.keys() - after.masks.keys()
        for changed in sorted(dropped | {frame_idx}):
            self.later(self.events.masks_changed.emit, changed, (state.obj_id,))

    def undo(self) -> str | None:
        """Go back one step and return its title, or ``None`` if there is none."""
        with self.turn():
            title = self.history.undo_title
            document = self.history.undo(self.document)
            if document is not None:
                self.restore(document)
            return title

    def redo(self) -> str | None:
        """Go forward one undone step and return its title, or ``None`` if there is none."""
        with self.turn():
            title = self.history.redo_title
            document = self.history.redo(self.document)
            if document is not None:
                self.restore(document)
            return title

    def use_settings(self, settings: SessionSettings, source: FrameSource | None = None) -> None:
        """Have the next answers given with other settings, of `source` if one is given."""
        with self.turn():
            if settings == self.settings and source is None:
                return
            self.segmentation.use_settings(settings, source)
            self.history.log.append(ChangeSettings(settings))
            self.touch()
            self.later(self.events.objects_changed.emit)

    def begin(
        self,
        settings: SessionSettings,
        document: Document,
        next_obj_id: int,
        log: tuple[Action, ...],
    ) -> None:
        """Make a document the present that has nothing before it; the model is told it anew."""
        self.document = document
        self.next_obj_id = next_obj_id
        self.history = History((*log, Reload()))
        self.segmentation.use_settings(settings)
        self.touch()
        self.later(self.events.all_changed.emit)

    def restore(self, document: Document) -> None:
        """Make an earlier or later document the present; the model hears of it when next asked."""
        before = self.document.objects
        for obj_id in before.keys() | document.objects.keys():
            old, new = before.get(obj_id), document.objects.get(obj_id)
            if new is None:
                self.segmentation.forget(obj_id)
            elif old is None or not _remembered_alike(old, new):
                self.segmentation.mark_stale(obj_id)
        self.document = document
        self.touch()
        self.later(self.events.all_changed.emit)


def _remembered_alike(one: ObjectState, other: ObjectState) -> bool:
    """Whether the model remembers the same of an object in two documents."""
    return (
        one.prompts is other.prompts and one.masks is other.masks and one.outdated == other.outdated
    )
