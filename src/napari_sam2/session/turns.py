"""Whose turn it is: a re-entrant lock that serves threads in the order in which they asked."""

from __future__ import annotations

import threading
from types import TracebackType


class TurnLock:
    """
    A re-entrant lock with a turnstile.

    A long propagation gives the lock up between two frames and takes it back at once; with a plain
    lock a click in another thread could wait through the whole movie. Whoever waits here holds
    the turnstile, so the propagation has to queue behind it.
    """

    def __init__(self) -> None:
        self._turnstile = threading.Lock()
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> TurnLock:
        if self._owner == threading.get_ident():
            self._lock.acquire()
        else:
            with self._turnstile:
                self._lock.acquire()
            self._owner = threading.get_ident()
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
        self._lock.release()

    @property
    def depth(self) -> int:
        """How often the owning thread has entered; meaningful to that thread only."""
        return self._depth
