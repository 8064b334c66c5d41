"""Video files: every frame at its number, in any order, whatever the container and the codec."""

from __future__ import annotations

import builtins
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sam2_backbone.errors import FrameReadError
from sam2_backbone.inference import video_file
from sam2_backbone.inference.frames import FrameSource, as_frame_source
from sam2_backbone.inference.video_file import VideoFile

av = pytest.importorskip("av")

NUM, SIZE = 40, (48, 80)
KINDS = [
    ("v.mp4", "libx264", {"bf": "2", "g": "12"}),  # frames in between refer to later ones
    ("v.mkv", "libx264", {"bf": "2", "g": "12"}),
    ("v.mov", "mpeg4", {"g": "10"}),
    ("v.avi", "mpeg4", {"bf": "2", "g": "10"}),  # a container that tells no order of showing
    ("v.avi", "mjpeg", {}),
    ("v.webm", "libvpx", {"g": "15"}),
]


def write(path: Path, codec: str, options: dict[str, str], skip: tuple[int, ...] = ()) -> Path:
    """A bright column of 2 pixels for each frame: column 2 t on frame t."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height = SIZE[1], SIZE[0]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 2_000_000
        for t in range(NUM):
            if t in skip:
                continue
            pixels = np.full((*SIZE, 3), 30, np.uint8)
            pixels[:, 2 * t : 2 * t + 2] = 220
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = t
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def shown(frame: np.ndarray) -> int:
    """The number of a frame by what is seen on it."""
    assert frame.shape == (*SIZE, 3)
    assert frame.dtype == np.uint8
    return int(frame[..., 1].astype(int).sum(axis=0).reshape(-1, 2).sum(axis=1).argmax())


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
def test_every_frame_in_any_order(tmp_path: Path, name, codec, options, rng) -> None:
    video = as_frame_source(write(tmp_path / name, codec, options))
    assert isinstance(video, VideoFile)
    assert isinstance(video, FrameSource)
    assert (video.num_frames, video.height, video.width, video.is_rgb) == (NUM, *SIZE, True)
    for order in (range(NUM), reversed(range(NUM)), rng.permutation(NUM), (0, 0, 39, 0, 38)):
        for t in order:
            video._kept.clear()  # as in a film too large to be kept
            assert shown(video.read(int(t))) == t
    with pytest.raises(IndexError, match="frames 0 to 39"):
        video.read(NUM)


def test_frames_at_odd_times(tmp_path: Path) -> None:
    """A camera that drops frames: numbers count what is there, not time."""
    skip = (3, 4, 5, 20, 21)
    path = write(tmp_path / "v.mp4", "libx264", {"bf": "2", "g": "12"}, skip)
    there = [t for t in range(NUM) if t not in skip]
    video = VideoFile(path)
    assert video.num_frames == len(there)
    assert [shown(video.read(number)) for number in range(len(there))] == there
    assert [shown(video.read(number)) for number in (30, 2, 3, 17)] == [
        there[number] for number in (30, 2, 3, 17)
    ]


def test_only_what_is_needed_is_decoded(tmp_path: Path, monkeypatch) -> None:
    video = VideoFile(write(tmp_path / "v.mp4", "mpeg4", {"bf": "0", "g": "8"}))
    decoded: list[int] = []
    keep = VideoFile._keep

    def note(self: VideoFile, number: int, pixels: np.ndarray) -> None:
        decoded.append(number)
        keep(self, number, pixels)

    monkeypatch.setattr(VideoFile, "_keep", note)
    for t in range(1, 6):
        video.read(t)
    assert decoded == [1, 2, 3, 4, 5]  # one after the other
    decoded.clear()
    video.read(35)
    assert decoded == [32, 33, 34, 35]  # from the key frame on
    decoded.clear()
    for t in (34, 33, 32, 3):
        video.read(t)
    assert decoded == []
    monkeypatch.setattr(video_file, "_KEPT", 3 * SIZE[0] * SIZE[1] * 3)
    video.read(39)
    assert list(video._kept) == [37, 38, 39]
    # what is handed out belongs to the caller
    video.read(39)[:] = 0
    assert shown(video.read(39)) == 39


def test_threads_may_share_it(tmp_path: Path) -> None:
    video = VideoFile(write(tmp_path / "v.mp4", "libx264", {"bf": "2", "g": "12"}))
    numbers = [(7 * t) % NUM for t in range(3 * NUM)]
    with ThreadPoolExecutor(4) as pool:
        assert [shown(frame) for frame in pool.map(video.read, numbers)] == numbers


def test_what_is_no_video_is_said(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(FrameReadError, match=r"bad\.mp4 cannot be read as a video"):
        VideoFile(tmp_path / "bad.mp4")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(FrameReadError, match="holds no video frames"):
        VideoFile(tmp_path / "sound.mkv")
    path = write(tmp_path / "v.mkv", "libx264", {"g": "12"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # a copy that was broken off
    video = VideoFile(path)
    assert 0 < video.num_frames < NUM
    assert shown(video.read(0)) == 0


def test_a_missing_package_is_said(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "v.mp4", "libx264", {})
    true_import = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name == "av":
            raise ImportError(name)
        return true_import(name, *rest)

    monkeypatch.delitem(sys.modules, "av")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(FrameReadError, match=r"needs PyAV: pip install 'napari-sam2\[video\]'"):
        VideoFile(path)
