"""The one long job: started, held, cancelled, and how its end is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam2.session.wording import counted
from napari_sam2.widgets.jobs import Jobs, Steps
from napari_sam2.widgets.open_session import OpenSession
from napari_sam2.widgets.run_progress import RunProgress

_log = logging.getLogger(__name__)
BUSY = "Wait until what is running has ended, or cancel it."


@dataclass(frozen=True)
class LongRun:
    """What is run on an open session.

    Attributes
    ----------
    steps
        Makes the generator; what it yields are numbers that tell the steps apart, such as frames.
    count_steps
        How many different ones there will be; asked in the main thread after the first.
    doing, unit
        Said while it runs, and of what was done: "Propagating", "frame".
    done
        Called in the main thread at the end, unless it failed or was cancelled.
    is_kept
        Whether what was done stays where it is cancelled.
    is_followed
        Whether a run that is asked for meanwhile is begun after it, and not refused.
    """

    steps: Steps
    count_steps: Callable[[], int]
    doing: str = "Propagating"
    unit: str = "frame"
    done: Callable[[], None] | None = None
    is_kept: bool = True
    is_followed: bool = False


class RunControl(QObject):
    """At most one long run, of one of the open sessions."""

    changed = Signal()
    """It began, went on, was held, or ended."""
    ended = Signal(str)
    """What to say of it in a few words."""
    failed = Signal(object)
    """The exception that ended it."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._opened: OpenSession | None = None
        self._what: LongRun | None = None
        self._is_ending = self._is_let_go = False
        self._next: tuple[OpenSession, LongRun] | None = None
        self.progress: RunProgress | None = None
        """How far it is, None where nothing runs."""
        jobs.stepped.connect(self._on_step)
        jobs.ended.connect(self._on_ended)

    @property
    def is_paused(self) -> bool:
        """Whether it is held."""
        return self._jobs.is_paused

    @property
    def is_active(self) -> bool:
        """Whether there is one, held or not."""
        return self._jobs.has_long_job

    @property
    def is_refusing(self) -> bool:
        """Whether another run cannot be asked for now."""
        is_followed = self._is_ending or (self._what is not None and self._what.is_followed)
        return self.is_active and not is_followed

    @property
    def doing(self) -> str:
        """What is being done, in a word; empty where nothing is."""
        if self._what is None or not self.is_active:
            return ""
        return "Cancelling" if self._is_ending else self._what.doing

    def start(self, opened: OpenSession, what: LongRun) -> None:
        """Begin, or as soon as what `is_refusing` nothing has ended."""
        if self.is_active and not self.is_refusing:
            self._next = (opened, what)
        elif self._jobs.start(what.steps):
            self._opened, self._what = opened, what
            self._is_ending = self._is_let_go = False
            self.progress = RunProgress(what.count_steps)
            self.changed.emit()

    def pause(self) -> None:
        """Hold after the step it is at."""
        self._jobs.pause()
        if self.progress is not None:
            self.progress.hold()
        self.changed.emit()

    def resume(self) -> None:
        """Go on."""
        self._jobs.resume()
        if self.progress is not None:
            self.progress.go_on()
        self.changed.emit()

    def cancel(self) -> None:
        """End after the step it is at, and begin nothing after it."""
        self._is_ending, self._next = self.is_active, None
        self._jobs.cancel()
        self.changed.emit()

    def let_go(self, opened: OpenSession) -> None:
        """End what is done for a session that closes or goes back; other runs go on."""
        if self._next is not None and self._next[0] is opened:
            self._next = None
        if opened is self._opened:
            self._is_let_go = True
            self.cancel()

    def _on_step(self, number: int) -> None:
        if self.progress is not None and self._opened is not None:
            self._opened.mirror.tell()
            self.progress.step(number)
            self.changed.emit()

    def _on_ended(self, error: Exception | None, cancelled: bool) -> None:
        run, self.progress = self.progress, None
        what, self._what, self._opened = self._what, None, None
        following, self._next, is_let_go = self._next, None, self._is_let_go
        self._is_ending = self._is_let_go = False
        if error is not None:
            doing = what.doing if what is not None else "A run"
            _log.error("%s failed", doing, exc_info=error)
            self.failed.emit(error)
        self.changed.emit()
        if run is not None and what is not None:
            run.close()
            if error is None:
                if not (cancelled and is_let_go):  # what ended it tells what became of it
                    self.ended.emit(_end_text(run.num_steps, what, cancelled=cancelled))
                if what.done is not None and not cancelled:
                    what.done()
        if following is not None and error is None:
            self.start(*following)


def _end_text(num_steps: int, what: LongRun, *, cancelled: bool) -> str:
    """Say how a run ended, and what there is of it."""
    done = f"{counted(num_steps, what.unit)} {'is' if num_steps == 1 else 'are'} done"
    if not cancelled:
        return f"{done}. "
    return f"Cancelled; {f'{done} and kept' if what.is_kept else 'nothing of it is kept'}. "
