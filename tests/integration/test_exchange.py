"""Results for other programs, from the panel, the palette and napari's File > Save."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import napari
import numpy as np
import pytest
import tifffile
import zarr
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QFileDialog, QPushButton

from fakes import moving_discs
from napari_sam2.session import files
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.exchange import FORMATS
from napari_sam2.widgets.command_table import Command
from napari_sam2.widgets.main_widget import annotate
from sam2_backbone.data_engine.sav import read_sav
from sam2_backbone.data_engine.sav_folders import find_clips, open_masks
from sam2_backbone.inference.video_file import VideoFile

STACK = moving_discs()
NAMES = {"ctc": "01_RES", "geff": "a.geff", "coco": "a.json", "sav": "a_manual.json",
         "sav-folders": "a_sav", "trackmate": "a.xml", "movie": "a.mp4"}  # fmt: skip


@pytest.fixture
def tracked(viewer, fake_model):
    """Two objects that overlap, followed through a movie with units."""
    layer = viewer.add_image(STACK, scale=(2, 0.5, 0.25), units=("s", "um", "um"))
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    annotator.new_object()
    annotator.points_layer.add((0, 14, 18))
    annotator.propagate()
    annotator.wait(timeout=20)
    return annotator


def check(tmp_path, session) -> None:
    """Everything that `NAMES` names is there and is what the session holds."""
    lines = (tmp_path / "01_RES" / "res_track.txt").read_text()
    assert lines == "1 0 7 0\n2 0 7 0\n"
    labels = tifffile.imread(tmp_path / "01_RES" / "mask005.tif")
    np.testing.assert_array_equal(labels, session.labels(5))
    axes = zarr.open(str(tmp_path / "a.geff"), mode="r").attrs["geff"]["axes"]
    assert [(a["scale"], a["scaled_unit"]) for a in axes] == [
        (2.0, "second"), (0.5, "micrometer"), (0.25, "micrometer"),
    ]  # fmt: skip
    assert len(json.loads((tmp_path / "a.json").read_text())["annotations"]) == 16
    annotation = read_sav(tmp_path / "a_manual.json")
    assert annotation.video.duration == 16
    # whole masks, though in the labels a pixel is of one object
    for masklet in annotation.masklets:
        expected = session.mask(masklet.masklet_id, 5)
        np.testing.assert_array_equal(masklet.masks[5].to_array(), expected)
    (clip,) = find_clips(tmp_path / "a_sav")
    assert open_masks(clip.masks).frames == tuple(range(8))
    assert len(list(clip.frames.glob("*.jpg"))) == 8
    spots = ElementTree.parse(tmp_path / "a.xml").getroot().find("Model/AllSpots")
    assert spots.get("nspots") == "16"
    assert VideoFile(tmp_path / "a.mp4").num_frames == 8


def test_the_panel_exports_every_format(tracked, messages, tmp_path, monkeypatch) -> None:
    asked = []

    def choose(parent, title, proposed, kinds):
        name = next(name for name, row in FORMATS.items() if row.title in title)
        asked.append((name, proposed, kinds))
        path = tmp_path / NAMES[name]
        # the kind need not be typed where nothing is replaced
        return str(path if path.exists() else path.with_suffix("")), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    panel = tracked._panels.results
    (button,) = [b for b in panel.findChildren(QPushButton) if b.menu() is not None]
    assert button.isEnabled()
    for action in button.menu().actions():
        action.trigger()
        tracked.wait(timeout=20)
    (movie,) = [b for b in panel.findChildren(QPushButton) if b.text().startswith("Export movie")]
    movie.click()
    tracked.wait(timeout=20)
    assert [name for name, *_ in asked] == list(FORMATS)
    assert asked[0][1] == "results_RES"
    check(tmp_path, tracked.session)
    assert "Overlay movie: written to a.mp4." in tracked._panels._status.text()
    for name in FORMATS:  # as scripts and menus do; what was written here is replaced
        tracked.export_results(tmp_path / NAMES[name], name)
        tracked.wait(timeout=20)
        tracked.do(Command(f"export_{name.replace('-', '_')}"))
        tracked.wait(timeout=20)
    check(tmp_path, tracked.session)
    assert messages == []


def test_what_cannot_be_written_is_said(tracked, messages, tmp_path) -> None:
    (tmp_path / "somebody").mkdir()
    tracked.export_results(tmp_path / "somebody", "ctc")
    tracked.wait(timeout=20)
    tracked.export_results(tmp_path / "a.txt", "coco")
    tracked.wait(timeout=20)
    assert len(messages) == 2
    assert "is not replaced" in messages[0]
    assert messages[1] == "COCO: name a file that ends in .json."


def writers() -> dict[str, object]:
    """What napari offers for a labels layer, by the name that is chosen in its dialog."""
    manager = PluginManager.instance()
    if "napari-sam2" not in manager:
        manager.register(PluginManifest.from_distribution("napari-sam2"))
    found = manager.iter_compatible_writers(["labels"])
    return {row.display_name: row for row in found if row.plugin_name == "napari-sam2"}


def test_napari_saves_labels_of_the_panel(tracked, messages, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(napari, "current_viewer", lambda: tracked._viewer)
    layer, viewer = tracked.labels_layer, tracked._viewer
    viewer.layers.selection = {layer}
    entries = writers()
    titles = {"SA-V masklets": "sav", "COCO": "coco", "GEFF, a graph of tracks": "geff",
              "Cell Tracking Challenge, a folder": "ctc",
              "SA-V frames and masks, a folder": "sav-folders",
              "TrackMate": "trackmate", "Overlay movie": "movie"}  # fmt: skip
    assert set(entries) == {"SAM 2 session", *titles}
    for title, name in titles.items():
        typed = str(tmp_path / NAMES[name]).removesuffix(".geff")
        # as the dialog of napari does with the kind that was chosen there
        saved = viewer.layers.save(typed, selected=True, _writer=entries[title])
        assert saved == [str(tmp_path / NAMES[name])]
    # whoever asks for a session gets one, whatever its name
    session = str(tmp_path / "a_coco.json")
    viewer.layers.save(session, selected=True, _writer=entries["SAM 2 session"])
    assert files.is_session(tmp_path / "a_coco.json")
    check(tmp_path, tracked.session)
    assert messages == []


def test_scripts_save_any_labels_by_their_name(viewer, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    writers()
    movie = (STACK > 0).astype(np.uint8) * 3
    layer = viewer.add_labels(movie, scale=(1, 0.5, 0.5), units=("min", "um", "um"))
    layer.save(str(tmp_path / "cells_manual.json"), plugin="napari-sam2")
    annotation = read_sav(tmp_path / "cells_manual.json")
    assert annotation.video.duration == 480
    assert [masklet.masklet_id for masklet in annotation.masklets] == [3]
    np.testing.assert_array_equal(annotation.masklets[0].masks[2].to_array(), movie[2] > 0)
    layer.save(str(tmp_path / "cells_coco.json"), plugin="napari-sam2")
    assert len(json.loads((tmp_path / "cells_coco.json").read_text())["annotations"]) == 8
    layer.save(str(tmp_path / "cells.geff"))
    axes = zarr.open(str(tmp_path / "cells.geff"), mode="r").attrs["geff"]["axes"]
    assert [axis["scaled_unit"] for axis in axes] == ["minute", "micrometer", "micrometer"]
    with pytest.raises(SessionFileError, match=r"ends in _coco\.json or _manual\.json"):
        layer.save(str(tmp_path / "cells.json"), plugin="napari-sam2")
