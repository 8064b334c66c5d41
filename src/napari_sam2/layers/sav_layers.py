"""A video of SA-V as layers: its frames, and its masklets as labels that can be edited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2.layers.image_file import READ_FROM
from napari_sam2.layers.session_layers import FrameArray, LayerData
from napari_sam2.session.masks import label_dtype
from sam2_backbone.data_engine.sav import SavAnnotation, read_sav
from sam2_backbone.data_engine.sav_folders import SavClip, open_masks
from sam2_backbone.errors import AnnotationError
from sam2_backbone.inference.frames import FrameSource, as_frame_source


def clip_layers(clip: SavClip) -> list[LayerData]:
    """
    Return the frames of a video, if they are there, and a labels layer for each set of masklets.

    Labels have an image for every frame of the video; frames without annotation are empty. Where
    masks overlap, the smaller one lies on top.

    Raises
    ------
    AnnotationError
        Masks cannot be read, or are of another size than the frames.
    FrameReadError
        The frames cannot be read.
    """
    source = None if clip.frames is None else as_frame_source(clip.frames)
    layers = [] if clip.frames is None or source is None else [frames_layer(source, clip.frames)]
    for path in clip.annotations:
        annotation = read_sav(path)
        kind = "auto" if path.stem.endswith("_auto") else "manual"
        num_frames = max(
            annotation.video.frame_count, annotation.frame_step * (annotation.num_annotated - 1) + 1
        )
        size = (annotation.video.height, annotation.video.width)
        shape = _checked_shape(source, num_frames, size, path)
        labels = _labels(shape, _ids(annotation), _painted(annotation))
        # people's work is what is looked at first
        layers.append(
            _layer(labels, f"{clip.video_id} {kind}", visible=path == clip.annotations[0])
        )
    if clip.masks is not None:
        folders = open_masks(clip.masks)
        size = (folders.height, folders.width)
        shape = _checked_shape(source, folders.frames[-1] + 1, size, clip.masks)
        frames = ((t, folders.masks(t).items()) for t in folders.frames)
        layers.append(_layer(_labels(shape, list(folders.paths), frames), f"{clip.video_id} masks"))
    return layers


def frames_layer(source: FrameSource, path: Path) -> LayerData:
    """Return the frames of a folder or a video file as an image that is read lazily."""
    array = FrameArray(source)
    is_rgb = array.ndim == 4 and array.shape[-1] in (3, 4)
    options = {"name": path.stem, "rgb": is_rgb, "metadata": {READ_FROM: str(path)}}
    return array, options, "image"


def _checked_shape(
    source: FrameSource | None, num_frames: int, size: tuple[int, int], path: Path
) -> tuple[int, int, int]:
    """Return the shape of the labels, that of the frames where there are some."""
    if source is None:
        return (num_frames, *size)
    if (source.height, source.width) != size:
        raise AnnotationError(
            f"The masks of {path.name} are {size[0]} x {size[1]} pixels, the frames of the video "
            f"{source.height} x {source.width}: they do not belong together."
        )
    return (source.num_frames, *size)


def _ids(annotation: SavAnnotation) -> list[int]:
    return [masklet.masklet_id for masklet in annotation.masklets]


def _painted(
    annotation: SavAnnotation,
) -> Iterator[tuple[int, Iterable[tuple[int, NDArray[np.bool_]]]]]:
    """Yield annotated frames of the video with their masks by object."""
    for at in range(annotation.num_annotated):
        yield (
            at * annotation.frame_step,
            (
                (masklet.masklet_id, masklet.masks[at].to_array())
                for masklet in annotation.masklets
                if at < len(masklet.masks)
            ),
        )


def _labels(
    shape: tuple[int, int, int],
    ids: list[int],
    frames: Iterable[tuple[int, Iterable[tuple[int, NDArray[np.bool_]]]]],
) -> Any:
    """Paint masks into an array in memory, compressed, that napari can edit."""
    import zarr

    # SA-V counts objects from 0, which is the background of labels
    first = 1 if 0 in ids else 0
    array = zarr.create_array(
        store=zarr.storage.MemoryStore(),
        shape=shape,
        chunks=(1, *shape[1:]),
        dtype=label_dtype(number + first for number in ids),
    )
    for frame_idx, masks in frames:
        if frame_idx >= shape[0]:
            break
        drawn = sorted(masks, key=lambda row: -int(np.count_nonzero(row[1])))
        if any(mask.any() for _, mask in drawn):
            labels = np.zeros(shape[1:], array.dtype)
            for number, mask in drawn:
                labels[mask] = number + first
            array[frame_idx] = labels
    return array


def _layer(labels: Any, name: str, *, visible: bool = True) -> LayerData:
    return labels, {"name": name, "visible": visible}, "labels"
