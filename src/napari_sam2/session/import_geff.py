"""Tracks of a graph in the Graph Exchange File Format (GEFF), read with zarr alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam2_backbone.errors import AnnotationError

Rows = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_ORDER = "zyx"  # of the axes of an image
_MOST_AXES, _FEWEST_AXES = 4, 3


@dataclass(frozen=True)
class GraphTracks:
    """
    A graph cut into tracks without branches.

    Attributes
    ----------
    rows
        (N, 1 + axes): the track, the frame, then places, sorted by track and frame; in the unit
        that `scale` takes to `units`.
    parents
        The tracks that a track came from: one for a division, several for a merger.
    scale, offset, units
        Of the axes, the frame first; the offset is in units, too.
    names
        Of the axes.
    labels
        The file of label images that the graph names, if it is there.
    """

    rows: Rows
    parents: Mapping[int, tuple[int, ...]]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    units: tuple[str, ...]
    names: tuple[str, ...]
    labels: Path | None = None


def is_graph(folder: Path) -> bool:
    """Whether a folder is a zarr whose attributes say that it is such a graph."""
    return _said(folder) is not None


def read_graph(folder: Path) -> GraphTracks:
    """
    Read the tracks of a graph.

    A track is what the graph calls a tracklet; where it calls nothing so, nodes without a branch
    between them.

    Raises
    ------
    AnnotationError
        It has no axes, lacks what they name, or its edges lead to nodes that it lacks.
    """
    import zarr

    said = _said(folder)
    if said is None:
        raise AnnotationError(f"{folder} is no GEFF: its attributes do not say so.")
    axes = _axes(said.get("axes") or [], folder)
    try:
        group: Any = zarr.open_group(str(folder), mode="r")
        ids = np.asarray(group["nodes/ids"])
        if not len(ids):
            raise ValueError("it has no node, so there are no tracks in it")
        places = [_values(group, axis["name"], len(ids)) for axis in axes]
        if len(axes) == _MOST_AXES and axes[0]["type"] == "time" and np.ptp(places[1]) == 0:
            # the depth of a flat movie, which the image has no axis for
            del axes[1], places[1]
        rows = np.stack(places, axis=1).astype(np.float64)
        edges = np.asarray(group["edges/ids"]).reshape(-1, 2)
        given = _tracklets(group, said, len(ids))
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise AnnotationError(f"{folder} cannot be read as a GEFF: {error}.") from error
    ends = _places_of(ids, edges, folder)
    # an edge of an undirected graph may point backwards
    late = rows[ends[:, 0], 0] > rows[ends[:, 1], 0]
    ends[late] = ends[late, ::-1]
    tracks = _chains(len(ids), ends) if given is None else given
    order = np.lexsort((rows[:, 0], tracks))
    return GraphTracks(
        rows=np.column_stack([tracks, rows])[order],
        parents=_parents(tracks, ends),
        scale=tuple(float(axis.get("scale") or 1.0) for axis in axes),
        offset=tuple(float(axis.get("offset") or 0.0) for axis in axes),
        units=tuple(_unit(axis) for axis in axes),
        names=tuple(str(axis["name"]) for axis in axes),
        labels=_labels_of(said, folder),
    )


def _said(folder: Path) -> dict[str, Any] | None:
    """Return what the attributes of a zarr, format 2 or 3, say of the graph in it."""
    for name in (".zattrs", "zarr.json"):
        try:
            tree = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        said = tree.get("attributes", tree).get("geff") if isinstance(tree, dict) else None
        if isinstance(said, dict):
            return said
    return None


def _axes(axes: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the frame's axis, then those of space: as images have them where names end so."""
    time = [axis for axis in axes if axis.get("type") == "time"]
    space = [axis for axis in axes if axis.get("type") == "space"]
    letters = [str(axis["name"])[-1:].lower() for axis in space]
    if set(letters) <= set(_ORDER) and len(set(letters)) == len(letters):
        space.sort(key=lambda axis: _ORDER.index(str(axis["name"])[-1:].lower()))
    # in a stack of slices the first axis of space is that of the frames
    found = time[:1] + space
    if not _FEWEST_AXES <= len(found) <= _MOST_AXES:
        raise AnnotationError(
            f"{folder} says of {len(found)} axes what they are: tracks in napari have a frame "
            "and two or three axes of space."
        )
    return found


def _values(group: Any, name: str, count: int) -> npt.NDArray[Any]:
    values = np.asarray(group[f"nodes/props/{name}/values"])
    if values.shape != (count,):
        raise ValueError(f"{name} has the shape {values.shape} for {count} nodes")
    return values


def _tracklets(group: Any, said: Mapping[str, Any], count: int) -> Numbers | None:
    """Return the tracklet of each node if the graph names one for all of them."""
    name = (said.get("track_node_props") or {}).get("tracklet")
    if name is None:
        return None
    values = _values(group, name, count)
    missing = group.get(f"nodes/props/{name}/missing")
    if values.dtype.kind not in "ui" or (missing is not None and np.asarray(missing).any()):
        return None
    return values.astype(np.int64)


def _places_of(ids: npt.NDArray[Any], edges: npt.NDArray[Any], folder: Path) -> Numbers:
    """Return which nodes edges lead from and to, as places among the nodes."""
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids, edges, sorter=order), len(ids) - 1)
    if (ids[order][at] != edges).any():
        raise AnnotationError(f"{folder} has edges to nodes that it lacks.")
    places: Numbers = order[at].astype(np.int64)
    return places


def _chains(num_nodes: int, ends: Numbers) -> Numbers:
    """Number the pieces of a graph between branches from 1, in the order of their first nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    starts, stops = ends.T
    goes_on = np.bincount(starts, minlength=num_nodes) == 1
    comes_alone = np.bincount(stops, minlength=num_nodes) == 1
    kept = goes_on[starts] & comes_alone[stops]
    links = coo_array(
        (np.ones(int(kept.sum()), np.int8), (starts[kept], stops[kept])),
        shape=(num_nodes, num_nodes),
    )
    numbers: Numbers = connected_components(links, directed=False)[1].astype(np.int64) + 1
    return numbers


def _parents(tracks: Numbers, ends: Numbers) -> dict[int, tuple[int, ...]]:
    before, after = tracks[ends[:, 0]], tracks[ends[:, 1]]
    found: dict[int, set[int]] = {}
    for parent, child in zip(before.tolist(), after.tolist(), strict=True):
        if parent != child:
            found.setdefault(child, set()).add(parent)
    return {child: tuple(sorted(parents)) for child, parents in found.items()}


def _unit(axis: Mapping[str, Any]) -> str:
    """Return what a step along an axis is in the world; frames and pixels have no length."""
    unit = axis.get("scaled_unit") or axis.get("unit")
    return "pixel" if unit in (None, "frame") else str(unit)


def _labels_of(said: Mapping[str, Any], folder: Path) -> Path | None:
    """Return the label images that a graph names as its own."""
    for row in said.get("related_objects") or ():
        if isinstance(row, Mapping) and row.get("type") == "labels":
            path = folder / str(row.get("path", ""))
            if path.exists():
                return path.resolve()
    return None
