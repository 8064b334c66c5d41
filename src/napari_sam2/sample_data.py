"""The bundled images as napari's *Open Sample* wants them."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import tifffile

LayerData = tuple[Any, dict[str, Any], str]


def phase_contrast() -> list[LayerData]:
    """Open a phase-contrast image of adherent cells, (Y, X)."""
    return [_image("phase_contrast.tif", "Phase contrast (2-D)", ("y", "x"))]


def cell_migration() -> list[LayerData]:
    """Open a fluorescence movie of migrating cells, (T, Y, X)."""
    return [_image("cell_migration.tif", "Cell migration (2-D + t)", ("t", "y", "x"))]


def nuclei_3d() -> list[LayerData]:
    """Open a confocal stack of nuclei, (Z, Y, X), with its voxel size."""
    data, options, kind = _image("nuclei_3d.tif", "Nuclei (3-D)", ("z", "y", "x"))
    options |= {"scale": (0.29, 0.26, 0.26), "units": ("um", "um", "um")}
    return [(data, options, kind)]


def _image(file_name: str, name: str, axis_labels: tuple[str, ...]) -> LayerData:
    with as_file(files("napari_sam2") / "samples" / file_name) as path:
        data = tifffile.imread(path)
    limits = tuple(float(limit) for limit in (data.min(), data.max()))
    return data, {"name": name, "axis_labels": axis_labels, "contrast_limits": limits}, "image"
