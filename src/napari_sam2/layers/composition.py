"""Which layers and channels the network sees, and between which limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.frame_source import (
    LayerFrameSource,
    StackedLayerFrames,
    layer_channel,
    layer_frame_source,
)
from napari_sam2.layers.geometry import FrameGeometry, image_shape
from napari_sam2.session.intensities import MOST_CHANNELS, Channel

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam2.session.settings import SessionSettings

# a longer axis is time or depth
_MOST_INDICES = 16
_PERCENTILES = (0.1, 99.9)
_SAMPLED = 200_000
_EVENTS = ("contrast_limits", "gamma")


@dataclass(frozen=True)
class Origin:
    """Where a channel comes from: a layer as it is, or another place along an axis of it.

    Attributes
    ----------
    layer_id
        The layer's `unique_id`.
    place
        Axis and index instead of those that stand still; None takes these.
    """

    layer_id: str
    place: tuple[int, int] | None = None


class Composition:
    """What one session shows to its network.

    A layer shows its values between its own contrast limits, with its gamma. Another place along an
    axis, which has no limits of its own in napari, gets them here.

    Parameters
    ----------
    image
        The layer that is annotated; its channel is number 0.
    geometry
        Which of its axes are frame, rows and columns.
    """

    changed = Signal()
    """Other channels, limits or gamma are shown from now on."""

    def __init__(self, image: Image, geometry: FrameGeometry) -> None:
        self._image = image
        self._geometry = geometry
        own = Origin(str(image.unique_id))
        self._layers: dict[str, Image] = {own.layer_id: image}
        self._limits: dict[Origin, Channel] = {}
        self._numbers: dict[Origin, int] = {own: 0}
        self._sources: list[LayerFrameSource] = [layer_frame_source(image, geometry)]
        self._listened: list[Image] = []
        self.chosen: tuple[Origin, ...] = (own,)
        """What the network sees, at most three; nothing else than the image if it is in colour."""
        self._listen()

    @property
    def own(self) -> Origin:
        """The image itself."""
        return Origin(str(self._image.unique_id))

    @property
    def source(self) -> LayerFrameSource | StackedLayerFrames:
        """The frames of all channels that were ever chosen."""
        if len(self._sources) == 1:
            return self._sources[0]
        return StackedLayerFrames(self._sources)

    @property
    def num_channels(self) -> int:
        """How many channels were ever chosen."""
        return len(self._sources)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What the network is to see now; empty leaves the choice to the session."""
        seen = [self.channel(origin) for origin in self.chosen]
        return tuple(channel for channel in seen if channel is not None)

    def channel(self, origin: Origin) -> Channel | None:
        """Return how a chosen channel is shown; None for colour."""
        number = self._numbers[origin]
        if origin.place is not None:
            return replace(self._limits[origin], index=number)
        return layer_channel(self._layers[origin.layer_id], number)

    def offered(self, layers: Iterable[Image]) -> list[tuple[Origin, str]]:
        """List what can be chosen, with names; nothing for an image in colour."""
        if self._image.rgb:
            return []
        shape = image_shape(self._image)
        found = [(self.own, self._image.name)]
        for axis, here in self._geometry.fixed:
            if 1 < shape[axis] <= _MOST_INDICES:
                label = str(self._image.axis_labels[axis])
                label = f"axis {label}" if label.lstrip("-").isdigit() else label
                found += [
                    (Origin(self.own.layer_id, (axis, index)), f"{label} = {index}")
                    for index in range(shape[axis])
                    if index != here
                ]
        for layer in layers:
            is_other = str(layer.unique_id) != self.own.layer_id
            if is_other and not layer.rgb and image_shape(layer) == shape:
                self._layers[str(layer.unique_id)] = layer
                found.append((Origin(str(layer.unique_id)), layer.name))
        known = {origin for origin, _ in found}
        # a layer that was taken out of the viewer is seen by the network until another is chosen
        found += [(o, self._layers[o.layer_id].name) for o in self.chosen if o not in known]
        return found

    def include(self, layers: Iterable[Image]) -> None:
        """Give other layers the next numbers, as they had in a session that is opened."""
        for layer in layers:
            self._layers[str(layer.unique_id)] = layer
            self._include(Origin(str(layer.unique_id)))

    def choose(self, origins: Sequence[Origin]) -> None:
        """Have the network see other channels.

        Raises
        ------
        LayerRefusedError
            None, too many, the same one twice, or the image is in colour.
        """
        chosen = tuple(origins)
        if self._image.rgb:
            raise LayerRefusedError("An image in colour fills the three inputs of the network.")
        if not 1 <= len(chosen) <= MOST_CHANNELS or len(set(chosen)) < len(chosen):
            raise LayerRefusedError("Choose one to three different channels for the network.")
        for origin in chosen:
            self._include(origin)
        if chosen != self.chosen:
            self.chosen = chosen
            self._listen()
            self.changed.emit()

    def set_limits(self, origin: Origin, low: float, high: float, gamma: float) -> None:
        """Show a channel without a layer of its own between other limits.

        Raises
        ------
        LayerRefusedError
            They are no limits.
        """
        try:
            self._limits[origin] = Channel(0, low, high, gamma)
        except ValueError as error:
            raise LayerRefusedError(str(error)) from error
        self.changed.emit()

    def adopt(self, settings: SessionSettings) -> None:
        """Show what a session that was opened has seen last, in the layers and here."""
        if self._image.rgb:
            return
        origins = {number: origin for origin, number in self._numbers.items()}
        channels = settings.channels
        if not channels and settings.value_range is not None:
            channels = (Channel(0, *settings.value_range),)
        known = [channel for channel in channels if channel.index in origins]
        for channel in known:
            origin = origins[channel.index]
            if origin.place is not None:
                self._limits[origin] = channel
            elif layer_channel(self._layers[origin.layer_id], channel.index) != channel:
                layer = self._layers[origin.layer_id]
                layer.contrast_limits = (channel.low, channel.high)
                layer.gamma = channel.gamma
        if known:
            self.choose([origins[channel.index] for channel in known])

    def stop(self) -> None:
        """Listen no more."""
        for layer in self._listened:
            for name in _EVENTS:
                getattr(layer.events, name).disconnect(self._on_layer)
        self._listened.clear()

    def _include(self, origin: Origin) -> None:
        """Give a channel a number and frames; it keeps both."""
        if origin in self._numbers:
            return
        layer, geometry = self._layers[origin.layer_id], self._geometry
        if origin.place is not None:
            axis = origin.place[0]
            others = [entry for entry in geometry.fixed if entry[0] != axis]
            geometry = replace(geometry, fixed=(*others, origin.place))
        source = layer_frame_source(layer, geometry)
        if origin.place is not None and origin not in self._limits:
            self._limits[origin] = _limits_of(source)
        self._numbers[origin] = len(self._sources)
        self._sources.append(source)

    def _listen(self) -> None:
        self.stop()
        for layer_id in {origin.layer_id for origin in self.chosen}:
            layer = self._layers[layer_id]
            for name in _EVENTS:
                getattr(layer.events, name).connect(self._on_layer)
            self._listened.append(layer)

    def _on_layer(self, event: object = None) -> None:
        self.changed.emit()


def _limits_of(source: LayerFrameSource) -> Channel:
    """Choose limits for a channel from the values of its middle frame."""
    values = source.read(source.num_frames // 2).ravel()
    values = values[:: max(1, values.size // _SAMPLED)].astype(np.float64)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 1.0)
    if source.dtype.kind == "f":
        low, high = float(f"{low:.4g}"), float(f"{high:.4g}")
    else:
        low, high = float(np.floor(low)), float(np.ceil(high))
    return Channel(0, low, high if high > low else low + 1.0)
