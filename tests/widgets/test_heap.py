"""No search for garbage while torch is imported, nor then among what was there meanwhile."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2.widgets.heap import Heap


@pytest.fixture
def viewer():
    model = ViewerModel()
    model.add_image(np.zeros((4, 4)), name="image")
    return model


@pytest.fixture
def heap(viewer, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert gc.get_freeze_count() == 0
    made = Heap(viewer)
    yield made
    gc.unfreeze()
    gc.enable()


def test_nothing_is_searched_inside_and_what_is_there_is_left_out(heap, viewer) -> None:
    with heap.at_rest():
        assert not gc.isenabled()
        imported = [[n] for n in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(imported)
    heap.stop()
    assert gc.get_freeze_count() == 0


def test_a_layer_that_was_there_is_searched_for_when_it_is_removed(heap, viewer) -> None:
    with heap.at_rest():
        pass
    viewer.add_labels(np.zeros((4, 4), int), name="later")
    viewer.layers.remove("later")
    assert gc.get_freeze_count() > 0
    viewer.layers.remove("image")
    assert gc.get_freeze_count() == 0


def test_an_import_that_fails_or_ends_too_late(heap) -> None:
    with pytest.raises(ImportError), heap.at_rest():
        raise ImportError("no torch")
    assert gc.isenabled()
    heap.search_all()
    with heap.at_rest():
        heap.stop()  # the window is closed meanwhile
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_only_what_imports_torch(heap, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", object())
    with heap.at_rest():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.disable()  # as somebody wants it
    monkeypatch.delitem(sys.modules, "torch")
    with heap.at_rest():
        pass
    assert not gc.isenabled()
