"""How the values of an image become the brightness that the network sees, channel by channel."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam2.session.images import num_channels_of
from sam2_backbone.inference.brightness import scaled

if TYPE_CHECKING:
    from sam2_backbone.inference.frames import FrameSource

#: The network has three input channels.
MOST_CHANNELS = 3


@dataclass(frozen=True)
class Channel:
    """
    One channel as it is shown to the network, the same on all frames.

    Attributes
    ----------
    index
        Which channel of the image; 0 for a grey image.
    low, high
        Values shown as black and as white; NaN and infinities count as `low`.
    gamma
        Exponent of the brightness 0 … 1; 1 leaves it.
    """

    index: int
    low: float
    high: float
    gamma: float = 1.0

    def __post_init__(self) -> None:
        # numbers of NumPy cannot be written to a session file
        object.__setattr__(self, "index", operator.index(self.index))
        for name in ("low", "high", "gamma"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.index < 0:
            raise ValueError(f"A channel's index begins at 0, got {self.index}.")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"A channel's limits must be finite with low < high, got ({self.low}, {self.high})."
            )
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"gamma must be a number above 0, got {self.gamma}.")

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Turn values (H, W) into brightness 0 … 1."""
        numbers = scaled(values, self.low, self.high)
        if self.gamma != 1.0:
            numbers **= self.gamma
        return numbers.astype(np.float32, copy=False)


def checked_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Return channels as a tuple, or say that there are too many or that they are none."""
    chosen = tuple(channels)
    if not all(isinstance(channel, Channel) for channel in chosen):
        raise TypeError("channels must be Channel(index, low, high, gamma).")
    if len(chosen) > MOST_CHANNELS:
        raise ValueError(f"The network sees at most {MOST_CHANNELS} channels, got {len(chosen)}.")
    return chosen


def decode_channels(rows: Sequence[Mapping[str, Any]]) -> tuple[Channel, ...]:
    """Return channels from their spelling in a session file."""
    return tuple(Channel(**row) for row in rows)


class SeenFrames:
    """
    Frames of a source as brightness 0 … 1; a `FrameSource` itself.

    One channel is grey; of two, the third input of the network stays black. Without channels the
    first one of the source is handed on as it is.
    """

    def __init__(self, source: FrameSource, channels: Sequence[Channel]) -> None:
        self._source = source
        self._channels = tuple(channels)
        self.num_frames = source.num_frames
        self.height = source.height
        self.width = source.width
        self.is_rgb = len(self._channels) > 1
        self.dtype: np.dtype[Any] = np.dtype(np.float32) if channels else np.dtype(source.dtype)

    def read(self, frame_idx: int) -> npt.NDArray[Any]:
        """Read one frame, (H, W) or (H, W, 3)."""
        frame = np.asarray(self._source.read(frame_idx))
        if frame.ndim == 2:
            frame = frame[..., None]
        if not self._channels:
            return frame[..., 0]
        count = frame.shape[-1]
        for channel in self._channels:
            if channel.index >= count:
                raise ValueError(f"There is no channel {channel.index}: the image has {count}.")
        planes = [channel.apply(frame[..., channel.index]) for channel in self._channels]
        if not self.is_rgb:
            return planes[0]
        planes += [np.zeros_like(planes[0])] * (MOST_CHANNELS - len(planes))
        return np.stack(planes, axis=-1)


def as_seen(
    source: FrameSource, channels: Sequence[Channel], value_range: tuple[float, float] | None
) -> tuple[FrameSource, tuple[float, float] | None]:
    """
    Return frames and the value range with which the backbone has to open them.

    What the backbone does as well by itself is left to it: it maps only what it looks at.
    """
    is_stacked = num_channels_of(source) > 0
    if not channels:
        return (SeenFrames(source, ()) if is_stacked else source), value_range
    first = channels[0]
    dtype = np.dtype(source.dtype)
    is_exact = np.can_cast(dtype, np.float32)
    is_grey = not is_stacked and not source.is_rgb and len(channels) == 1 and first.index == 0
    if is_grey and is_exact and first.gamma == 1.0:
        return source, (first.low, first.high)
    return SeenFrames(source, channels), (0.0, 1.0)
