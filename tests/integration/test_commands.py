"""Menus and the command palette, and files that are dropped, in a real viewer."""

from __future__ import annotations

import shutil
from importlib.resources import files as resources

import napari
import numpy as np
import pytest
import tifffile
from napari.settings import get_plugin_settings
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication, QFileDialog
from safetensors.numpy import save_file

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.session import files
from napari_sam2.session.errors import SessionFileError
from napari_sam2.session.session import Session
from napari_sam2.widgets.command_table import Command
from napari_sam2.widgets.commands import NO_PANEL
from napari_sam2.widgets.main_widget import annotate
from napari_sam2.widgets.session_files import session_reader

STACK = moving_discs()
MICRO = str(resources("sam2_backbone") / "weights" / "micro.safetensors")


@pytest.fixture
def current(viewer, monkeypatch):
    """Make the test's viewer the one that napari names to commands."""
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    return viewer


def register() -> None:
    manager = PluginManager.instance()
    if "napari-sam2" not in manager:
        manager.register(PluginManifest.from_distribution("napari-sam2"))


def ask(command: Command) -> None:
    register()
    PluginManager.instance().commands.execute(f"napari-sam2.{command.value}")


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


def test_a_key_says_why_it_cannot(viewer, hand, fake_model, messages) -> None:
    annotator = annotate(viewer)
    hand.key(Qt.Key.Key_U)
    hand.key(Qt.Key.Key_Escape)
    assert messages == ["Open an image first: File, or drag it into the window."]
    viewer.add_image(STACK)
    annotator.wait(timeout=20)
    hand.key(Qt.Key.Key_G)
    assert messages[1:] == ["Click an object or draw a box first."]


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


@pytest.mark.parametrize("composed", [False, True])
def test_a_session_file_is_opened_and_saved_like_any_file(
    current, fake_model, messages, tmp_path, qtbot, composed
) -> None:
    register()
    placed = {
        "scale": (2, 0.5, 0.25),
        "translate": (0, 3, 4),
        "units": ("s", "um", "um"),
        "axis_labels": ("t", "y", "x"),
    }
    layer = current.add_image(STACK, contrast_limits=(0, 180), gamma=0.7, **placed)
    annotator = annotate(current, layer)
    if composed:
        current.add_image(STACK[::-1], contrast_limits=(0, 90), **placed)
        offered = annotator._images.current.composition.offered(annotator._images.images)
        annotator._panels.input.channels_chosen.emit(tuple(origin for origin, _ in offered))
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    annotator.wait(timeout=20)
    before, document = np.array(annotator.labels_layer.data), annotator.session.document
    path = tmp_path / "session.json"
    annotator.labels_layer.save(str(path), plugin="napari-sam2")
    settings = annotator.session.settings
    current.layers.clear()
    qtbot.waitUntil(lambda: annotator.session is None, timeout=5000)

    current.open(str(path), plugin="napari-sam2")
    qtbot.waitUntil(lambda: annotator.session is not None, timeout=5000)
    annotator.wait(timeout=20)
    assert annotator.session.document == document
    assert annotator.session.settings == settings
    np.testing.assert_array_equal(annotator.labels_layer.data, before)
    assert tuple(annotator.image_layer.contrast_limits) == (0, 180)
    assert annotator.image_layer.gamma == pytest.approx(0.7)
    opened = annotator.image_layer
    np.testing.assert_allclose(opened.scale, placed["scale"])
    np.testing.assert_allclose(opened.translate, placed["translate"])
    assert [str(unit) for unit in opened.units] == ["second", "micrometer", "micrometer"]
    assert opened.axis_labels == placed["axis_labels"]
    seen = [image.colormap.name for image in annotator._images.images]
    assert seen == (["green", "red"] if composed else ["gray"])
    annotator.points_layer.add((3, 30, 24))
    annotator.wait(timeout=20)
    # saved again, the image is not copied a second time
    annotator.save(path)
    annotator.wait(timeout=20)
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".zarr"] == ["session.zarr"]
    assert messages == []


def test_a_reopened_session_keeps_its_frame_axis(
    current, fake_model, messages, tmp_path, qtbot
) -> None:
    register()
    # time last, and the file is short in the axis that napari would take for frames
    layer = current.add_image(np.moveaxis(STACK, 0, 2), scale=(0.5, 0.25, 2))
    annotator = annotate(current)
    annotator.open_image(layer, frame_axis=2)
    annotator.points_layer.add((12, 12, 0))
    annotator.propagate()
    annotator.wait(timeout=20)
    document, path = annotator.session.document, tmp_path / "session.json"
    assert annotator.session.num_frames == len(STACK)
    annotator.save(path)
    annotator.wait(timeout=20)
    current.layers.clear()
    qtbot.waitUntil(lambda: annotator.session is None, timeout=5000)
    current.open(str(path), plugin="napari-sam2")
    qtbot.waitUntil(lambda: annotator.session is not None, timeout=5000)
    annotator.wait(timeout=20)
    assert annotator.session.num_frames == len(STACK)
    assert annotator.session.document == document
    np.testing.assert_allclose(annotator.image_layer.scale, (2, 0.5, 0.25))
    assert messages == []


def test_an_image_file_is_named_and_not_copied(
    current, fake_model, messages, tmp_path, qtbot
) -> None:
    register()
    tifffile.imwrite(tmp_path / "movie.tif", STACK)
    (layer,) = current.open(str(tmp_path / "movie.tif"), plugin="napari")
    annotator = annotate(current, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    annotator.save(tmp_path / "session.json")
    annotator.wait(timeout=20)
    assert not (tmp_path / "session.zarr").exists()
    before = np.array(annotator.labels_layer.data)
    current.layers.clear()
    current.open(str(tmp_path / "session.json"), plugin="napari-sam2")
    qtbot.waitUntil(lambda: annotator.session is not None, timeout=5000)
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(annotator.labels_layer.data, before)
    other = current.add_labels(before, name="somebody else's")
    with pytest.raises(SessionFileError, match="Only the labels of the panel"):
        other.save(str(tmp_path / "other.json"), plugin="napari-sam2")
    assert messages == []


def test_the_labels_of_an_image_not_in_hand_are_saved_as_its_session(
    current, fake_model, messages, tmp_path
) -> None:
    register()
    first = current.add_image(STACK, name="first")
    second = current.add_image(STACK[::-1].copy(), name="second")
    annotator = annotate(current, first)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    labels, session = annotator.labels_layer, annotator.session
    annotator.open_image(second)
    annotator.wait(timeout=20)
    assert annotator.session is not session
    labels.save(str(tmp_path / "first.json"), plugin="napari-sam2")
    saved = files.read(tmp_path / "first.json").contents.document
    np.testing.assert_array_equal(saved.labels(0, *STACK.shape[1:]), labels.data[0])
    assert saved.objects.keys() == session.document.objects.keys()
    assert annotator.session is not session  # and the other stays in hand
    assert messages == []


def test_other_files_are_left_to_others(tmp_path, monkeypatch) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    assert session_reader(str(other)) is None
    assert session_reader([str(other)]) is None
    other.write_text("no json", encoding="utf-8")
    assert session_reader(str(other)) is None
    # without a window: the image and the labels
    session = Session(FakeFrames(STACK), predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 2, (12, 14))
    session.save(tmp_path / "session.json")
    monkeypatch.setattr(napari, "current_viewer", lambda: None)
    (image, _, kind), (labels, _, other_kind) = session_reader(str(tmp_path / "session.json"))(
        str(tmp_path / "session.json")
    )
    assert (kind, other_kind) == ("image", "labels")
    np.testing.assert_array_equal(np.asarray(image), STACK)
    np.testing.assert_array_equal(labels[2], session.labels(2))


def test_preferences_hold_for_a_panel_that_opens(
    viewer, fake_model, kept_settings, tmp_path, messages
) -> None:
    register()
    mine = str(tmp_path / "mine.safetensors")
    shutil.copy(MICRO, mine)
    settings = get_plugin_settings("napari-sam2")
    settings.model.weights, settings.model.view = mine, "whole frame"
    settings.model.memory_budget = 128
    settings.work.live, settings.work.hover_delay = True, 300
    settings.work.autosave_interval = 2.0
    annotator = annotate(viewer, viewer.add_image(STACK))
    session = annotator.session
    assert (session.settings.weights, session.window) == (mine, None)
    assert session.settings.memory_mib == 128
    assert annotator._panels.propagation.is_live
    assert annotator._prompts.pointer._timer.interval() == 300
    assert annotator._images.current.autosave._interval_s == 2.0
    # the weights belong to the network of the preferences
    other = viewer.add_image(STACK)
    annotator.open_image(other, variant="sam2.1_hiera_tiny")
    assert annotator.session.settings.weights == "default"
    # and come back with it
    annotator.open_image(other, variant="micro")
    assert annotator.session.settings.weights == mine
    annotator._images.use_variant("sam2.1_hiera_tiny")
    annotator._images.use_variant("micro")
    annotator.wait(timeout=20)
    assert annotator.session.settings.weights == mine
    assert messages == []


def test_weights_of_another_network_are_refused_when_chosen(
    viewer, fake_model, kept_settings, tmp_path, messages, monkeypatch
) -> None:
    register()
    other = tmp_path / "other.safetensors"
    save_file({"image_encoder.trunk.blocks.0.weight": np.zeros(3)}, other)
    settings = get_plugin_settings("napari-sam2")
    settings.model.weights = str(other)
    annotator = annotate(viewer, viewer.add_image(STACK))
    refusal = "other.safetensors holds weights of another network, not of micro."
    assert [message.startswith(refusal) for message in messages] == [True]
    assert annotator.session.settings.weights == "default"
    monkeypatch.setattr(annotator, "isActiveWindow", lambda: True)
    # later, in the dialog of the preferences
    settings.model.weights = str(tmp_path / "none.safetensors")
    QApplication.sendEvent(annotator, QEvent(QEvent.Type.ActivationChange))
    QApplication.sendEvent(annotator, QEvent(QEvent.Type.ActivationChange))
    assert [message.startswith("There is no weights file") for message in messages] == [False, True]
    mine = tmp_path / "mine.safetensors"
    shutil.copy(MICRO, mine)
    settings.model.weights = str(mine)
    QApplication.sendEvent(annotator, QEvent(QEvent.Type.ActivationChange))
    annotator.open_image(viewer.add_image(STACK))
    assert annotator.session.settings.weights == str(mine)
    assert len(messages) == 2
