"""Markers to prompts and masks to labels, without a window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam2.layers import label_writer
from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.layers.navigation import place_of
from napari_sam2.session.prompts import FramePrompts


def rectangle(frame_idx, y0, x0, y1, x1):
    return np.array([[frame_idx, y, x] for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))])


def test_a_new_annotation_waits_for_a_click(bench) -> None:
    here = bench()
    assert [layer.name for layer in here.viewer.layers][1:] == [
        "SAM 2 labels",
        "SAM 2 shapes",
        "SAM 2 points",
    ]
    assert here.viewer.layers.selection.active is here.layers.points
    assert here.layers.points.mode == "add"
    assert here.layers.labels.data.dtype == np.uint16
    assert here.ask() == 0


def test_the_frame_is_the_points_own_coordinate(bench) -> None:
    here = bench()
    here.viewer.dims.set_point(0, 6)
    here.layers.points.add((2.2, 12, 14))
    assert here.ask() == 1
    assert here.session.objects[0].prompted_frames == (2,)
    here.assert_shown()
    assert here.ask() == 0


def test_many_markers_at_once(bench) -> None:
    here = bench()
    here.layers.points.add([(0, 12, 12), (0, 14, 12), (3, 12, 15)])
    here.layers.shapes.add_rectangles([rectangle(1, 20, 36, 34, 50), rectangle(1, 4, 4, 9, 9)])
    assert here.ask() == 4
    assert [record.prompted_frames for record in here.session.objects] == [(0, 1, 3), (1,)]
    assert here.layers.shapes.features["obj_id"].tolist() == [1, 2]
    here.assert_shown()


def test_clearing_the_points_takes_everything_back(bench) -> None:
    here = bench()
    here.layers.points.add([(0, 12, 12), (3, 12, 15)])
    here.ask()
    here.layers.points.data = np.zeros((0, 3))
    assert here.ask() == 2
    assert here.session.objects[0].prompted_frames == ()
    assert not here.layers.labels.data.any()


@pytest.mark.parametrize("corner", [(10, 12), (20.5, 40.25)])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_rectangle_is_edges(bench, corner, backwards) -> None:
    here = bench()
    y, x = corner
    first, last = ((y + 6, x + 8), corner) if backwards else (corner, (y + 6, x + 8))
    here.layers.shapes.add_rectangles(rectangle(2, *first, *last))
    here.ask()
    np.testing.assert_allclose(here.session.prompts(1, 2).box, [y + 0.5, x + 0.5, y + 6.5, x + 8.5])
    assert here.ask() == 0


def test_a_box_is_cut_off_at_the_border(bench) -> None:
    here = bench()
    here.layers.shapes.add_rectangles(rectangle(0, -9, 50, 12, 99))
    here.ask()
    assert here.session.prompts(1, 0).box.tolist() == [0, 50.5, 12.5, 64]
    here.layers.shapes.add_rectangles(rectangle(0, -9, -9, -2, -3))
    assert here.ask() == 0
    assert here.layers.shapes.nshapes == 1
    assert "no area" in here.refusals[0]


def test_what_cannot_be_a_prompt_makes_no_object(bench) -> None:
    here = bench()
    here.layers.points.add((0, 99, 99))
    here.layers.points.add((77, 9, 9))
    here.layers.shapes.add_polygons([[0, 70, 71], [0, 79, 79], [0, 71, 79]])
    here.layers.shapes.add_polygons([[0, 1, 1], [1, 9, 9], [2, 1, 9]])
    assert here.ask() == 0
    assert here.session.objects == ()
    assert len(here.layers.points.data) == here.layers.shapes.nshapes == 0
    assert len(here.refusals) == 1


def test_points_refine_a_mask_that_was_given(bench) -> None:
    here = bench()
    mask = np.zeros((48, 64), bool)
    mask[5:20, 5:20] = True
    obj_id = here.session.new_object()
    here.session.add_mask(obj_id, 0, mask)
    here.layers.show_prompts(obj_id, 0)
    here.layers.choose(obj_id)
    here.layers.points.add((0, 12, 12))
    here.ask()
    np.testing.assert_array_equal(here.session.prompts(obj_id, 0).mask, mask)
    here.layers.points.data = np.zeros((0, 3))
    here.ask()
    np.testing.assert_array_equal(here.session.prompts(obj_id, 0).mask, mask)


coordinate = st.floats(0, 40)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    points=st.lists(st.tuples(coordinate, coordinate, st.booleans()), max_size=4),
    box=st.none() | st.tuples(coordinate, coordinate, st.floats(1, 8), st.floats(1, 8)),
    frame_idx=st.integers(0, 7),
)
def test_prompts_that_are_shown_say_the_same(bench, points, box, frame_idx) -> None:
    here = bench(scale=(2, 0.3, 0.7), rotate=(0, 0, 20), units=("s", "um", "um"))
    obj_id = here.session.new_object()
    prompts = FramePrompts(
        points=np.array([point[:2] for point in points]).reshape(-1, 2),
        point_labels=np.array([int(point[2]) for point in points], np.int64),
        box=None if box is None else np.array([*box[:2], box[0] + box[2], box[1] + box[3]]),
    )
    here.session.set_prompts(
        obj_id, frame_idx,
        points=prompts.points, point_labels=prompts.point_labels, box=prompts.box,
    )  # fmt: skip
    here.layers.show_prompts(obj_id, frame_idx)
    assert here.ask() == 0
    assert len(here.layers.points.data) == len(points)
    assert here.layers.shapes.nshapes == (box is not None)
    assert prompts == (here.session.prompts(obj_id, frame_idx) or FramePrompts())


def test_only_the_changed_region_is_written(bench) -> None:
    here = bench()
    here.layers.labels.data[0, 47, 63] = 9  # a stroke of a person, far from every object
    here.layers.points.add((0, 12, 12))
    here.ask()
    assert here.layers.labels.data[0, 47, 63] == 9
    assert here.layers.labels.data[0, 12, 12] == 1


def test_labels_of_a_volume_over_time(bench) -> None:
    here = bench(np.zeros((2, 3, 48, 64)))
    depth = here.geometry.fixed[0][1]
    here.layers.points.add((1, depth, 12, 12))
    here.ask()
    labels = here.layers.labels.data
    assert labels.shape == (2, 3, 48, 64)
    assert labels[1, depth, 12, 12] == 1
    assert labels[1, depth - 1].any() == labels[0].any() == False  # noqa: E712


def test_large_label_images_are_compressed(bench, monkeypatch) -> None:
    monkeypatch.setattr(label_writer, "_LARGEST_PLAIN_ARRAY", 1000)
    here = bench()
    assert here.layers.labels.data.chunks == (1, 48, 64)
    here.layers.points.add([(0, 12, 12), (3, 30, 23)])
    here.ask()
    here.assert_shown()


def test_ids_beyond_sixteen_bits(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    here.session.new_object(obj_id=70_000)
    here.session.add_point(70_000, 1, (30, 21))
    assert here.layers.labels.data.dtype == np.uint32
    assert here.layers.labels.data[1, 30, 21] == 70_000
    here.assert_shown()
    np.testing.assert_array_equal(
        label_writer.label_array(FrameGeometry((2, 3)), np.dtype(np.uint16)), np.zeros((2, 3))
    )


def test_layers_that_were_deleted_or_spoilt_come_back(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.layers.shapes.add_rectangles(rectangle(1, 20, 36, 34, 50))
    here.ask()
    for name in ("points", "shapes", "labels"):
        here.viewer.layers.remove(getattr(here.layers, name))
    here.layers.labels.data = np.zeros((3, 3, 3), int)
    here.assert_shown()
    assert len(here.layers.points.data) == here.layers.shapes.nshapes == 1
    assert here.ask() == 0
    assert len(here.viewer.layers) == 4


def test_a_removed_object_takes_its_markers_along(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    here.session.new_object()
    here.session.add_point(2, 0, (30, 20))
    here.layers.show_prompts(2, 0)
    here.session.remove_object(1)
    here.layers.show_objects()
    assert here.layers.points.features["obj_id"].tolist() == [2]
    assert here.ask() == 0
    here.assert_shown()


def test_where_an_object_is_shown(bench) -> None:
    session = bench().session
    assert place_of(session, 1) is None
    session.new_object()
    assert place_of(session, 1) is None
    session.add_box(1, 5, (4, 6, 10, 18))
    session.add_mask(1, 2, np.zeros((48, 64), bool))
    list(session.propagate())
    assert place_of(session, 1) == (2, None)  # absent there
    session.lock(1, 5)
    session.set_prompts(1, 2)
    assert place_of(session, 1) == (5, (7.0, 12.0))


def test_detached_layers_stay_as_they_are(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    heard = []
    here.layers.markers_changed.connect(lambda: heard.append(1))
    points = here.layers.points
    labels = here.layers.labels
    labels.mode = "paint"
    here.layers.detach()
    here.layers.detach()
    assert labels.mode == "pan_zoom"  # its brush would go on being drawn
    points.add((0, 30, 20))
    here.image.scale = (1, 2, 2)
    here.viewer.layers.remove(here.image)
    assert heard == []
    assert not points.locked


def test_markers_hide_no_small_cell_in_a_large_image(bench) -> None:
    here = bench(np.zeros((2, 2048, 2048), np.uint8))
    points = here.layers.points
    points.add((0, 100, 100))
    assert points.size[0] == 20  # from afar they are seen
    least, most = points.canvas_size_limits
    assert most <= 16
    assert least == 0  # or napari shows a marker where there is none in view
