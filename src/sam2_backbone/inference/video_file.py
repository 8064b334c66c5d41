"""The frames of a video file, found by their time stamps, decoded when asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam2_backbone.errors import FrameReadError

#: How the names of video files end.
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
#: Bytes of decoded frames that are kept: going backwards decodes the frames before each anew.
_KEPT = 256 * 2**20


class VideoFile:
    """
    Frames of a video, (H, W, 3) uint8; satisfies `sam2_backbone.inference.frames.FrameSource`.

    Opening it lists the time stamps without decoding a frame. A frame that follows the last one
    that was read is decoded alone; for others decoding begins at the key frame before. May be read
    from any thread.

    Parameters
    ----------
    path
        A file that PyAV opens.

    Raises
    ------
    FrameReadError
        PyAV is missing, or this is no video.
    """

    is_rgb = True
    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ImportError as error:
            raise FrameReadError(
                f"reading the video file {path} needs PyAV: pip install 'napari-sam2[video]'"
            ) from error
        self._path = path
        self._failures: tuple[type[Exception], ...] = (av.FFmpegError, OSError, ValueError)
        self._lock = Lock()
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._frames: Iterator[Any] | None = None
        self._next = 0
        try:
            self._container = av.open(str(path))
        except self._failures as error:
            raise FrameReadError(f"{path} cannot be read as a video ({error})") from error
        if not self._container.streams.video:
            raise FrameReadError(f"{path} holds no video frames")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stamps, self._keys = self._list_frames()
        self.num_frames = len(self._stamps)
        if self.num_frames == 0:
            raise FrameReadError(f"{path} holds no video frames")
        self.height, self.width = self.read(0).shape[:2]

    def read(self, frame_idx: int) -> NDArray[np.uint8]:
        """Return a frame (H, W, 3)."""
        if not 0 <= frame_idx < self.num_frames:
            raise IndexError(
                f"{self._path} has the frames 0 to {self.num_frames - 1}, no {frame_idx}"
            )
        with self._lock:
            if frame_idx not in self._kept:
                try:
                    self._decode(frame_idx)
                except self._failures as error:
                    self._frames = None
                    raise FrameReadError(
                        f"frame {frame_idx} of {self._path} cannot be decoded ({error})"
                    ) from error
            if frame_idx not in self._kept:
                raise FrameReadError(f"frame {frame_idx} of {self._path} is missing in the file")
            self._kept.move_to_end(frame_idx)
            return self._kept[frame_idx].copy()

    def _list_frames(self) -> tuple[list[int], list[int]]:
        """Return the time stamps of all frames in order, and the numbers of the key frames."""
        stamps, keys = [], []
        try:
            for packet in self._container.demux(self._stream):
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is None or packet.size == 0 or packet.is_discard:
                    continue  # the last packet is empty and only ends the stream
                stamps.append(stamp)
                if packet.is_keyframe:
                    keys.append(stamp)
        except self._failures as error:
            if not stamps:
                raise FrameReadError(f"{self._path} cannot be read as a video ({error})") from error
        stamps = sorted(set(stamps))
        places = {stamp: number for number, stamp in enumerate(stamps)}
        return stamps, sorted(places[stamp] for stamp in keys)

    def _decode(self, frame_idx: int) -> None:
        """Decode up to a frame, and keep what comes by."""
        before = bisect_right(self._keys, frame_idx) - 1
        key = self._keys[before] if before >= 0 else 0
        if self._frames is None or not key <= self._next <= frame_idx:
            self._container.seek(self._stamps[key], stream=self._stream)
            self._frames = self._container.decode(self._stream)
        for frame in self._frames:
            stamp = frame.dts if frame.pts is None else frame.pts
            number = bisect_right(self._stamps, self._stamps[0] if stamp is None else stamp) - 1
            self._next = number + 1
            if number < key:
                continue  # what was left over before the key frame
            self._keep(number, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if number >= frame_idx:
                return
        self._frames = None

    def _keep(self, number: int, pixels: NDArray[np.uint8]) -> None:
        self._kept[number] = pixels
        self._kept.move_to_end(number)
        while len(self._kept) > 1 and len(self._kept) * pixels.nbytes > _KEPT:
            self._kept.popitem(last=False)
