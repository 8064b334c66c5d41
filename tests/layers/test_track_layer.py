"""Tracks lie over the labels, whatever axis the frames follow each other along."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.layers.annotation import AnnotationLayers
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import choose_geometry
from napari_sam2.layers.results import calibration_of
from napari_sam2.layers.track_layer import new_tracks_layer
from napari_sam2.session.measurements import Calibration, tracks
from napari_sam2.session.session import Session

FRAMES = moving_discs(5, 40, 56)


class Scene:
    """A followed movie whose axes lie in an image layer in some order."""

    def __init__(self, axes: str, *, order=None, point=(), movie=FRAMES, **transform) -> None:
        # t, y and x are the movie's, z an axis of three planes of which one is looked at
        data = movie
        for number, _ in enumerate(sorted(set(axes) - set("tyx"))):
            data = np.stack([data] * (3 + number))
            axes_now = "".join(sorted(set(axes) - set("tyx"))[: number + 1][::-1]) + "tyx"
        names = "tyx" if data.ndim == 3 else axes_now
        data = np.transpose(data, [names.index(name) for name in axes])
        self.viewer = ViewerModel()
        self.image = self.viewer.add_image(data, **transform)
        if order is not None:
            self.viewer.dims.order = order
        for axis, position in point:
            self.viewer.dims.set_point(axis, self.viewer.dims.range[axis].step * position)
        self.geometry = choose_geometry(
            self.image,
            self.viewer.dims,
            frame_axis=axes.index("t"),
            world_units=self.viewer.layers.units,
        )
        assert self.geometry.plane_axes == (axes.index("y"), axes.index("x"))
        self.session = Session(FakeFrames(movie), predictor_factory=FakePredictor)
        for yx in ((12, 14), (30, 40)):
            self.session.add_point(self.session.new_object(), 2, yx)
        list(self.session.propagate())
        self.layers = AnnotationLayers(self.viewer, self.image, self.geometry, self.session)
        for frame_idx in range(self.session.num_frames):
            self.layers.show_masks(frame_idx)

    def new_tracks(self):
        return new_tracks_layer(
            self.session, self.image, self.geometry, world_units=self.viewer.layers.units
        )


def assert_overlaid(scene: Scene, layer) -> None:
    """Look the label up where the layers' own transforms put each vertex of a track."""
    labels = scene.layers.labels
    rows = tracks(scene.session)
    assert len(layer.data) == len(rows) == 10
    axis = scene.geometry.frame_axis
    common = min(layer.ndim, labels.ndim)
    assert [str(unit) for unit in layer.units[-common:]] == [
        str(unit) for unit in labels.units[-common:]
    ]
    for vertex, (obj_id, frame_idx, y, x) in zip(layer.data, rows, strict=True):
        assert vertex[0] == obj_id
        assert vertex[1:][axis - labels.ndim] == frame_idx  # in the order of frames
        (place,) = scene.geometry.to_data(int(frame_idx), (y, x))
        world = np.asarray(labels.data_to_world(place))
        here = np.asarray(layer.data_to_world(vertex[1:]))
        np.testing.assert_allclose(here[-common:], world[-common:], atol=1e-9)
        world[-common:] = here[-common:]
        pixel = tuple(np.round(labels.world_to_data(world)).astype(int))
        assert labels.data[pixel] == obj_id


ROTATED = {"scale": (2, 0.5, 0.25), "translate": (3, 5, -7), "rotate": (0, 0, 30)}


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ("tyx", {}),
        ("tyx", {**ROTATED, "units": ("s", "um", "um")}),
        ("ytx", {"order": (1, 0, 2), "scale": (0.5, 2, 0.25), "translate": (5, 3, -7)}),
        ("yxt", {"order": (2, 0, 1), "scale": (0.5, 0.25, 2), "units": ("um", "um", "s")}),
        ("ytx", {"order": (1, 0, 2), "affine": np.array(
            [[0, 0, 3, 1], [0, 2, 0, 5], [4, 0, 0, 9], [0, 0, 0, 1]])}),
        ("tzyx", {"point": ((1, 2),), "scale": (2, 3, 0.5, 0.25), "translate": (1, 2, 3, 4)}),
        ("ztyx", {"point": ((0, 2),), "scale": (3, 2, 0.5, 0.25), "translate": (1, 2, 3, 4)}),
        ("ztyx", {"point": ((0, 1),), "affine": np.array(
            [[2, 0, 0, 0, 1], [0, 3, 0, 0, 2], [1, 0, 2, 0, 3], [0, 0, 0, 5, 4], [0, 0, 0, 0, 1]],
            float)}),
        ("zytx", {"order": (0, 2, 1, 3), "point": ((0, 1),), "scale": (3, 0.5, 2, 0.25)}),
        ("wztyx", {"point": ((0, 1), (1, 2)), "scale": (1, 3, 2, 0.5, 0.25)}),
        ("wtzyx", {"point": ((0, 1), (2, 2)), "scale": (1, 2, 3, 0.5, 0.25)}),
    ],
)  # fmt: skip
def test_tracks_overlay_the_labels(axes, options) -> None:
    scene = Scene(axes, **options)
    layer = scene.new_tracks()
    assert_overlaid(scene, layer)
    before = [scene.viewer.dims.order, scene.viewer.dims.point]
    scene.viewer.add_layer(layer)
    assert_overlaid(scene, layer)
    # what is on display and where the sliders stand is left as it was
    shift = scene.viewer.dims.ndim - len(before[0])
    assert scene.viewer.dims.order[-2:] == tuple(axis + shift for axis in before[0][-2:])
    assert scene.viewer.dims.point[shift:] == before[1]
    assert scene.viewer.dims.nsteps[:shift] == (1,) * shift


def test_tracks_in_a_world_of_other_units() -> None:
    scene = Scene("ytx", order=(1, 0, 2), scale=(500, 2, 250), units=("nm", "s", "nm"))
    scene.viewer.add_points(np.zeros((1, 3)), scale=(1, 1, 1), units=("um", "s", "um"))
    scene.layers.ensure()
    assert_overlaid(scene, scene.new_tracks())


def test_tracks_that_cannot_be_are_refused_in_a_sentence() -> None:
    for axes, order in (("ytzx", (1, 2, 0, 3)), ("tzwyx", None)):
        scene = Scene(axes, order=order)
        with pytest.raises(LayerRefusedError, match="four axes at most"):
            scene.new_tracks()
    viewer = ViewerModel()
    image = viewer.add_image(FRAMES[0])
    geometry = choose_geometry(image, viewer.dims)
    session = Session(FRAMES[0], predictor_factory=FakePredictor)
    with pytest.raises(LayerRefusedError, match="need several frames"):
        new_tracks_layer(session, image, geometry)
    empty = Scene("tyx")
    for record in empty.session.objects:
        empty.session.remove_object(record.obj_id)
    with pytest.raises(LayerRefusedError, match="no mask"):
        empty.new_tracks()


def test_a_scale_without_a_unit_is_not_called_pixels() -> None:
    plain = Scene("tyx")
    assert calibration_of(plain.image, plain.geometry) == Calibration()
    scaled = Scene("tyx", scale=(5, 0.3, 0.3))
    sizes = calibration_of(scaled.image, scaled.geometry)
    assert (sizes.unit, sizes.frame_unit) == ("world unit", "world unit")
    assert sizes.pixel_size == (0.3, 0.3)


@pytest.mark.parametrize(
    ("options", "pixel_size", "interval"),
    [
        ({"scale": (0.5, 2, 0.25)}, (0.5, 0.25), 2),
        ({"scale": (0.5, 2, 0.5), "rotate": (0, 30, 0)}, (0.5, 0.5), 2),
        ({"scale": (0.5, 2, 0.25), "affine": np.diag([10, -3, 10, 1])}, (5, 2.5), 6),
    ],
)
def test_sizes_follow_the_axes_and_all_transforms(options, pixel_size, interval) -> None:
    scene = Scene("ytx", order=(1, 0, 2), units=("um", "s", "um"), **options)
    sizes = calibration_of(scene.image, scene.geometry)
    assert (sizes.pixel_size, sizes.unit) == (pixel_size, "µm")
    assert (sizes.frame_interval, sizes.frame_unit) == (interval, "s")
