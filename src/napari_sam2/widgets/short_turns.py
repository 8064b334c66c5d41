"""How long one thread keeps Python from another while the network answers."""

from __future__ import annotations

import sys
import threading
from types import TracebackType

# a network is some hundreds of calls into torch, each of which lets go of Python and then has to
# wait for it: with Python's own 5 ms, for as long as the window has anything to do
_TURN_S = 0.0001


class ShortTurns:
    """Has all threads take shorter turns at Python inside.

    As many threads as like may be inside; the last one out restores what was before the first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._usual_s = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._count == 0:
                self._usual_s = sys.getswitchinterval()
                sys.setswitchinterval(_TURN_S)
            self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                sys.setswitchinterval(self._usual_s)


# one, since the interpreter has one interval for all threads
short_turns = ShortTurns()
