"""Clicks where a drag was meant: what they draw has no size, and nobody wants it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.layers import Shapes

_DRAGGED = frozenset({"add_rectangle", "add_ellipse"})
# pixels of the screen: a finger that clicks moves the mouse by one or two
_STEADY = 4


class Slips:
    """Notices that a shape which is drawn by dragging was only clicked."""

    sentence = (
        "A box is drawn by dragging from corner to corner; to click on an object, choose the layer "
        "SAM 2 points."
    )

    def __init__(self) -> None:
        self._has_slipped = False

    def watch(self, layer: Shapes, event: Any) -> Iterator[None]:
        """Follow one drag of the mouse, as a callback of a layer."""
        self._has_slipped = False
        if layer.mode not in _DRAGGED:
            return
        start = np.array(event.pos, dtype=np.float64)
        yield
        while event.type == "mouse_move":
            yield
        self._has_slipped = bool((np.abs(np.asarray(event.pos) - start) < _STEADY).all())

    def take(self, layer: Shapes) -> list[int]:
        """Return the row that was drawn by a click since this was last asked, if there is one."""
        slipped, self._has_slipped = self._has_slipped, False
        return [len(layer.data) - 1] if slipped and len(layer.data) else []
