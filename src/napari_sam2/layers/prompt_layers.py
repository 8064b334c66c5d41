"""How prompts look as markers, and what markers say as prompts.

A row of the Points layer is one click. In the Shapes layer a rectangle is a box, a polygon, a
lasso or an ellipse encloses the object's mask, and a path or line is a scribble: it is turned into
clicks along it. All carry the object in the feature `obj_id`, and in `name` what is written beside
them; clicks carry `polarity` besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points, Shapes

from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.layers.outlines import OUTLINES, SCRIBBLES, Area, Outline, OutlineReader
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
MOST_NAMED = 100  # markers
_NAME_SIZE = 9
# pixels of the screen: from near, no lid on a small cell in a large image. None at least: where no
# marker is in view napari 0.9 draws one of no size in the corner of the image
_MARKER_ON_SCREEN = (0, 16)
_SELECTING = ("select", "direct")
# float32 vertices of a Shapes layer know about this much of a pixel
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Markers:
    """What the markers of both layers say.

    Attributes
    ----------
    prompts
        Clicks, boxes and masks by object and frame.
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
    nothing = np.zeros(0, object)
    return Points(
        ndim=geometry.ndim,
        name=name,
        features={"obj_id": np.zeros(0, np.int64), "polarity": nothing, "name": nothing},
        feature_defaults={"obj_id": NO_OBJECT, "polarity": _POLARITY[POSITIVE], "name": ""},
        text=_text_of("center", geometry, -marker_size(geometry)),  # above the marker, not on it
        size=marker_size(geometry),
        border_color="white",
        border_width=0.15,
        canvas_size_limits=_MARKER_ON_SCREEN,
    )


def new_shapes_layer(geometry: FrameGeometry, name: str) -> Shapes:
    """Make an empty Shapes layer whose shapes are prompts."""
    return Shapes(
        ndim=geometry.ndim,
        name=name,
        features={"obj_id": np.zeros(0, np.int64), "name": np.zeros(0, object)},
        feature_defaults={"obj_id": NO_OBJECT, "name": ""},
        text=_text_of("upper_left", geometry, 0.0),
        edge_width=max(1.0, marker_size(geometry) / 5),
        face_color="transparent",
    )


def marker_size(geometry: FrameGeometry) -> float:
    """Diameter of a click's marker in pixels: to be seen, and to hide no small cell."""
    return float(np.clip(min(geometry.height, geometry.width) / 40, 2.0, 20.0))


def _text_of(anchor: str, geometry: FrameGeometry, raised: float) -> dict[str, Any]:
    translation = np.zeros(geometry.ndim)
    translation[geometry.plane_axes[0]] = raised
    return {
        "string": {"feature": "name"},
        "color": "white",
        "size": _NAME_SIZE,
        "anchor": anchor,
        "translation": translation,
    }


def dress_points(points: Points, obj_id: int, polarity: int, name: str = "") -> None:
    """
    Give the next clicks an object, its colour and a polarity; placed ones stay as they are.

    The object's `name` is written beside its first one; `show_names` corrects it where there are
    more.
    """
    now = points.feature_defaults
    dressed = (int(now["obj_id"].iloc[0]), str(now["polarity"].iloc[0]))
    # each assignment takes napari milliseconds of a click
    if dressed == (obj_id, _POLARITY[polarity]) and not points.selected_data and obj_id:
        return
    points.selected_data = set()
    if dressed != (obj_id, _POLARITY[polarity]):
        points.feature_defaults = {
            "obj_id": obj_id,
            "polarity": _POLARITY[polarity],
            "name": _next_name(points, obj_id, name),
        }
    points.current_face_color = [*colour_of(max(obj_id, 1)), 1.0]
    points.current_symbol = _SYMBOL[polarity]


def dress_shapes(shapes: Shapes, obj_id: int, name: str = "") -> None:
    """Give the next shapes an object, its colour and a name; drawn ones stay as they are."""
    now = int(shapes.feature_defaults["obj_id"].iloc[0])
    if now == obj_id and not shapes.selected_data and obj_id:
        return
    shapes.selected_data = set()
    if now != obj_id:
        shapes.feature_defaults = {"obj_id": obj_id, "name": _next_name(shapes, obj_id, name)}
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
    """Hand a shape over to an object, colour included."""
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


def selected_owners(layer: Points | Shapes) -> set[int]:
    """Objects of the markers that a person has selected to move or to delete them."""
    if str(layer.mode) not in _SELECTING:
        return set()
    owners = object_ids(layer)
    return {int(owners[row]) for row in layer.selected_data if row < len(owners)}


def crowded_boxes(shapes: Shapes, geometry: FrameGeometry, to_image: ToImage) -> tuple[int, ...]:
    """Rows of boxes whose object has an earlier box on the same frame: each is another object."""
    seen: set[PromptKey] = set()
    crowded = []
    for row, key in enumerate(shape_keys(shapes, geometry, to_image)):
        if str(shapes.shape_type[row]) == "rectangle":
            if key in seen:
                crowded.append(row)
            seen.add(key)
    return tuple(crowded)


def outdated_shapes(shapes: Shapes, geometry: FrameGeometry, to_image: ToImage) -> tuple[int, ...]:
    """Rows that a later shape has taken the place of: a frame has a box or a mask, never both."""
    keys = shape_keys(shapes, geometry, to_image)
    is_box = [str(kind) == "rectangle" for kind in shapes.shape_type]
    last = dict(zip(keys, is_box, strict=True))
    return tuple(row for row, key in enumerate(keys) if is_box[row] != last[key])


def shape_keys(shapes: Shapes, geometry: FrameGeometry, to_image: ToImage) -> list[PromptKey]:
    """Object and frame of every shape."""
    keys = []
    for obj_id, vertices in zip(object_ids(shapes), shapes.data, strict=True):
        first = np.asarray(vertices, dtype=np.float64)[:1]
        keys.append((int(obj_id), int(geometry.to_pixel(to_image(shapes, first)).frame_idx[0])))
    return keys


def scribbles(shapes: Shapes) -> list[int]:
    """Rows of paths and lines."""
    return [row for row, kind in enumerate(shapes.shape_type) if str(kind) in SCRIBBLES]


def outlines_of(
    shapes: Shapes, key: PromptKey, geometry: FrameGeometry, to_image: ToImage
) -> tuple[Outline, ...]:
    """The outlines of one object on one frame, in data coordinates of the image."""
    keys = shape_keys(shapes, geometry, to_image)
    return tuple(
        Outline(str(shapes.shape_type[row]), to_image(shapes, np.asarray(shapes.data[row])))
        for row in range(len(keys))
        if keys[row] == key and str(shapes.shape_type[row]) in OUTLINES
    )


def read_markers(
    points: Points,
    shapes: Shapes,
    geometry: FrameGeometry,
    to_image: ToImage,
    outlines: OutlineReader,
) -> Markers:
    """Read all clicks and shapes as prompts, in the order in which they were placed."""
    prompts: dict[PromptKey, FramePrompts] = {}
    outlines.begin()
    refused_points, reasons = _read_points(points, geometry, to_image, prompts)
    refused_shapes, more_reasons = _read_shapes(shapes, geometry, to_image, prompts, outlines)
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
            reasons.append(off_plane(geometry))
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
    outlines: OutlineReader,
) -> tuple[list[int], list[str]]:
    refused: list[int] = []
    reasons: list[str] = []
    areas: dict[PromptKey, tuple[Area, ...]] = {}
    kinds = [str(kind) for kind in shapes.shape_type]
    for row, (obj_id, vertices) in enumerate(zip(object_ids(shapes), shapes.data, strict=True)):
        coords = to_image(shapes, np.asarray(vertices, dtype=np.float64))
        corners, frame_idx, reason = read_corners(coords, geometry)
        key = (int(obj_id), frame_idx)
        if corners is not None and kinds[row] == "rectangle":
            box, reason = _read_box(corners, geometry)
            if box is not None:
                prompts[key] = replace(prompts.get(key, FramePrompts()), box=box)
        elif corners is not None and kinds[row] in OUTLINES:
            area = outlines.area(kinds[row], corners, geometry.height, geometry.width)
            if area is None:
                reason = "The shape encloses no pixel of the image; draw it around the object."
            else:
                areas[key] = (*areas.get(key, ()), area)
        if reason:
            refused.append(row)
            reasons.append(reason)
    for key, drawn in areas.items():
        mask = outlines.mask(drawn, geometry.height, geometry.width)
        prompts[key] = replace(prompts.get(key, FramePrompts()), box=None, mask=mask)
    return refused, reasons


def read_corners(
    coords: NDArray[np.float64], geometry: FrameGeometry
) -> tuple[NDArray[np.float64] | None, int, str]:
    """Read data coordinates (N, ndim) of a shape as pixels (N, 2) of one frame, or say why not."""
    corners = geometry.to_pixel(coords)
    if not corners.on_plane.all():
        return None, 0, off_plane(geometry)
    frame_idx = int(corners.frame_idx[0])
    if (corners.frame_idx != frame_idx).any() or not 0 <= frame_idx < geometry.num_frames:
        return None, 0, "The shape spans several frames or none; draw it on one frame."
    return corners.yx, frame_idx, ""


def _read_box(
    corners: NDArray[np.float64], geometry: FrameGeometry
) -> tuple[NDArray[np.float64] | None, str]:
    """Read corners (4, 2) as edges y0, x0, y1, x1, cut off at the borders of the frame."""
    # a pixel's centre is an integer, its edges lie half a pixel off
    low, high = corners.min(axis=0) + 0.5, corners.max(axis=0) + 0.5
    size = np.array([geometry.height, geometry.width], dtype=np.float64)
    low, high = np.clip(low, 0.0, size), np.clip(high, 0.0, size)
    if not (high - low > _TOLERANCE).all():
        return None, "The box has no area inside of the image; draw it over the object."
    return np.concatenate([low, high]), ""


def off_plane(geometry: FrameGeometry) -> str:
    """Say where a session looks, to someone who works elsewhere."""
    # counted from the last, as napari names axes that have no names
    fixed = ((axis - geometry.ndim, position) for axis, position in geometry.fixed)
    places = ", ".join(f"axis {axis} at {position}" for axis, position in fixed)
    return f"This session looks at {places}; move that slider back, or choose the frame axis anew."


def same_prompts(first: FramePrompts | None, second: FramePrompts | None) -> bool:
    """Whether two sets of prompts are the same but for the rounding of markers."""
    one, other = first or FramePrompts(), second or FramePrompts()
    return same_points(one, other) and same_shapes(one, other)


def same_points(one: FramePrompts, other: FramePrompts) -> bool:
    """Whether the clicks are the same but for rounding."""
    return np.array_equal(one.point_labels, other.point_labels) and np.allclose(
        one.points, other.points, atol=_TOLERANCE
    )


def same_shapes(one: FramePrompts, other: FramePrompts) -> bool:
    """Whether box and mask are the same but for rounding."""
    if (one.box is None) != (other.box is None) or (one.mask is None) != (other.mask is None):
        return False
    if one.mask != other.mask:
        return False
    return one.box is None or np.allclose(one.box, other.box, atol=_TOLERANCE)  # type: ignore[arg-type]


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


def pressed_pixel(
    points: Points, position: Iterable[float], geometry: FrameGeometry, to_image: ToImage
) -> tuple[int, tuple[float, float]] | None:
    """Frame and pixel (y, x) at which napari will place a click of this position in the world."""
    coords = np.atleast_2d(np.asarray(points.world_to_data(position), dtype=np.float64))
    found = geometry.to_pixel(to_image(points, coords))
    if not (found.inside[0] and found.on_plane[0]):
        return None
    y, x = found.yx[0]
    return int(found.frame_idx[0]), (float(y), float(x))


def append_points(
    points: Points, key: PromptKey, prompts: FramePrompts, geometry: FrameGeometry
) -> None:
    """Place the clicks of one object on one frame; the layer lies exactly on the image."""
    obj_id, frame_idx = key
    for point, label in zip(prompts.points, prompts.point_labels, strict=True):
        dress_points(points, obj_id, int(label))
        points.add(geometry.to_data(frame_idx, point))
    points.selected_data = set()


def append_box(
    shapes: Shapes, key: PromptKey, prompts: FramePrompts, geometry: FrameGeometry
) -> None:
    """Place the box of one object on one frame, if it has one."""
    obj_id, frame_idx = key
    if prompts.box is not None:
        y0, x0, y1, x1 = prompts.box - 0.5
        dress_shapes(shapes, obj_id)
        corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])
        shapes.add_rectangles(geometry.to_data(frame_idx, corners))
        shapes.selected_data = set()


def append_outlines(shapes: Shapes, obj_id: int, outlines: Iterable[Outline]) -> None:
    """Place outlines as they were drawn."""
    for outline in outlines:
        dress_shapes(shapes, obj_id)
        shapes.add([outline.vertices], shape_type=outline.kind)
        shapes.selected_data = set()


def _next_name(layer: Points | Shapes, obj_id: int, name: str) -> str:
    """Return what is to be written beside the next marker of an object: its name, once."""
    is_named = obj_id in object_ids(layer) or len(layer.data) >= MOST_NAMED
    return "" if is_named else name


def show_names(
    points: Points, shapes: Shapes, names: Mapping[int, str], geometry: FrameGeometry
) -> None:
    """Write the name of an object beside the first of its markers on each frame.

    Objects that `names` leaves out have none; among very many markers nothing is written.
    """
    crowded = len(points.data) + len(shapes.data) > MOST_NAMED
    for layer in (points, shapes):
        shown = [""] * len(layer.data) if crowded else _first_names(layer, names, geometry)
        # napari makes all names anew, which takes as long as drawing a click
        if shown and ("name" not in layer.features or shown != layer.features["name"].tolist()):
            defaults = layer.feature_defaults.copy()
            layer.features = layer.features.assign(name=np.array(shown, dtype=object))
            layer.feature_defaults = defaults


def _first_names(
    layer: Points | Shapes, names: Mapping[int, str], geometry: FrameGeometry
) -> list[str]:
    """Return a name for the first marker of an object on each frame, empty for the others."""
    shown: list[str] = []
    named: set[PromptKey] = set()
    for obj_id, marker in zip(object_ids(layer), layer.data, strict=True):
        first = np.atleast_2d(np.asarray(marker, dtype=np.float64))[:1]
        key = (int(obj_id), int(geometry.to_pixel(first).frame_idx[0]))
        shown.append("" if key in named else names.get(key[0], ""))
        named.add(key)
    return shown


def show_some(points: Points, shapes: Shapes, hidden: frozenset[int]) -> None:
    """Show the markers of all objects but the hidden ones."""
    shown = ~np.isin(object_ids(points), list(hidden))
    if len(shown) and not np.array_equal(points.shown, shown):
        points.shown = shown
    alpha = np.where(np.isin(object_ids(shapes), list(hidden)), 0.0, 1.0)
    colours = np.array(shapes.edge_color)
    if len(alpha) and not np.array_equal(colours[:, 3], alpha):
        colours[:, 3] = alpha
        shapes.edge_color = colours
