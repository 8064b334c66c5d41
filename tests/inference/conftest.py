"""A small network and a small movie for the predictors' tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_backbone.build import build_from_config
from sam2_backbone.modeling.sam2 import SAM2
from sam2_backbone.variants import TEST_CONFIG


@pytest.fixture(scope="session")
def small_model() -> SAM2:
    """The test configuration with random weights that give masks of moderate size."""
    torch.manual_seed(0)
    model = build_from_config(TEST_CONFIG).eval()
    with torch.no_grad():
        for parameter in (model.temporal_encoding, model.no_object_pointer):
            parameter.normal_()
    return model.requires_grad_(requires_grad=False)


@pytest.fixture(scope="session")
def movie() -> NDArray[np.uint8]:
    """(10, 48, 40) noise with a bright square that moves."""
    frames = np.random.default_rng(0).integers(0, 80, (10, 48, 40)).astype(np.uint8)
    for t in range(10):
        frames[t, 10 + t : 22 + t, 8 + t : 20 + t] += 150
    return frames
