"""What the network sees of the layers: channels, limits, and the look at it, without a window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from fakes import FakeFrames, FakeModelView, FakePredictor, FakeView
from napari_sam2.layers.composition import Composition, Origin
from napari_sam2.layers.errors import LayerRefusedError
from napari_sam2.layers.geometry import NO_FRAMES, FrameGeometry, choose_geometry
from napari_sam2.layers.model_input import (
    is_model_input,
    model_input_layer,
    show_model_input,
)
from napari_sam2.session.intensities import Channel
from napari_sam2.session.session import Session


@dataclass
class Scene:
    viewer: ViewerModel
    image: Image
    composition: Composition


def scene(array, frame_axis=None, **options) -> Scene:
    viewer = ViewerModel()
    image = viewer.add_image(array, **options)
    geometry = choose_geometry(image, viewer.dims, frame_axis=frame_axis)
    return Scene(viewer, image, Composition(image, geometry))


def images(here: Scene) -> list[Image]:
    return [layer for layer in here.viewer.layers if isinstance(layer, Image)]


def test_two_layers_with_their_own_contrast(rng) -> None:
    movie = rng.integers(0, 200, (3, 6, 7), dtype=np.uint8)
    other = rng.random((3, 6, 7)).astype(np.float32)
    here = scene(movie, contrast_limits=(10, 100))
    second = here.viewer.add_image(other, contrast_limits=(0, 0.5), gamma=0.5, name="nuclei")
    here.viewer.add_image(other[:, :5], name="smaller")
    here.viewer.add_image(rng.random((3, 6, 7, 3)), rgb=True, name="colour")
    offered = here.composition.offered(images(here))
    assert [name for _, name in offered] == [here.image.name, "nuclei"]
    assert here.composition.channels == (Channel(0, 10, 100),)
    heard: list[bool] = []
    here.composition.changed.connect(lambda: heard.append(True))
    second.gamma = 0.7
    assert not heard  # it is not seen yet
    here.composition.choose([origin for origin, _ in offered])
    second.contrast_limits = (0.1, 0.9)
    here.image.gamma = 2.0
    assert heard
    assert here.composition.channels == (Channel(0, 10, 100, 2.0), Channel(1, 0.1, 0.9, 0.7))
    source = here.composition.source
    assert (source.num_channels, source.dtype) == (2, np.float32)
    np.testing.assert_allclose(source.read(2), np.stack([movie[2], other[2]], axis=-1))
    # a channel keeps its number, and what was chosen once stays in the frames
    here.composition.choose([offered[1][0]])
    assert [channel.index for channel in here.composition.channels] == [1]
    assert here.composition.source.num_channels == 2
    here.viewer.layers.remove(second)
    assert here.composition.offered(images(here))[-1] == offered[1]
    here.composition.stop()
    heard.clear()
    here.image.gamma = 1.0
    assert not heard


def test_channels_along_an_axis_have_limits_of_their_own(rng) -> None:
    movie = rng.integers(0, 200, (4, 3, 6, 7), dtype=np.uint16)
    movie[:, 2] += 5000
    here = scene(movie, axis_labels=("t", "c", "y", "x"), contrast_limits=(0, 200))
    assert here.composition.source.num_frames == 4
    offered = here.composition.offered(images(here))
    fixed = here.composition._geometry.fixed[0][1]
    assert [name for _, name in offered[1:]] == [f"c = {i}" for i in range(3) if i != fixed]
    last = Origin(offered[0][0].layer_id, (1, 2))
    if fixed == 2:
        pytest.fail("the slider begins in the middle")
    here.composition.choose([offered[0][0], last])
    mine = here.composition.channel(last)
    assert mine.index == 1
    assert 5000 <= mine.low < mine.high < 5200
    here.composition.set_limits(last, 5000, 5100, 0.5)
    assert here.composition.channel(last) == Channel(1, 5000, 5100, 0.5)
    assert here.composition.channels[0] == Channel(0, 0, 200)
    np.testing.assert_array_equal(here.composition.source.read(3)[..., 1], movie[3, 2])
    with pytest.raises(LayerRefusedError, match="low < high"):
        here.composition.set_limits(last, 2, 1, 1)


def test_one_image_of_several_channels(rng) -> None:
    array = rng.random((2, 6, 7))
    here = scene(array, axis_labels=("channel", "y", "x"))
    assert here.composition.source.num_frames == 1
    assert len(here.composition.offered(images(here))) == 2
    unlabelled = scene(array)
    assert unlabelled.composition.source.num_frames == 2
    asked = choose_geometry(unlabelled.image, unlabelled.viewer.dims, frame_axis=NO_FRAMES)
    assert asked.frame_axis is None


def test_choices_that_cannot_be(rng) -> None:
    here = scene(rng.random((3, 6, 7)))
    for choice in ([], [here.composition.own] * 2):
        with pytest.raises(LayerRefusedError, match="one to three"):
            here.composition.choose(choice)
    colour = scene(rng.random((6, 7, 3)), rgb=True)
    assert colour.composition.offered(images(colour)) == []
    assert colour.composition.channels == ()
    with pytest.raises(LayerRefusedError, match="colour"):
        colour.composition.choose([colour.composition.own])


def test_opened_work_is_shown_as_it_was_seen(rng) -> None:
    movie = rng.integers(0, 200, (3, 6, 7), dtype=np.uint8)
    here = scene(movie, contrast_limits=(0, 255))
    seen = (Channel(0, 20, 90, 0.5),)
    session = Session(FakeFrames(movie), channels=seen, predictor_factory=FakePredictor)
    here.composition.adopt(session.settings)
    assert tuple(here.image.contrast_limits) == (20, 90)
    assert here.composition.channels == seen
    older = replace(session.settings, channels=(), value_range=(5.0, 50.0))
    here.composition.adopt(older)
    assert here.composition.channels == (Channel(0, 5, 50),)


def test_the_look_lies_where_it_was_cut(rng) -> None:
    here = scene(
        rng.random((4, 20, 30)), scale=(2, 0.5, 0.25), translate=(1, 2, 3), rotate=(0, 0, 30)
    )
    given = FakeModelView(FakeView(4, 6, 8, 12), rng.random((16, 16, 3)).astype(np.float32))
    geometry = FrameGeometry((4, 20, 30), 0)
    here.viewer.layers.selection.active = here.image
    show_model_input(here.viewer, here.image, geometry, 3, given)
    layer = model_input_layer(here.viewer)
    assert is_model_input(layer)
    assert layer.data.shape == (1, 16, 16, 3)
    assert tuple(layer.contrast_limits) == (0, 255)  # as bright as the network sees it
    np.testing.assert_allclose(layer.data[0] / 255, given.pixels, atol=0.003)
    assert here.viewer.layers.selection.active is here.image
    # the corner of the first of its pixels is the corner of the window
    for corner, pixel in (((-0.5, -0.5), (3.5, 5.5)), ((15.5, 15.5), (11.5, 17.5))):
        np.testing.assert_allclose(
            layer.data_to_world((0, *corner)), here.image.data_to_world((3, *pixel))
        )
    other = FakeModelView(FakeView(0, 0, 20, 30), given.pixels)
    show_model_input(here.viewer, here.image, geometry, 0, other)
    assert model_input_layer(here.viewer) is layer
    np.testing.assert_allclose(
        layer.data_to_world((0, -0.5, -0.5)), here.image.data_to_world((0, -0.5, -0.5))
    )
