"""Masks and tracks of other programs as layers: labels to follow, tracks with their parents."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam2.layers.lazy_labels import LazyLabels
from napari_sam2.layers.session_layers import LayerData
from napari_sam2.session.images import read_array
from napari_sam2.session.import_coco import read_coco
from napari_sam2.session.import_ctc import CtcTracks, centres, read_ctc
from napari_sam2.session.import_geff import GraphTracks, read_graph

#: Labels of less than 16 bits have no room for further objects.
_SMALLEST_DTYPE = np.uint16


def ctc_layers(folder: Path) -> list[LayerData]:
    """
    Return the label images of the Cell Tracking Challenge, and their tracks if some have parents.

    Raises
    ------
    AnnotationError
        They cannot be read.
    """
    found = read_ctc(folder)
    dtype = np.promote_types(found.dtype, _SMALLEST_DTYPE)
    labels = LazyLabels(found.labels, found.num_frames, found.frame_shape, dtype)
    name = _name(folder)
    layers: list[LayerData] = [(labels, {"name": name}, "labels")]
    # without a division tracks tell nothing that the labels do not, and cost reading them all
    if found.parents:
        layers.append(_ctc_tracks(found, name))
    return layers


def coco_layers(path: Path) -> list[LayerData]:
    """
    Return the masks of a COCO file: of several images those of a movie, frame by frame.

    Raises
    ------
    AnnotationError
        They cannot be read, or are of different sizes.
    """
    found = read_coco(path)
    if found.num_left_out:
        warnings.warn(
            f"{path.name}: {found.num_left_out} annotations have no segmentation and are left out.",
            stacklevel=2,
        )
    options: dict[str, Any] = {"name": path.stem}
    if any(found.names.values()):
        options["features"] = _features(found.names)
    if len(found.frames) == 1:
        return [(found.labels(0), options, "labels")]
    size = (found.height, found.width)
    return [(LazyLabels(found.labels, len(found.frames), size, found.dtype), options, "labels")]


def graph_layers(folder: Path) -> list[LayerData]:
    """
    Return the tracks of a GEFF, and the label images if it names some that are there.

    Raises
    ------
    AnnotationError, ImageReadError
        They cannot be read.
    """
    found = read_graph(folder)
    placed = {
        "scale": found.scale,
        "translate": found.offset,
        "units": found.units,
        "axis_labels": found.names,
    }
    parents = {child: list(parents) for child, parents in found.parents.items()}
    options: dict[str, Any] = {"name": folder.stem, "graph": parents, **placed}
    layers: list[LayerData] = [(found.rows, options, "tracks")]
    if found.labels is not None:
        layers.insert(0, _graph_labels(found, found.labels, placed))
    return layers


def _ctc_tracks(found: CtcTracks, name: str) -> LayerData:
    rows = sorted(
        (label, frame_idx, *place)
        for frame_idx in sorted(found.files)
        for label, place in centres(found.labels(frame_idx)).items()
    )
    # a table may speak of labels that no image shows
    seen = {label for label, *_ in rows}
    parents = {
        label: [parent]
        for label, parent in found.parents.items()
        if label in seen and parent in seen
    }
    data = np.array(rows, np.float64).reshape(len(rows), -1)
    return data, {"name": f"{name} tracks", "graph": parents}, "tracks"


def _graph_labels(found: GraphTracks, path: Path, placed: Mapping[str, Any]) -> LayerData:
    labels = read_array(path, as_labels=True)
    options: dict[str, Any] = {"name": path.name.split(".")[0]}
    if labels.ndim == len(found.names):
        options |= placed
    return labels, options, "labels"


def _features(names: Mapping[int, str]) -> dict[str, list[Any]]:
    """Return what napari says of the label under the pointer."""
    ids = sorted(names)
    return {"index": [0, *ids], "name": ["", *(names[label] for label in ids)]}


def _name(folder: Path) -> str:
    """Return a name: that of a reference's folder of tracks, ``TRA``, tells nothing."""
    return folder.parent.name if folder.name == "TRA" else folder.name
