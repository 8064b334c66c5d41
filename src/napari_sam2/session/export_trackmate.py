"""Results as a file of TrackMate: a spot with its outline for each mask, tracks of objects."""

from __future__ import annotations

import math
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from napari_sam2.session.export import TIMES
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.result_masks import MaskPart, ResultMasks

_VERSION = "7.11.1"  # of TrackMate, whose files look like this
_LARGEST = 2**31 - 1  # TrackMate counts in 32 bits

# name, short name, what it measures, whether it is a whole number
_SPOT_FEATURES = {
    "QUALITY": ("Quality", "Quality", "QUALITY", False),
    "POSITION_X": ("X", "X", "POSITION", False),
    "POSITION_Y": ("Y", "Y", "POSITION", False),
    "POSITION_Z": ("Z", "Z", "POSITION", False),
    "POSITION_T": ("T", "T", "TIME", False),
    "FRAME": ("Frame", "Frame", "NONE", True),
    "RADIUS": ("Radius", "R", "LENGTH", False),
    "VISIBILITY": ("Visibility", "Visibility", "NONE", True),
    "AREA": ("Area", "Area", "AREA", False),
}
_EDGE_FEATURES = {
    "SPOT_SOURCE_ID": ("Source spot ID", "Source ID", "NONE", True),
    "SPOT_TARGET_ID": ("Target spot ID", "Target ID", "NONE", True),
    "LINK_COST": ("Edge cost", "Cost", "COST", False),
}
_TRACK_FEATURES = {
    "TRACK_INDEX": ("Track index", "Index", "NONE", True),
    "TRACK_ID": ("Track ID", "ID", "NONE", True),
}


@dataclass(frozen=True)
class _Scale:
    """What a pixel and a frame are; slices of a stack count as frames, which have no unit."""

    height: float
    width: float
    unit: str
    interval: float
    time_unit: str

    @classmethod
    def of(cls, calibration: Calibration) -> _Scale:
        is_time = calibration.frame_unit in TIMES
        return cls(
            *calibration.pixel_size,
            calibration.unit,
            calibration.frame_interval if is_time else 1.0,
            calibration.frame_unit if is_time else "frame",
        )


def write_tracks(results: ResultMasks, part: Path, calibration: Calibration) -> Iterator[int]:
    """
    Write a file that TrackMate loads, yielding each frame as its spots are written.

    Of a mask in pieces the largest has the outline, and holes are filled; place, area and radius
    are those of the whole mask. Edges lead over gaps too. Objects on one frame are spots without
    a track, as TrackMate has them.

    Raises
    ------
    ValueError
        An id does not fit into 32 bits.
    """
    largest = max(results.objects, default=0)
    if largest > _LARGEST:
        raise ValueError(
            f"TrackMate has ids up to {_LARGEST}, and there is an object {largest}: export to "
            "SA-V, COCO or GEFF, which hold any number."
        )
    scale = _Scale.of(calibration)
    spots: dict[int, list[int]] = {}
    count = 0
    beside = part.with_name("spots.xml")  # how many there are is said before them
    with beside.open("w", encoding="utf-8") as file:
        for frame_idx in range(results.num_frames):
            element = ET.Element("SpotsInFrame", frame=str(frame_idx))
            for obj_id, mask in results.masks(frame_idx).items():
                if mask.area:
                    name = results.objects[obj_id]
                    element.append(_spot(count, name, mask, frame_idx, scale))
                    spots.setdefault(obj_id, []).append(count)
                    count += 1
            file.write(_text(element))
            yield frame_idx
    with part.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f'<TrackMate version="{_VERSION}">\n')
        units = f"spatialunits={quoteattr(scale.unit)} timeunits={quoteattr(scale.time_unit)}"
        file.write(f"<Model {units}>\n{_text(_declarations())}")
        file.write(f'<AllSpots nspots="{count}">\n')
        with beside.open(encoding="utf-8") as written:
            shutil.copyfileobj(written, file)
        file.write("</AllSpots>\n")
        for element in _tracks(results, spots):
            file.write(_text(element))
        file.write(f"</Model>\n{_text(_settings(results, scale))}")
        file.write('<GUIState state="ConfigureViews" />\n</TrackMate>\n')
    beside.unlink()


def outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """
    Return the corners of a mask along the edges of its pixels.

    Parameters
    ----------
    mask
        (h, w), not empty; of its largest piece, holes filled, goes the outline. Pixels that meet
        at a corner are pieces.

    Returns
    -------
    (N, 2) row and column, in pixels whose centres are whole numbers.
    """
    from scipy.ndimage import binary_fill_holes, label
    from skimage.measure import find_contours

    pieces, _ = label(mask)
    piece = np.pad(pieces == np.bincount(pieces[mask]).argmax(), 1)
    piece = binary_fill_holes(piece, structure=np.ones((3, 3)))
    # from one pixel's edge to the next, through the middle of each
    middles = find_contours(piece.astype(np.float64), 0.5, fully_connected="low")[0][:-1] - 1
    after = np.roll(middles, -1, axis=0)
    is_edge = middles % 1 == 0.5  # along this axis the edge stands still
    corners = np.where(is_edge, middles, np.where(after % 1 == 0.5, after, (middles + after) / 2))
    steps = np.roll(corners, -1, axis=0) - corners
    turns = (steps != np.roll(steps, 1, axis=0)).any(axis=1)
    found: npt.NDArray[np.float64] = corners[turns]
    return found


def _spot(number: int, name: str, mask: MaskPart, frame_idx: int, scale: _Scale) -> ET.Element:
    y, x = mask.centre
    area = mask.area * scale.height * scale.width
    trimmed = mask.trimmed()
    corners = outline(trimmed.inside) + np.array([trimmed.top - y, trimmed.left - x])
    features = {
        "QUALITY": mask.area,  # as TrackMate has it where it makes spots of label images
        "POSITION_X": x * scale.width,
        "POSITION_Y": y * scale.height,
        "POSITION_Z": 0.0,
        "POSITION_T": frame_idx * scale.interval,
        "FRAME": frame_idx,
        "RADIUS": math.sqrt(area / math.pi),
        "VISIBILITY": 1,
        "AREA": area,
    }
    element = ET.Element("Spot", ID=str(number), name=name)
    for key, value in features.items():
        element.set(key, _number(value))
    element.set("ROI_N_POINTS", str(len(corners)))
    places = corners[:, ::-1] * (scale.width, scale.height)  # x, y, x, y …
    element.text = " ".join(map(_number, places.ravel().tolist()))
    return element


def _tracks(results: ResultMasks, spots: Mapping[int, list[int]]) -> tuple[ET.Element, ET.Element]:
    """Return all tracks with their edges, and the list of those that are shown: all of them."""
    tracks, shown = ET.Element("AllTracks"), ET.Element("FilteredTracks")
    linked = [obj_id for obj_id in sorted(spots) if len(spots[obj_id]) > 1]
    for index, obj_id in enumerate(linked):
        track = ET.SubElement(
            tracks, "Track", name=results.objects[obj_id], TRACK_ID=str(obj_id),
            TRACK_INDEX=str(index),
        )  # fmt: skip
        numbers = spots[obj_id]
        for source, target in pairwise(numbers):
            ET.SubElement(
                track, "Edge", SPOT_SOURCE_ID=str(source), SPOT_TARGET_ID=str(target),
                LINK_COST="0.0",
            )  # fmt: skip
        ET.SubElement(shown, "TrackID", TRACK_ID=str(obj_id))
    return tracks, shown


def _declarations() -> ET.Element:
    element = ET.Element("FeatureDeclarations")
    for kind, features in (
        ("SpotFeatures", _SPOT_FEATURES),
        ("EdgeFeatures", _EDGE_FEATURES),
        ("TrackFeatures", _TRACK_FEATURES),
    ):
        group = ET.SubElement(element, kind)
        for key, (name, short, dimension, is_whole) in features.items():
            ET.SubElement(
                group, "Feature", feature=key, name=name, shortname=short, dimension=dimension,
                isint=str(is_whole).lower(),
            )  # fmt: skip
    return element


def _settings(results: ResultMasks, scale: _Scale) -> ET.Element:
    """Return what TrackMate asks for beside the tracks; no spot and no track is filtered out."""
    element = ET.Element("Settings")
    name, folder = _hyperstack(results)
    sizes: dict[str, Any] = {
        "width": results.width, "height": results.height, "nslices": 1,
        "nframes": results.num_frames, "pixelwidth": scale.width, "pixelheight": scale.height,
        "voxeldepth": 1.0, "timeinterval": scale.interval,
    }  # fmt: skip
    image = ET.SubElement(element, "ImageData", filename=name, folder=folder)
    crop = ET.SubElement(element, "BasicSettings")
    for key, value in sizes.items():
        image.set(key, _number(value))
    ends = {"x": results.width, "y": results.height, "z": 1, "t": results.num_frames}
    for axis, length in ends.items():
        crop.set(f"{axis}start", "0")
        crop.set(f"{axis}end", str(length - 1))
    ET.SubElement(element, "DetectorSettings", DETECTOR_NAME="MANUAL_DETECTOR", RADIUS="5.0")
    ET.SubElement(element, "InitialSpotFilter", feature="QUALITY", value="0.0", isabove="true")
    ET.SubElement(element, "SpotFilterCollection")
    ET.SubElement(element, "TrackerSettings", TRACKER_NAME="MANUAL_TRACKER")
    ET.SubElement(element, "TrackFilterCollection")
    analyzers = ET.SubElement(element, "AnalyzerCollection")
    for kind in ("SpotAnalyzers", "EdgeAnalyzers", "TrackAnalyzers"):
        ET.SubElement(analyzers, kind)
    return element


def _hyperstack(results: ResultMasks) -> tuple[str, str]:
    """Return name and folder of the image if ImageJ would open it as a movie of these frames.

    It takes the pages of any other TIFF for slices, over which TrackMate would show one frame.
    """
    import tifffile

    path = results.source
    if path is None or path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
        return "", ""
    try:
        with tifffile.TiffFile(path) as file:
            frames = (file.imagej_metadata or {}).get("frames", 1)
    except (OSError, ValueError):
        return "", ""
    if frames != results.num_frames:
        return "", ""
    return path.name, str(path.resolve().parent)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _text(element: ET.Element) -> str:
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"
