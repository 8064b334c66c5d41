"""Waiting for something while the window lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from qtpy.QtCore import QEventLoop, QTimer

_POLL_MS = 5
_IS_SO, _IS_LATE = 0, 1


def wait_until(is_settled: Callable[[], bool], timeout: float) -> None:
    """Run Qt's event loop until something is so.

    Raises
    ------
    TimeoutError
        If it is not after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    loop, poll = QEventLoop(), QTimer()
    poll.setInterval(_POLL_MS)
    poll.timeout.connect(partial(_leave, loop, is_settled, end))
    poll.start()
    # not looked at again afterwards: events that were due with the poll may have begun something
    outcome = loop.exec()
    poll.stop()
    if outcome == _IS_LATE:
        raise TimeoutError(f"The annotator was still at work after {timeout:g} s.")


def _leave(loop: QEventLoop, is_settled: Callable[[], bool], end: float) -> None:
    if is_settled():
        loop.exit(_IS_SO)
    elif time.monotonic() > end:
        loop.exit(_IS_LATE)
