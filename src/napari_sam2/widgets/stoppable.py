"""One piece of work in a thread of napari that a person may stop, and what it has come to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from napari.qt.threading import FunctionWorker, create_worker

Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """A result, or an error, or neither where the work was stopped."""

    result: Result | None = None
    error: Exception | None = None


class _StoppedError(Exception):
    """A person has stopped the work."""


class StoppableWork(Generic[Result]):
    """Work that is done once at a time, and tells how far it is.

    Attributes
    ----------
    stopping
        Set when the work is to stop; it may be set from any thread.
    done
        How many of how many steps are done.
    worker
        napari's worker, None between two pieces of work.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.done = (0, 1)
        self.worker: FunctionWorker[Outcome[Result]] | None = None

    def begin(self, work: Callable[[], Result], *, total: int) -> FunctionWorker[Outcome[Result]]:
        """Return a worker that is yet to be connected and started."""
        self.stopping.clear()
        self.done = (0, total)
        worker: FunctionWorker[Outcome[Result]] = create_worker(self._do, work)
        self.worker = worker
        return worker

    def tell(self, done: int, total: int) -> None:
        """Take in the progress of the work, from its thread; ends it there if it is to stop."""
        self.done = (done, total)
        # napari asks its workers to end when it does
        if self.stopping.is_set() or (self.worker is not None and self.worker.abort_requested):
            raise _StoppedError

    def _do(self, work: Callable[[], Result]) -> Outcome[Result]:
        """Work in the worker's thread; what is raised there reaches a person as a traceback."""
        try:
            return Outcome(work())
        except _StoppedError:
            return Outcome()
        except Exception as error:  # noqa: BLE001 (whatever it is, a person must hear of it)
            return Outcome(error=error)
