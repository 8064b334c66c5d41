"""Menus and the command palette, and files that are dropped, in a real viewer."""

from __future__ import annotations

import napari
import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QFileDialog

from fakes import moving_discs
from napari_sam2.widgets.command_table import Command
from napari_sam2.widgets.commands import NO_PANEL
from napari_sam2.widgets.main_widget import annotate

STACK = moving_discs()


@pytest.fixture
def current(viewer, monkeypatch):
    """Make the test's viewer the one that napari names to commands."""
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    return viewer


def ask(command: Command) -> None:
    manager = PluginManager.instance()
    if "napari-sam2" not in manager:
        manager.register(PluginManifest.from_distribution("napari-sam2"))
    manager.commands.execute(f"napari-sam2.{command.value}")


def test_commands_say_why_they_cannot(current, fake_model, messages) -> None:
    ask(Command.PROPAGATE)
    assert messages == [NO_PANEL]
    annotator = annotate(current)
    ask(Command.NEW_OBJECT)
    assert messages[1] == "Open an image first: File, or drag it into the window."
    current.add_image(STACK)
    annotator.wait(timeout=20)
    for command in (Command.PROPAGATE, Command.CANCEL, Command.EXPORT_TABLE):
        ask(command)
    assert messages[2:] == [
        "Click an object or draw a box first.",
        "Nothing is running that could be cancelled.",
        "There is no mask yet: click an object first.",
    ]


def test_a_session_by_commands_alone(
    current, fake_model, messages, tmp_path, monkeypatch, qtbot
) -> None:
    layer = current.add_image(STACK)
    annotator = annotate(current, layer)
    ask(Command.NEW_OBJECT)
    ask(Command.POLARITY)
    ask(Command.POLARITY)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    current.dims.set_point(0, 0)
    ask(Command.CANDIDATE)
    annotator.wait(timeout=20)
    assert annotator.session.prompts(1, 0).candidate == 1
    ask(Command.PROPAGATE)
    annotator.wait(timeout=20)
    followed = np.array(annotator.labels_layer.data)
    assert followed[7].any()
    ask(Command.UNDO)
    annotator.wait(timeout=20)
    assert not annotator.labels_layer.data[7].any()
    ask(Command.REDO)
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(annotator.labels_layer.data, followed)
    current.dims.set_point(0, 5)
    ask(Command.PREVIOUS_PROMPT)
    assert current.dims.current_step[0] == 0
    for command, name in (
        (Command.SAVE_SESSION, "session.json"),
        (Command.EXPORT_LABELS, "labels.ome.tif"),
        (Command.EXPORT_TABLE, "table.csv"),
    ):
        path = tmp_path / name
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, path=path: (str(path), ""))
        ask(command)
        annotator.wait(timeout=20)
        assert path.exists()
    ask(Command.TRACKS_LAYER)
    assert "SAM 2 tracks" in current.layers
    ask(Command.MODEL_INPUT)
    annotator.wait(timeout=20)
    assert "SAM 2 model input" in current.layers
    ask(Command.MODEL_INPUT)
    assert "SAM 2 model input" not in current.layers
    session = str(tmp_path / "session.json")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (session, ""))
    annotator.points_layer.add((0, 40, 50))
    annotator.wait(timeout=20)
    ask(Command.OPEN_SESSION)
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(annotator.labels_layer.data, followed)
    assert messages == []
