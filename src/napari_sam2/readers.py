"""What napari opens through the plugin beside sessions: video files, videos of SA-V, folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_sam2.layers.sav_layers import clip_layers, frames_layer
from napari_sam2.layers.session_layers import LayerData
from napari_sam2.layers.zarr_layers import is_image_zarr, zarr_layer
from sam2_backbone.data_engine.sav import is_sav
from sam2_backbone.data_engine.sav_folders import find_clips
from sam2_backbone.errors import AnnotationError
from sam2_backbone.inference.frames import as_frame_source, image_files

Read = Callable[[Any], list[LayerData]]


def video_reader(path: str | Sequence[str]) -> Read | None:
    """Return what opens a video file, frame by frame as they are looked at."""
    return _open_frames if isinstance(path, (str, Path)) else None


def sav_reader(path: str | Sequence[str]) -> Read | None:
    """Return what opens a JSON file of SA-V with its video, None for another file."""
    if not isinstance(path, (str, Path)) or not is_sav(Path(path)):
        return None
    return _open_clip


def folder_reader(path: str | Sequence[str]) -> Read | None:
    """
    Return what opens a folder, None for one of something else.

    napari asks the plugin for every folder: besides those of SA-V it opens folders of images as a
    movie, and zarrs.
    """
    if not isinstance(path, (str, Path)) or not Path(path).is_dir():
        return None
    if is_image_zarr(Path(path)):
        return _open_zarr
    if find_clips(Path(path)):
        return _open_clip
    return _open_frames if image_files(Path(path)) else None


def _open_frames(path: Any) -> list[LayerData]:
    return [frames_layer(as_frame_source(Path(path)), Path(path))]


def _open_zarr(path: Any) -> list[LayerData]:
    return [zarr_layer(Path(path))]


def _open_clip(path: Any) -> list[LayerData]:
    clips = find_clips(Path(path))
    if len(clips) > 1:
        raise AnnotationError(
            f"{path} holds {len(clips)} videos: open the folder of one of them, or its JSON file."
        )
    return clip_layers(clips[0])
