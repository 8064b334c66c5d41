"""On which thread: one worker, one thing at a time, what a person asks for goes first.

napari's generator workers swallow `RuntimeError`, run ahead of the window and do not close their
generator on cancel; so this is a plain thread with a queue. Everything it has to say is said in
the main thread.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]

from napari_sam2.widgets.short_turns import short_turns

_log = logging.getLogger(__name__)

Steps = Callable[[], Iterator[object]]

# steps computed ahead of the window; more would only make cancelling late
_LARGEST_LEAD = 2
# seconds that the end of a window waits: for the step that is under way, for a file to be written
_PATIENCE, _LONG_PATIENCE = 5.0, 120.0


@dataclass(frozen=True)
class Report:
    """One thing the worker says.

    Attributes
    ----------
    kind
        "done" (a request), "step" (of the long job) or "ended" (the long job).
    key
        The request's key, or the long job's generation.
    value
        What the step yielded, or the request returned.
    error
        Why the request or the long job failed.
    """

    kind: str
    key: Hashable
    value: object = None
    error: Exception | None = None


@dataclass(frozen=True)
class _Request:
    """One entry of the queue; see `Jobs.ask`."""

    key: Hashable
    call: Callable[[], object]
    is_owed: bool
    is_barrier: bool


class StoppedError(Exception):
    """What was asked for is not done any more."""


class Jobs(QObject):
    """Short requests and one long job, run in turns on one worker thread.

    A request drops a waiting one with the same key, and goes to the end of the queue. The long job
    is a generator; it gives way to requests between two steps, waits while the window lags behind,
    and can be paused and cancelled.
    """

    request_done = Signal(object, object, object)
    """Key, the exception or None, and what was returned."""
    stepped = Signal(object)
    """What the long job yielded."""
    ended = Signal(object, bool)
    """The exception or None, and whether the job was cancelled."""
    settled = Signal()
    """Nothing is waiting or running any more."""
    _reported = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._wake = threading.Condition()
        self._requests: list[_Request] = []
        self._runs_owed = False
        self._running: Hashable | None = None
        self._steps: Steps | None = None
        self._generation = 0
        self._active = False
        self._paused = False
        self._cancelled = False
        self._lead = 0
        self._undelivered = 0
        self._stopped = False
        self._is_unattended = self._has_ended = False
        self._thread: threading.Thread | None = None
        self._reported.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    # Called in the main thread

    def ask(
        self,
        key: Hashable,
        call: Callable[[], object],
        *,
        owed: bool = False,
        barrier: bool = False,
    ) -> None:
        """Have something done as soon as the worker is free, instead of a waiting namesake.

        Parameters
        ----------
        owed
            Done even if the window is closed before, and so is what was asked before it: a file,
            for instance.
        barrier
            It is about what was asked before it, an undo for instance: that is done even if a
            namesake is asked later.
        """
        with self._wake:
            if self._stopped:
                return
            # behind what was asked since, which may change how this is answered
            for position in reversed(range(len(self._requests))):
                if self._requests[position].is_barrier:
                    break
                if self._requests[position].key == key:
                    del self._requests[position]
                    break
            self._requests.append(_Request(key, call, owed, barrier))
            self._start_thread()
            self._wake.notify()

    def start(self, steps: Steps) -> bool:
        """Begin the long job; False where one is under way."""
        with self._wake:
            if self._stopped or self._active:
                return False
            self._steps = steps
            self._generation += 1
            self._active, self._paused, self._cancelled, self._lead = True, False, False, 0
            self._start_thread()
            self._wake.notify()
            return True

    def pause(self) -> None:
        """Hold the long job after the step it is in."""
        with self._wake:
            self._paused = self._active

    def resume(self) -> None:
        """Let the long job go on."""
        with self._wake:
            self._paused = False
            self._wake.notify()

    def cancel(self) -> None:
        """End the long job after the step it is in; what it has done stays."""
        with self._wake:
            if self._active:
                self._cancelled, self._paused = True, False
                self._wake.notify()

    def stop(self) -> None:
        """End the thread for good, after the step it is in and all that is owed.

        Nothing is said afterwards. What is `unattended` is waited for only when Python ends.
        """
        with self._wake:
            self._stopped = True
            while self._requests and not self._requests[-1].is_owed:
                self._requests.pop()
            writes = bool(self._requests) or self._runs_owed
            self._wake.notify()
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return
            patience = _LONG_PATIENCE if writes else _PATIENCE
            self._wake.wait_for(partial(self._may_leave, writes), patience)
            is_left = self._is_unattended
        atexit.unregister(self.stop)
        if is_left:
            atexit.register(thread.join, _PATIENCE)
        else:
            thread.join(patience)

    @property
    def has_long_job(self) -> bool:
        """Whether the long job is under way, paused included."""
        return self._active

    @property
    def is_paused(self) -> bool:
        """Whether the long job is held."""
        return self._paused

    @property
    def is_settled(self) -> bool:
        """Whether nothing is waiting, running or still to be told; a paused job counts as such."""
        with self._wake:
            return (
                not self._requests
                and self._running is None
                and self._undelivered == 0
                and (not self._active or self._paused)
            )

    def is_waiting(self, key: Hashable) -> bool:
        """Whether a request of this key is waiting or running."""
        with self._wake:
            return self._running == key or any(row.key == key for row in self._requests)

    def _deliver(self, report: Report) -> None:
        try:
            if self._stopped:
                return
            if report.kind == "done":
                self.request_done.emit(report.key, report.error, report.value)
            elif report.kind == "step" and report.key == self._generation:
                if not self._cancelled:
                    self.stepped.emit(report.value)
            elif report.kind == "ended":
                cancelled = self._cancelled
                self._active = self._paused = False
                self.ended.emit(report.error, cancelled)
        finally:
            with self._wake:
                self._undelivered -= 1
                if report.kind == "step":
                    self._lead -= 1
                self._wake.notify()
        if self.is_settled:
            self.settled.emit()

    # Called in the worker thread

    @contextmanager
    def unattended(self) -> Iterator[None]:
        """Do something inside that nobody needs to wait for if the window is closed meanwhile.

        Raises
        ------
        StoppedError
            At its end, if the window was closed: the rest of the request is left undone.
        """
        self._leave(True)
        try:
            yield
        except Exception:
            if not self._is_over:
                raise
            # torch comes to grief where Python ends in the middle of its import
        finally:
            self._leave(False)
        if self._is_over:
            raise StoppedError("The window was closed meanwhile.")

    @property
    def _is_over(self) -> bool:
        with self._wake:
            return self._stopped and not (self._requests or self._runs_owed)

    def _leave(self, is_unattended: bool) -> None:
        with self._wake:
            self._is_unattended = is_unattended
            self._wake.notify_all()

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="napari-sam2", daemon=True)
            # a thread inside torch while the interpreter goes away ends in a crash
            atexit.register(self.stop)
            self._thread.start()

    def _run(self) -> None:
        steps: Iterator[object] | None = None
        while True:
            with self._wake:
                self._running, self._runs_owed = None, False
                while not (self._stopped or self._requests or self._may_step(steps is not None)):
                    self._wake.wait()
                if self._stopped and not self._requests:
                    break
                request = None
                if self._requests:
                    request = self._requests.pop(0)
                    self._running, self._runs_owed = request.key, request.is_owed
                else:
                    self._running = _LONG_JOB
                    begin, self._steps = self._steps, None
            if request is not None:
                with short_turns:
                    value, error = _answer(request.call)
                self._report(Report("done", request.key, value, error))
            else:
                steps = self._step(begin, steps)
        if steps is not None:
            _close(steps)
        with self._wake:
            self._has_ended = True
            self._wake.notify_all()

    def _may_leave(self, writes: bool) -> bool:
        return self._has_ended or (self._is_unattended and not writes)

    def _may_step(self, begun: bool) -> bool:
        if self._cancelled:
            return self._steps is not None or begun
        ready = self._steps is not None or begun
        return ready and not self._paused and self._lead < _LARGEST_LEAD

    def _step(self, begin: Steps | None, steps: Iterator[object] | None) -> Iterator[object] | None:
        """Begin the long job or take one step of it, and return what is left of it."""
        error: Exception | None = None
        try:
            if not self._cancelled:
                if begin is not None:
                    steps = begin()
                assert steps is not None
                with short_turns:
                    value = next(steps)
                with self._wake:
                    self._lead += 1
                self._report(Report("step", self._generation, value))
                return steps
        except StopIteration:
            pass
        except Exception as caught:  # noqa: BLE001 (whatever it is, a person must hear of it)
            error = caught
        if steps is not None:
            error = _close(steps) or error
        self._report(Report("ended", self._generation, error=error))
        return None

    def _report(self, report: Report) -> None:
        with self._wake:
            if self._stopped:
                if not isinstance(report.error, StoppedError | None):
                    _log.warning("not done before the end: %s", report.error)
                return
            self._undelivered += 1
            # in one go: between the two nothing would ever tell that all is settled
            self._running, self._runs_owed = None, False
        self._reported.emit(report)


_LONG_JOB = object()


def _answer(call: Callable[[], object]) -> tuple[object, Exception | None]:
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001 (whatever it is, a person must hear of it)
        return None, error


def _close(steps: Iterator[object]) -> Exception | None:
    close = getattr(steps, "close", None)
    return None if close is None else _answer(close)[1]
