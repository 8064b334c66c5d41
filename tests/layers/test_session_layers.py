"""The image of a session file lies in the world where it lay when the session was saved."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_sam2.layers.geometry import FrameGeometry
from napari_sam2.layers.session_layers import placement_of, session_layers
from napari_sam2.session import files


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    "turned", [{}, {"rotate": 20, "shear": [0.2]}, {"affine": np.diag([3, 0.5, 1.0])}]
)
def test_a_saved_image_comes_back_where_it_was(bench, tmp_path, single, turned) -> None:
    rng = np.random.default_rng(3)
    data = rng.random((20, 30) if single else (4, 20, 30))
    place = {"scale": (2, 0.3, 0.7), "translate": (5, 1, -2), "units": ("s", "um", "um")}
    if single:
        place = {name: values[1:] for name, values in place.items()}
    elif "rotate" in turned:
        turned = {"rotate": (0, 0, 20), "shear": [0, 0, 0.2]}
    elif turned:
        turned = {"affine": np.diag([1, 3, 0.5, 1.0])}
    here = bench(data, **place, **turned)
    here.session.placement = placement_of(here.image, here.geometry)
    assert bool(here.session.placement.affine) == bool(turned)
    here.session.save(tmp_path / "session.json")
    (found,) = session_layers(files.read(tmp_path / "session.json"))
    layer = ViewerModel().add_layer(Layer.create(*found))
    assert layer.units == here.image.units
    for point in rng.uniform(0, 20, (5, data.ndim)):
        np.testing.assert_allclose(layer.data_to_world(point), here.image.data_to_world(point))


def test_a_plane_of_a_tilted_volume_comes_back_where_it_was(bench, tmp_path) -> None:
    data = np.random.default_rng(3).random((3, 4, 20, 30))
    tilted = np.eye(5)
    tilted[2, 1], tilted[3, 1] = 0.5, -2.0  # each plane lies further down and further left
    here = bench(data, scale=(2, 3, 0.3, 0.7), translate=(5, 6, 1, -2), affine=tilted)
    depth, index = 1, 2
    geometry = FrameGeometry(data.shape, 0, ((depth, index),))
    here.session.placement = placement_of(here.image, geometry)
    here.session.save(tmp_path / "session.json")
    (found,) = session_layers(files.read(tmp_path / "session.json"))
    layer = Layer.create(*found)
    assert layer.ndim == 3
    for t, y, x in ((0, 0, 0), (2, 19, 29), (1, 7.5, 3.25)):
        world = here.image.data_to_world((t, index, y, x))
        np.testing.assert_allclose(layer.data_to_world((t, y, x)), np.delete(world, depth))


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_a_picture_file_comes_back(bench, tmp_path, shape) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, shape, np.uint8)
    iio.imwrite(tmp_path / "cell.png", pixels)
    here = bench(pixels, scale=(0.3, 0.7), rgb=len(shape) == 3)
    here.session.path = tmp_path / "cell.png"
    here.session.placement = placement_of(here.image, here.geometry)
    here.session.save(tmp_path / "session.json")
    (found,) = session_layers(files.read(tmp_path / "session.json"))
    layer = Layer.create(*found)
    np.testing.assert_array_equal(layer.data, pixels)
    assert layer.rgb == here.image.rgb
    np.testing.assert_allclose(layer.scale, (0.3, 0.7))
