"""Session files as napari opens and saves them: dropped into a window, or chosen in File."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QTimer

from napari_sam2.layers.session_layers import placed, session_layers
from napari_sam2.session import files
from napari_sam2.session.errors import SessionFileError
from napari_sam2.widgets.exchange_files import format_of_name, write_labels_layer

LayerData = tuple[Any, dict[str, Any], str]


def session_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return what opens a session file, None for another file."""
    if not isinstance(path, (str, Path)):
        return None
    try:
        return _open if files.is_session(Path(path)) else None
    except SessionFileError:
        return None


def write_session(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save the session whose labels layer is given; of other labels what the name asks for.

    Raises
    ------
    SessionFileError
        It is not the labels layer of a panel.
    """
    if any(panel.save_now(path, labels=attributes.get("name")) for panel in _panels()):
        return [path]
    other = format_of_name(path)
    if other is not None:
        return write_labels_layer(path, data, attributes, other)
    raise SessionFileError(
        "Only the labels of the panel SAM 2 annotate are part of a session: select that layer, or "
        "give a name that ends in _coco.json or _manual.json for COCO or SA-V."
    )


def _open(path: Any) -> list[LayerData]:
    """Give the image of a session; the panel takes it in hand, or without a window, its labels."""
    saved = files.read(Path(path))
    layers = session_layers(saved)
    if napari.current_viewer() is None:
        return [*layers, _labels(saved)]
    # the layers are not in the viewer yet
    QTimer.singleShot(0, _open_panel)
    return layers


def _open_panel() -> None:
    from napari_sam2.widgets.main_widget import annotate

    viewer = napari.current_viewer()
    if viewer is not None:
        annotate(viewer)


def _labels(saved: files.SavedSession) -> LayerData:
    """Return the labels of a session, placed as its image is."""
    document, image = saved.contents.document, saved.image
    frames = [document.labels(t, image.height, image.width) for t in range(image.num_frames)]
    is_single = len(frames) == 1
    labels = frames[0] if is_single else np.stack(frames)
    return labels, {"name": "SAM 2 labels", **placed(saved.placement, is_single)}, "labels"


def _panels() -> list[Any]:
    from napari_sam2.widgets.main_widget import docked_widgets

    return docked_widgets(napari.current_viewer())
