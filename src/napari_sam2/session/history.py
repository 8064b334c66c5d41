"""What can be taken back, and the log of every action in order, to replay a session from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_sam2.session.objects import Document
from napari_sam2.session.prompts import FramePrompts
from napari_sam2.session.settings import SessionSettings

Direction = Literal["forward", "backward", "both"]

#: Steps kept. A step shares all masks that it did not change with its neighbours.
_MAX_STEPS = 200


@dataclass(frozen=True)
class NewObject:
    """An object was made."""

    obj_id: int
    name: str


@dataclass(frozen=True)
class RenameObject:
    """An object got another name."""

    obj_id: int
    name: str


@dataclass(frozen=True)
class RemoveObject:
    """An object was removed."""

    obj_id: int


@dataclass(frozen=True)
class SetPrompts:
    """The prompts of a frame became `prompts`."""

    obj_id: int
    frame_idx: int
    prompts: FramePrompts


@dataclass(frozen=True)
class SetLocks:
    """Frames of an object were accepted, or given free again."""

    obj_id: int
    frames: tuple[int, ...]
    locked: bool


@dataclass(frozen=True)
class LockObject:
    """An object was accepted as it is, or given free again but for frames accepted one by one.

    Sessions of earlier versions say nothing of `keeps_frames`: there these were given free, too.
    """

    obj_id: int
    locked: bool
    keeps_frames: bool = False


@dataclass(frozen=True)
class SetHidden:
    """An object was taken out of sight, or shown again."""

    obj_id: int
    hidden: bool


@dataclass(frozen=True)
class Group:
    """Several actions that were one step."""

    title: str
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Propagate:
    """A propagation ran for `num_steps` frames, and to its end if `is_finished`."""

    direction: Direction
    obj_ids: tuple[int, ...] | None
    frames: tuple[int, ...] | None
    num_steps: int
    is_finished: bool = False


@dataclass(frozen=True)
class ChangeSettings:
    """Model, intensities or window were changed; the next answer starts from prompts."""

    settings: SessionSettings


@dataclass(frozen=True)
class Undo:
    """The last step was taken back."""


@dataclass(frozen=True)
class Redo:
    """The last undone step was done again."""


@dataclass(frozen=True)
class Reload:
    """The session was read from a file; nothing before can be undone."""


Action = (
    NewObject
    | RenameObject
    | RemoveObject
    | SetPrompts
    | SetLocks
    | LockObject
    | SetHidden
    | Group
    | Propagate
    | ChangeSettings
    | Undo
    | Redo
    | Reload
)


@dataclass(frozen=True)
class _Step:
    title: str
    before: Document


class History:
    """Documents before each step, and the log of actions."""

    def __init__(self, log: tuple[Action, ...] = ()) -> None:
        self.log: list[Action] = list(log)
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._undone_before: list[_Step] = []  # the last step, which made an end of them

    @property
    def undo_title(self) -> str | None:
        """What `undo` would take back, or ``None``."""
        return self._done[-1].title if self._done else None

    @property
    def redo_title(self) -> str | None:
        """What `redo` would do again, or ``None``."""
        return self._undone[-1].title if self._undone else None

    def record(self, title: str, before: Document, action: Action) -> None:
        """Add a step: `before` is what undoing it brings back."""
        self._done.append(_Step(title, before))
        del self._done[:-_MAX_STEPS]
        self._undone, self._undone_before = [], self._undone
        self.log.append(action)

    def extend_last(self, action: Action) -> None:
        """Let the last step go on: its entry in the log becomes `action`."""
        self.log[-1] = action

    def drop_last(self) -> None:
        """Forget the last step and its entry in the log, as if it had not been."""
        self._done.pop()
        self.log.pop()
        self._undone = self._undone_before

    def undo(self, now: Document) -> Document | None:
        """Return the document before the last step, or ``None`` if there is none."""
        if not self._done:
            return None
        step = self._done.pop()
        self._undone.append(_Step(step.title, now))
        self.log.append(Undo())
        return step.before

    def redo(self, now: Document) -> Document | None:
        """Return the document after the last undone step, or ``None`` if there is none."""
        if not self._undone:
            return None
        step = self._undone.pop()
        self._done.append(_Step(step.title, now))
        self.log.append(Redo())
        return step.before
