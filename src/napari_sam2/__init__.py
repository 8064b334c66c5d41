"""SAM 2 in napari: the plugin, and the same work as functions for scripts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam2.api import replay as replay
    from napari_sam2.api import segment_image as segment_image
    from napari_sam2.api import track as track
    from napari_sam2.everything import segment_everything as segment_everything
    from napari_sam2.session.prompts import PromptRecord as PromptRecord
    from napari_sam2.session.session import Session as Session
    from napari_sam2.widgets.main_widget import annotate as annotate

#: Where each public name lives. Importing the package imports none of these modules.
_HOMES = {
    "PromptRecord": "napari_sam2.session.prompts",
    "Session": "napari_sam2.session.session",
    "annotate": "napari_sam2.widgets.main_widget",
    "replay": "napari_sam2.api",
    "segment_everything": "napari_sam2.everything",
    "segment_image": "napari_sam2.api",
    "track": "napari_sam2.api",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
