"""The panel *SAM 2 everything* in a real viewer, with the search itself made up."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_sam2.widgets import everything_widget

STACK = np.zeros((4, 30, 40), np.uint16)
STACK[2, 5:10, 5:15] = 900


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, object]]:
    """Everything is what is brighter than the middle of the channel's limits."""
    calls: list[tuple[int, object]] = []

    def find(source, frame_idx, settings, *, models, progress):
        calls.append((frame_idx, settings))
        for done in range(5):
            progress(done, 5)
            time.sleep(0.01)
        (channel,) = settings.channels
        return (source.read(frame_idx) > (channel.low + channel.high) / 2).astype(np.uint16)

    monkeypatch.setattr(everything_widget, "everything_on", find)
    return calls


@pytest.fixture
def panel(viewer):
    return viewer.window.add_plugin_dock_widget("napari-sam2", "SAM 2 everything")[1]


def test_the_frame_on_display_becomes_labels(viewer, panel, asked, qtbot) -> None:
    assert not panel._button.isEnabled()
    assert panel._button.toolTip() == "Open an image first."
    viewer.add_image(STACK, scale=(1, 0.5, 0.5), name="movie", contrast_limits=(0, 1000))
    viewer.dims.set_point(0, 2)
    panel._button.click()
    assert panel._button.text() == "Stop"
    qtbot.waitUntil(lambda: not panel.is_searching, timeout=20_000)
    layer = viewer.layers["movie everything"]
    np.testing.assert_array_equal(layer.data, (STACK > 500).astype(np.uint16))
    np.testing.assert_array_equal(layer.scale, (1, 0.5, 0.5))
    ((frame_idx, settings),) = asked
    assert frame_idx == 2
    assert (settings.variant, settings.channels[0].high) == ("micro", 1000)
    assert "1 objects" in panel._said.text()
    assert "Track these labels" in panel._said.text()
    assert panel._button.text() == "Segment everything"


def test_nothing_found_and_a_stop_add_nothing(viewer, panel, asked, qtbot) -> None:
    viewer.add_image(STACK, contrast_limits=(0, 1000))
    viewer.dims.set_point(0, 0)
    panel.search()
    qtbot.waitUntil(lambda: not panel.is_searching, timeout=20_000)
    assert panel._said.text() == "Nothing was found on this frame."
    panel.search()
    panel.stop()
    qtbot.waitUntil(lambda: not panel.is_searching, timeout=20_000)
    assert panel._said.text() == "Stopped; nothing was added."
    assert len(viewer.layers) == 1


def test_a_failure_and_a_3d_view_are_said(viewer, panel, monkeypatch, qtbot, messages) -> None:
    def fail(*args, **kwargs):
        raise RuntimeError("kernel exploded")

    monkeypatch.setattr(everything_widget, "everything_on", fail)
    viewer.add_image(STACK)
    panel.search()
    qtbot.waitUntil(lambda: not panel.is_searching, timeout=20_000)
    assert messages == ["RuntimeError: kernel exploded."]
    viewer.dims.ndisplay = 3
    panel.search()
    assert not panel.is_searching
    assert "2-D view" in messages[-1]
