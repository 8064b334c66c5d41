"""The panels: what is shown, what is asked, and why a button cannot be pressed."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QComboBox, QListWidget, QPushButton

from napari_sam2.widgets.model_panel import ModelPanel
from napari_sam2.widgets.prompt_panel import ObjectRow, PromptPanel
from napari_sam2.widgets.propagate_panel import PropagatePanel, progress_text


def button(panel, text) -> QPushButton:
    (found,) = (child for child in panel.findChildren(QPushButton) if text in child.text())
    return found


def test_model_panel(qtbot) -> None:
    panel = ModelPanel(["micro", "sam2.1_hiera_tiny"])
    qtbot.addWidget(panel)
    box = panel.findChild(QComboBox)
    panel.show_variant("sam2.1_hiera_tiny")
    assert box.currentText() == "sam2.1_hiera_tiny"
    with qtbot.waitSignal(panel.variant_chosen) as asked:
        box.activated.emit(0)
    assert asked.args == ["micro"]
    panel.show_environment("cuda", "bfloat16")


def test_propagate_panel(qtbot) -> None:
    panel = PropagatePanel(propagate_key="G", cancel_key="Esc")
    qtbot.addWidget(panel)
    panel.show_idle("Click an object or draw a box first.")
    assert not button(panel, "Both").isEnabled()
    assert button(panel, "Both").toolTip() == "Click an object or draw a box first."
    assert "Nothing" in button(panel, "Cancel").toolTip()
    panel.show_idle("")
    with qtbot.waitSignal(panel.propagate_asked) as asked:
        button(panel, "Backward").click()
    assert asked.args == ["backward"]
    panel.show_running(3, 9, 1.5, paused=False)
    assert "under way" in button(panel, "Both").toolTip()
    with qtbot.waitSignal(panel.pause_asked) as asked:
        button(panel, "Pause").click()
    assert asked.args == [True]
    panel.show_running(3, 9, 1.5, paused=True)
    assert button(panel, "Resume").isEnabled()
    with qtbot.waitSignal(panel.cancel_asked):
        button(panel, "Cancel").click()


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "paused", "text"),
    [
        (1, 10, 0.4, False, "1/10"),
        (5, 10, 5.0, False, "5/10, 5 s left"),
        (10, 310, 10.0, False, "10/310, 5 min left"),
        (5, 10, 5.0, True, "5/10, paused"),
        (10, 10, 5.0, False, "10/10"),
    ],
)
def test_time_left(done, total, elapsed_s, paused, text) -> None:
    assert progress_text(done, total, elapsed_s, paused=paused) == text


def test_prompt_panel(qtbot) -> None:
    panel = PromptPanel(polarity_key="N", new_object_key="Q")
    qtbot.addWidget(panel)
    assert not button(panel, "New object").isEnabled()
    assert "Open an image" in button(panel, "New object").toolTip()
    panel.show_ready(True)
    panel.show_images([("id-a", "a"), ("id-b", "b")], "id-b")
    panel.show_axes([(0, "t (5 frames)"), (1, "z (9 frames)")], 1)
    images, axes = panel.findChildren(QComboBox)
    assert (images.currentText(), axes.currentText()) == ("b", "z (9 frames)")
    with qtbot.waitSignal(panel.image_chosen) as asked:
        images.activated.emit(0)
    assert asked.args == ["id-a"]
    with qtbot.waitSignal(panel.frame_axis_chosen) as asked:
        axes.activated.emit(0)
    assert asked.args == [0]
    panel.show_axes((), None)
    assert axes.currentText() == "single image"
    assert not axes.isEnabled()
    with qtbot.waitSignal(panel.positive_chosen) as asked:
        button(panel, "Negative").click()
    assert asked.args == [False]
    with qtbot.waitSignal(panel.new_object_asked):
        button(panel, "New object").click()

    rows = [ObjectRow(i, f"Object {i}", (1.0, 0.5, 0.0), i) for i in (1, 2, 5)]
    with qtbot.assertNotEmitted(panel.object_chosen):
        panel.show_objects(rows, 5)
    objects = panel.findChild(QListWidget)
    assert [objects.item(i).text() for i in range(3)] == [
        "Object 1  (1 frame)", "Object 2  (2 frames)", "Object 5  (5 frames)"
    ]  # fmt: skip
    assert objects.currentRow() == 2
    with qtbot.waitSignal(panel.object_chosen) as asked:
        objects.setCurrentRow(1)
    assert asked.args == [2]
    panel.show_objects(rows[:1], None)
    assert objects.count() == 1
    assert objects.currentRow() == -1


@pytest.mark.parametrize("width", [360])
def test_panels_fit_a_narrow_dock(qtbot, width) -> None:
    panels = [
        ModelPanel(["micro", "sam2.1_hiera_base_plus"]),
        PromptPanel(polarity_key="N", new_object_key="Q"),
        PropagatePanel(propagate_key="G", cancel_key="Esc"),
    ]
    panels[1].show_images([("id", "a very long name of a layer " * 5)], "id")
    for panel in panels:
        qtbot.addWidget(panel)
        assert panel.minimumSizeHint().width() <= width - 20
