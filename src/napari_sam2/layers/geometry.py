"""Which frame and which pixel of an image layer a position is, and the way back.

Three spaces meet here. *World* is what napari's cursor and sliders speak, in the viewer's units.
*Data* is a layer's own coordinate, one number per axis of its array (level 0 of a pyramid).
*Pixel* is a frame index and (y, x) inside that frame; an integer is a pixel's centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers.errors import LayerRefusedError

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Layer
    from numpy.typing import ArrayLike, NDArray

Units = Sequence[Any]
"""One pint unit per axis, as `layer.units` has them."""

NO_FRAMES = -1
"""Asked for as frame axis: one image, the other axes stand still."""
_CHANNEL_LABELS = frozenset({"c", "ch", "channel", "channels"})
_TIME_LABELS = frozenset({"t", "time", "frame", "frames"})


@dataclass(frozen=True)
class PixelPositions:
    """Where N positions fall in the frames of an image."""

    frame_idx: NDArray[np.int64]  # (N,)
    yx: NDArray[np.float64]  # (N, 2)
    on_plane: NDArray[np.bool_]  # (N,) False where a fixed axis stands elsewhere
    inside: NDArray[np.bool_]  # (N,) False outside of the frame or of the range of frames


@dataclass(frozen=True)
class FrameGeometry:
    """How the axes of an image's array are read as frames of height and width.

    Parameters
    ----------
    shape
        Length of every axis of the array, without the colour axis.
    frame_axis
        The axis along which frames follow each other; None for a single image.
    fixed
        Pairs (axis, index) of the axes that stand still, for instance depth while time is tracked.
    """

    shape: tuple[int, ...]
    frame_axis: int | None = None
    fixed: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        taken = {axis for axis, _ in self.fixed}
        if self.frame_axis is not None:
            taken.add(self.frame_axis)
        if not taken <= set(range(self.ndim)) or self.ndim - len(taken) != 2:
            raise ValueError(
                f"A frame needs exactly two axes; shape {self.shape} with frame axis "
                f"{self.frame_axis} and fixed axes {self.fixed} leaves {self.ndim - len(taken)}."
            )

    @property
    def ndim(self) -> int:
        """Number of axes of the array, without the colour axis."""
        return len(self.shape)

    @property
    def plane_axes(self) -> tuple[int, int]:
        """The axes that are y and x of a frame, in the order of the array."""
        taken = {axis for axis, _ in self.fixed} | {self.frame_axis}
        y_axis, x_axis = (axis for axis in range(self.ndim) if axis not in taken)
        return y_axis, x_axis

    @property
    def num_frames(self) -> int:
        """Number of frames, 1 for a single image."""
        return 1 if self.frame_axis is None else self.shape[self.frame_axis]

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.shape[self.plane_axes[0]]

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.shape[self.plane_axes[1]]

    def index(
        self, frame_idx: int, rows: slice | None = None, columns: slice | None = None
    ) -> tuple[int | slice, ...]:
        """Index that takes one frame, or a region of it, out of an array of this shape."""
        entries: list[int | slice] = [slice(None)] * self.ndim
        if self.frame_axis is not None:
            entries[self.frame_axis] = int(frame_idx)
        for axis, position in self.fixed:
            entries[axis] = position
        y_axis, x_axis = self.plane_axes
        entries[y_axis] = slice(None) if rows is None else rows
        entries[x_axis] = slice(None) if columns is None else columns
        return tuple(entries)

    def to_pixel(self, coords: ArrayLike) -> PixelPositions:
        """Read data coordinates as frame and pixel.

        Parameters
        ----------
        coords
            (N, ndim) data coordinates of the image layer.
        """
        data = np.atleast_2d(np.asarray(coords, dtype=np.float64)).reshape(-1, self.ndim)
        yx = data[:, list(self.plane_axes)]
        if self.frame_axis is None:
            frame_idx = np.zeros(len(data), dtype=np.int64)
        else:
            frame_idx = _nearest(data[:, self.frame_axis])
        on_plane = np.ones(len(data), dtype=bool)
        for axis, position in self.fixed:
            on_plane &= _nearest(data[:, axis]) == position
        size = np.array([self.height, self.width])
        inside = np.all((yx >= -0.5) & (yx < size - 0.5), axis=1)
        inside &= (frame_idx >= 0) & (frame_idx < self.num_frames)
        return PixelPositions(frame_idx, yx, on_plane, inside)

    def to_data(self, frame_idx: int | ArrayLike, yx: ArrayLike) -> NDArray[np.float64]:
        """Give the data coordinates (N, ndim) of pixels (N, 2) of one frame or of N frames."""
        pixels = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
        data = np.zeros((len(pixels), self.ndim))
        data[:, list(self.plane_axes)] = pixels
        if self.frame_axis is not None:
            data[:, self.frame_axis] = frame_idx
        for axis, position in self.fixed:
            data[:, axis] = position
        return data


def _nearest(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round as napari does where it slices and paints: halves to the even neighbour."""
    finite = np.nan_to_num(values, nan=-1.0, posinf=-1.0, neginf=-1.0)
    return np.round(finite).astype(np.int64)


def image_shape(image: Image) -> tuple[int, ...]:
    """Length of every axis of an image layer at full resolution, without the colour axis."""
    data = image.data[0] if image.multiscale else image.data
    return tuple(int(length) for length in data.shape[: image.ndim])


def choose_geometry(
    image: Image, dims: Dims, *, frame_axis: int | None = None, world_units: Units | None = None
) -> FrameGeometry:
    """Decide which axes of an image layer are frame, rows and columns.

    The two axes that the viewer shows, or would show in 2-D, are rows and columns. The frame axis
    is the one asked for; else one labelled as time; else the first other axis longer than one that
    is not labelled as channels. What is left over stands still at the slider's position.

    Parameters
    ----------
    frame_axis
        Axis of the layer's array, 0 … ndim − 1, or `NO_FRAMES`.
    world_units
        Units of the viewer's world, as in `world_to_data`.
    """
    shape = image_shape(image)
    ndim = len(shape)
    if frame_axis not in (None, NO_FRAMES) and not 0 <= frame_axis < ndim:
        raise ValueError(
            f"frame_axis must lie between 0 and {ndim - 1} for this image, not {frame_axis}."
        )
    if ndim == 2:
        return FrameGeometry(shape)
    first_axis = dims.ndim - ndim
    shown = [axis - first_axis for axis in dims.order[-2:] if axis >= first_axis]
    if frame_axis is None:
        hidden = [axis for axis in range(ndim) if axis not in shown] or [0]
        labels = [str(label).lower() for label in image.axis_labels]
        labelled = [axis for axis in hidden if labels[axis] in _TIME_LABELS]
        frames = [axis for axis in hidden if labels[axis] not in _CHANNEL_LABELS]
        long = [axis for axis in frames if shape[axis] > 1]
        frame_axis = (labelled + long + frames + [NO_FRAMES])[0]
    others = [axis for axis in range(ndim) if axis != frame_axis]
    preferred = [axis for axis in others if axis in shown]
    spare = [axis for axis in reversed(others) if axis not in shown]
    plane = set((preferred + spare)[:2])
    here = _nearest(world_to_data(image, dims.point, world_units=world_units))
    fixed = tuple(
        (axis, int(np.clip(here[axis], 0, shape[axis] - 1))) for axis in others if axis not in plane
    )
    return FrameGeometry(shape, None if frame_axis == NO_FRAMES else frame_axis, fixed)


def current_frame(
    geometry: FrameGeometry, image: Image, dims: Dims, *, world_units: Units | None = None
) -> int | None:
    """Frame of the image that the viewer shows; None where it shows more than one or none."""
    if geometry.frame_axis is None:
        return 0
    if geometry.frame_axis + dims.ndim - geometry.ndim in dims.displayed:
        return None
    here = world_to_data(image, dims.point, world_units=world_units)
    frame_idx = int(_nearest(here)[geometry.frame_axis])
    return frame_idx if 0 <= frame_idx < geometry.num_frames else None


def is_on_plane(
    geometry: FrameGeometry, image: Image, dims: Dims, *, world_units: Units | None = None
) -> bool:
    """Whether the sliders of axes that are neither frame nor plane are where a session looks."""
    here = world_to_data(image, dims.point, world_units=world_units)
    return bool(geometry.to_pixel(here).on_plane[0])


def frame_axis_is_shown(geometry: FrameGeometry, dims: Dims) -> bool:
    """Whether the viewer's canvas shows the frame axis, so that a click has no single frame."""
    if geometry.frame_axis is None:
        return False
    return geometry.frame_axis + dims.ndim - geometry.ndim in dims.displayed


def require_plane_view(dims: Dims) -> None:
    """Refuse prompts in a 3-D display, where a click is a ray and not a pixel."""
    if dims.ndisplay != 2:
        raise LayerRefusedError(
            "Prompts are placed in the 2-D view: press the 2D/3D button below the layer list "
            "to go back to it."
        )


def unit_factors(from_units: Units, to_units: Units) -> NDArray[np.float64]:
    """Factors that turn numbers in one set of units into another, axis by axis.

    Raises
    ------
    LayerRefusedError
        Where the units of an axis measure different things.
    """
    factors = np.ones(len(from_units))
    if from_units == to_units:
        return factors  # the common case, asked for many times at each click
    for axis, (source, target) in enumerate(zip(from_units, to_units, strict=True)):
        if str(source) == str(target):
            continue
        try:
            factors[axis] = (1.0 * source).to(str(target)).magnitude
        except TypeError as error:  # pint's DimensionalityError is one
            raise LayerRefusedError(
                f"Axis {axis} is measured in {source} here and in {target} there, which cannot "
                "be converted; give the layers the same kind of units."
            ) from error
    return factors


def world_to_data(
    layer: Layer, position: ArrayLike, *, world_units: Units | None = None
) -> NDArray[np.float64]:
    """Give the data coordinates (ndim,) of a layer for a position in the viewer's world.

    Parameters
    ----------
    position
        One number per dimension of the viewer.
    world_units
        `viewer.layers.units`. None, as napari has it where layers measure different things, means
        that world numbers are the layer's own.
    """
    world = _trailing(np.asarray(position, dtype=np.float64), layer.ndim)
    if world_units is not None and len(world_units) >= layer.ndim:
        world = world * unit_factors(world_units[-layer.ndim :], layer.units)
    return np.asarray(layer.world_to_data(world), dtype=np.float64)


def data_to_world(
    layer: Layer, coords: ArrayLike, *, world_units: Units | None = None
) -> NDArray[np.float64]:
    """Give the position (ndim,) in the viewer's world of data coordinates; see `world_to_data`."""
    data = np.asarray(coords, dtype=np.float64)
    world = np.asarray(layer.data_to_world(data), dtype=np.float64)
    if world_units is not None and len(world_units) >= layer.ndim:
        world = world * unit_factors(layer.units, world_units[-layer.ndim :])
    return world


def layer_matrix(layer: Layer, *, world_units: Units | None = None) -> NDArray[np.float64]:
    """Give the matrix (ndim + 1, ndim + 1) from data coordinates to the viewer's world.

    Column i is a step along axis i, the last one the place of the origin.
    """
    ndim = layer.ndim
    matrix = np.eye(ndim + 1)
    matrix[:-1, -1] = data_to_world(layer, np.zeros(ndim), world_units=world_units)
    for axis, step in enumerate(np.eye(ndim)):
        end = data_to_world(layer, step, world_units=world_units)
        matrix[:-1, axis] = end - matrix[:-1, -1]
    return matrix


def layer_to_layer(
    source: Layer, target: Layer, coords: ArrayLike, *, world_units: Units | None = None
) -> NDArray[np.float64]:
    """Carry data coordinates (N, source.ndim) of one layer over into another (N, target.ndim)."""
    points = np.asarray(coords, dtype=np.float64).reshape(-1, source.ndim)

    def carry(point: NDArray[np.float64]) -> NDArray[np.float64]:
        world = data_to_world(source, point, world_units=world_units)
        return world_to_data(target, world, world_units=world_units)

    # both directions are affine, so the images of the origin and of the unit steps say it all
    origin = carry(np.zeros(source.ndim))
    steps = np.array([carry(step) - origin for step in np.eye(source.ndim)])
    if source.ndim == target.ndim and _is_identity(origin, steps):
        return points.copy()
    carried: NDArray[np.float64] = points @ steps + origin
    return carried


def _is_identity(origin: NDArray[np.float64], steps: NDArray[np.float64]) -> bool:
    """Whether two layers lie on each other but for rounding errors, which must not move clicks."""
    return bool(np.allclose(origin, 0.0, atol=1e-6) and np.allclose(steps, np.eye(len(steps))))


def _trailing(position: NDArray[np.float64], ndim: int) -> NDArray[np.float64]:
    """Keep the last `ndim` numbers, or put zeros in front, as napari aligns dimensions."""
    if len(position) >= ndim:
        return position[-ndim:]
    return np.concatenate([np.zeros(ndim - len(position)), position])


def copy_transform(image: Image, layer: Layer, *, world_units: Units | None = None) -> None:
    """Lay a prompt or label layer exactly over an image, and name its axes alike.

    napari places clicks by `layer.world_to_data`, which takes the viewer's numbers for the
    layer's own units. So where another layer makes the viewer measure in other units than the
    image, the layer gets the viewer's units and the factor goes into its affine.
    """
    affine: Any = np.asarray(image.affine.affine_matrix, dtype=np.float64)
    units = tuple(image.units)
    if world_units is not None and len(world_units) >= image.ndim:
        here = tuple(world_units[-image.ndim :])
        factors = unit_factors(units, here)
        if not np.allclose(factors, 1.0):
            affine = np.diag([*factors, 1.0]) @ affine
            units = here
    # each assignment makes napari draw anew, so what is right already is left alone
    for name in ("scale", "translate", "rotate", "shear"):
        if not np.array_equal(getattr(layer, name), getattr(image, name)):
            setattr(layer, name, getattr(image, name))
    if not np.array_equal(layer.affine.affine_matrix, affine):
        layer.affine = affine
    if [str(unit) for unit in layer.units] != [str(unit) for unit in units]:
        layer.units = units
    if layer.axis_labels != image.axis_labels:
        layer.axis_labels = image.axis_labels
