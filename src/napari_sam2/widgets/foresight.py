"""Where a click may come: under the pointer that rests, and where the button goes down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_sam2.widgets.hover import RestingPointer

if TYPE_CHECKING:
    from napari_sam2.layers.annotation import AnnotationLayers

# a hand that aims is still for longer before it clicks, one that passes by is not
_REST_MS = 60

_Place = tuple[int, tuple[float, float]]


class Foresight(QObject):
    """Has the network look before the click is made: that time is won for its answer.

    Parameters
    ----------
    viewer
        Whose pointer is watched, until `stop`.
    layers
        They know what would be a click.
    look
        Called with the frame and the pixel (y, x).
    """

    def __init__(
        self,
        viewer: Any,
        layers: AnnotationLayers,
        look: Callable[[int, tuple[float, float]], None],
    ) -> None:
        super().__init__()
        self._layers, self._look = layers, look
        self._looked: _Place | None = None
        self._pointer = RestingPointer(viewer, _REST_MS)
        self._pointer.rested.connect(self._on_rested)
        self._pointer.begin(moves_first=True)
        layers.pressed.connect(self._on_pressed)

    def stop(self) -> None:
        """Watch the pointer no more."""
        self._pointer.end()
        self._layers.pressed.disconnect(self._on_pressed)

    def _on_rested(self, position: tuple[float, ...]) -> None:
        place = self._layers.click_place(position)
        if place is not None and place != self._looked:
            self._on_pressed(*place)

    def _on_pressed(self, frame_idx: int, yx: tuple[float, float]) -> None:
        self._looked = (frame_idx, yx)
        self._look(frame_idx, yx)
