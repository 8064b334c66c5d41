"""Label frames as an array that napari shows and edits, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.integer[Any]]


class LazyLabels:
    """
    Labels (T, …), a frame read when it is looked at, and kept only once it is painted on.

    Parameters
    ----------
    read
        Returns the labels of a frame, all of one shape.
    num_frames
        How many there are.
    frame_shape
        Of one of them.
    dtype
        Of the array.
    """

    def __init__(
        self,
        read: Callable[[int], Frame],
        num_frames: int,
        frame_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
    ) -> None:
        self._read = read
        self._painted: dict[int, Frame] = {}
        self._last: tuple[int, Frame] | None = None
        self.shape = (num_frames, *frame_shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: Any) -> Any:
        if _is_of_pixels(key):
            frames, *inside = self._pixels(key)
            values = np.empty(frames.shape, self.dtype)
            for frame_idx, here in _by_frame(frames):
                values[here] = self._frame(frame_idx)[tuple(index[here] for index in inside)]
            return values
        chosen, place = self._split(key)
        if chosen.ndim == 0:
            return np.array(self._frame(int(chosen))[place])[()]
        found = [self._frame(frame_idx)[place] for frame_idx in chosen.tolist()]
        none = np.empty(self.shape[1:], self.dtype)[place][None][:0]
        return np.stack(found) if found else none

    def __setitem__(self, key: Any, value: Any) -> None:
        values = np.asarray(value)
        if _is_of_pixels(key):
            frames, *inside = self._pixels(key)
            values = np.broadcast_to(values, frames.shape)
            for frame_idx, here in _by_frame(frames):
                own = self._own(frame_idx)
                own[tuple(index[here] for index in inside)] = values[here]
            return
        chosen, place = self._split(key)
        if chosen.ndim == 0:
            self._own(int(chosen))[place] = values
            return
        inner = np.empty(self.shape[1:], self.dtype)[place].shape
        values = np.broadcast_to(values, (len(chosen), *inner))
        for frame_idx, one in zip(chosen.tolist(), values, strict=True):
            self._own(frame_idx)[place] = one

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self[:], dtype=dtype)

    def _pixels(self, key: tuple[Any, ...]) -> tuple[npt.NDArray[np.intp], ...]:
        """Return the frame and the place in it of each pixel that an index names."""
        frames, *inside = np.broadcast_arrays(*key)
        return np.arange(self.shape[0])[frames], *inside

    def _split(self, key: Any) -> tuple[npt.NDArray[np.intp], Any]:
        """Return the frames that an index asks for, and the index of pixels in them."""
        entries = key if isinstance(key, tuple) else (key,)
        gap = [at for at, entry in enumerate(entries) if entry is Ellipsis]
        if gap:
            whole = (slice(None),) * (self.ndim - len(entries) + 1)
            entries = (*entries[: gap[0]], *whole, *entries[gap[0] + 1 :])
        frames = np.arange(self.shape[0])[entries[0] if entries else slice(None)]
        return np.asarray(frames), entries[1:]

    def _frame(self, frame_idx: int) -> Frame:
        if frame_idx in self._painted:
            return self._painted[frame_idx]
        last = self._last  # another thread may read another frame meanwhile
        if last is None or last[0] != frame_idx:
            last = (frame_idx, self._read(frame_idx).astype(self.dtype, copy=False))
            self._last = last
        return last[1]

    def _own(self, frame_idx: int) -> Frame:
        if frame_idx not in self._painted:
            self._painted[frame_idx] = self._frame(frame_idx).copy()
        return self._painted[frame_idx]


def _is_of_pixels(key: Any) -> bool:
    """Whether an index names single pixels: as napari edits labels, an array for each axis."""
    return isinstance(key, tuple) and len(key) > 1 and all(np.ndim(entry) == 1 for entry in key)


def _by_frame(frames: npt.NDArray[np.intp]) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    return [(int(frame_idx), frames == frame_idx) for frame_idx in np.unique(frames)]
