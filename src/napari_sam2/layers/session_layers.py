"""The image of a session file as layers, which remember the session that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.layers.geometry import layer_matrix
from napari_sam2.layers.image_file import READ_FROM
from napari_sam2.session.files import Placement
from napari_sam2.session.images import is_array_file, read_array

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_sam2.layers.geometry import FrameGeometry
    from napari_sam2.session.files import SavedSession

LayerData = tuple[Any, dict[str, Any], str]

_COLOURS = ("red", "green", "blue")

_SESSION, _CHANNEL = "napari-sam2 session", "napari-sam2 channel"


class ChannelArray:
    """One channel of an array (T, H, W, C), read when it is asked for."""

    def __init__(self, array: Any, channel: int) -> None:
        self._array, self._channel = array, channel
        self.shape: tuple[int, ...] = tuple(int(length) for length in array.shape[:-1])
        self.ndim = len(self.shape)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: Any) -> Any:
        entries = key if isinstance(key, tuple) else (key,)
        entries += (slice(None),) * (self.ndim - len(entries))
        return np.asarray(self._array[(*entries, self._channel)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self[()], dtype=dtype)


class FrameArray:
    """Frames of a folder or a video as an array (T, H, W[, C]), read when they are asked for."""

    def __init__(self, source: Any) -> None:
        self._source = source
        first = np.asarray(source.read(0))
        self.shape = (int(source.num_frames), *first.shape)
        self.ndim = len(self.shape)
        self.dtype = first.dtype

    def __getitem__(self, key: Any) -> Any:
        entries = key if isinstance(key, tuple) else (key,)
        wanted = entries[0] if entries else slice(None)
        frames = np.arange(self.shape[0])[wanted]
        if np.ndim(frames) == 0:
            return np.asarray(self._source.read(int(frames)))[entries[1:]]
        read = np.stack([self._source.read(int(frame)) for frame in frames])
        return read[(slice(None), *entries[1:])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self[()], dtype=dtype)


def session_layers(saved: SavedSession) -> list[LayerData]:
    """Return the image of a session, one layer for each channel that it was composed of.

    Raises
    ------
    ImageReadError, ImageMismatchError
        It is no longer where it was, or is another one.
    """
    source, found = saved.open_image()
    assert found is not None
    array = read_array(found) if is_array_file(found) else FrameArray(source)
    image = saved.image
    name = saved.path.stem if found.name.startswith(saved.path.stem) else found.stem
    remembered = {_SESSION: str(saved.path), READ_FROM: str(found)}
    has_frame_axis = len(array.shape) - bool(image.is_rgb or image.num_channels) == 3
    is_single = image.num_frames == 1
    takes_first = is_single and has_frame_axis
    if not image.num_channels:
        data = np.asarray(array[0]) if takes_first else array
        options = {"name": name, "rgb": image.is_rgb, "metadata": remembered}
        return [(data, options | placed(saved.placement, is_single), "image")]
    layers = []
    for channel in range(image.num_channels):
        data = ChannelArray(array, channel)
        # together they look as the three inputs of the network do
        options = {
            "name": f"{name}, channel {channel}",
            "rgb": False,
            "metadata": {**remembered, _CHANNEL: channel},
            "blending": "additive",
            "colormap": (*_COLOURS, "gray")[min(channel, len(_COLOURS))],
            "visible": channel < len(_COLOURS),
        }
        options |= placed(saved.placement, is_single)
        layers.append((data[0] if takes_first else data, options, "image"))
    # the image itself is on top, where the panel takes it
    return layers[::-1]


def placement_of(image: Image, geometry: FrameGeometry) -> Placement:
    """Read where the frames of a layer lie."""
    axes = (geometry.frame_axis, *geometry.plane_axes)
    labels = [str(label) for label in image.axis_labels]
    scale, translate, units, names = [], [], [], []
    for axis in axes:
        scale.append(1.0 if axis is None else float(image.scale[axis]))
        translate.append(0.0 if axis is None else float(image.translate[axis]))
        units.append("pixel" if axis is None else str(image.units[axis]))
        names.append("frame" if axis is None else labels[axis])
    turned = _turned(image, geometry, scale, translate)
    return Placement(tuple(scale), tuple(translate), tuple(units), tuple(names), turned)


def _turned(
    image: Image, geometry: FrameGeometry, scale: Sequence[float], translate: Sequence[float]
) -> tuple[tuple[float, ...], ...]:
    """Return what rotation, shear and affine add to scale and translate; empty for nothing."""
    axes = (geometry.frame_axis, *geometry.plane_axes)
    matrix = layer_matrix(image)
    for axis, position in geometry.fixed:
        matrix[:, -1] += position * matrix[:, axis]
    here = [at for at, axis in enumerate(axes) if axis is not None] + [len(axes)]
    there = [axis for axis in axes if axis is not None] + [image.ndim]
    placed = np.eye(len(axes) + 1)  # from frame, row and column to the world
    placed[np.ix_(here, here)] = matrix[np.ix_(there, there)]
    plain = np.diag([*scale, 1.0])
    plain[:-1, -1] = translate
    turned = placed @ np.linalg.inv(plain)
    if np.allclose(turned, np.eye(len(turned)), atol=1e-9):
        return ()
    return tuple(tuple(float(value) for value in line) for line in turned)


def placed(placement: Placement | None, is_single: bool) -> dict[str, Any]:
    """Return the options that lay a layer of frames, or of a single one, where the image was."""
    if placement is None:
        return {}
    first = 1 if is_single else 0
    options: dict[str, Any] = {
        "scale": placement.scale[first:],
        "translate": placement.translate[first:],
        "units": placement.units[first:],
    }
    if placement.affine:
        options["affine"] = np.asarray(placement.affine)[first:, first:]
    labels = placement.axis_labels[first:]
    # napari's own, which are numbers, are left to it
    if not any(label.lstrip("-").isdigit() for label in labels):
        options["axis_labels"] = labels
    return options


def session_of(layer: Layer) -> Path | None:
    """Return the session file that a layer was opened from."""
    path = layer.metadata.get(_SESSION)
    return None if path is None else Path(path)


def image_of_session(layer: Layer) -> Path | None:
    """Return the file of the image that a session names, from which a layer was opened."""
    path = layer.metadata.get(READ_FROM)
    return None if path is None else Path(path)


def further_channels(layer: Image, others: list[Image]) -> list[Image]:
    """Return the layers that hold the other channels of the session of a layer, in order."""
    if session_of(layer) is None or layer.metadata.get(_CHANNEL) != 0:
        return []
    same = [other for other in others if session_of(other) == session_of(layer)]
    channels = {int(other.metadata.get(_CHANNEL, 0)): other for other in same}
    return [channels[number] for number in sorted(channels) if number > 0]
