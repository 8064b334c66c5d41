"""How values become brightness: followed in mid-session, composed, recorded and replayed."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from fakes import FakeFrames, FakePredictor, moving_discs
from napari_sam2.api import replay
from napari_sam2.session.errors import ImageMismatchError
from napari_sam2.session.images import StackedFrames, open_stacked
from napari_sam2.session.intensities import Channel, SeenFrames, as_seen
from napari_sam2.session.session import Session

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool",
          "float16", "float32", "float64", ">u2", ">f8"]  # fmt: skip


class BrightPredictor(FakePredictor):
    """A disc as large as the pixel clicked is bright: what is seen decides the mask."""

    def init_state(self, frames, *, value_range=None, window=None):
        self.seen, self.range = frames, value_range or (0, 255)
        return super().init_state(frames, value_range=value_range, window=window)

    def answer(self, state, frame_idx, obj_id, *, points=None, **prompts):
        if points is None:  # told a mask that was shown before
            return super().answer(state, frame_idx, obj_id, **prompts)
        low, high = self.range
        frame = np.asarray(self.seen.read(frame_idx), float)
        x, y = np.asarray(points[0]).round().astype(int)
        self.radius = 2 + 10 * float(np.mean(np.clip((frame[y, x] - low) / (high - low), 0, 1)))
        return super().answer(state, frame_idx, obj_id, points=points, **prompts)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_becomes_the_same_brightness(dtype) -> None:
    values = np.array([[0, 1, 1, 0]]).astype(dtype)
    seen = Channel(0, -1, 1, 2.0).apply(values)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, [[0.25, 1, 1, 0.25]])


def test_what_is_no_number_is_black_and_large_offsets_are_kept() -> None:
    odd = np.array([[np.nan, np.inf, -np.inf, 3.0]])
    np.testing.assert_allclose(Channel(0, 1, 3).apply(odd), [[0, 0, 0, 1]])
    far = np.array([[10**9, 10**9 + 1, 10**9 + 4]], np.int64)
    np.testing.assert_allclose(Channel(0, 1e9, 1e9 + 4).apply(far), [[0, 0.25, 1]])


@pytest.mark.parametrize(
    ("bad", "message"),
    [((-1, 0, 1), "begins at 0"), ((0, 1, 1), "low < high"), ((0, 0, np.inf), "finite"),
     ((0, 0, 1, 0), "gamma")],
)  # fmt: skip
def test_channels_that_cannot_be(bad, message) -> None:
    with pytest.raises(ValueError, match=message):
        Channel(*bad)


def test_the_backbone_maps_what_it_can_and_composition_fills_three_inputs(rng) -> None:
    grey = FakeFrames(rng.integers(0, 4000, (2, 5, 6), dtype=np.uint16))
    assert as_seen(grey, (), (1, 2)) == (grey, (1, 2))
    assert as_seen(grey, (Channel(0, 5, 9),), None) == (grey, (5, 9))
    seen, value_range = as_seen(grey, (Channel(0, 5, 9, 0.5),), None)
    assert value_range == (0, 1)
    assert not seen.is_rgb
    stack = StackedFrames(rng.integers(0, 99, (2, 5, 6, 4), dtype=np.uint8))
    both, _ = as_seen(stack, (Channel(3, 0, 99), Channel(1, 0, 50)), None)
    frame = both.read(1)
    assert frame.shape == (5, 6, 3)
    np.testing.assert_allclose(frame[..., 0], stack.read(1)[..., 3] / 99, atol=1e-6)
    assert not frame[..., 2].any()
    first, _ = as_seen(stack, (), None)
    np.testing.assert_array_equal(first.read(0), stack.read(0)[..., 0])
    with pytest.raises(ValueError, match="no channel 4"):
        SeenFrames(stack, (Channel(4, 0, 1),)).read(0)


def test_a_change_in_mid_session_is_replayed(tmp_path) -> None:
    """Limits, gamma and a second channel change between prompts; masks made before stay."""
    movie = moving_discs()
    second = np.full_like(movie, 100)
    composed = StackedFrames(np.stack([movie, second], axis=-1))
    session = Session(
        FakeFrames(movie), channels=(Channel(0, 0, 255),), predictor_factory=BrightPredictor
    )
    obj_ids = [session.new_object() for _ in range(4)]
    session.add_point(obj_ids[0], 0, (12, 12))
    list(session.propagate("forward", frames=range(4)))
    before = [session.mask(obj_ids[0], t) for t in range(4)]
    for obj_id, channels, source in (
        (obj_ids[1], (Channel(0, 0, 1000),), None),
        (obj_ids[2], (Channel(0, 0, 1000, 0.5),), None),
        (obj_ids[3], (Channel(0, 0, 1000), Channel(1, 0, 100)), composed),
    ):
        session.change_settings(replace(session.settings, channels=channels), source)
        session.add_point(obj_id, 0, (12, 12))
    list(session.propagate())
    for t in range(4):
        np.testing.assert_array_equal(session.mask(obj_ids[0], t), before[t])
    areas = [int(session.mask(obj_id, 0).sum()) for obj_id in obj_ids]
    assert len(set(areas)) == 4
    assert areas[0] > areas[2] > areas[1]

    session.save(tmp_path / "session.json")
    again = replay(tmp_path / "session.json", progress=False, predictor_factory=BrightPredictor)
    loaded = Session.load(tmp_path / "session.json", predictor_factory=BrightPredictor)
    for t in range(session.num_frames):
        np.testing.assert_array_equal(again[t], session.labels(t))
        np.testing.assert_array_equal(loaded.labels(t), session.labels(t))
    assert loaded.settings == session.settings
    assert loaded.log[: len(session.log)] == session.log
    with pytest.raises(ImageMismatchError, match="composed channels"):
        Session.load(tmp_path / "session.json", FakeFrames(movie))
    assert open_stacked(composed) is composed
    alone = Session(FakeFrames(movie), predictor_factory=BrightPredictor)
    alone.save(tmp_path / "alone.json")
    with pytest.raises(ImageMismatchError, match="made on fewer channels"):
        Session.load(tmp_path / "alone.json", composed)


def test_what_the_network_is_given(rng) -> None:
    movie = rng.integers(0, 200, (3, 48, 64), dtype=np.uint8)
    session = Session(
        FakeFrames(movie), channels=(Channel(0, 0, 100, 2.0),), predictor_factory=FakePredictor
    )
    whole = session.model_input(1)
    np.testing.assert_allclose(whole.pixels[..., 2], np.clip(movie[1] / 100, 0, 1) ** 2, atol=1e-6)
    obj_id = session.new_object()
    assert session.model_input(0, obj_id).view.width == 64
    session.add_point(obj_id, 0, (20, 30))
    assert session.model_input(0, obj_id).view.left == 22
    assert len(session.log) == 3  # looking is no action
    with pytest.raises(ValueError, match="no frame"):
        session.model_input(3)


def test_numbers_of_numpy_become_plain() -> None:
    channel = Channel(np.int64(0), np.uint16(3), np.float32(9), np.float64(0.5))
    assert [type(value) for value in astuple(channel)] == [int, float, float, float]
