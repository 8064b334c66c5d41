"""Labels that are read when they are looked at behave as an array, also under napari's brush."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from napari.components import ViewerModel

from napari_sam2.layers.lazy_labels import LazyLabels

SHAPE = (4, 5, 6)


def numbers() -> np.ndarray:
    return np.arange(120, dtype=np.uint8).reshape(SHAPE)


def lazy(reads: list[int] | None = None) -> LazyLabels:
    def read(frame_idx: int) -> np.ndarray:
        if reads is not None:
            reads.append(frame_idx)
        return numbers()[frame_idx]

    return LazyLabels(read, SHAPE[0], SHAPE[1:], np.uint16)


@given(arrays.basic_indices(SHAPE, allow_newaxis=False))
def test_reading_is_that_of_an_array(key) -> None:
    found = lazy()[key]
    np.testing.assert_array_equal(found, numbers()[key])
    assert found.dtype == np.uint16


@given(arrays.basic_indices(SHAPE, allow_newaxis=False), st.booleans())
def test_writing_is_that_of_an_array(key, whole) -> None:
    labels, expected = lazy(), numbers().astype(np.uint16)
    value = expected[key] + 500 if whole else 777
    labels[key] = value
    expected[key] = value
    np.testing.assert_array_equal(np.asarray(labels), expected)


@given(arrays.integer_array_indices(SHAPE, result_shape=st.just((7,))))
def test_single_pixels(key) -> None:
    labels, expected = lazy(), numbers().astype(np.uint16)
    np.testing.assert_array_equal(labels[key], expected[key])
    labels[key] = 900
    expected[key] = 900
    np.testing.assert_array_equal(labels[:], expected)


def test_a_frame_is_read_when_it_is_looked_at() -> None:
    reads: list[int] = []
    labels = lazy(reads)
    assert (labels.shape, labels.ndim, reads) == (SHAPE, 3, [])
    _ = labels[2], labels[2, 1], labels[2, ..., 3]
    assert reads == [2]
    # what was handed out may be changed
    labels[2][:] = 0
    np.testing.assert_array_equal(labels[2], numbers()[2])
    labels[1, 0, 0] = 9
    _ = labels[3], labels[1]
    assert reads == [2, 1, 3]
    with pytest.raises(IndexError):
        labels[4]


def test_napari_paints_fills_and_takes_back() -> None:
    reads: list[int] = []

    def read(frame_idx: int) -> np.ndarray:
        reads.append(frame_idx)
        labels = np.zeros((40, 50), np.uint8)
        labels[5:10, 5:10] = 3
        return labels

    viewer = ViewerModel()
    layer = viewer.add_labels(LazyLabels(read, 300, (40, 50), np.uint16))
    viewer.dims.set_current_step(0, 3)
    assert len(set(reads)) <= 3
    layer.paint((3, 20, 20), 900)
    assert (layer.data[3] == 900).sum() > 50
    layer.fill((3, 7, 7), 4)
    assert (layer.data[3] == 4).sum() == 25
    layer.undo(), layer.undo()
    np.testing.assert_array_equal(layer.data[3], read(0))
    layer.redo()
    assert (layer.data[3] == 900).any()
    assert not (layer.data[2] == 900).any()
    assert len(set(reads)) <= 4
