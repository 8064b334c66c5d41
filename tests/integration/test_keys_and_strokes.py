"""Undo from the keyboard, strokes, candidates, previews and labels, by hand in a real viewer."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox, QSpinBox, QTableView

from fakes import moving_discs
from napari_sam2.widgets import key_bindings
from napari_sam2.widgets.main_widget import annotate

STACK = moving_discs()


def test_undo_and_redo_of_clicks_strokes_and_propagations(
    viewer, hand, fake_model, messages
) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    session, labels = annotator.session, annotator.labels_layer
    viewer.dims.set_point(0, 0)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    clicked = session.document
    hand.key(Qt.Key.Key_G)
    annotator.wait(timeout=20)
    followed = session.document
    # a real stroke of the brush, over nothing and over the object
    viewer.layers.selection.active = labels
    labels.mode, labels.brush_size = "paint", 5
    hand.drag((12, 30), (20, 30))
    annotator.wait(timeout=20)
    assert session.mask(1, 0)[[12, 16, 20], 30].all()
    assert len(annotator.points_layer.data) == 0  # the stroke says it all now
    stroke = session.document
    assert session.undo_title == "Paint"

    hand.undo()  # on the Labels layer, whose own undo it replaces
    annotator.wait(timeout=20)
    assert session.document == followed
    np.testing.assert_array_equal(labels.data[0], session.labels(0))
    assert not labels.data[0, 16, 30]
    assert len(annotator.points_layer.data) == 1
    hand.redo()
    annotator.wait(timeout=20)
    assert session.document == stroke
    np.testing.assert_array_equal(labels.data[0], session.labels(0))
    viewer.layers.selection.active = annotator.image_layer
    hand.undo()
    hand.undo()
    annotator.wait(timeout=20)
    assert session.document == clicked
    assert not labels.data[1:].any()
    viewer.layers.selection.active = annotator.points_layer
    for _ in range(4):
        hand.undo()
    annotator.wait(timeout=20)
    assert session.objects == ()
    assert len(annotator.points_layer.data) == 0
    assert not labels.data.any()
    hand.redo()
    hand.redo()
    annotator.wait(timeout=20)
    assert session.document == clicked
    assert messages == []


def test_candidates_previews_and_the_way_to_prompts(viewer, hand, fake_model, qtbot) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    session, labels = annotator.session, annotator.labels_layer
    viewer.dims.set_point(0, 2)
    hand.click((20, 24))
    annotator.wait(timeout=20)
    first = session.mask(1, 2)
    hand.key(Qt.Key.Key_U)
    annotator.wait(timeout=20)
    assert session.prompts(1, 2).candidate == 1
    assert session.mask(1, 2).sum() > first.sum()
    assert "Answer 2 of 3" in annotator._panels._status.text()
    assert "predicted IoU 0.70, stability" in annotator._panels._status.text()
    assert len(annotator.points_layer.data) == 1
    # a second click builds on it
    hand.click((20, 34))
    annotator.wait(timeout=20)
    assert session.prompts(1, 2).candidate == 1

    hand.key(Qt.Key.Key_Q)
    annotator.wait(timeout=20)
    document, before = session.document, np.array(labels.data[2])
    hand.hold(Qt.Key.Key_H, (40, 50))
    qtbot.waitUntil(lambda: labels.data[2, 40, 50] == 2, timeout=10_000)
    assert session.document is document
    hand.release(Qt.Key.Key_H)
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(labels.data[2], before)

    annotator.points_layer.add((6, 30, 26))
    annotator.wait(timeout=20)
    for key, start in (("K", 4), ("J", 7)):
        viewer.dims.set_point(0, start)
        hand.key(getattr(Qt.Key, f"Key_{key}"))
        assert viewer.dims.current_step[0] == 6
    hand.key(Qt.Key.Key_J)  # nothing further back of this object
    assert viewer.dims.current_step[0] == 6
    hand.key(Qt.Key.Key_Comma)
    assert annotator._images.current.obj_id == 1
    hand.key(Qt.Key.Key_J)
    assert viewer.dims.current_step[0] == 2
    hand.key(Qt.Key.Key_Period)
    assert annotator._images.current.obj_id == 2
    hand.key(Qt.Key.Key_Period)  # round and round
    assert annotator._images.current.obj_id == 1


def test_labels_of_another_layer_are_followed(viewer, fake_model, messages) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    given = np.zeros(STACK.shape, np.int32)
    given[0, 8:16, 8:16], given[0, 26:34, 16:24], given[5, 26:34, 21:29] = 4, 9, 9
    layer = viewer.add_labels(given, name="Cellpose")
    viewer.dims.set_point(0, 0)
    panel = annotator._panels.labels
    assert [panel._layer.itemText(i) for i in range(panel._layer.count())] == ["Cellpose"]
    panel._take.click()
    annotator.wait(timeout=20)
    session = annotator.session
    assert [record.obj_id for record in session.objects] == [4, 9]
    np.testing.assert_array_equal(annotator.labels_layer.data[0], given[0])
    annotator.undo()
    annotator.wait(timeout=20)
    assert session.objects == ()
    annotator.track_labels(layer, all_frames=True)
    annotator.wait(timeout=20)
    assert session.objects[1].prompted_frames == (0, 5)
    annotator.propagate(obj_ids=[9], frames=range(3))
    annotator.wait(timeout=20)
    assert session.objects[0].mask_frames == (0,)
    assert session.objects[1].mask_frames == (0, 1, 2, 5)
    assert messages == []
    annotator.track_labels(viewer.add_labels(np.zeros((7, 7), int), name="other"))
    annotator.wait(timeout=20)
    assert "same size" in messages[0]


def test_table_range_lock_and_live(viewer, fake_model, messages) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    session, panels = annotator.session, annotator._panels
    viewer.dims.set_point(0, 0)
    for y, x in ((12, 12), (30, 20)):
        annotator.new_object()
        annotator.points_layer.add((0, y, x))
        annotator.wait(timeout=20)
    table = panels.objects.table
    assert table.cells.rowCount() == 2
    assert table.selected == (2,)
    table.selectRow(0)
    assert annotator.labels_layer.selected_label == 1
    panels.propagation.set_frames(0, 3)
    panels.propagation._selected.setChecked(True)
    panels.propagation._directions["both"].click()
    annotator.wait(timeout=20)
    assert [len(record.mask_frames) for record in session.objects] == [4, 1]
    lock = table.cells.index(0, 5)
    table.cells.setData(lock, Qt.CheckState.Checked.value, Qt.ItemDataRole.CheckStateRole)
    annotator.wait(timeout=20)
    assert session.objects[0].is_locked
    panels.propagation._selected.setChecked(False)
    panels.propagation._live.setChecked(True)
    annotator._images.current.choose(2)
    annotator.points_layer.add((2, 30, 22))
    annotator.wait(timeout=20)
    assert [len(record.mask_frames) for record in session.objects] == [4, 4]
    annotator._images.current.choose(1)
    annotator.points_layer.add((1, 12, 13))  # of the locked one
    annotator.wait(timeout=20)
    assert "Object 1 is locked" in messages[0]
    table.selectRow(1)
    panels.objects._buttons["Lock frame"].click()
    annotator.wait(timeout=20)
    assert session.objects[1].locked_frames == (0,)
    panels.objects._buttons["Remove"].click()
    annotator.wait(timeout=20)
    assert [record.obj_id for record in session.objects] == [1]
    assert session.undo_title == "Remove objects"


def test_keys_are_heard_while_a_panel_has_the_focus(
    viewer, hand, fake_model, messages, qtbot
) -> None:
    image = viewer.add_image(STACK, name="cells")
    viewer.add_image(STACK, name="gfp")
    annotator = annotate(viewer, image)
    panels = annotator._panels
    viewer.dims.set_point(0, 3)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    for panel, what in (
        (panels.objects, QTableView), (panels.prompts, QComboBox), (panels.propagation, QSpinBox),
    ):  # fmt: skip
        widget = panel.findChildren(what)[0]
        widget.setFocus()
        known = len(annotator.session.objects)
        QTest.keyClick(widget, Qt.Key.Key_Q)
        annotator.wait(timeout=20)
        assert len(annotator.session.objects) == known + 1, widget
        QTest.keyClick(widget, Qt.Key.Key_G)
        annotator.wait(timeout=20)
        assert annotator.image_layer == image
        assert len(annotator.session.objects[0].mask_frames) == 8
        hand.undo()
        annotator.wait(timeout=20)
    QTest.keyClick(panels.objects.table, Qt.Key.Key_Comma)
    qtbot.waitUntil(lambda: panels.objects.table.selected == (3,), timeout=5000)
    QTest.keyClick(panels.objects.table, Qt.Key.Key_Right)
    assert viewer.dims.current_step[0] == 4
    number = panels.propagation.findChildren(QSpinBox)[0]
    number.selectAll()
    QTest.keyClicks(number, "5")  # what numbers are made of stays theirs
    assert number.value() == 5
    assert messages == []


def test_a_key_is_changed(viewer, hand, fake_model, messages, monkeypatch) -> None:
    monkeypatch.setattr(key_bindings, "write_keys", lambda keys: None)
    annotator = annotate(viewer, viewer.add_image(STACK))
    viewer.dims.set_point(0, 0)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    table = annotator._panels.keys._table
    assert table.item(0, 0).text() == "G"
    table.item(0, 0).setText("n")
    assert "polarity" in messages[0]
    assert table.item(0, 0).text() == "G"
    table.item(0, 0).setText("p")  # the Points layer's own, which goes to the annotator now
    assert annotator._panels.propagation._directions["both"].text() == "Both (P)"
    hand.key(Qt.Key.Key_G)
    annotator.wait(timeout=20)
    assert len(annotator.session.objects[0].mask_frames) == 1
    hand.key(Qt.Key.Key_P)
    annotator.wait(timeout=20)
    assert len(annotator.session.objects[0].mask_frames) == 8
    annotator._panels.keys.defaults_asked.emit()
    assert table.item(0, 0).text() == "G"


def test_undo_in_the_middle_of_a_propagation(viewer, hand, slow_model, qtbot, messages) -> None:
    stack = moving_discs(num_frames=60)
    annotator = annotate(viewer, viewer.add_image(stack))
    session, labels = annotator.session, annotator.labels_layer
    viewer.dims.set_point(0, 0)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    clicked = session.document
    hand.key(Qt.Key.Key_G)
    qtbot.waitUntil(lambda: labels.data[5].any(), timeout=20_000)
    hand.undo()
    annotator.wait(timeout=20)
    assert session.document == clicked
    assert not labels.data[1:].any()
    qtbot.wait(150)
    assert session.document == clicked  # the run has ended
    hand.redo()
    annotator.wait(timeout=20)
    assert 5 < len(session.objects[0].mask_frames) < 60
    # a stroke while it runs is heard between two frames
    hand.key(Qt.Key.Key_G)
    viewer.layers.selection.active = labels
    labels.mode, labels.brush_size = "paint", 5
    hand.drag((30, 30), (36, 30))
    qtbot.waitUntil(lambda: session.mask(1, 0)[33, 30], timeout=20_000)
    assert len(session.objects[0].mask_frames) < 60
    hand.key(Qt.Key.Key_Escape)
    annotator.wait(timeout=20)
    done = len(session.objects[0].mask_frames)
    assert done < 60
    np.testing.assert_array_equal(labels.data, [session.labels(t) for t in range(60)])
    assert messages == []


def test_esc_ends_a_polygon_before_it_cancels(viewer, hand, slow_model, qtbot) -> None:
    annotator = annotate(viewer, viewer.add_image(moving_discs(num_frames=60)))
    session, shapes = annotator.session, annotator.shapes_layer
    viewer.dims.set_point(0, 0)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    annotator.new_object()
    annotator.wait(timeout=20)
    annotator.propagate("forward")
    viewer.layers.selection.active = shapes
    shapes.mode = "add_polygon"
    for corner in ((30, 30), (30, 45), (42, 45), (42, 30)):
        hand.click(corner)
    hand.key(Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: session.prompts(2, 0) is not None, timeout=20_000)
    assert annotator._run.is_active
    hand.key(Qt.Key.Key_Escape)
    annotator.wait(timeout=20)
    assert len(session.objects[0].mask_frames) < 60
    mask = session.mask(2, 0)
    assert mask[32:40, 32:43].all()
    assert not mask[:29].any()


def test_a_key_that_something_else_has_is_named(viewer, fake_model, messages) -> None:
    pressed = []
    viewer.bind_key("G", lambda viewer: pressed.append("G"))
    annotator = annotate(viewer, viewer.add_image(STACK))
    annotator.wait(timeout=20)
    assert any("has G: choose other keys in the tab Keys" in told for told in messages), messages
