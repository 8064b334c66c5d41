"""Which file an image layer was read from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Image

#: Where the metadata of a layer say what its pixels were read from, if not from what was opened.
READ_FROM = "napari-sam2 image"


def image_file(image: Image) -> Path | None:
    """Return the file or folder that a layer was read from, ``None`` if there is none here."""
    place = image.metadata.get(READ_FROM) or image.source.path
    if not place:
        return None
    path = Path(place)
    # a layer may come from the net, or its file may be gone
    return path if path.exists() else None
