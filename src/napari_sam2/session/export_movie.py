"""Results as a movie to look at: MP4, or a TIFF in colour where nothing else is installed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam2.session.errors import ExportError
from napari_sam2.session.export import frame_seconds
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.overlay import MovieStyle, Overlay, Picture
from napari_sam2.session.result_masks import ResultMasks

_USUAL = 10.0  # frames a second
#: Movies that were recorded at such a speed are shown at it; slower and faster ones at the usual.
_WATCHABLE = (5.0, 60.0)
#: Encoders of H.264, which everything plays, and one that every FFmpeg has.
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
_LARGEST_TIFF = 2**32 - 2**25  # bytes; beyond them a BigTIFF is written


def write_movie(
    results: ResultMasks, part: Path, calibration: Calibration, style: MovieStyle | None = None
) -> Iterator[int]:
    """
    Write every frame as the network sees it, objects drawn over it, yielding each.

    What a person has hidden is left out.

    Raises
    ------
    ExportError
        The name ends in .mp4 and PyAV is missing.
    """
    style = style or MovieStyle()
    overlay = Overlay(results.height, results.width, style)
    write = _write_mp4 if part.suffix.lower() == ".mp4" else _write_tiff
    return write(
        part,
        (_drawn(overlay, results, frame_idx) for frame_idx in range(results.num_frames)),
        (results.num_frames, overlay.height, overlay.width),
        frames_per_second(calibration, style),
    )


def frames_per_second(calibration: Calibration, style: MovieStyle) -> float:
    """Return how fast a movie is shown."""
    if style.frames_per_second is not None:
        return style.frames_per_second
    seconds = frame_seconds(calibration)
    slowest, fastest = _WATCHABLE
    if seconds is not None and slowest <= 1 / seconds <= fastest:
        return 1 / seconds
    return _USUAL


def check_encoder(path: Path) -> None:
    """Raise ``ExportError`` unless what a movie of this name needs is installed."""
    if path.suffix.lower() == ".mp4":
        _encoding()


def _encoding() -> Any:
    try:
        import av
    except ImportError as error:
        raise ExportError(
            "Writing MP4 needs PyAV: pip install 'napari-sam2[video]', or name a file that ends "
            "in .tif."
        ) from error
    return av


def _drawn(overlay: Overlay, results: ResultMasks, frame_idx: int) -> Picture:
    masks = results.masks(frame_idx)
    shown = {obj_id: mask for obj_id, mask in masks.items() if obj_id not in results.hidden}
    return overlay.draw(results.picture(frame_idx), shown)


def _write_mp4(
    part: Path, frames: Iterator[Picture], shape: tuple[int, int, int], rate: float
) -> Iterator[int]:
    av = _encoding()
    _, height, width = shape
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(_encoder(av), rate=Fraction(rate).limit_denominator(1000))
        # colours are kept for squares of two pixels
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        # what frames are converted by; players guess another one for large frames
        stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU601
        for frame_idx, drawn in enumerate(frames):
            even = np.pad(drawn, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            yield frame_idx
        container.mux(stream.encode())


def _encoder(av: Any) -> str:
    for name in _ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:  # this FFmpeg was built without it
            continue
        return name
    raise ExportError("This PyAV writes no MP4: name a file that ends in .tif.")


def _write_tiff(
    part: Path, frames: Iterator[Picture], shape: tuple[int, int, int], rate: float
) -> Iterator[int]:
    """Compress page by page, then write them in one go, as the library wants it."""
    import tifffile

    pages = []
    for frame_idx, drawn in enumerate(frames):
        pages.append(zlib.compress(drawn.tobytes(), 1))
        yield frame_idx
    tifffile.imwrite(
        part,
        iter(pages),
        shape=(*shape, 3),
        dtype=np.uint8,
        rowsperstrip=shape[1],
        bigtiff=sum(map(len, pages)) > _LARGEST_TIFF,
        compression="zlib",
        photometric="rgb",
        metadata={"axes": "TYXS", "fps": rate},
    )
