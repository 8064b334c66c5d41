"""Results as SA-V has them: a JSON file of masklets, or folders of frames and of masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_sam2.session import own_folders
from napari_sam2.session.export import frame_seconds
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.result_masks import ResultMasks
from sam2_backbone.data_engine.sav import Masklet, SavVideo, stream_sav
from sam2_backbone.data_engine.sav_folders import frame_file, mask_file, write_mask


def write_masklets(results: ResultMasks, part: Path, calibration: Calibration) -> Iterator[int]:
    """
    Write ``{id}_manual.json``, yielding each frame as it is written.

    Every frame counts as annotated. Masks stay whole where they overlap.
    """
    size = (results.height, results.width)
    seconds = frame_seconds(calibration)
    video = SavVideo(
        video_id=part.stem.removesuffix("_manual").removesuffix("_auto"),
        duration=None if seconds is None else results.num_frames * seconds,
        frame_count=results.num_frames,
        height=results.height,
        width=results.width,
    )
    masklets = [
        Masklet(obj_id, (), edited_frame_count=results.edited_frames(obj_id))
        for obj_id in results.objects
    ]
    frames = (
        {obj_id: mask.run_lengths(size) for obj_id, mask in results.masks(frame_idx).items()}
        for frame_idx in range(results.num_frames)
    )
    with part.open("w", encoding="utf-8") as file:
        yield from stream_sav(file, video, masklets, frames)


def write_folders(results: ResultMasks, part: Path, calibration: Calibration) -> Iterator[int]:
    """
    Write ``JPEGImages_24fps`` and ``Annotations_6fps`` into a folder, yielding each frame.

    An object has a file on every frame on which it is known whether it is there.
    """
    from PIL import Image

    part.mkdir()
    own_folders.mark(part, "sav")
    video_id = (
        part.stem.removesuffix("_sav")
        if results.source is None
        else results.source.name.split(".")[0]
    )
    for frame_idx in range(results.num_frames):
        for obj_id, mask in results.masks(frame_idx).items():
            whole = mask.to_array(results.height, results.width)
            write_mask(mask_file(part, video_id, obj_id, frame_idx), whole)
        picture = results.picture(frame_idx)
        if picture is not None:
            path = frame_file(part, video_id, frame_idx)
            path.parent.mkdir(parents=True, exist_ok=True)
            plane = picture[..., 0] if picture.shape[2:] == (1,) else picture
            Image.fromarray(plane).save(path, format="JPEG", quality=95)
        yield frame_idx
