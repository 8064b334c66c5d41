"""Results as a graph in the Graph Exchange File Format (GEFF), written with zarr alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam2.session.export import LENGTHS, TIMES
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.own_folders import WRITTEN_BY
from napari_sam2.session.result_masks import ResultMasks

_VERSION = "1.3"


def write_graph(results: ResultMasks, part: Path, calibration: Calibration) -> Iterator[int]:
    """
    Write a node for each object on each frame, yielding each frame as it is looked at.

    A node says its frame, the centre of its mask in pixels, the id of its object (`track_id`) and
    its area. Edges lead from one frame on which an object is to the next, over gaps too.
    """
    rows: list[tuple[int, int, float, float, int]] = []
    edges: list[tuple[int, int]] = []
    before: dict[int, int] = {}
    for frame_idx in range(results.num_frames):
        for obj_id, mask in results.masks(frame_idx).items():
            area = mask.area
            if area:
                node = len(rows)
                rows.append((obj_id, frame_idx, *mask.centre, area))
                if obj_id in before:
                    edges.append((before[obj_id], node))
                before[obj_id] = node
        yield frame_idx
    _write(results, part, calibration, rows, edges)


def _write(
    results: ResultMasks,
    part: Path,
    calibration: Calibration,
    rows: list[tuple[int, int, float, float, int]],
    edges: list[tuple[int, int]],
) -> None:
    import zarr

    columns = zip(*rows, strict=True) if rows else [()] * 5
    obj_ids, frames, y, x, areas = (np.asarray(column) for column in columns)
    axes = _axes(calibration)
    properties = {
        axes[0]["name"]: frames.astype(np.int64),
        "y": y.astype(np.float64),
        "x": x.astype(np.float64),
        "track_id": obj_ids.astype(np.uint64),
        "area": areas.astype(np.uint64),
    }
    for axis in axes:
        values = properties[axis["name"]]
        if len(values):
            axis |= {"min": float(values.min()), "max": float(values.max())}
    group = zarr.create_group(
        store=str(part),
        zarr_format=2,  # the one that every reader of GEFF knows
        attributes={**WRITTEN_BY, "geff": _metadata(results, axes, properties)},
    )
    nodes, links = group.create_group("nodes"), group.create_group("edges")
    _put(nodes, "ids", np.arange(len(rows), dtype=np.uint64))
    _put(links, "ids", np.asarray(edges, np.uint64).reshape(-1, 2))
    links.create_group("props")
    kept = nodes.create_group("props")
    for name, values in properties.items():
        _put(kept.create_group(name), "values", values)


def _put(group: Any, name: str, values: Any) -> None:
    chunks = tuple(max(length, 1) for length in values.shape)
    group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype)[...] = values


def _axes(calibration: Calibration) -> list[dict[str, Any]]:
    """Return frame, row and column: numbers of pixels, and what one of them is in the world."""
    frames: dict[str, Any] = {"name": "t", "type": "time", "unit": "frame"}
    if calibration.frame_unit in LENGTHS:
        frames = {"name": "z", "type": "space", "unit": "pixel"}
    unit = TIMES.get(calibration.frame_unit) or LENGTHS.get(calibration.frame_unit)
    if unit is not None:
        frames |= {"scale": calibration.frame_interval, "scaled_unit": unit}
    plane: list[dict[str, Any]] = [
        {"name": name, "type": "space", "unit": "pixel"} for name in ("y", "x")
    ]
    if calibration.unit in LENGTHS:
        for axis, length in zip(plane, calibration.pixel_size, strict=True):
            axis |= {"scale": length, "scaled_unit": LENGTHS[calibration.unit]}
    return [frames, *plane]


def _metadata(
    results: ResultMasks, axes: list[dict[str, Any]], properties: dict[str, Any]
) -> dict[str, Any]:
    units = {axis["name"]: axis["unit"] for axis in axes} | {"area": "pixel"}
    return {
        "geff_version": _VERSION,
        "directed": True,
        "axes": axes,
        "node_props_metadata": {
            name: {
                "identifier": name,
                "dtype": values.dtype.name,
                "varlength": False,
                "unit": units.get(name),
            }
            for name, values in properties.items()
        },
        "edge_props_metadata": {},
        "track_node_props": {"tracklet": "track_id"},
        "extra": {"names": {str(obj_id): name for obj_id, name in results.objects.items()}},
    }
