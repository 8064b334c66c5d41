"""The panels: what is shown, what is asked, and why a button cannot be pressed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QPushButton, QTableWidget, QToolButton

from napari_sam2.layers.composition import Origin
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.keymap import DEFAULT_KEYS, KeyAction, checked_key
from napari_sam2.session.intensities import Channel
from napari_sam2.session.masks import store_drawn
from napari_sam2.session.objects import Document, ObjectState
from napari_sam2.session.prompts import FramePrompts
from napari_sam2.session.wording import counted, figures
from napari_sam2.widgets import train_panels
from napari_sam2.widgets.annotator_panels import StatusLine
from napari_sam2.widgets.input_panel import InputPanel, InputView
from napari_sam2.widgets.keys_panel import KeysPanel
from napari_sam2.widgets.labels_panel import LabelsPanel
from napari_sam2.widgets.model_panel import ModelPanel
from napari_sam2.widgets.object_table import TableView
from napari_sam2.widgets.objects_panel import ObjectsPanel
from napari_sam2.widgets.prompt_panel import PromptPanel
from napari_sam2.widgets.propagate_panel import PropagatePanel, progress_text
from napari_sam2.widgets.work_panel import WorkPanel
from sam2_backbone.inference.packed_mask import PackedMask


def tool(panel, text) -> QToolButton:
    (found,) = (child for child in panel.findChildren(QToolButton) if text in child.text())
    return found


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
    assert panel._where.text() == "cuda, bfloat16"
    panel.show_environment("cpu", "float32")
    assert "micro answers sooner" in panel._where.text()
    panel.show_variant("micro")
    panel.show_environment("cpu", "float32")
    assert panel._where.text() == "cpu, float32"


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
        (0, 0, 0.1, False, "starting …"),
        (0, 0, 0.1, True, "paused"),
        (7, 0, 5.0, False, "7"),
    ],
)
def test_time_left(done, total, elapsed_s, paused, text) -> None:
    assert progress_text(done, total, elapsed_s, paused=paused) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (38.0, "38"), (12.3456, "12.35"), (999.5, "999.5"), (-12345.6, "-12346")],
)
def test_numbers_are_written_without_powers(value, text) -> None:
    assert figures(value) == text


def test_a_curve_begins_with_the_second_report() -> None:
    minutes, values = train_panels._smoothed([0.5, 1.0, 1.5], [4.0, 2.0, 3.0])
    np.testing.assert_allclose(minutes, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(values, [4.0, 3.0, 3.0])
    _, values = train_panels._smoothed(range(7), [9, 1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(values[-2:], 1)  # what is long past does not count
    assert len(train_panels._smoothed([], [])[1]) == 0


def test_the_line_below_keeps_room_for_three_lines(qtbot) -> None:
    line = StatusLine()
    qtbot.addWidget(line)
    line.setText("one")
    one = line.heightForWidth(300)
    line.setText("one\ntwo\nthree")
    assert line.heightForWidth(300) == one
    line.setText("one\ntwo\nthree\nfour")
    assert line.heightForWidth(300) > one


def test_things_are_counted() -> None:
    assert [counted(number, "frame") for number in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]


def test_prompt_panel(qtbot) -> None:
    panel = PromptPanel(polarity_key="N")
    qtbot.addWidget(panel)
    assert not button(panel, "Positive").isEnabled()
    assert "Open an image" in button(panel, "Positive").toolTip()
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


def a_document(count=3):
    mask = store_drawn(PackedMask.pack(np.pad(np.ones((4, 5), bool), 2)))
    tracked = replace(mask, iou=0.876, object_score=3.0)
    prompts = {0: FramePrompts(np.zeros((1, 2)), np.ones(1, np.int64))}
    return Document(
        {
            obj_id: ObjectState(obj_id, f"Cell {obj_id}", prompts, {0: mask, 1: tracked})
            for obj_id in range(1, count + 1)
        }
    )


def test_object_table(qtbot) -> None:
    panel = ObjectsPanel()
    qtbot.addWidget(panel)
    table, cells = panel.table, panel.table.cells
    assert "Open an image" in tool(panel, "New").toolTip()
    panel.show_ready(True)
    panel.show_objects(TableView(Document(), None), None)
    assert "no object yet" in tool(panel, "Remove").toolTip()
    document = a_document()
    with qtbot.assertNotEmitted(table.object_chosen):
        panel.show_objects(TableView(document, 1, pixel_area=0.25, unit="um"), 3)

    def texts(row):
        return [cells.data(cells.index(row, column)) for column in range(4)]

    assert texts(0) == ["Cell 1", "tracked", "0.88", "5"]
    assert cells.headerData(3, Qt.Orientation.Horizontal) == "um²"
    assert table.selected == (3,)
    panel.show_objects(TableView(document, 0), 3)
    assert texts(1) == ["Cell 2", "prompted", "–", "20"]
    panel.show_objects(TableView(document, 7), 3)
    assert texts(1) == ["Cell 2", "–", "–", "–"]
    tip = cells.data(cells.index(1, 1), Qt.ItemDataRole.ToolTipRole)
    assert "masks on 2 frames, prompts on 1" in tip
    with qtbot.waitSignal(table.object_chosen) as asked:
        table.selectRow(1)
    assert asked.args == [2]
    with qtbot.waitSignal(cells.renamed) as asked:
        cells.setData(cells.index(0, 0), " Mother ", Qt.ItemDataRole.EditRole)
    assert asked.args == [1, "Mother"]
    for column, signal in ((4, cells.shown_changed), (5, cells.locked_changed)):
        index = cells.index(2, column)
        other = Qt.CheckState.Unchecked if column == 4 else Qt.CheckState.Checked
        assert cells.data(index, Qt.ItemDataRole.CheckStateRole) != other
        with qtbot.waitSignal(signal) as asked:
            cells.setData(index, other.value, Qt.ItemDataRole.CheckStateRole)
        assert asked.args == [3, column == 5]
    table.select([1, 3])
    with qtbot.waitSignal(panel.remove_asked) as asked:
        tool(panel, "Remove").click()
    assert asked.args == [(1, 3)]
    # the selection stays with its objects when others go
    panel.show_objects(TableView(document.without_object(2), 0), 3)
    assert table.selected == (1, 3)
    with qtbot.waitSignal(table.jump_asked) as asked:
        table.doubleClicked.emit(cells.index(1, 1))
    assert asked.args == [3]


def test_hundreds_of_objects_cost_only_the_rows_in_sight(qtbot) -> None:
    panel = ObjectsPanel()
    qtbot.addWidget(panel)
    panel.resize(360, 300)
    panel.show()
    qtbot.waitExposed(panel)
    asked, data = [], panel.table.cells.data
    panel.table.cells.data = lambda index, role=0: asked.append(index.row()) or data(index, role)
    panel.show_objects(TableView(a_document(1000), 1), 1)
    qtbot.wait(50)
    assert 0 < len(set(asked)) < 40


def test_labels_work_and_keys_panels(qtbot) -> None:
    labels = LabelsPanel()
    qtbot.addWidget(labels)
    assert "no other Labels layer" in button(labels, "Track").toolTip()
    labels.show_layers([("id-a", "a")], "")
    labels._frames.setCurrentIndex(1)
    with qtbot.waitSignal(labels.take_asked) as asked:
        button(labels, "Track").click()
    assert asked.args == ["id-a", True]

    work = WorkPanel(undo_key="Ctrl+Z", redo_key="Ctrl+Shift+Z")
    qtbot.addWidget(work)
    assert tool(work, "Undo").toolTip() == "There is nothing to undo."
    work.show_steps("Prompt", None, hindrance="")
    assert tool(work, "Undo").toolTip() == "Undo: Prompt (Ctrl+Z)"
    with qtbot.waitSignal(work.undo_asked):
        tool(work, "Undo").click()
    assert not tool(work, "Redo").isEnabled()
    work.show_steps(None, None, hindrance="Open an image first.")
    assert tool(work, "Save").toolTip() == "Open an image first."
    work.offer("Found something.")
    assert work._offer.isVisibleTo(work)
    with qtbot.waitSignal(work.taken_up):
        tool(work, "Take").click()

    keys = KeysPanel()
    qtbot.addWidget(keys)
    keys.show_keys(DEFAULT_KEYS)
    table = keys.findChild(QTableWidget)
    texts = [table.item(row, 0).text() for row in range(table.rowCount())]
    assert texts[:3] == ["G", "N", "Q"]
    assert texts[-1] == "Esc"
    with qtbot.waitSignal(keys.key_chosen) as asked:
        table.item(0, 0).setText("P")
    assert asked.args == [KeyAction.PROPAGATE, "P"]


@pytest.mark.parametrize("typed", ["Ctrl+Z", "n", "", "Ctrl+Nonsense"])
def test_keys_that_cannot_be(typed) -> None:
    with pytest.raises(LayerRefusedError, match=r"is no key|already"):
        checked_key(typed, KeyAction.PROPAGATE, DEFAULT_KEYS)


def test_keys_as_people_write_them() -> None:
    assert checked_key("p", KeyAction.PROPAGATE, DEFAULT_KEYS) == "P"
    assert checked_key("Ctrl+Alt+G", KeyAction.PROPAGATE, DEFAULT_KEYS) == "Control-Alt-G"
    assert checked_key("G", KeyAction.PROPAGATE, DEFAULT_KEYS) == "G"


@pytest.mark.parametrize("width", [360])
def test_panels_fit_a_narrow_dock(qtbot, width) -> None:
    panels = [
        ModelPanel(["micro", "sam2.1_hiera_base_plus"]),
        PromptPanel(polarity_key="N"),
        PropagatePanel(propagate_key="G", cancel_key="Esc"),
        ObjectsPanel(),
        LabelsPanel(),
        InputPanel(),
        KeysPanel(),
        WorkPanel(undo_key="Ctrl+Z", redo_key="Ctrl+Shift+Z"),
    ]
    panels[1].show_images([("id", "a very long name of a layer " * 5)], "id")
    for panel in panels:
        qtbot.addWidget(panel)
        assert panel.minimumSizeHint().width() <= width - 20


def test_the_input_panel_names_channels_and_their_limits(qtbot) -> None:
    panel = InputPanel()
    qtbot.addWidget(panel)
    own, second, place = Origin("a"), Origin("b"), Origin("a", (1, 2))
    offered = [(own, "cells"), (place, "c = 2"), (second, "nuclei")]
    panel.show_view(InputView(offered, [(own, Channel(0, 0, 65535))]))
    first, black = panel._boxes[0], panel._limits[0][0]
    assert first.currentText() == "cells"
    assert not black.isEnabled()
    assert "Follows" in black.toolTip()
    assert panel._limits[0][1].text() == "white 65535"
    assert not panel._limits[1][0].isVisibleTo(panel)
    assert "above" in panel._boxes[2].toolTip()
    with qtbot.waitSignal(panel.channels_chosen) as asked:
        panel._boxes[1].setCurrentIndex(2)
        panel._boxes[1].activated.emit(2)
    assert asked.args == [(own, place)]
    seen = [(own, Channel(0, 0, 65535)), (place, Channel(1, 0.25, 9, 0.5))]
    panel.show_view(InputView(offered, seen))
    numbers = panel._limits[1]
    assert [number.text() for number in numbers] == ["black 0.25", "white 9", "gamma 0.5"]
    with qtbot.waitSignal(panel.limits_chosen) as asked:
        numbers[1].setValue(12)
    assert asked.args == [place, 0.25, 12, 0.5]
    panel.show_view(InputView(offered, seen))
    assert numbers[1].value() == 9
    with qtbot.waitSignal(panel.preview_toggled) as asked:
        panel._preview.click()
    assert asked.args == [True]
    panel.show_view(InputView())
    assert "colour" in panel._boxes[0].toolTip()
    panel.show_view(InputView(hindrance="Open an image first."))
    assert panel._preview.toolTip() == "Open an image first."
    assert not panel._preview.isEnabled()
