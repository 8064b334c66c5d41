"""Frames of every kind of array and of files, read one at a time; bad ones refused."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from skimage.io import imsave

from sam2_backbone.errors import FrameReadError
from sam2_backbone.inference import frames as frames_module
from sam2_backbone.inference.frames import as_frame_source, image_source, robust_value_range

STACK = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "list"])
def test_arrays_of_every_kind(kind: str, tmp_path: Path) -> None:
    frames = {
        "numpy": lambda: STACK,
        "dask": lambda: da.from_array(STACK, chunks=(1, 6, 5)),
        "zarr": lambda: zarr.create_array(tmp_path / "a.zarr", data=STACK),
        "list": lambda: STACK.tolist(),
    }[kind]()
    source = as_frame_source(frames)
    assert (source.num_frames, source.height, source.width, source.is_rgb) == (4, 6, 5, False)
    assert np.array_equal(source.read(2), STACK[2])
    assert as_frame_source(source) is source


def test_only_the_frame_asked_for_is_read() -> None:
    read = []

    class Lazy:
        shape, dtype = (100, 8, 8), np.dtype(np.uint8)

        def __getitem__(self, t: int) -> np.ndarray:
            read.append(t)
            return np.zeros((8, 8), np.uint8)

    as_frame_source(Lazy()).read(42)
    assert read == [42]


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for t in (10, 9, 1):
        imsave(tmp_path / f"t{t}.png", np.full((6, 5), t, np.uint8), check_contrast=False)
    source = as_frame_source(tmp_path)
    assert [int(source.read(t)[0, 0]) for t in range(3)] == [1, 9, 10]
    imsave(tmp_path / "t11.png", np.zeros((3, 3), np.uint8), check_contrast=False)
    with pytest.raises(FrameReadError, match="all frames must have one size"):
        as_frame_source(tmp_path).read(3)


def test_opacity_is_no_brightness() -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 32, 32, 4)).astype(np.uint16)
    pixels[..., 3] = 65535
    low, high = robust_value_range(as_frame_source(pixels))
    assert 0 <= low < high <= 4000


def test_files_that_are_no_frames(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(FrameReadError, match="cannot be read as a video"):
        as_frame_source(tmp_path / "bad.mp4")
    with pytest.raises(FrameReadError, match="holds no images"):
        as_frame_source(tmp_path)
    with pytest.raises(FrameReadError, match="there is no folder of images or video file"):
        as_frame_source(tmp_path / "nowhere")
    (tmp_path / "t0.png").write_bytes(b"not a PNG")
    with pytest.raises(FrameReadError, match="cannot be read as an image"):
        as_frame_source(tmp_path)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((5,), "a video is an array"),
        ((5, 5), "a video is an array"),
        ((2, 5, 5, 2), "a video is an array"),
        ((1, 2, 5, 5, 3), "a video is an array"),
        ((0, 5, 5), "is empty"),
        ((3, 0, 5), "is empty"),
    ],
)
def test_arrays_that_are_no_video(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        as_frame_source(np.zeros(shape))


def test_pixels_must_be_real() -> None:
    with pytest.raises(TypeError, match="real numbers, not complex128: take the absolute"):
        as_frame_source(np.zeros((2, 5, 5), complex))
    with pytest.raises(TypeError, match="real numbers"):
        image_source(np.full((5, 5), "a"))


def test_an_image_is_a_video_of_one_frame() -> None:
    assert image_source(STACK[0]).num_frames == 1
    assert image_source(np.zeros((6, 5, 3))).is_rgb
    with pytest.raises(ValueError, match="an image is an array"):
        image_source(np.zeros((4, 6, 5)))


def test_all_channels_count_for_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "_RANGE_PIXELS", 100)
    pixels = np.zeros((1, 10, 30, 3), np.uint16)
    pixels[..., 1], pixels[..., 2] = 1000, 3000
    assert robust_value_range(as_frame_source(pixels)) == (0, 3000)


class Damaged:
    """A lazy array whose file is damaged behind the first frame."""

    shape, dtype = (3, 6, 5), np.dtype(np.uint8)

    def __getitem__(self, frame_idx: int) -> np.ndarray:
        if frame_idx:
            raise RuntimeError("bad data")
        return np.zeros((6, 5), np.uint8)


def test_a_damaged_frame_is_named() -> None:
    source = as_frame_source(Damaged())
    assert source.read(0).shape == (6, 5)
    with pytest.raises(FrameReadError, match=r"frame 2 cannot be read \(bad data\)"):
        source.read(2)
