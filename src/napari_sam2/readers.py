"""What napari opens through the plugin beside sessions: videos, folders, what programs exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_sam2.layers.exchange_layers import coco_layers, ctc_layers, graph_layers
from napari_sam2.layers.sav_layers import clip_layers, frames_layer
from napari_sam2.layers.session_layers import LayerData
from napari_sam2.layers.zarr_layers import zarr_layer
from napari_sam2.session.images import is_zarr
from napari_sam2.session.import_coco import is_coco
from napari_sam2.session.import_ctc import ctc_folder
from napari_sam2.session.import_geff import is_graph
from sam2_backbone.data_engine.sav import is_sav
from sam2_backbone.data_engine.sav_folders import find_clips
from sam2_backbone.errors import AnnotationError
from sam2_backbone.inference.frames import as_frame_source, holds_images

Read = Callable[[Any], list[LayerData]]


def video_reader(path: str | Sequence[str]) -> Read | None:
    """Return what opens a video file, frame by frame as they are looked at."""
    return _open_frames if isinstance(path, (str, Path)) else None


def sav_reader(path: str | Sequence[str]) -> Read | None:
    """Return what opens a JSON file of SA-V with its video, None for another file."""
    if not isinstance(path, (str, Path)) or not is_sav(Path(path)):
        return None
    return _open_clip


def coco_reader(path: str | Sequence[str]) -> Read | None:
    """Return what opens a JSON file of COCO as labels, None for another file."""
    return _open_coco if isinstance(path, (str, Path)) and is_coco(Path(path)) else None


def folder_reader(path: str | Sequence[str]) -> Read | None:
    """
    Return what opens a folder, None for one of something else.

    napari asks the plugin for every folder: besides those of SA-V, of the Cell Tracking Challenge
    and graphs it opens folders of images as a movie, and zarrs.
    """
    if not isinstance(path, (str, Path)) or not Path(path).is_dir():
        return None
    if is_graph(Path(path)):
        return _open_graph
    if is_zarr(Path(path)):
        return _open_zarr
    if ctc_folder(Path(path)) is not None:
        return _open_ctc
    if find_clips(Path(path)):
        return _open_clip
    return _open_frames if holds_images(Path(path)) else None


def _open_frames(path: Any) -> list[LayerData]:
    return [frames_layer(as_frame_source(Path(path)), Path(path))]


def _open_zarr(path: Any) -> list[LayerData]:
    return [zarr_layer(Path(path))]


def _open_graph(path: Any) -> list[LayerData]:
    return graph_layers(Path(path))


def _open_ctc(path: Any) -> list[LayerData]:
    return ctc_layers(Path(path))


def _open_coco(path: Any) -> list[LayerData]:
    return coco_layers(Path(path))


def _open_clip(path: Any) -> list[LayerData]:
    clips = find_clips(Path(path))
    if len(clips) > 1:
        raise AnnotationError(
            f"{path} holds {len(clips)} videos: open the folder of one of them, or its JSON file."
        )
    return clip_layers(clips[0])
