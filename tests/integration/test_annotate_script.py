"""The widget as a script drives it: the calls of the public contract, in a real viewer."""

from __future__ import annotations

import numpy as np
import pytest

import napari_sam2
from fakes import moving_discs
from napari_sam2.widgets.main_widget import annotate


def test_points_propagation_and_objects(viewer, fake_model) -> None:
    layer = viewer.add_image(moving_discs(), scale=(1, 0.3, 0.3))
    annotator = napari_sam2.annotate(viewer, layer, variant="micro")
    assert annotator.session.num_frames == 8
    assert annotator.image_layer == layer
    annotator.points_layer.add((2, 12, 14))
    annotator.wait(timeout=20)
    assert [record.obj_id for record in annotator.session.objects] == [1]
    labels = annotator.labels_layer
    assert labels.data.dtype == np.uint16
    assert labels.data[2, 12, 14] == 1
    assert not labels.data[3].any()
    np.testing.assert_array_equal(labels.data[2] == 1, annotator.session.mask(1, 2))
    # the chosen object has its colour everywhere
    colour = annotator.session.objects[0].colour
    np.testing.assert_allclose(annotator.points_layer.face_color[0, :3], colour, atol=0.01)
    np.testing.assert_allclose(labels.get_color(1)[:3], colour, atol=0.01)

    assert annotator.new_object() == 2
    annotator.points_layer.add((0, 30, 20))
    annotator.propagate(direction="both")
    annotator.wait(timeout=20)
    for frame_idx in range(8):
        np.testing.assert_array_equal(labels.data[frame_idx], annotator.session.labels(frame_idx))
        assert set(np.unique(labels.data[frame_idx])) == {0, 1, 2}

    # the same widget is found again, and the same session with it
    session = annotator.session
    again = napari_sam2.annotate(viewer, layer)
    assert again is annotator
    assert again.session is session
    with pytest.raises(ValueError, match="direction"):
        annotator.propagate("sideways")
    with pytest.raises(ValueError, match="variant"):
        annotate(viewer, layer, variant="nano")
    with pytest.raises(TypeError, match="image layer"):
        annotate(viewer, labels)


def test_changes_of_the_session_show_in_the_layers(viewer, fake_model) -> None:
    layer = viewer.add_image(moving_discs())
    annotator = annotate(viewer, layer)
    session = annotator.session
    first, second = session.new_object("cell"), session.new_object()
    session.add_point(first, 3, (30, 23))
    session.add_point(first, 3, (10, 10), positive=False)
    session.add_box(second, 0, (6, 6, 18.5, 18))
    annotator.wait(timeout=20)
    points, shapes, labels = annotator.points_layer, annotator.shapes_layer, annotator.labels_layer
    np.testing.assert_allclose(points.data, [(3, 30, 23), (3, 10, 10)])
    assert points.features["polarity"].tolist() == ["positive", "negative"]
    assert points.features["obj_id"].tolist() == [first, first]
    np.testing.assert_allclose(shapes.data[0].min(axis=0), (0, 5.5, 5.5))
    np.testing.assert_allclose(shapes.data[0].max(axis=0), (0, 18, 17.5))
    np.testing.assert_array_equal(labels.data[3], session.labels(3))
    asked = len(fake_model[0].calls)
    annotator.wait(timeout=20)
    assert len(fake_model[0].calls) == asked  # markers that were drawn ask nothing

    for _ in session.propagate():
        pass
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(labels.data, [session.labels(t) for t in range(8)])
    session.undo()
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(labels.data, [session.labels(t) for t in range(8)])
    assert not labels.data[7].any()
    session.remove_object(first)
    annotator.wait(timeout=20)
    assert len(points.data) == 0
    assert shapes.nshapes == 1
    assert not (labels.data == first).any()
    session.undo()
    annotator.wait(timeout=20)
    assert len(points.data) == 2
    assert (labels.data[3] == first).any()


def test_a_deleted_layer_is_made_again(viewer, fake_model, messages) -> None:
    layer = viewer.add_image(moving_discs())
    annotator = annotate(viewer, layer)
    annotator.points_layer.add((0, 12, 12))
    annotator.shapes_layer.add_rectangles([[2, 20, 40], [2, 20, 54], [2, 32, 54], [2, 32, 40]])
    annotator.wait(timeout=20)
    before = np.array(annotator.labels_layer.data)
    # a slip of the delete key does nothing
    viewer.layers.selection = {viewer.layers["SAM 2 labels"]}
    viewer.layers.remove_selected()
    assert "SAM 2 labels" in viewer.layers
    messages.clear()  # napari's, that the layer is locked
    for name in ("SAM 2 labels", "SAM 2 points", "SAM 2 shapes"):
        viewer.layers.remove(viewer.layers[name])
    annotator.propagate("forward")
    annotator.wait(timeout=20)
    assert len(viewer.layers) == 4
    np.testing.assert_array_equal(annotator.labels_layer.data[0], before[0])
    assert len(annotator.points_layer.data) == 1
    assert annotator.shapes_layer.nshapes == 1
    viewer.layers.remove(annotator.labels_layer)
    annotator.points_layer.name = "something else"
    annotator.points_layer.add((0, 12, 13))
    annotator.wait(timeout=20)
    np.testing.assert_array_equal(annotator.labels_layer.data[0], annotator.session.labels(0))
    assert messages == []


def test_cancel_pause_and_a_click_in_the_middle(viewer, slow_model, qtbot) -> None:
    stack = moving_discs(num_frames=40)
    annotator = annotate(viewer, viewer.add_image(stack))
    session = annotator.session
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    annotator.propagate("forward")
    qtbot.waitUntil(lambda: annotator.labels_layer.data[4].any(), timeout=20_000)
    annotator.pause()
    annotator.wait(timeout=20)
    held = len(session.objects[0].mask_frames)
    assert 5 <= held < 40
    qtbot.wait(150)
    assert len(session.objects[0].mask_frames) == held

    # a click while it is held, and another while it goes on, are answered at once
    annotator.new_object()
    annotator.points_layer.add((0, 30, 20))
    annotator.wait(timeout=20)
    assert session.mask(2, 0).any()
    annotator.propagate()
    annotator.points_layer.add((39, 24, 60))
    qtbot.waitUntil(lambda: annotator.labels_layer.data[39].any(), timeout=20_000)
    assert len(session.objects[0].mask_frames) < 40  # long before the run was through

    annotator.cancel()
    annotator.wait(timeout=20)
    done = session.objects[0].mask_frames
    assert len(done) < 40
    qtbot.wait(150)
    assert session.objects[0].mask_frames == done
    for frame_idx in range(40):
        np.testing.assert_array_equal(
            annotator.labels_layer.data[frame_idx], session.labels(frame_idx)
        )
    annotator.propagate("both")
    annotator.wait(timeout=30)
    assert len(session.objects[0].mask_frames) == 40


def test_wait_gives_up_and_the_window_lives_meanwhile(viewer, slow_model) -> None:
    annotator = annotate(viewer, viewer.add_image(moving_discs(num_frames=60)))
    annotator.points_layer.add((0, 12, 12))
    annotator.propagate()
    with pytest.raises(TimeoutError, match=r"after 0\.2 s"):
        annotator.wait(timeout=0.2)
    assert annotator.session.objects
    annotator.cancel()
    annotator.wait(timeout=20)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: nothing works"), ValueError("no")])
def test_a_failing_model_is_told_and_costs_nothing(
    viewer, fake_model, messages, error, caplog
) -> None:
    annotator = annotate(viewer, viewer.add_image(moving_discs()))
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    fake_model[0].fail_next = error
    annotator.points_layer.add((0, 14, 12))
    annotator.wait(timeout=20)
    assert len(messages) == 1
    assert str(error) in messages[0]
    assert "\n" not in messages[0]
    assert len(annotator.points_layer.data) == 1  # the marker that was not taken is gone
    assert len(annotator.session.prompts(1, 0).points) == 1

    fake_model[0].fail_next = error
    annotator.propagate()
    annotator.wait(timeout=20)
    assert len(messages) == 2
    # the sentence is for the person, the log has where it happened
    (logged,) = [record for record in caplog.records if "failed" in record.message]
    assert (logged.levelname, logged.message) == ("ERROR", "Propagating failed")
    assert logged.exc_info[1].__traceback__ is not None
    assert "fakes.py" in caplog.text
    annotator.propagate()
    annotator.wait(timeout=20)
    assert len(annotator.session.objects[0].mask_frames) == 8


def test_another_model_answers_next(viewer, fake_model) -> None:
    annotator = annotate(viewer, viewer.add_image(moving_discs()))
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    annotator._panels.model.variant_chosen.emit("sam2.1_hiera_tiny")
    annotator.wait(timeout=20)
    assert annotator.session.variant == "sam2.1_hiera_tiny"
    annotator.points_layer.add((0, 14, 12))
    annotator.wait(timeout=20)
    assert fake_model[-1].settings.variant == "sam2.1_hiera_tiny"
    assert len(annotator.session.prompts(1, 0).points) == 2


def test_several_images_and_axes(viewer, fake_model, rng) -> None:
    movie = viewer.add_image(moving_discs(), name="movie")
    annotator = annotate(viewer, movie)
    annotator.points_layer.add((0, 12, 12))
    annotator.wait(timeout=20)
    session = annotator.session
    volume = viewer.add_image(rng.random((3, 4, 48, 64)), name="(T, Z, Y, X)")
    viewer.dims.set_point(1, 2)
    annotator.open_image(volume)
    assert annotator.session.num_frames == 3
    annotator.points_layer.add((1, 2, 30, 20))
    annotator.points_layer.add((1, 3, 30, 20))  # another depth than the session's
    annotator.wait(timeout=20)
    assert len(annotator.points_layer.data) == 1
    assert annotator.labels_layer.data[1, 2, 30, 20] == 1
    annotator.open_image(volume, frame_axis=1)
    assert annotator.session.num_frames == 4
    choice = annotator._panels.prompts._image
    assert choice.currentText() == "(T, Z, Y, X)"
    choice.activated.emit(choice.findText("movie"))
    assert annotator.session is session
    assert choice.currentText() == "movie"
    assert len(annotator.points_layer.data) == 1
    still = viewer.add_image(moving_discs()[0], name="still")
    annotator.open_image(still)
    annotator.points_layer.add((12, 12))
    annotator.wait(timeout=20)
    assert annotator.labels_layer.data[12, 12] == 1


def test_a_network_stays_in_use_unless_another_is_asked_for(viewer, fake_model) -> None:
    layer = viewer.add_image(moving_discs())
    annotator = annotate(viewer, layer, variant="sam2.1_hiera_tiny")
    assert annotate(viewer, layer) is annotator
    assert annotator.session.variant == "sam2.1_hiera_tiny"
    annotate(viewer, viewer.add_image(moving_discs()))
    assert annotator.session.variant == "sam2.1_hiera_tiny"
    annotate(viewer, layer, variant="micro")
    assert annotator.session.variant == "micro"
