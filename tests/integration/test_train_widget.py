"""The panel *SAM 2 train* in a real viewer, with a child process that only pretends to learn."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_sam2.session.training_run import TrainingRun, read_progress
from sam2_backbone.training.data import read_tree

STACK = np.zeros((4, 30, 40), np.uint16)
STACK[:, 5:15, 5:20] = 900

# writes what a run writes, every moment a report, until its input ends or its minutes are over
LEARNS = """
import json, os, sys, threading, time
from pathlib import Path
import imageio.v3 as iio, numpy as np
data, out = Path(sys.argv[1]), Path(sys.argv[sys.argv.index("--out") + 1])
minutes = float(sys.argv[sys.argv.index("--minutes") + 1])
if not list(data.rglob("masks")):
    sys.exit("python -m sam2_backbone.training: no images/ and masks/ with equal names")
(out / "args.json").write_text(json.dumps({"minutes": minutes}))
(out / "asked.txt").write_text(" ".join(sys.argv[1:]))
ended = threading.Event()
def watch():
    while os.read(0, 10):
        pass
    ended.set()
threading.Thread(target=watch, daemon=True).start()
step = 0
while not ended.is_set() and step < minutes:
    step += 1
    with (out / "log.csv").open("a") as log:
        log.write(f"{step},{step:.3f},loss,{5 / step}\\n{step},{step:.3f},click,0.5\\n")
    time.sleep(0.02)
(out / "samples").mkdir(exist_ok=True)
iio.imwrite(out / "samples" / f"step_{step:06d}.png", np.full((48, 128, 3), 90, np.uint8))
(out / "weights.safetensors").write_bytes(b"learned")
(out / "checkpoint.pt").write_bytes(b"")
"""


@pytest.fixture
def panel(viewer, plugin_settings, npe2pm):
    npe2pm.register(PluginManifest.from_distribution("napari-sam2"))
    widget = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 train")[1]
    widget._start_run = partial(TrainingRun, program=[sys.executable, "-c", LEARNS])
    return widget


@pytest.fixture
def asked(viewer, panel, tmp_path) -> Path:
    """A movie with labels, and all that a run needs chosen; the run's folder."""
    viewer.add_image(STACK, name="movie", contrast_limits=(0, 1000))
    viewer.add_labels((STACK > 0).astype(np.uint16) * 7, name="cells")
    panel.form.choose(out=tmp_path / "run", minutes=100_000)
    return tmp_path / "run"


def test_what_is_missing_is_said(viewer, panel, tmp_path) -> None:
    assert not panel._train.isEnabled()
    assert "Open an image first" in panel._train.toolTip()
    viewer.add_image(STACK, name="movie")
    assert "labels of the image" in panel._train.toolTip()
    viewer.add_labels(STACK * 0, name="cells")
    assert panel._train.toolTip() == "Choose an output folder."
    panel.form.choose(out=tmp_path / "run")
    assert panel._train.isEnabled()
    assert not any(b.isEnabled() for b in (panel._stop, panel._resume, panel._use))
    assert all(b.toolTip() for b in (panel._stop, panel._resume, panel._use))


def test_layers_are_learned_stopped_resumed_and_used(viewer, panel, asked, qtbot, messages) -> None:
    panel._train.click()
    assert not panel._train.isEnabled()
    qtbot.waitUntil(lambda: "loss" in panel.status, timeout=30_000)
    assert "a movie of 4 frames with 1 object" in panel.status
    assert "of 100000 minutes" in panel.status
    assert not panel.form.isEnabled()
    (film,) = read_tree(asked / "data")
    assert film.frames.max() == round(255 * 0.9)  # as the layer shows it
    panel._stop.click()
    assert panel.status.startswith("Stopping")
    assert not panel._stop.isEnabled()
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=30_000)
    assert panel.status.startswith("Stopped after")
    assert not panel._sheet.isHidden()
    assert not panel._train.isEnabled()
    step = read_progress(asked).step
    panel.form.choose(minutes=step + 5)
    panel._resume.click()
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=30_000)
    assert panel.status.startswith("Done after")
    assert "--resume" in (asked / "asked.txt").read_text()
    panel._use.click()
    (kept,) = asked.glob("weights_*.safetensors")
    settings = get_plugin_settings("napari-sam2").model
    assert (settings.variant, settings.weights) == ("micro", str(kept))
    assert kept.name in panel.status
    assert panel.form.weights == kept
    assert not messages


def test_the_open_annotator_takes_the_weights(viewer, panel, asked, fake_model, qtbot) -> None:
    annotator = viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 annotate")[1]
    qtbot.waitUntil(lambda: annotator.session is not None, timeout=10_000)
    panel.form.choose(minutes=3)
    panel.train()
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=30_000)
    panel.use_weights()
    annotator.wait()
    (kept,) = asked.glob("weights_*.safetensors")
    assert annotator.session.settings.weights == str(kept)
    assert annotator.session.settings.variant == "micro"


def test_a_folder_is_learned_and_a_failure_is_said(viewer, panel, tmp_path, qtbot, messages):
    (tmp_path / "in").mkdir()
    panel.form.choose(data=tmp_path / "in", out=tmp_path / "run", minutes=3)
    panel.train()
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=30_000)
    assert messages == ["no images/ and masks/ with equal names."]
    assert panel.status == messages[0]
    for name in ("images", "masks"):
        (tmp_path / "in" / name).mkdir()
        iio.imwrite(tmp_path / "in" / name / "a.png", STACK[0] // 900)
    panel.train()
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=30_000)
    assert panel.status.startswith("Done after")
    panel.train()  # a run is there: the button is off, and the call is refused in words
    assert "holds a run or weights already" in messages[-1]


def test_labels_that_cannot_be_learned_are_refused(viewer, panel, asked, qtbot, messages) -> None:
    viewer.layers["cells"].data = np.zeros_like(STACK)
    panel.train()
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=30_000)
    assert "show no object" in messages[-1]
    assert not (asked / "data").exists()
    viewer.add_labels(np.ones((4, 9, 9), np.uint8), name="other size")
    panel.form.choose(labels=viewer.layers["other size"])
    panel.train()
    assert "same size" in messages[-1]
    assert not panel.is_busy


def test_closing_the_panel_leaves_no_run_behind(viewer, panel, asked, qtbot) -> None:
    panel.train()
    qtbot.waitUntil(lambda: bool(panel._runs), timeout=30_000)
    (run,) = panel._runs
    qtbot.waitUntil(lambda: (asked / "log.csv").exists(), timeout=30_000)
    assert run.is_running
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not run.is_running, timeout=30_000)
    assert (asked / "weights.safetensors").read_bytes() == b"learned"
