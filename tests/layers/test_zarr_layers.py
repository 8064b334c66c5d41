"""A zarr that is dropped into the window: what was exported here comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from napari.layers import Labels, Layer

from fakes import FakePredictor, moving_discs
from napari_sam2.readers import folder_reader
from napari_sam2.session.errors import ImageReadError
from napari_sam2.session.export import export_labels
from napari_sam2.session.measurements import Calibration
from napari_sam2.session.session import Session


@pytest.fixture
def session() -> Session:
    session = Session(moving_discs(), predictor_factory=FakePredictor)
    session.add_point(session.new_object(), 0, (12, 12))
    list(session.propagate())
    return session


def test_exported_labels_come_back_with_their_sizes(session, tmp_path) -> None:
    path = tmp_path / "cells.ome.zarr"
    list(export_labels(session, path, Calibration((0.5, 0.25), "µm", 2.0, "s")))
    (row,) = folder_reader(path)(path)
    layer = Layer.create(*row)
    assert isinstance(layer, Labels)
    assert layer.name == "cells"
    np.testing.assert_array_equal(layer.data[5], session.labels(5))
    np.testing.assert_allclose(layer.scale, (2, 0.5, 0.25))
    assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]
    assert layer.axis_labels == ("t", "y", "x")


def test_other_zarrs(session, tmp_path) -> None:
    path = tmp_path / "raw.zarr"
    zarr.save(str(path), moving_discs())
    ((data, options, kind),) = folder_reader(path)(path)
    assert (kind, options, data.shape) == ("image", {"name": "raw"}, (8, 48, 64))
    group = zarr.open_group(str(tmp_path / "many.zarr"), mode="w")
    for name in "ab":
        group.create_array(name, shape=(3, 4), dtype=np.uint8)
    with pytest.raises(ImageReadError, match="holds 2 arrays"):
        folder_reader(tmp_path / "many.zarr")(tmp_path / "many.zarr")


@pytest.mark.parametrize("wrong", [{}, {"axes": 1}, {"datasets": []}, {"axes": [{"name": "x"}]}])
def test_odd_metadata_are_passed_over(tmp_path, wrong) -> None:
    path = tmp_path / "odd.zarr"
    group = zarr.open_group(str(path), mode="w")
    group.create_array("0", shape=(3, 4), dtype=np.uint8)
    scale = [{"type": "scale", "scale": [0.0, 1.0]}]
    image = {
        "axes": [{"name": "y"}, {"name": "x"}],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    group.attrs["ome"] = {"multiscales": [image | wrong]}
    ((_, options, _),) = folder_reader(path)(path)
    assert options == {"name": "odd"}
