"""Which keys are bound at present, on the viewer and on the annotator's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.keymap import (
    DEFAULT_KEYS,
    Hold,
    KeyAction,
    as_written,
    bind_keys,
    checked_key,
    passes_on,
)
from napari_sam2.widgets.preferences import read_keys, write_keys

KeyCalls = Mapping[KeyAction, Callable[[], object] | Hold]


class KeyBindings(QObject):
    """Binds the keys of a person's table.

    Parameters
    ----------
    viewer
        Bound from `bind_viewer` on.
    calls
        What each action does.
    """

    changed = Signal()
    refused = Signal(str)
    """Why a key was not taken."""

    def __init__(self, viewer: Any, calls: KeyCalls) -> None:
        super().__init__()
        self.keys = read_keys()
        """Key by action."""
        self._viewer = viewer
        self._calls = calls
        self._layers: list[Any] = []
        self._unbind: list[Callable[[], None]] = []

    def bind_viewer(self) -> None:
        """Bind all keys on the viewer, and say which of them something else has taken."""
        taken: list[str] = []
        bound = bind_keys(self._viewer, self._calls, self.keys, on_taken=taken.append)
        self._unbind.append(bound)
        if taken:
            self.refused.emit(
                f"Something else in this viewer has {', '.join(map(as_written, taken))}: "
                "choose other keys in the tab Keys."
            )

    def bind_layer(self, layer: Any) -> None:
        """Let keys go before those of a layer; Esc ends a shape first, if one is being drawn."""
        self._layers.append(layer)
        self._bind_over(layer)

    def choose(self, action: KeyAction, key: str) -> None:
        """Give an action another key."""
        try:
            self._use({**self.keys, action: checked_key(key, action, self.keys)})
        except LayerRefusedError as error:
            self.refused.emit(str(error))
            self.changed.emit()

    def use_defaults(self) -> None:
        """Take all changes back."""
        self._use(dict(DEFAULT_KEYS))

    def unbind(self) -> None:
        """Take off all keys."""
        while self._unbind:
            self._unbind.pop()()

    def _use(self, keys: dict[KeyAction, str]) -> None:
        self.keys = keys
        write_keys(keys)
        self.unbind()
        self.bind_viewer()
        self._layers = [layer for layer in self._layers if layer in self._viewer.layers]
        for layer in self._layers:
            self._bind_over(layer)
        self.changed.emit()

    def _bind_over(self, layer: Any) -> None:
        calls = dict(self._calls)
        cancel = calls.get(KeyAction.CANCEL)
        if cancel is not None and not isinstance(cancel, Hold):
            calls[KeyAction.CANCEL] = partial(self._cancel_over, layer, cancel)
        self._unbind.append(bind_keys(layer, calls, self.keys))

    def _cancel_over(self, layer: Any, cancel: Callable[[], object]) -> None:
        if not passes_on(layer, self.keys[KeyAction.CANCEL]):
            cancel()
