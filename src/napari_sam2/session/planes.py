"""Which plane of an image with further axes is looked at, and how work on its others is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource

Plane = tuple[tuple[int, int], ...]
"""Axes of the image that stand still, and where: pairs (axis, index)."""

_NAMED = re.compile(r"-([0-9a-f]+)-(\d+at\d+(?:_\d+at\d+)*)$")


@runtime_checkable
class PlaneSource(Protocol):
    """Frames that are one plane of an image with further axes."""

    @property
    def plane(self) -> Plane:
        """Where the further axes stand; empty where there are none."""

    def on_plane(self, plane: Plane) -> FrameSource:
        """Return the frames of another plane; IndexError where there is no such plane."""


def plane_of(source: FrameSource) -> Plane:
    """Return the plane that frames are of; empty for an image without further axes."""
    return source.plane if isinstance(source, PlaneSource) else ()


def first_plane(source: FrameSource) -> FrameSource:
    """Return the frames that all planes of an image are known by."""
    if not isinstance(source, PlaneSource) or not source.plane:
        return source
    return source.on_plane(tuple((axis, 0) for axis, _ in source.plane))


def named(signature: str, plane: Plane) -> str:
    """Return what in a file's name tells of which plane it is; empty without further axes."""
    if not plane:
        return ""
    return f"-{signature}-" + "_".join(f"{axis}at{index}" for axis, index in plane)


def read_name(stem: str) -> tuple[str, Plane]:
    """Return signature and plane that a file's name tells; both empty where it tells none."""
    found = _NAMED.search(stem)
    if found is None:
        return "", ()
    pairs = [place.split("at") for place in found[2].split("_")]
    return found[1], tuple((int(axis), int(index)) for axis, index in pairs)
