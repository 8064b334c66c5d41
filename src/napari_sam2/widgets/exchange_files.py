"""What napari's File > Save writes of a labels layer in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari

from napari_sam2.layers.results import calibration_of_labels
from napari_sam2.session.exchange import FORMATS, export_results, format_named
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.result_masks import LabelMasks, ResultMasks

Write = Callable[[str, Any, dict[str, Any]], list[str]]

#: Ends of names by which a .json file tells that it is no session.
_ENDINGS = {"_manual.json": "sav", "_auto.json": "sav", "_coco.json": "coco"}


def format_of_name(path: str) -> str | None:
    """Return the format that the name of a JSON file asks for, None for a session."""
    found = (name for ending, name in _ENDINGS.items() if path.lower().endswith(ending))
    return next(found, None)


def write_labels_layer(
    path: str, data: Any, attributes: dict[str, Any], format_name: str
) -> list[str]:
    """
    Write a labels layer for another program; of a panel's layer the masks behind it.

    Raises
    ------
    ValueError, FileExistsError
        It cannot be written, or not there.
    """
    chosen = format_named(format_name)
    if chosen.suffix and not path.lower().endswith(chosen.suffixes):
        path += chosen.suffix  # napari hands on what was typed
    results, calibration = _masks_of(data, attributes)
    for _ in export_results(results, path, format_name, calibration, overwrite=True):
        pass
    return [path]


def _masks_of(data: Any, attributes: dict[str, Any]) -> tuple[ResultMasks, Calibration]:
    from napari_sam2.widgets.main_widget import docked_widgets

    for panel in docked_widgets(napari.current_viewer()):
        found = panel.results_of(str(attributes.get("name")))
        if found is not None:
            return found
    labels = data[0] if attributes.get("multiscale") else data
    return LabelMasks(labels), calibration_of_labels(attributes)


def _writing(format_name: str) -> Write:
    def write(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
        return write_labels_layer(path, data, attributes, format_name)

    write.__doc__ = f"Write a labels layer: {FORMATS[format_name].title}."
    return write


write_ctc = _writing("ctc")
write_geff = _writing("geff")
write_coco = _writing("coco")
write_sav = _writing("sav")
write_sav_folders = _writing("sav-folders")
write_trackmate = _writing("trackmate")
write_movie = _writing("movie")
