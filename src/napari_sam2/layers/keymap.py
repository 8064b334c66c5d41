"""Room: the one table of keys, bound on a viewer and taken off again.

Only letters that no napari layer and no viewer action uses; a layer's own keys go first anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class KeyAction(Enum):
    """What a key can ask for."""

    PROPAGATE = "propagate"
    POLARITY = "polarity"
    NEW_OBJECT = "new object"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Key:
    """One row of the table."""

    key: str
    action: KeyAction
    does: str


KEYS = (
    Key("G", KeyAction.PROPAGATE, "go: follow the objects through the frames"),
    Key("N", KeyAction.POLARITY, "negative or positive clicks"),
    Key("Q", KeyAction.NEW_OBJECT, "new object"),
    Key("Escape", KeyAction.CANCEL, "cancel the propagation"),
)


def key_of(action: KeyAction) -> str:
    """Name the key of an action, to be shown beside it."""
    return next(row.key for row in KEYS if row.action is action)


def bind_keys(viewer: Any, calls: Mapping[KeyAction, Callable[[], object]]) -> Callable[[], None]:
    """Bind the table on a viewer; keys that something else has taken are left to it.

    Parameters
    ----------
    viewer
        A napari viewer or `ViewerModel`.
    calls
        What to call, by action; actions without a call get no key.

    Returns
    -------
    unbind
        Takes off the keys that were bound.
    """
    bound: list[str] = []
    for row in KEYS:
        if row.action not in calls:
            continue
        try:
            viewer.bind_key(row.key, _ignoring_viewer(calls[row.action]))
        except ValueError:  # taken: napari refuses to bind a key twice
            continue
        bound.append(row.key)

    def unbind() -> None:
        for key in bound:
            viewer.bind_key(key, None)
        bound.clear()

    return unbind


def _ignoring_viewer(call: Callable[[], object]) -> Callable[[Any], None]:
    def pressed(viewer: Any) -> None:
        call()

    return pressed
