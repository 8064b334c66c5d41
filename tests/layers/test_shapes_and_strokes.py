"""Outlines, scribbles and strokes become prompts, and come back after an undo."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from skimage.draw import polygon2mask

from fakes import moving_discs
from napari_sam2.layers import label_reader
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.label_reader import read_labels
from napari_sam2.layers.outlines import area_of, scribble_points
from napari_sam2.layers.prompt_layers import MOST_NAMED
from napari_sam2.layers.strokes import Stroke
from napari_sam2.session.objects import colour_of


def on_frame(frame_idx, *corners):
    return np.array([[frame_idx, y, x] for y, x in corners], float)


TRIANGLE = ((5, 5), (30, 8), (18, 40))


def test_a_polygon_is_the_mask(bench) -> None:
    here = bench(scale=(2, 0.3, 0.7), units=("s", "um", "um"))
    here.layers.shapes.add_polygons(on_frame(2, *TRIANGLE))
    assert here.ask() == 1
    expected = polygon2mask((48, 64), TRIANGLE)
    np.testing.assert_array_equal(here.session.mask(1, 2), expected)
    here.assert_shown()
    assert here.ask() == 0


def test_an_ellipse_fills_its_box(bench) -> None:
    here = bench()
    here.layers.shapes.add_ellipses(on_frame(0, (10, 10), (10, 30), (20, 30), (20, 10)))
    here.ask()
    y, x = np.mgrid[:48, :64]
    inside = ((y - 15) / 5) ** 2 + ((x - 20) / 10) ** 2 <= 1
    np.testing.assert_array_equal(here.session.mask(1, 0), inside)


def test_outlines_are_moved_deleted_undone_and_redone(bench) -> None:
    here = bench()
    shapes = here.layers.shapes
    shapes.add_polygons(on_frame(0, *TRIANGLE))
    here.ask()
    first = here.session.mask(1, 0)
    moved = [(y + 4, x + 10) for y, x in TRIANGLE]
    shapes.data = [on_frame(0, *moved)]
    assert here.ask() == 1
    np.testing.assert_array_equal(here.session.mask(1, 0), np.roll(first, (4, 10), (0, 1)))
    here.undo()
    np.testing.assert_allclose(shapes.data[0], on_frame(0, *TRIANGLE))
    assert here.ask() == 0
    here.redo()
    np.testing.assert_allclose(shapes.data[0], on_frame(0, *moved))
    here.undo()
    here.undo()
    assert shapes.nshapes == 0
    assert here.ask() == 0
    here.redo()
    assert shapes.nshapes == 1
    assert shapes.shape_type == ["polygon"]
    shapes.selected_data = {0}
    shapes.remove_selected()
    assert here.ask() == 1
    assert here.session.prompts(1, 0) is None
    here.undo()
    np.testing.assert_array_equal(here.session.mask(1, 0), first)


def test_two_outlines_are_one_object_and_a_later_box_takes_their_place(bench) -> None:
    here = bench()
    shapes = here.layers.shapes
    shapes.add_polygons(on_frame(0, *TRIANGLE))
    here.ask()
    shapes.add_polygons(on_frame(0, (40, 50), (46, 50), (46, 60), (40, 60)))
    assert here.ask() == 1
    assert here.session.mask(1, 0)[[15, 43], [20, 55]].all()
    shapes.add_rectangles(on_frame(0, (3, 3), (3, 9), (9, 9), (9, 3)))
    assert here.ask() == 1
    assert shapes.shape_type == ["rectangle"]
    assert here.session.prompts(1, 0).mask is None
    here.undo()
    assert shapes.shape_type == ["polygon", "polygon"]
    assert here.ask() == 0


@pytest.mark.parametrize("positive", [True, False])
def test_a_scribble_is_the_points_along_it(bench, positive) -> None:
    here = bench()
    here.layers.points.add((1, 30, 30))
    here.ask()
    here.layers.set_polarity(positive)
    here.layers.shapes.add_paths(on_frame(1, (10, 10), (10, 20), (20, 20)))
    assert here.ask() == 1
    assert here.layers.shapes.nshapes == 0
    prompts = here.session.prompts(1, 1)
    assert len(prompts.points) == 6
    np.testing.assert_allclose(prompts.points[[1, 3, 5]], [(10, 12), (10, 20), (18, 20)])
    assert prompts.point_labels.tolist() == [1, *[int(positive)] * 5]
    assert here.ask() == 0
    here.undo()
    assert len(here.layers.points.data) == 1


def test_points_along_a_short_scribble() -> None:
    np.testing.assert_allclose(scribble_points(np.array([[4.0, 4.0], [4.0, 6.0]]), 10), [[4, 5]])
    assert area_of("ellipse", np.array([[3.0, 3.0]] * 4), 9, 9) is None
    assert area_of("polygon", np.array([[20.0, 3.0], [30, 3], [30, 9]]), 9, 9) is None


def test_a_scribble_that_is_no_longer_there_makes_no_shape(bench) -> None:
    here = bench()
    here.layers.shapes.add_paths([[0, 10, 10], [3, 20, 20]])
    assert here.ask() == 0
    assert here.layers.shapes.nshapes == 0
    assert "several frames" in here.refusals[0]
    assert here.session.objects == ()


def painted(here, label, frame_idx, y, x, size=7):
    labels = here.layers.labels
    labels.brush_size = size
    labels.selected_label = label
    with labels.block_history():
        labels.paint((frame_idx, y, x), label)


def test_a_stroke_is_a_mask_prompt_of_the_chosen_object(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    before = here.session.mask(1, 0)
    painted(here, 1, 0, 12, 22)
    after = here.session.mask(1, 0)
    assert after[12, 22]
    assert after[before].all()
    assert here.session.prompts(1, 0).mask is not None
    here.layers.show_prompts(1, 0)
    assert len(here.layers.points.data) == 0
    here.assert_shown()
    here.undo()
    np.testing.assert_array_equal(here.session.mask(1, 0), before)
    here.assert_shown()
    assert len(here.layers.points.data) == 1
    assert here.ask() == 0


def test_a_stroke_takes_pixels_from_another_object_as_it_looks(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    here.session.new_object()
    here.session.add_point(2, 0, (12, 26))
    # painting 2 over 1, then erasing
    painted(here, 2, 0, 12, 13)
    assert here.session.labels(0)[12, 13] == 2
    assert not here.session.mask(1, 0)[12, 13]
    here.assert_shown()
    painted(here, 0, 0, 12, 26)
    assert not here.session.mask(2, 0)[12, 26]
    here.assert_shown()
    assert here.session.undo_title == "Paint"


def test_a_locked_object_keeps_its_pixels(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    here.session.lock(1, 0)
    before = here.session.mask(1, 0)
    painted(here, 5, 0, 12, 19)
    np.testing.assert_array_equal(here.session.mask(1, 0), before)
    assert here.session.labels(0)[12, 21] == 5
    assert "Object 1 is locked on frame 0" in here.refusals[0]
    here.assert_shown()
    painted(here, 0, 0, 12, 12)
    np.testing.assert_array_equal(here.session.mask(1, 0), before)
    here.assert_shown()


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_locked_keeps_its_pixels_from_a_surer_neighbour(bench, whole) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    accepted = here.session.mask(1, 0)
    here.session.new_object()
    drawn = np.zeros_like(accepted)
    drawn[8:20, 8:30] = True
    here.session.add_mask(2, 0, drawn)
    both = accepted & drawn
    assert both.any()
    assert (here.session.labels(0)[both] == 2).all()
    here.session.lock(1, None if whole else 0)
    np.testing.assert_array_equal(here.session.labels(0) == 1, accepted)
    here.assert_shown()
    here.session.lock(2, 0)
    assert (here.session.labels(0)[both] == 2).all()
    here.session.unlock(2, 0)
    here.session.unlock(1, None if whole else 0)
    assert (here.session.labels(0)[both] == 2).all()
    here.assert_shown()


def test_a_filled_area_and_a_new_label(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    before = here.session.mask(1, 0)
    here.layers.labels.fill((0, 12, 12), 3)
    assert [record.obj_id for record in here.session.objects] == [1, 3]
    np.testing.assert_array_equal(here.session.mask(3, 0), before)
    assert not here.session.mask(1, 0).any()
    here.assert_shown()
    here.layers.labels.data_setitem((np.array([0, 5]), np.array([40, 41]), np.array([9, 10])), 3)
    assert here.session.mask(3, 0)[40, 9]
    assert here.session.mask(3, 5)[41, 10]
    here.assert_shown()


def test_hidden_objects_are_out_of_sight_and_not_gone(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.layers.shapes.add_rectangles(on_frame(1, (3, 3), (3, 9), (9, 9), (9, 3)))
    here.ask()
    here.session.hide(1)
    here.layers.show_objects()
    labels = here.layers.labels
    assert labels.get_color(1)[3] == 0
    assert labels.get_color(2)[3] == 1
    assert not here.layers.points.shown.any()
    assert here.layers.shapes.edge_color[0, 3] == 0
    assert here.ask() == 0
    here.assert_shown()
    here.session.show(1)
    here.layers.show_objects()
    assert labels.get_color(1)[3] == 1
    assert here.layers.points.shown.all()


def test_a_preview_leaves_no_trace(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    seen = here.session.preview(0, (30, 40))
    here.layers.show_preview(0, 2, seen)
    labels = np.asarray(here.layers.labels.data[0])
    np.testing.assert_array_equal(labels == 2, seen.to_array(48, 64))
    here.layers.show_masks(0, ())
    here.assert_shown()
    elsewhere = here.session.preview(0, (10, 50))
    here.layers.show_preview(0, 2, seen)
    here.layers.show_preview(0, 2, elsewhere)
    here.layers.restore_stroke(Stroke(0, {}, np.s_[0:4, 0:4]))
    here.assert_shown()
    bigger = here.session.preview(0, (12, 20), obj_id=1)
    here.layers.show_preview(0, 1, bigger)
    assert here.layers.labels.data[0, 12, 20] == 1
    here.layers.show_masks(0, ())
    here.assert_shown()


def test_selecting_a_click_chooses_its_object(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    here.session.new_object()
    here.session.add_point(2, 0, (30, 20))
    here.layers.show_prompts(2, 0)
    picked = []
    here.layers.object_picked.connect(picked.append)
    here.layers.points.mode = "select"
    here.layers.points.selected_data = {1}
    assert picked == [2]


def test_a_stroke_builds_on_those_that_the_session_has_yet_to_hear_of(bench) -> None:
    here = bench()
    here.layers.points.add((0, 12, 12))
    here.ask()
    waiting = []
    here.layers.painted.disconnect(here._on_painted)
    here.layers.painted.connect(waiting.append)
    here.layers.mask_waiting = lambda obj_id, frame_idx: next(
        (stroke.masks[obj_id] for stroke in reversed(waiting) if obj_id in stroke.masks), None
    )
    painted(here, 1, 0, 12, 24)
    painted(here, 1, 0, 30, 50)
    for stroke in waiting:
        here._on_painted(stroke)
    mask = here.session.mask(1, 0)
    assert mask[12, 24]
    assert mask[30, 50]
    here.assert_shown()


def test_every_label_has_its_own_colour_and_name(bench) -> None:
    here = bench()
    labels = here.layers.labels
    for obj_id in (10, 4104, 5000):
        here.session.new_object(obj_id=obj_id, name=f"cell {obj_id}")
        here.session.add_point(obj_id, 0, (12 + obj_id % 7, 12))
    here.session.hide(10)
    here.show()
    alpha = [labels.colormap.map(np.array([obj_id]))[0, 3] for obj_id in (10, 4104, 5000)]
    assert alpha == [0, 1, 1]
    np.testing.assert_allclose(
        labels.colormap.map(np.array([5000]))[0, :3], colour_of(5000), atol=1e-3
    )
    assert labels.features["name"].tolist() == ["cell 10", "cell 4104", "cell 5000"]


def test_markers_name_their_object_once_a_frame(bench) -> None:
    here = bench()
    session, points, shapes = here.session, here.layers.points, here.layers.shapes
    session.new_object(name="mother")
    session.new_object(name="daughter")
    for place in ((12, 12), (14, 14)):
        session.add_point(1, 0, place)
    session.add_point(1, 2, (12, 14))
    session.add_box(2, 1, (20, 20, 30, 30))
    here.show()
    assert [str(name) for name in points.text.values] == ["mother", "", "mother"]
    assert [str(name) for name in shapes.text.values] == ["daughter"]
    points.text.visible = False
    session.rename_object(1, "anna")
    session.hide(2)
    here.show()
    assert [str(name) for name in points.text.values] == ["anna", "", "anna"]
    assert [str(name) for name in shapes.text.values] == [""]
    assert not points.text.visible
    assert len(points.text.translation) == points.ndim  # else napari fails where it draws
    # a click of a person gets its name when it is read, and takes none with it when it goes
    here.layers.choose(2)
    points.add((3, 40, 40))
    session.show(2)
    here.ask()
    assert [str(name) for name in points.text.values] == ["anna", "", "anna", "daughter"]
    here.undo()
    assert [str(name) for name in points.text.values] == ["anna", "", "anna"]
    # among hundreds names would hide the image
    for number in range(MOST_NAMED):
        session.add_point(1, 0, (1 + number % 40, 1 + number // 4))
    here.show()
    assert set(map(str, points.text.values)) == {""}


def test_ids_beyond_what_a_graphics_card_counts_have_colours_of_their_own(bench) -> None:
    here = bench()
    labels = here.layers.labels
    far = (70_000, 70_001, 65_534 + 70_000, 70_001 + 3 * 65_534, 2**31)
    for number, obj_id in enumerate((3, *far)):
        here.session.new_object(obj_id=obj_id)
        here.session.add_point(obj_id, 0, (6 + 5 * number, 12))
    here.session.hide(70_001)
    here.show()
    shown = labels.colormap.map(np.array([3, *far, 0]))
    for row, obj_id in zip(shown, (3, *far), strict=False):
        if obj_id != 70_001:
            np.testing.assert_allclose(row[:3], colour_of(obj_id), atol=1e-3)
    assert shown[:, 3].tolist() == [1, 1, 0, 1, 1, 1, 0]
    here.session.show(70_001)
    here.session.remove_object(2**31)
    here.show()
    assert labels.colormap.map(np.array([70_001]))[0, 3] == 1
    here.assert_shown()


def test_ids_beyond_16_bits_are_chosen_before_they_have_a_mask(bench) -> None:
    here = bench()
    here.session.new_object(obj_id=1_000_001)
    here.layers.show_objects()
    here.layers.choose(1_000_001)
    assert here.layers.labels.selected_label == 1_000_001
    here.layers.points.add((0, 12, 12))
    assert here.ask() == 1
    here.assert_shown()
    assert here.layers.labels.data[0, 12, 12] == 1_000_001


def test_labels_are_taken_frame_by_frame(bench, monkeypatch) -> None:
    here = bench()
    stack = np.zeros((8, 48, 64), np.uint8)
    stack[2, 5:9, 5:9], stack[6, 5:9, 5:9] = 1, 2
    layer = Labels(stack, name="cells")
    # two frames may be kept: eight have labels in the first place, most of them none
    monkeypatch.setattr(label_reader, "_LARGEST_READ", 2 * 48 * 64)
    assert sorted(read_labels(layer, here.geometry, range(8))) == [2, 6]
    stack[3] = 1
    with pytest.raises(LayerRefusedError, match="too large"):
        read_labels(layer, here.geometry, range(8))


def test_a_stroke_beside_the_plane_of_the_session_is_refused_and_taken_back(bench) -> None:
    here = bench(np.stack([moving_discs(4)] * 3, 1))
    assert here.geometry.frame_axis == 0
    ((axis, place),) = here.geometry.fixed
    assert (axis, place) == (1, 1)
    stray = (np.array([0, 0]), np.array([2, 1]), np.array([5, 5]), np.array([9, 9]))
    here.layers.labels.data_setitem(stray, 3)
    assert "looks at axis -3 at 1" in here.refusals[0]
    here.layers.erase_strays()
    labels = np.asarray(here.layers.labels.data)
    assert labels[0, 2, 5, 9] == 0
    assert labels[0, 1, 5, 9] == 3
    assert here.session.mask(3, 0)[5, 9]
    here.assert_shown()
