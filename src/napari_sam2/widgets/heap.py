"""When Python looks for garbage: not while libraries load, nor among them afterwards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Heap:
    """Keeps Python's search for garbage from holding up the window.

    Beside napari and torch there are more than half a million objects. A search among all of them
    stops every thread for as long as a person notices; importing torch causes several, and soon
    after it comes another, in the middle of the first clicks. So what was there when torch had been
    imported is left out of later searches, until a layer of that time is removed, whose memory
    only a search may give back.

    Parameters
    ----------
    viewer
        A napari viewer, its proxy, or a `ViewerModel`.
    """

    def __init__(self, viewer: Any) -> None:
        self._layers = viewer.layers.events
        self._is_left_out = self._is_stopped = False
        self._newer: set[Any] = set()
        self._layers.inserted.connect(self._on_inserted)
        self._layers.removed.connect(self._on_removed)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Search not while torch is imported inside, and leave out what is there then."""
        if "torch" in sys.modules:
            yield
            return
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if not self._is_stopped:
                self._newer.clear()
                self._is_left_out = True
                gc.freeze()
            if was_enabled:
                gc.enable()

    def search_all(self) -> None:
        """Leave nothing out any more."""
        if self._is_left_out:
            self._is_left_out = False
            gc.unfreeze()

    def stop(self) -> None:
        """Leave nothing out, and listen no more."""
        self._is_stopped = True
        self._layers.inserted.disconnect(self._on_inserted)
        self._layers.removed.disconnect(self._on_removed)
        self.search_all()

    def _on_inserted(self, event: Any) -> None:
        self._newer.add(event.value.unique_id)

    def _on_removed(self, event: Any) -> None:
        if event.value.unique_id in self._newer:
            self._newer.discard(event.value.unique_id)
        else:
            self.search_all()
