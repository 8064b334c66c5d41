"""The one table of keys: which there are by default, and how they are bound and taken off.

By default only letters that no napari layer and no viewer action uses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from napari.layers import Shapes
from napari.utils.key_bindings import coerce_keybinding

from napari_sam2.layers.errors import LayerRefusedError


class KeyAction(Enum):
    """What a key can ask for."""

    PROPAGATE = "propagate"
    POLARITY = "polarity"
    NEW_OBJECT = "new_object"
    CANDIDATE = "candidate"
    PREVIEW = "preview"
    PREVIOUS_PROMPT = "previous_prompt"
    NEXT_PROMPT = "next_prompt"
    PREVIOUS_OBJECT = "previous_object"
    NEXT_OBJECT = "next_object"
    UNDO = "undo"
    REDO = "redo"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Key:
    """One row of the table."""

    key: str
    action: KeyAction
    does: str


@dataclass(frozen=True)
class Hold:
    """What happens when a key goes down and when it comes up again."""

    press: Callable[[], object]
    release: Callable[[], object]


_CONTROL = "Meta" if sys.platform == "darwin" else "Control"
_AS_WRITTEN = {
    "Escape": "Esc",
    "Control-": "Ctrl+",
    "Meta-": "Cmd+",
    "Shift-": "Shift+",
    "Alt-": "Alt+",
}

KEYS = (
    Key("G", KeyAction.PROPAGATE, "go: follow the objects; pause"),
    Key("N", KeyAction.POLARITY, "negative or positive clicks"),
    Key("Q", KeyAction.NEW_OBJECT, "new object"),
    Key("U", KeyAction.CANDIDATE, "another answer to a first click"),
    Key("H", KeyAction.PREVIEW, "while held: what a click would give"),
    Key("J", KeyAction.PREVIOUS_PROMPT, "previous frame with a prompt"),
    Key("K", KeyAction.NEXT_PROMPT, "next frame with a prompt"),
    Key(",", KeyAction.PREVIOUS_OBJECT, "choose the previous object"),
    Key(".", KeyAction.NEXT_OBJECT, "choose the next object"),
    Key(f"{_CONTROL}-Z", KeyAction.UNDO, "undo"),
    Key(f"{_CONTROL}-Shift-Z", KeyAction.REDO, "redo"),
    Key("Escape", KeyAction.CANCEL, "cancel the propagation"),
)

KeyTable = Mapping[KeyAction, str]
"""Key by action."""

DEFAULT_KEYS: KeyTable = {row.action: row.key for row in KEYS}


def as_written(key: str) -> str:
    """Name a key as people know it: Ctrl+Z, Esc."""
    for napari_name, name in _AS_WRITTEN.items():
        key = key.replace(napari_name, name)
    return key


def checked_key(key: str, action: KeyAction, table: KeyTable) -> str:
    """Return a key as napari names it, or say why an action cannot have it.

    Raises
    ------
    LayerRefusedError
        It is no key, or another action has it.
    """
    for napari_name, name in _AS_WRITTEN.items():
        key = key.strip().replace(name, napari_name)
    key = key.upper() if len(key) == 1 else key
    binding = coerce_keybinding(key)
    if not binding.parts or any(int(part.key) == 0 for part in binding.parts):
        raise LayerRefusedError(f"{key!r} is no key: write a letter, or for instance Ctrl+Shift+Z.")
    for other, taken in table.items():
        if other is not action and coerce_keybinding(taken) == binding:
            raise LayerRefusedError(
                f"{as_written(key)} is the key of {other.value.replace('_', ' ')!r} already: "
                "choose another one."
            )
    return key


def bind_keys(
    provider: Any,
    calls: Mapping[KeyAction, Callable[[], object] | Hold],
    keys: KeyTable = DEFAULT_KEYS,
    *,
    on_taken: Callable[[str], object] | None = None,
) -> Callable[[], None]:
    """Bind the table on a viewer or a layer; keys that something else has taken are left to it.

    Parameters
    ----------
    provider
        A napari viewer, a `ViewerModel`, or a layer, whose own keys go before the viewer's.
    calls
        What to call, by action; actions without a call get no key.
    on_taken
        Called with each key that is left to something else.

    Returns
    -------
    unbind
        Takes off the keys that were bound.
    """
    bound: list[str] = []
    for action, key in keys.items():
        if action not in calls:
            continue
        call = calls[action]
        pressed = _held(call) if isinstance(call, Hold) else _pressed(call)
        try:
            provider.bind_key(key, pressed)
        except ValueError:  # taken: napari refuses to bind a key twice
            if on_taken is not None:
                on_taken(key)
            continue
        bound.append(key)

    def unbind() -> None:
        for key in bound:
            provider.bind_key(key, None)
        bound.clear()

    return unbind


def passes_on(layer: Any, key: str) -> bool:
    """Do what napari does for a key on a layer, and say whether that ended a shape being drawn."""
    binding = coerce_keybinding(key)
    for kind in type(layer).__mro__:
        call = getattr(kind, "class_keymap", {}).get(binding)
        if callable(call):
            before = _drawn(layer)
            call(layer)
            return _drawn(layer) != before
    return False


def _drawn(layer: Any) -> tuple[int, int]:
    """Count the shapes of a layer and the vertices of the last: what is being drawn is the last."""
    shapes: Sequence[Any] = layer.data if isinstance(layer, Shapes) else ()
    return len(shapes), len(shapes[-1]) if len(shapes) else 0


def _pressed(call: Callable[[], object]) -> Callable[[Any], None]:
    def pressed(provider: Any) -> None:
        call()

    return pressed


def _held(hold: Hold) -> Callable[[Any], Iterator[None]]:
    def held(provider: Any) -> Iterator[None]:
        hold.press()
        yield
        hold.release()

    return held
