"""Results as COCO has them: one JSON file with a frame an image and a mask an annotation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from napari_sam2.session.measurements import Calibration
from napari_sam2.session.result_masks import ResultMasks
from sam2_backbone.inference.frames import image_files

_CATEGORY = {"id": 1, "name": "object", "supercategory": ""}


def write_annotations(results: ResultMasks, part: Path, calibration: Calibration) -> Iterator[int]:
    """
    Write a file of annotations, yielding each frame as it is written.

    Frame n is the image n + 1; `track_id` says which annotations are one object. Masks stay whole
    where they overlap.
    """
    names = _file_names(results, part)
    images = [
        {"id": t + 1, "file_name": name, "frame_id": t, "height": results.height,
         "width": results.width}
        for t, name in enumerate(names)
    ]  # fmt: skip
    tracks = [{"id": obj_id, "name": name} for obj_id, name in results.objects.items()]
    head = {"info": {"description": "masks of napari-sam2"}, "licenses": [],
            "categories": [_CATEGORY], "tracks": tracks, "images": images}  # fmt: skip
    size, number = (results.height, results.width), 0
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for frame_idx in range(results.num_frames):
            for obj_id, mask in results.masks(frame_idx).items():
                area = mask.area
                if area == 0:
                    continue
                number += 1
                top, left, bottom, right = mask.box
                row = {
                    "id": number,
                    "image_id": frame_idx + 1,
                    "category_id": _CATEGORY["id"],
                    "track_id": obj_id,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": area,
                    "iscrowd": 0,
                    "segmentation": mask.run_lengths(size).to_json(),
                }
                file.write((", " if number > 1 else "") + json.dumps(row))
            yield frame_idx
        file.write("]}\n")


def _file_names(results: ResultMasks, part: Path) -> list[str]:
    """Name the file of each frame: one of a folder's, or for all frames that of the movie."""
    source = results.source
    if source is not None and source.is_dir():
        names = [path.name for path in image_files(source)]
        if len(names) == results.num_frames:
            return names
    return [part.stem if source is None else source.name] * results.num_frames
