"""A real viewer, the plugin's widget in it, discs instead of a network, and a hand for mouse and keys."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from fakes import FakePredictor
from napari.utils.notifications import notification_manager

from napari_sam2.session.session import Session
from napari_sam2.widgets import main_widget


@pytest.fixture
def fake_model(monkeypatch) -> list[FakePredictor]:
    """Every session answers with discs; the predictors that were made are listed."""
    made: list[FakePredictor] = []

    def make(settings) -> FakePredictor:
        made.append(FakePredictor(settings))
        return made[-1]

    monkeypatch.setattr(main_widget, "Session", partial(Session, predictor_factory=make))
    return made


@pytest.fixture
def messages() -> list[str]:
    """What napari told the person, warnings and errors alike."""
    told: list[str] = []

    def note(notification) -> None:
        told.append(notification.message)

    notification_manager.notification_ready.connect(note)
    yield told
    notification_manager.notification_ready.disconnect(note)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


def disc(shape: tuple[int, int], center: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - center[0], x - center[1]) < radius
