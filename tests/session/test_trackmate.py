"""Files for TrackMate hold what its reader asks for, and outlines that hold the very pixels."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from fakes import FakePredictor, moving_discs
from napari_sam2.session.exchange import export_results
from napari_sam2.session.export_trackmate import outline
from napari_sam2.session.measurements import Calibration, tracks
from napari_sam2.session.result_masks import LabelMasks, SessionMasks
from napari_sam2.session.session import Session

MINUTES = Calibration((0.5, 0.25), "µm", 2.0, "min")


def inside(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which pixel centres lie in a polygon, as TrackMate counts crossings."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    found = np.zeros(shape, bool)
    for (y1, x1), (y0, x0) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        if y1 != y0:
            crosses = (y1 > y) != (y0 > y)
            found ^= crosses & (x < (x0 - x1) * (y - y1) / (y0 - y1) + x1)
    return found


def area(corners: np.ndarray) -> float:
    y, x = corners.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_an_outline_holds_the_pixels_of_the_largest_piece(mask: np.ndarray) -> None:
    if not mask.any():
        return
    corners = outline(mask)
    found = inside(corners, mask.shape)
    pieces, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, pieces, range(1, count + 1))
    # of pieces of one size any will do; holes are filled
    filled = [
        ndimage.binary_fill_holes(np.pad(pieces == i + 1, 1), np.ones((3, 3)))[1:-1, 1:-1]
        for i in np.flatnonzero(sizes == sizes.max())
    ]
    assert any((found == piece).all() for piece in filled)
    assert area(corners) == found.sum()
    # only corners, in turns of a right angle
    steps = np.diff(np.concatenate([corners, corners[:1]]), axis=0)
    assert ((steps == 0).sum(axis=1) == 1).all()
    assert ((steps[:-1] == 0) != (steps[1:] == 0)).all()


def test_a_pixel_has_four_corners() -> None:
    corners = outline(np.ones((1, 1), bool))
    assert sorted(map(tuple, corners.tolist())) == [
        (-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5),
    ]  # fmt: skip


@pytest.fixture
def session() -> Session:
    """Two objects; the second is away on frames 3 and 4. A third is on one frame alone."""
    session = Session(moving_discs(), predictor_factory=FakePredictor)
    session.add_box(session.new_object("cell <1> & µ"), 0, (10, 8, 20, 28))
    session.add_point(session.new_object("hand", obj_id=7), 0, (30, 20))
    list(session.propagate())
    for frame_idx in (3, 4):
        session.add_mask(7, frame_idx, np.zeros((48, 64), bool))
    session.add_mask(
        session.new_object("once"), 2, np.pad(np.ones((2, 3), bool), ((40, 6), (1, 60)))
    )
    return session


def export(results, path: Path, calibration: Calibration | None = None) -> ET.Element:
    list(export_results(results, path, "trackmate", calibration))
    return ET.parse(path).getroot()


def test_spots_are_the_masks(session, tmp_path) -> None:
    model = export(SessionMasks(session), tmp_path / "a.xml", MINUTES).find("Model")
    assert model.attrib == {"spatialunits": "µm", "timeunits": "min"}
    frames = model.findall("AllSpots/SpotsInFrame")
    assert [frame.get("frame") for frame in frames] == [str(t) for t in range(8)]
    declared = {row.get("feature"): row for row in model.iter("Feature")}
    ids = {spot.get("name"): obj_id for spot in model.iter("Spot")
           for obj_id, name in SessionMasks(session).objects.items()
           if name == spot.get("name")}  # fmt: skip
    assert set(ids) == {"cell <1> & µ", "hand", "once"}
    rows = []
    for frame in frames:
        for spot in frame:
            frame_idx, obj_id = int(frame.get("frame")), ids[spot.get("name")]
            mask = session.mask(obj_id, frame_idx)
            values = {key: float(spot.get(key)) for key in spot.keys() & declared.keys()}
            assert values.keys() == {
                "QUALITY", "POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T", "FRAME",
                "RADIUS", "VISIBILITY", "AREA",
            }  # fmt: skip
            assert (values["FRAME"], values["POSITION_T"]) == (frame_idx, 2 * frame_idx)
            assert values["AREA"] == pytest.approx(mask.sum() * 0.125)
            assert math.pi * values["RADIUS"] ** 2 == pytest.approx(values["AREA"])
            y, x = values["POSITION_Y"] / 0.5, values["POSITION_X"] / 0.25
            rows.append((obj_id, frame_idx, y, x))
            # TrackMate splits the text at white space, and takes none before the first number
            numbers = np.array(spot.text.split(" "), float)
            assert len(numbers) == 2 * int(spot.get("ROI_N_POINTS"))
            corners = numbers.reshape(-1, 2)[:, ::-1] / (0.5, 0.25) + (y, x)
            np.testing.assert_array_equal(inside(corners, (48, 64)), mask)
    np.testing.assert_allclose(sorted(rows), tracks(session), atol=1e-6)
    assert int(model.find("AllSpots").get("nspots")) == len(rows) == 8 + 6 + 1


def test_tracks_lead_from_spot_to_spot(session, tmp_path) -> None:
    model = export(SessionMasks(session), tmp_path / "a.xml").find("Model")
    assert model.attrib == {"spatialunits": "pixel", "timeunits": "frame"}
    spots = {spot.get("ID"): spot for spot in model.iter("Spot")}
    assert len(spots) == 15
    found = model.findall("AllTracks/Track")
    # TrackMate knows no track of one spot
    assert [(row.get("name"), row.get("TRACK_ID"), row.get("TRACK_INDEX")) for row in found] == [
        ("cell <1> & µ", "1", "0"), ("hand", "7", "1"),
    ]  # fmt: skip
    shown = [row.get("TRACK_ID") for row in model.findall("FilteredTracks/TrackID")]
    assert shown == ["1", "7"]
    steps = []
    for track in found:
        for edge in track.findall("Edge"):
            source, target = spots[edge.get("SPOT_SOURCE_ID")], spots[edge.get("SPOT_TARGET_ID")]
            assert source.get("name") == target.get("name") == track.get("name")
            steps.append(int(target.get("FRAME")) - int(source.get("FRAME")))
    assert sorted(steps) == [1] * 11 + [3]  # over the frames 3 and 4


def test_everything_that_the_reader_asks_for_is_there(session, tmp_path) -> None:
    root = export(SessionMasks(session), tmp_path / "a.xml", MINUTES)
    assert (root.tag, root.get("version")) == ("TrackMate", "7.11.1")
    assert [child.tag for child in root] == ["Model", "Settings", "GUIState"]
    settings = root.find("Settings")
    assert {child.tag for child in settings} == {
        "ImageData", "BasicSettings", "DetectorSettings", "InitialSpotFilter",
        "SpotFilterCollection", "TrackerSettings", "TrackFilterCollection", "AnalyzerCollection",
    }  # fmt: skip
    assert settings.find("ImageData").attrib == {
        "filename": "", "folder": "", "width": "64", "height": "48", "nslices": "1",
        "nframes": "8", "pixelwidth": "0.25", "pixelheight": "0.5", "voxeldepth": "1",
        "timeinterval": "2",
    }  # fmt: skip
    crop = settings.find("BasicSettings").attrib
    assert [crop[f"{axis}end"] for axis in "xyzt"] == ["63", "47", "0", "7"]
    for row in root.iter("Feature"):
        assert set(row.attrib) == {"feature", "name", "shortname", "dimension", "isint"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.xml"]


@pytest.mark.parametrize(("axes", "is_named"), [("TYX", True), ("ZYX", False), (None, False)])
def test_only_a_movie_of_imagej_is_named(session, tmp_path, axes, is_named) -> None:
    """ImageJ takes the pages of other TIFFs for slices."""
    session.path = tmp_path / "cells.tif"
    options = {"imagej": True, "metadata": {"axes": axes}} if axes else {}
    tifffile.imwrite(session.path, moving_discs(), **options)
    image = export(SessionMasks(session), tmp_path / "a.xml").find("Settings/ImageData")
    expected = ("cells.tif", str(tmp_path)) if is_named else ("", "")
    assert (image.get("filename"), image.get("folder")) == expected


def test_slices_count_as_frames(session, tmp_path) -> None:
    root = export(SessionMasks(session), tmp_path / "a.xml", Calibration((1, 1), "µm", 3, "µm"))
    assert root.find("Model").attrib == {"spatialunits": "µm", "timeunits": "frame"}
    times = {spot.get("FRAME"): spot.get("POSITION_T") for spot in root.iter("Spot")}
    assert times == {str(t): str(t) for t in range(8)}


def test_ids_have_32_bits(tmp_path) -> None:
    labels = np.zeros((2, 4, 5), np.uint32)
    labels[:, 1, 1] = 2**31
    with pytest.raises(ValueError, match="ids up to 2147483647, and there is an object 2147483648"):
        export(LabelMasks(labels), tmp_path / "a.xml")
    assert list(tmp_path.iterdir()) == []


def test_without_an_object(tmp_path) -> None:
    model = export(LabelMasks(np.zeros((2, 4, 5), int)), tmp_path / "a.xml").find("Model")
    assert model.find("AllSpots").get("nspots") == "0"
    assert len(model.findall("AllSpots/SpotsInFrame")) == 2
    assert len(model.find("AllTracks")) == len(model.find("FilteredTracks")) == 0
