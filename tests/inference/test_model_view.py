"""What the network is given: the window around the object, mapped, at the network's size."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_backbone.inference.transforms import View
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.inference.views import next_view


def test_a_whole_frame_and_the_window_of_an_object(small_model, movie) -> None:
    predictor = VideoPredictor(small_model)
    size = small_model.config.input_size
    state = predictor.init_state(movie, value_range=(0, 100), window="auto")
    whole = predictor.model_input(state, 4)
    assert whole.view == View.whole(48, 40)
    assert whole.pixels.shape == (size, size, 3)
    np.testing.assert_allclose(whole.pixels[..., 0], whole.pixels[..., 2], atol=1e-6)
    assert whole.pixels[size * 20 // 48, size * 18 // 40, 0] == pytest.approx(
        1, abs=0.01
    )  # the square
    expected = np.clip(movie[4] / 100, 0, 1).mean()
    assert whole.pixels.mean() == pytest.approx(expected, abs=0.02)

    predictor.answer(state, 0, 1, box=[7, 9, 21, 23])
    seen = predictor.model_input(state, 0, 1)
    assert seen.view == state.objects[1].sightings[0].view
    list(predictor.propagate(state, "forward", frames=range(3)))
    assert predictor.model_input(state, 2, 1).view == state.objects[1].sightings[2].view
    # where it has not been tracked yet: the view that tracking would take
    item = state.objects[1]
    following = next_view(state, item, 3, reverse=False)
    assert predictor.model_input(state, 3, 1).view == following
    before = len(state.cache._entries)
    predictor.model_input(state, 9, 1)
    assert len(state.cache._entries) == before  # nothing was encoded
    with pytest.raises(ValueError, match="no frame 10"):
        predictor.model_input(state, 10, 1)
