"""Room: how prompts look as markers, and what markers say as prompts.

A row of the Points layer is one click, a rectangle of the Shapes layer one box. Both carry the
object in the feature `obj_id`; clicks carry `polarity` besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points, Shapes

from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.session.objects import colour_of
from napari_sam2.session.prompts import NEGATIVE, POSITIVE, FramePrompts

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

PromptKey = tuple[int, int]
"""Object and frame."""

ToImage = Callable[["Layer", "NDArray[np.float64]"], "NDArray[np.float64]"]
"""Turns data coordinates of a marker layer into those of the image layer."""

NO_OBJECT = 0
_POLARITY = {POSITIVE: "positive", NEGATIVE: "negative"}
_SYMBOL = {POSITIVE: "disc", NEGATIVE: "x"}
# float32 vertices of a Shapes layer know about this much of a pixel
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Markers:
    """What the markers of both layers say.

    Attributes
    ----------
    prompts
        Clicks and boxes by object and frame.
    refused_points, refused_shapes
        Rows that cannot be prompts.
    reason
        Why the first of them cannot; empty where none is refused.
    """

    prompts: dict[PromptKey, FramePrompts]
    refused_points: tuple[int, ...] = ()
    refused_shapes: tuple[int, ...] = ()
    reason: str = ""


def new_points_layer(geometry: FrameGeometry, name: str) -> Points:
    """Make an empty Points layer whose clicks are prompts."""
    features = {"obj_id": np.zeros(0, np.int64), "polarity": np.zeros(0, object)}
    return Points(
        ndim=geometry.ndim,
        name=name,
        features=features,
        feature_defaults={"obj_id": NO_OBJECT, "polarity": _POLARITY[POSITIVE]},
        size=marker_size(geometry),
        border_color="white",
        border_width=0.15,
    )


def new_shapes_layer(geometry: FrameGeometry, name: str) -> Shapes:
    """Make an empty Shapes layer whose rectangles are prompts."""
    return Shapes(
        ndim=geometry.ndim,
        name=name,
        features={"obj_id": np.zeros(0, np.int64)},
        feature_defaults={"obj_id": NO_OBJECT},
        edge_width=max(1.0, marker_size(geometry) / 5),
        face_color="transparent",
    )


def marker_size(geometry: FrameGeometry) -> float:
    """Diameter of a click's marker in pixels: to be seen, and to hide no small cell."""
    return float(np.clip(min(geometry.height, geometry.width) / 40, 2.0, 20.0))


def dress_points(points: Points, obj_id: int, polarity: int) -> None:
    """Give the next clicks an object, its colour and a polarity; placed ones stay as they are."""
    points.selected_data = set()
    points.feature_defaults = {"obj_id": obj_id, "polarity": _POLARITY[polarity]}
    points.current_face_color = [*colour_of(max(obj_id, 1)), 1.0]
    points.current_symbol = _SYMBOL[polarity]


def dress_shapes(shapes: Shapes, obj_id: int) -> None:
    """Give the next boxes an object and its colour; drawn ones stay as they are."""
    shapes.selected_data = set()
    shapes.feature_defaults = {"obj_id": obj_id}
    shapes.current_edge_color = [*colour_of(max(obj_id, 1)), 1.0]


def assign_points(points: Points, rows: Iterable[int], obj_id: int) -> None:
    """Hand clicks over to an object, colour included."""
    chosen = list(rows)
    if not chosen:
        return
    features = points.features.copy()
    features.loc[chosen, "obj_id"] = obj_id
    defaults = points.feature_defaults.copy()
    points.features = features
    points.feature_defaults = defaults
    colours = np.array(points.face_color)
    colours[chosen] = [*colour_of(obj_id), 1.0]
    points.face_color = colours


def assign_shape(shapes: Shapes, row: int, obj_id: int) -> None:
    """Hand a box over to an object, colour included."""
    features = shapes.features.copy()
    features.loc[row, "obj_id"] = obj_id
    defaults = shapes.feature_defaults.copy()
    shapes.features = features
    shapes.feature_defaults = defaults
    colours = np.array(shapes.edge_color)
    colours[row] = [*colour_of(obj_id), 1.0]
    shapes.edge_color = colours


def object_ids(layer: Points | Shapes) -> NDArray[np.int64]:
    """Object of every row (N,); `NO_OBJECT` where a person left it blank."""
    column = layer.features["obj_id"].to_numpy(dtype=np.float64, na_value=NO_OBJECT)
    return np.asarray(column, dtype=np.int64)


def crowded_boxes(shapes: Shapes, geometry: FrameGeometry, to_image: ToImage) -> tuple[int, ...]:
    """Rows of boxes whose object has an earlier box on the same frame: each is another object."""
    seen: set[PromptKey] = set()
    crowded = []
    for row, (obj_id, vertices) in enumerate(zip(object_ids(shapes), shapes.data, strict=True)):
        corners = geometry.to_pixel(to_image(shapes, np.asarray(vertices, dtype=np.float64)))
        key = (int(obj_id), int(corners.frame_idx[0]))
        if key in seen:
            crowded.append(row)
        seen.add(key)
    return tuple(crowded)


def read_markers(
    points: Points, shapes: Shapes, geometry: FrameGeometry, to_image: ToImage
) -> Markers:
    """Read all clicks and boxes as prompts, in the order in which they were placed."""
    prompts: dict[PromptKey, FramePrompts] = {}
    refused_points, reasons = _read_points(points, geometry, to_image, prompts)
    refused_shapes, more_reasons = _read_shapes(shapes, geometry, to_image, prompts)
    reason = next(iter([*reasons, *more_reasons]), "")
    return Markers(prompts, tuple(refused_points), tuple(refused_shapes), reason)


def _read_points(
    points: Points,
    geometry: FrameGeometry,
    to_image: ToImage,
    prompts: dict[PromptKey, FramePrompts],
) -> tuple[list[int], list[str]]:
    refused: list[int] = []
    reasons: list[str] = []
    if len(points.data) == 0:
        return refused, reasons
    positions = geometry.to_pixel(to_image(points, np.asarray(points.data, dtype=np.float64)))
    polarity = [
        NEGATIVE if str(word) == _POLARITY[NEGATIVE] else POSITIVE
        for word in points.features["polarity"]
    ]
    rows_of: dict[PromptKey, list[int]] = {}
    for row, obj_id in enumerate(object_ids(points)):
        if not positions.on_plane[row]:
            refused.append(row)
            reasons.append(_off_plane(geometry))
        elif not positions.inside[row]:
            refused.append(row)
            reasons.append("The click lies outside of the image; click on one of its pixels.")
        else:
            rows_of.setdefault((int(obj_id), int(positions.frame_idx[row])), []).append(row)
    for key, rows in rows_of.items():
        prompts[key] = FramePrompts(
            points=positions.yx[rows], point_labels=np.array([polarity[row] for row in rows])
        )
    return refused, reasons


def _read_shapes(
    shapes: Shapes,
    geometry: FrameGeometry,
    to_image: ToImage,
    prompts: dict[PromptKey, FramePrompts],
) -> tuple[list[int], list[str]]:
    refused: list[int] = []
    reasons: list[str] = []
    kinds = [str(kind) for kind in shapes.shape_type]
    for row, (obj_id, vertices) in enumerate(zip(object_ids(shapes), shapes.data, strict=True)):
        coords = to_image(shapes, np.asarray(vertices, dtype=np.float64))
        box, frame_idx, reason = _read_box(coords, kinds[row], geometry)
        if box is None:
            refused.append(row)
            reasons.append(reason)
            continue
        key = (int(obj_id), frame_idx)
        prompts[key] = replace(prompts.get(key, FramePrompts()), box=box)
    return refused, reasons


def _read_box(
    coords: NDArray[np.float64], kind: str, geometry: FrameGeometry
) -> tuple[NDArray[np.float64] | None, int, str]:
    """Read corners (4, ndim) as edges y0, x0, y1, x1, cut off at the borders of the frame."""
    if kind != "rectangle":
        return (
            None,
            0,
            f"A shape of the kind {kind} is no prompt yet; draw a rectangle.",
        )
    corners = geometry.to_pixel(coords)
    if not corners.on_plane.all():
        return None, 0, _off_plane(geometry)
    frame_idx = int(corners.frame_idx[0])
    if (corners.frame_idx != frame_idx).any() or not 0 <= frame_idx < geometry.num_frames:
        return None, 0, "The box spans several frames or none; draw it on one frame."
    # a pixel's centre is an integer, its edges lie half a pixel off
    low, high = corners.yx.min(axis=0) + 0.5, corners.yx.max(axis=0) + 0.5
    size = np.array([geometry.height, geometry.width], dtype=np.float64)
    low, high = np.clip(low, 0.0, size), np.clip(high, 0.0, size)
    if not (high - low > _TOLERANCE).all():
        return None, 0, "The box has no area inside of the image; draw it over the object."
    return np.concatenate([low, high]), frame_idx, ""


def _off_plane(geometry: FrameGeometry) -> str:
    places = ", ".join(f"axis {axis} at {position}" for axis, position in geometry.fixed)
    return f"This session looks at {places}; move that slider back, or choose the frame axis anew."


def same_prompts(first: FramePrompts | None, second: FramePrompts | None) -> bool:
    """Whether two sets of prompts are the same but for the rounding of markers."""
    one, other = first or FramePrompts(), second or FramePrompts()
    if len(one.points) != len(other.points) or (one.box is None) != (other.box is None):
        return False
    if one.mask is not other.mask and not (
        one.mask is not None and other.mask is not None and np.array_equal(one.mask, other.mask)
    ):
        return False
    if one.box is not None and not np.allclose(one.box, other.box, atol=_TOLERANCE):  # type: ignore[arg-type]
        return False
    return np.array_equal(one.point_labels, other.point_labels) and np.allclose(
        one.points, other.points, atol=_TOLERANCE
    )


def remove_rows(layer: Points | Shapes, rows: Iterable[int]) -> None:
    """Take markers away."""
    chosen = sorted(int(row) for row in rows)
    if chosen:
        layer.selected_data = set()
        layer.remove(chosen)


def rows_of_key(
    layer: Points | Shapes, key: PromptKey, geometry: FrameGeometry, to_image: ToImage
) -> list[int]:
    """Rows of the markers of one object on one frame."""
    obj_id, frame_idx = key
    rows = []
    for row, owner in enumerate(object_ids(layer)):
        if int(owner) == obj_id:
            position: Any = np.atleast_2d(np.asarray(layer.data[row], dtype=np.float64))[:1]
            if int(geometry.to_pixel(to_image(layer, position)).frame_idx[0]) == frame_idx:
                rows.append(row)
    return rows


def append_markers(
    points: Points, shapes: Shapes, key: PromptKey, prompts: FramePrompts, geometry: FrameGeometry
) -> None:
    """Place the markers of one object on one frame; both layers lie exactly on the image."""
    obj_id, frame_idx = key
    if len(prompts.points):
        for point, label in zip(prompts.points, prompts.point_labels, strict=True):
            dress_points(points, obj_id, int(label))
            points.add(geometry.to_data(frame_idx, point))
        points.selected_data = set()
    if prompts.box is not None:
        y0, x0, y1, x1 = prompts.box - 0.5
        dress_shapes(shapes, obj_id)
        corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
        shapes.add_rectangles(geometry.to_data(frame_idx, corners))
        shapes.selected_data = set()
