"""A zarr that is dropped into the window as a layer, with sizes and units of OME-Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sam2.layers.session_layers import LayerData
from napari_sam2.session.images import read_array
from napari_sam2.session.own_folders import WRITTEN_BY


def zarr_layer(path: Path) -> LayerData:
    """
    Return the full resolution of a zarr, lazily: labels where they were written here.

    Raises
    ------
    ImageReadError
        It holds no array, or several without saying which is the image.
    """
    array, attributes = read_array(path), _attributes(path)
    is_labels = WRITTEN_BY.items() <= attributes.items() and array.dtype.kind in "ui"
    options: dict[str, Any] = {"name": path.name.split(".")[0] or path.stem}
    options |= _placed(attributes, array.ndim)
    return array, options, "labels" if is_labels else "image"


def _placed(attributes: Mapping[str, Any], ndim: int) -> dict[str, Any]:
    """Return scale, units and names of axes; nothing where the metadata do not tell them all."""
    try:
        image = attributes.get("ome", attributes)["multiscales"][0]
        axes = list(image["axes"])
        changes = image["datasets"][0]["coordinateTransformations"]
        scale = [float(step) for step in next(c["scale"] for c in changes if "scale" in c)]
        named = [str(axis["name"]) for axis in axes]
        units = [str(axis.get("unit") or "pixel") for axis in axes]
    except (KeyError, IndexError, TypeError, ValueError, StopIteration):
        return {}
    if not len(scale) == len(named) == ndim or not all(step > 0 for step in scale):
        return {}
    return {"scale": scale, "units": units, "axis_labels": named}


def _attributes(path: Path) -> dict[str, Any]:
    import zarr

    try:
        return dict(zarr.open(str(path), mode="r").attrs)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
