"""Real clicks, drags and keys in a real viewer: the mask lands on the pixels under the cursor."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from fakes import moving_discs
from napari_sam2.widgets.main_widget import annotate

STACK = moving_discs()
CENTER = np.array([30.0, 20.0])
"""Of one disc on frame 0, in pixels."""


def colour_movie():
    return np.stack([STACK] * 3, axis=-1)


@pytest.mark.parametrize(
    ("data", "options", "others"),
    [
        (STACK, {}, []),
        (STACK, {"scale": (2, 0.3, 0.6), "translate": (5, -10, 40)}, []),
        (STACK, {"rotate": (0, 0, 30), "shear": (0, 0, 0.3)}, []),
        (STACK, {"units": ("s", "um", "um"), "scale": (1, 0.3, 0.3)}, [("ms", "nm", "nm")]),
        (STACK, {"units": ("s", "nm", "nm")}, [("s", "um", "um")]),
        (STACK, {"scale": (3, 1, 1)}, [("pixel", "pixel", "pixel")]),
        (colour_movie(), {"rgb": True, "scale": (1, 0.5, 0.5)}, []),
        ([STACK, STACK[:, ::2, ::2]], {"multiscale": True, "scale": (1, 0.5, 0.5)}, []),
    ],
    ids=["plain", "scaled", "rotated", "um-nm", "nm-um", "coarse", "colour", "pyramid"],
)
def test_mask_lies_under_the_cursor(
    viewer, hand, fake_model, messages, data, options, others
) -> None:
    layer = viewer.add_image(data, **options)
    for units in others:
        viewer.add_image(np.zeros((3, 8, 8)), units=units, visible=False)
    annotator = annotate(viewer, layer)
    viewer.dims.set_point(0, layer.data_to_world((0, 0, 0))[0])
    world = world_of(viewer, layer, (0, *CENTER))
    across = np.subtract(world_of(viewer, layer, (0, 48, 64)), world_of(viewer, layer, (0, 0, 0)))
    viewer.scene.camera.center = world
    viewer.scene.camera.zoom = 400 / np.abs(across).max()
    annotator.wait(timeout=20)
    hand.click(world)
    annotator.wait(timeout=20)
    assert messages == []
    prompts = annotator.session.prompts(1, 0)
    # the mouse itself is no finer than a pixel of the screen
    np.testing.assert_allclose(prompts.points, [CENTER], atol=0.6)
    mask = annotator.labels_layer.data[0] == 1
    np.testing.assert_allclose(np.argwhere(mask).mean(axis=0), CENTER, atol=0.7)
    # the labels lie where the image lies
    np.testing.assert_allclose(
        world_of(viewer, annotator.labels_layer, (0, *CENTER)),
        world,
        atol=1e-6 * max(map(abs, world)),
    )


def world_of(viewer, layer, data) -> tuple[float, float]:
    world = np.array(layer.data_to_world(data))
    if viewer.layers.units is not None:
        pairs = zip(layer.units, viewer.layers.units, strict=True)
        world *= [(1 * mine).to(theirs).magnitude for mine, theirs in pairs]
    return tuple(world[-2:])


def test_clicks_keys_and_boxes(viewer, hand, fake_model, messages) -> None:
    layer = viewer.add_image(STACK)
    annotator = annotate(viewer, layer)
    session = annotator.session
    viewer.dims.set_point(0, 0)
    hand.click(CENTER)
    annotator.wait(timeout=20)
    hand.key(Qt.Key.Key_N)
    hand.click((30, 25))
    annotator.wait(timeout=20)
    assert session.prompts(1, 0).point_labels.tolist() == [1, 0]
    assert annotator.points_layer.features["polarity"].tolist() == ["positive", "negative"]
    hand.key(Qt.Key.Key_N)
    hand.click((30, 14), button=Qt.MouseButton.RightButton)
    annotator.wait(timeout=20)
    assert session.prompts(1, 0).point_labels.tolist() == [1, 0, 0]

    hand.key(Qt.Key.Key_Q)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    assert [record.obj_id for record in session.objects] == [1, 2]
    assert session.labels(0)[12, 12] == 2

    # a box on another frame: the frame is the one on display
    viewer.dims.set_point(0, 3)
    viewer.layers.selection.active = annotator.shapes_layer
    hand.drag((20, 40), (30, 54))
    annotator.wait(timeout=20)
    box = session.prompts(2, 3).box
    np.testing.assert_allclose(box, [20.5, 40.5, 30.5, 54.5], atol=0.6)
    # a second box there is another object
    hand.drag((36, 6), (44, 16))
    annotator.wait(timeout=20)
    assert [record.obj_id for record in session.objects] == [1, 2, 3]
    assert annotator.shapes_layer.features["obj_id"].tolist() == [2, 3]

    # the key G goes, on whatever layer
    viewer.layers.selection.active = annotator.points_layer
    hand.key(Qt.Key.Key_G)
    annotator.wait(timeout=20)
    assert all(len(record.mask_frames) == 8 for record in session.objects)
    assert messages == []


def test_moving_and_deleting_a_marker_asks_again(viewer, hand, fake_model) -> None:
    layer = viewer.add_image(STACK)
    annotator = annotate(viewer, layer)
    viewer.dims.set_point(0, 0)
    hand.click(CENTER)
    annotator.wait(timeout=20)
    annotator.points_layer.mode = "select"
    hand.drag(CENTER, (12, 12))
    annotator.wait(timeout=20)
    np.testing.assert_allclose(annotator.session.prompts(1, 0).points, [(12, 12)], atol=0.6)
    assert annotator.labels_layer.data[0, 12, 12] == 1
    assert annotator.labels_layer.data[0, 30, 20] == 0
    annotator.points_layer.selected_data = {0}
    hand.key(Qt.Key.Key_Delete)
    annotator.wait(timeout=20)
    assert annotator.session.prompts(1, 0) is None
    assert not annotator.labels_layer.data.any()


def test_markers_of_another_object_are_moved_and_deleted_at_once(viewer, hand, fake_model) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    viewer.dims.set_point(0, 0)
    hand.click(CENTER)
    annotator.wait(timeout=20)
    viewer.layers.selection.active = annotator.shapes_layer
    hand.drag((34, 40), (44, 54))
    viewer.layers.selection.active = annotator.points_layer
    hand.key(Qt.Key.Key_Q)
    hand.click((12, 12))
    annotator.wait(timeout=20)
    assert annotator._images.current.obj_id == 2
    annotator.points_layer.mode = "select"
    hand.drag(CENTER, (14, 40))
    annotator.wait(timeout=20)
    assert annotator._images.current.obj_id == 1
    np.testing.assert_allclose(annotator.session.prompts(1, 0).points, [(14, 40)], atol=0.6)
    # another one without delay, and then the box
    hand.click((12, 12))
    hand.key(Qt.Key.Key_Delete)
    annotator.wait(timeout=20)
    assert annotator.session.prompts(2, 0) is None
    assert len(annotator.session.prompts(1, 0).points) == 1
    hand.key(Qt.Key.Key_Q)
    viewer.layers.selection.active = annotator.shapes_layer
    annotator.shapes_layer.mode = "select"
    hand.click((39, 47))
    assert annotator._images.current.obj_id == 1
    hand.key(Qt.Key.Key_Delete)
    annotator.wait(timeout=20)
    assert annotator.session.prompts(1, 0).box is None
    # the next click is a positive one of the chosen object, whatever was selected
    viewer.layers.selection.active = annotator.points_layer
    annotator.points_layer.mode = "add"
    hand.click((20, 20))
    annotator.wait(timeout=20)
    assert annotator.session.prompts(1, 0).point_labels.tolist() == [1, 1]


def test_prompts_that_cannot_be_are_refused_in_a_sentence(
    viewer, hand, fake_model, messages
) -> None:
    layer = viewer.add_image(STACK)
    annotator = annotate(viewer, layer)
    viewer.dims.set_point(0, 0)
    hand.click((-3, 20))
    annotator.wait(timeout=20)
    assert len(annotator.points_layer.data) == 0
    annotator.shapes_layer.add_ellipses([[[0, 5, 5], [0, 5, 15], [1, 15, 15], [1, 15, 5]]])
    annotator.wait(timeout=20)
    assert annotator.shapes_layer.nshapes == 0
    viewer.dims.ndisplay = 3
    annotator.points_layer.add((0, 10, 10))
    annotator.wait(timeout=20)
    assert len(annotator.points_layer.data) == 0
    assert annotator.session.objects == ()
    words = ("outside", "several frames", "2-D")
    assert all(word in text for word, text in zip(words, messages, strict=True))
    assert all("\n" not in text and text.endswith(".") for text in messages)


def test_the_network_looks_while_the_button_is_down(viewer, hand, fake_model, qtbot) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    viewer.dims.set_point(0, 0)
    annotator.wait(timeout=20)
    place, button = hand.at(CENTER), Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    QTest.mouseMove(hand.canvas, place)
    qtbot.wait(30)
    QTest.mousePress(hand.canvas, button, none, place)
    annotator.wait(timeout=20)
    (model,) = fake_model
    assert [call[0] for call in model.calls] == ["init_state", "anticipate_click"]
    assert not annotator.session.document.objects
    looked_at = model.calls[-1][2]
    QTest.mouseRelease(hand.canvas, button, none, place)
    annotator.wait(timeout=20)
    # it looked at the very place that was asked for
    ((y, x),) = annotator.session.prompts(1, 0).points
    assert looked_at == (np.float32(x), np.float32(y))
    assert model.calls[-1][0] == "answer"
    # a button that only takes hold of something asks nothing
    annotator.points_layer.mode = "select"
    count = len(model.calls)
    QTest.mousePress(hand.canvas, button, none, place)
    annotator.wait(timeout=20)
    assert len(model.calls) == count
    QTest.mouseRelease(hand.canvas, button, none, place)


def test_the_network_looks_where_the_pointer_rests(viewer, hand, fake_model, qtbot) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    viewer.dims.set_point(0, 0)
    annotator.wait(timeout=20)
    hand.move((3, 3))
    qtbot.waitUntil(lambda: bool(fake_model), timeout=5000)
    (model,) = fake_model
    qtbot.waitUntil(lambda: len(model.calls) == 2, timeout=5000)
    hand.click((3, 3))
    annotator.wait(timeout=20)
    # the rest and the press, which costs nothing more, were at the very place of the click
    looks = [call[2] for call in model.calls if call[0] == "anticipate_click"]
    ((y, x),) = annotator.session.prompts(1, 0).points
    assert set(looks) == {(np.float32(x), np.float32(y))}
    # a pointer that could not place a click is not followed, by its tool or by the layer in use
    annotator.points_layer.mode = "pan_zoom"
    hand.move((30, 30))
    qtbot.wait(150)
    annotator.points_layer.mode = "add"
    viewer.layers.selection.active = annotator.labels_layer
    hand.move((28, 30))
    qtbot.wait(150)
    annotator.wait(timeout=20)
    assert sum(call[0] == "anticipate_click" for call in model.calls) == len(looks)


def test_a_click_where_a_box_is_dragged_makes_no_object(viewer, hand, fake_model, messages) -> None:
    annotator = annotate(viewer, viewer.add_image(STACK))
    viewer.dims.set_point(0, 0)
    viewer.layers.selection.active = annotator.shapes_layer
    hand.click((12, 12))
    annotator.wait(timeout=20)
    assert len(annotator.shapes_layer.data) == 0
    assert annotator.session.objects == ()
    (message,) = messages
    assert "choose the layer SAM 2 points" in message
    hand.drag((8, 8), (20, 24))  # the next box is one
    annotator.wait(timeout=20)
    assert len(annotator.shapes_layer.data) == 1
    assert len(annotator.session.objects) == 1
    hand.click((40, 40))
    annotator.wait(timeout=20)
    assert len(annotator.shapes_layer.data) == 1  # and stays
    assert annotator.session.prompts(1, 0).box is not None
    # a script draws what it wants
    annotator.new_object()
    annotator.shapes_layer.add_rectangles([[[0, 40, 40], [0, 40, 41], [0, 41, 41], [0, 41, 40]]])
    annotator.wait(timeout=20)
    assert len(annotator.session.objects) == 2
