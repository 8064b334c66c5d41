"""Videos: prompts on any frame, objects at any time, passes that stop and go on, bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam2_backbone.build import build_from_config
from sam2_backbone.inference.results import FrameResult
from sam2_backbone.inference.transforms import View
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.inference.video_state import VideoState
from sam2_backbone.modeling.sam2 import NO_OBJECT_LOGIT, SAM2
from sam2_backbone.variants import TEST_CONFIG

Movie = NDArray[np.uint8]


@pytest.fixture
def predictor(small_model: SAM2) -> VideoPredictor:
    return VideoPredictor(small_model)


@pytest.fixture
def state(predictor: VideoPredictor, movie: Movie) -> VideoState:
    return predictor.init_state(movie)


def _click(predictor: VideoPredictor, state: VideoState, frame_idx: int, obj_id: int) -> None:
    point = [[13 + frame_idx + obj_id, 15 + frame_idx]]
    predictor.add_new_points_or_box(state, frame_idx, obj_id, points=point, labels=[1])


def _forward(predictor: VideoPredictor, state: VideoState, **where: int) -> dict[int, torch.Tensor]:
    return {t: logits for t, _, logits in predictor.propagate_in_video(state, **where)}


def test_prompts_answer_for_all_objects_at_the_size_of_the_frame(
    predictor: VideoPredictor, state: VideoState
) -> None:
    _click(predictor, state, 0, 7)
    frame_idx, obj_ids, logits = predictor.add_new_points_or_box(state, 3, 2, box=[5, 6, 25, 30])
    assert (frame_idx, obj_ids) == (3, [7, 2])
    assert logits.shape == (2, 1, 48, 40)
    assert logits.dtype == torch.float32
    assert bool((logits[0] == NO_OBJECT_LOGIT).all())  # object 7 has no answer on frame 3
    assert not bool((logits[1] == NO_OBJECT_LOGIT).any())


def test_every_frame_once_and_nothing_before_an_objects_anchor(
    predictor: VideoPredictor, state: VideoState
) -> None:
    _click(predictor, state, 2, 1)
    _click(predictor, state, 5, 2)
    seen = list(predictor.propagate_in_video(state))
    assert [t for t, _, _ in seen] == list(range(2, 10))
    for t, obj_ids, logits in seen:
        assert obj_ids == [1, 2]
        assert bool((logits[1] == NO_OBJECT_LOGIT).all()) == (t < 5)
    backward = list(predictor.propagate_in_video(state, reverse=True))
    assert [t for t, _, _ in backward] == [5, 4, 3, 2, 1, 0]
    assert bool((backward[1][2][0] == NO_OBJECT_LOGIT).all())  # object 1 begins at frame 2
    counted = predictor.propagate_in_video(state, start_frame_idx=4, max_frame_num_to_track=2)
    assert [t for t, _, _ in counted] == [4, 5, 6]


def test_batched_objects_are_as_if_alone(predictor: VideoPredictor, movie: Movie) -> None:
    together = predictor.init_state(movie)
    for obj_id in (1, 2, 3):
        _click(predictor, together, 0, obj_id)
    _click(predictor, together, 4, 3)  # another structure of memories
    result = _forward(predictor, together)
    for row, obj_id in enumerate((1, 2, 3)):
        alone = predictor.init_state(movie)
        _click(predictor, alone, 0, obj_id)
        if obj_id == 3:
            _click(predictor, alone, 4, obj_id)
        expected = _forward(predictor, alone)
        for t in range(10):
            # bfloat16 memories turn last bits of a batched product into visible ones
            torch.testing.assert_close(result[t][row], expected[t][0], atol=2e-2, rtol=1e-2)


def test_objects_come_and_go(predictor: VideoPredictor, state: VideoState) -> None:
    _click(predictor, state, 0, 1)
    before = _forward(predictor, state)
    _click(predictor, state, 4, 5)
    both = _forward(predictor, state)
    assert both[6].shape[0] == 2
    assert predictor.remove_object(state, 5) == [1]
    after = _forward(predictor, state)
    torch.testing.assert_close(after[9], before[9])
    predictor.reset_state(state)
    assert state.obj_ids == ()
    with pytest.raises(ValueError, match="prompt an object on some frame first"):
        next(predictor.propagate_in_video(state))


def test_a_stopped_pass_goes_on_to_the_same_result(predictor: VideoPredictor, movie: Movie) -> None:
    whole, parts = predictor.init_state(movie), predictor.init_state(movie)
    for state in (whole, parts):
        _click(predictor, state, 3, 1)
    expected = {r.frame_idx: r.mask_logits for r in predictor.propagate(whole)}
    assert sorted(expected) == list(range(10))
    got: dict[int, torch.Tensor] = {}
    while True:
        pass_ = predictor.propagate(parts)
        steps = list(islice(pass_, 2))
        pass_.close()
        got |= {r.frame_idx: r.mask_logits for r in steps}
        if not steps:
            break
    assert got.keys() == expected.keys()
    for t in expected:
        torch.testing.assert_close(got[t], expected[t])


def test_a_correction_recomputes_what_it_can_change_and_no_more(
    predictor: VideoPredictor, state: VideoState
) -> None:
    _click(predictor, state, 3, 1)
    _click(predictor, state, 3, 2)
    for _ in predictor.propagate(state):
        pass
    assert list(predictor.propagate(state)) == []
    predictor.add_new_points_or_box(state, 6, 1, points=[[20, 30]], labels=[0])
    again = list(predictor.propagate(state))
    assert [r.frame_idx for r in again] == [6, 7, 8, 9]  # not the frames before, tracked forward
    assert {r.obj_ids for r in again} == {(1,)}
    assert state.prompted_frames(1) == (3, 6)
    predictor.add_new_points_or_box(state, 1, 2, points=[[20, 30]], labels=[0])
    again = list(predictor.propagate(state))
    assert [(r.frame_idx, r.obj_ids) for r in again] == [(1, (2,)), (0, (2,))]


def test_a_corrected_frame_is_a_conditioning_frame_unless_the_reference_rules(
    small_model: SAM2, movie: Movie
) -> None:
    for reference_rules, expected in ((False, (3, 6)), (True, (3,))):
        predictor = VideoPredictor(small_model, reference_rules=reference_rules)
        state = predictor.init_state(movie)
        _click(predictor, state, 3, 1)
        _forward(predictor, state)
        _click(predictor, state, 6, 1)
        assert state.get(1).bank.conditioning_frames == expected


def test_taking_back_a_prompt_takes_back_its_answer(
    predictor: VideoPredictor, state: VideoState
) -> None:
    _click(predictor, state, 0, 1)
    _click(predictor, state, 5, 1)
    _, _, logits = predictor.clear_all_prompts_in_frame(state, 5, 1)
    assert bool((logits == NO_OBJECT_LOGIT).all())
    assert state.prompted_frames(1) == (0,)


def test_a_correction_given_anew_still_builds_on_memory(
    predictor: VideoPredictor, movie: Movie
) -> None:
    def negative(state: VideoState) -> torch.Tensor:
        _, _, logits = predictor.add_new_points_or_box(state, 5, 1, points=[[20, 20]], labels=[0])
        return logits[0]

    state = predictor.init_state(movie)
    _click(predictor, state, 0, 1)
    _forward(predictor, state)
    negative(state)
    predictor.clear_all_prompts_in_frame(state, 5, 1)
    again, alone = negative(state), negative(predictor.init_state(movie))
    assert not torch.allclose(again, alone)


def test_a_click_where_all_other_prompts_were_taken_back(
    predictor: VideoPredictor, movie: Movie
) -> None:
    state = predictor.init_state(movie)
    _click(predictor, state, 0, 1)
    _forward(predictor, state)
    predictor.clear_all_prompts_in_frame(state, 0, 1)
    _click(predictor, state, 5, 1)
    assert state.get(1).bank.conditioning_frames == (5,)
    assert len(list(predictor.propagate(state, "forward"))) == 5


@pytest.mark.parametrize("window", ["auto", 30])
def test_windows_are_kept_where_the_object_is_absent_and_where_one_is_asked_for(
    predictor: VideoPredictor, movie: Movie, window: str | int
) -> None:
    state = predictor.init_state(np.pad(movie, ((0, 0), (0, 60), (0, 60))), window=window)
    predictor.answer(state, 0, 1, mask=np.pad(movie[0] > 100, ((0, 60), (0, 60))))
    predictor.load_mask(state, 1, 1, np.zeros((108, 100), bool))
    sightings = state.get(1).sightings
    assert sightings[1].extent is None
    assert sightings[1].view == sightings[0].view != View.whole(108, 100)
    list(predictor.propagate(state, "forward"))
    if window == 30:
        assert {(s.view.height, s.view.width) for s in sightings.values()} == {(30, 30)}


def test_a_frame_that_fails_is_computed_the_next_time(
    predictor: VideoPredictor, state: VideoState, monkeypatch: pytest.MonkeyPatch
) -> None:
    _click(predictor, state, 0, 1)
    read, failed = state.source.read, []

    def torn(frame_idx: int) -> NDArray[np.generic]:
        if frame_idx == 4 and not failed:
            failed.append(frame_idx)
            raise OSError("cut short")
        return read(frame_idx)

    monkeypatch.setattr(state.source, "read", torn)
    with pytest.raises(OSError, match="cut short"):
        list(predictor.propagate(state, "forward"))
    assert next(result.frame_idx for result in predictor.propagate(state, "forward")) == 4


def test_points_add_up_and_start_again(predictor: VideoPredictor, state: VideoState) -> None:
    predictor.add_new_points_or_box(state, 0, 1, points=[[5, 5]], labels=[1])
    predictor.add_new_points_or_box(
        state, 0, 1, points=[[9, 9]], labels=[0], clear_old_points=False
    )
    assert state.get(1).prompts[0].labels.tolist() == [1, 0]
    predictor.add_new_points_or_box(state, 0, 1, points=[[7, 7]], labels=[1])
    assert state.get(1).prompts[0].points.tolist() == [[7, 7]]
    _, _, pixels = predictor.add_new_points_or_box(state, 0, 2, points=[[10, 12]], labels=[1])
    _, _, unit = predictor.add_new_points_or_box(
        state, 0, 3, points=[[10 / 40, 12 / 48]], labels=[1], normalize_coords=False
    )
    torch.testing.assert_close(unit[2], pixels[1])


def test_one_click_offers_three_candidates_best_first(
    predictor: VideoPredictor, state: VideoState
) -> None:
    result = predictor.answer(state, 0, 1, points=[[13, 15]], labels=[1])
    assert len(result.candidates) == 3
    assert result.ious.shape == result.object_scores.shape == (1,)
    assert len(result.candidate_ious) == 3
    assert list(result.candidate_ious) == sorted(result.candidate_ious, reverse=True)
    assert result.candidate_ious[0] == pytest.approx(float(result.ious[0]))
    assert torch.equal(result.candidates[0].logits, result.object_masks[0].logits)
    again = predictor.answer(state, 0, 1, points=[[13, 15], [1, 1]], labels=[1, 0])
    assert again.candidates == again.candidate_ious == ()


def test_a_given_mask_comes_back_to_the_pixel(predictor: VideoPredictor, state: VideoState) -> None:
    mask = np.random.default_rng(1).random((48, 40)) > 0.7
    _, _, logits = predictor.add_new_mask(state, 0, 1, mask)
    assert np.array_equal(logits[0, 0].numpy() > 0, mask)
    _, _, empty = predictor.add_new_mask(state, 0, 1, np.zeros((48, 40), bool))
    assert not bool((empty > 0).any())


@pytest.mark.parametrize("window", ["auto", 20, 500])
def test_a_window_follows_and_answers_in_frame_pixels(
    small_model: SAM2, movie: Movie, window: str | int
) -> None:
    predictor = VideoPredictor(small_model)
    state = predictor.init_state(movie, window=window)
    _click(predictor, state, 0, 1)
    predictor.add_new_points_or_box(state, 0, 2, box=[8, 10, 20, 22])
    predictor.add_new_mask(state, 0, 3, movie[0] > 140)
    results = list(predictor.propagate(state))
    assert [r.frame_idx for r in results] == list(range(10))
    for result in results:
        assert result.mask_logits.shape == (3, 1, 48, 40)
        for part in result.object_masks:
            height, width = part.logits.shape
            assert 0 <= part.top <= 48 - height
            assert 0 <= part.left <= 40 - width


def test_memory_does_not_grow_with_the_movie(predictor: VideoPredictor) -> None:
    class Endless:
        """Reads a frame and forgets it."""

        num_frames, height, width, is_rgb = 60, 48, 40, False
        dtype = np.dtype(np.uint8)

        def read(self, frame_idx: int) -> Movie:
            return np.full((48, 40), frame_idx, np.uint8)

    state = predictor.init_state(Endless())
    _click(predictor, state, 0, 1)
    for _ in predictor.propagate(state):
        pass
    bank = state.get(1).bank
    whole = [t for t in range(60) if (m := bank.get(t)) is not None and m.features is not None]
    assert len(whole) <= 1 + 17  # the prompted frame and what can be recalled
    assert bank.tracked_frames == frozenset(range(1, 60))
    # a correction far back finds its memories again
    predictor.add_new_points_or_box(state, 20, 1, points=[[3, 3]], labels=[0])
    assert [r.frame_idx for r in predictor.propagate(state)][:2] == [20, 21]


def test_a_restored_mask_is_recalled(predictor: VideoPredictor, movie: Movie) -> None:
    state = predictor.init_state(movie)
    _click(predictor, state, 0, 1)
    for t in range(1, 5):
        predictor.load_mask(state, t, 1, movie[t] > 140)
    results = list(predictor.propagate(state, direction="forward"))
    assert [r.frame_idx for r in results] == [0, 5, 6, 7, 8, 9]


BAD_PROMPTS = [
    ({"points": [[40, 5]], "labels": [1]}, "x=40, y=5 lies outside the frame of 40 x 48"),
    ({"points": [[5, -0.6]], "labels": [1]}, "lies outside"),
    ({"points": [[float("nan"), 5]], "labels": [1]}, "lies outside"),
    ({"points": [[5, 5]], "labels": [1, 0]}, "1 points need as many labels, not 2"),
    ({"points": [[5, 5]], "labels": [4]}, "labels are 1"),
    ({"points": [[5, 5]]}, "given together"),
    ({"points": [5, 5, 5], "labels": [1]}, "x, y pairs"),
    ({}, "the prompt is empty"),
    ({"box": [5, 5, 5, 9]}, "empty or reversed"),
    ({"box": [9, 5, 5, 9]}, "empty or reversed"),
    ({"box": [5, 5, 41, 9]}, "reaches outside"),
    ({"box": [5, 5, 9]}, "a box is x0, y0, x1, y1"),
]


@pytest.mark.parametrize(("prompt", "says"), BAD_PROMPTS)
def test_bad_prompts_change_nothing(
    predictor: VideoPredictor, state: VideoState, prompt: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        predictor.add_new_points_or_box(state, 0, 1, **prompt)  # type: ignore[arg-type]
    assert state.obj_ids == ()


def test_unknown_frames_objects_and_masks(predictor: VideoPredictor, state: VideoState) -> None:
    for frame_idx in (-1, 10):
        with pytest.raises(ValueError, match=f"no frame {frame_idx}; the frames are 0 to 9"):
            predictor.add_new_points_or_box(state, frame_idx, 1, points=[[1, 1]], labels=[1])
    with pytest.raises(ValueError, match="no object 4; the objects are: none yet"):
        predictor.remove_object(state, 4)
    with pytest.raises(ValueError, match=r"the mask has shape \(3, 3\), the frame \(48, 40\)"):
        predictor.add_new_mask(state, 0, 1, np.ones((3, 3)))
    assert state.obj_ids == ()
    with pytest.raises(ValueError, match="window must be"):
        predictor.init_state(np.zeros((2, 4, 4)), window="big")
    _click(predictor, state, 0, 1)
    with pytest.raises(ValueError, match="direction must be one of"):
        next(predictor.propagate(state, direction="sideways"))
    with pytest.raises(ValueError, match="no frame 77"):
        next(predictor.propagate(state, frames=[77]))


def _strange_images() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    yield "constant", np.full((2, 9, 9), 5.0)
    yield "NaN", np.full((2, 9, 9), np.nan)
    yield "infinite", np.full((2, 9, 9), np.inf)
    yield "big-endian", rng.integers(0, 4000, (2, 9, 9)).astype(">u2")
    read_only = rng.random((2, 9, 9))
    read_only.setflags(write=False)
    yield "read-only", read_only
    yield "one pixel", np.ones((2, 1, 1), np.uint16)
    yield "one row", np.ones((2, 1, 50), np.int32)
    yield "bool", np.ones((2, 9, 9), bool)
    yield "RGBA", rng.integers(0, 255, (2, 9, 9, 4)).astype(np.uint8)


@pytest.mark.parametrize(("name", "frames"), list(_strange_images()))
@pytest.mark.parametrize("window", [None, "auto"])
def test_strange_images_are_segmented(
    predictor: VideoPredictor, name: str, frames: np.ndarray, window: str | None
) -> None:
    state = predictor.init_state(frames, window=window)
    predictor.add_new_points_or_box(state, 0, 1, points=[[0, 0]], labels=[1])
    for _, _, logits in predictor.propagate_in_video(state):
        assert logits.shape == (1, 1, *frames.shape[1:3]), name
        assert bool(torch.isfinite(logits).all()), name


@pytest.mark.parametrize("window", [None, "auto"])
def test_every_click_is_obeyed(predictor: VideoPredictor, movie: Movie, window: object) -> None:
    state = predictor.init_state(movie, window=window)  # type: ignore[arg-type]
    places = [(x, y) for y in (6, 18, 30, 42) for x in (8, 20, 32)]
    signs = [(i * 5 // 3) % 2 for i in range(len(places))]
    signs[0] = 1
    for count, (place, sign) in enumerate(zip(places, signs, strict=True), start=1):
        _, _, logits = predictor.add_new_points_or_box(
            state, 2, 1, points=[place], labels=[sign], clear_old_points=False
        )
        said = [bool(logits[0, 0, y, x] > 0) for x, y in places[:count]]
        assert said == [bool(sign) for sign in signs[:count]]


@pytest.mark.parametrize("axis", [0, 1])
def test_a_box_is_answered_the_same_whichever_way_the_frame_is_turned(
    predictor: VideoPredictor, movie: Movie, axis: int
) -> None:
    frame = np.ascontiguousarray(movie[:1, :40])
    corners = np.array([[9, 11], [22, 24]])  # x, y
    there = predictor.answer(
        predictor.init_state(frame, window=None), 0, 1, box=corners.ravel()
    ).mask_logits[0, 0]
    corners[:, 1 - axis] = frame.shape[1 + axis] - corners[::-1, 1 - axis]
    turned = np.ascontiguousarray(np.flip(frame, 1 + axis))
    back = predictor.answer(
        predictor.init_state(turned, window=None), 0, 1, box=corners.ravel()
    ).mask_logits[0, 0]
    torch.testing.assert_close(back.flip(axis), there, rtol=1e-3, atol=1e-3)
    assert float(there.std()) > 0.01


def test_a_clicked_object_is_not_hidden(movie: Movie) -> None:
    torch.manual_seed(0)
    config = replace(TEST_CONFIG, gate_object_score=True)
    model = build_from_config(config).eval().requires_grad_(requires_grad=False)
    with torch.no_grad():
        last = [m for m in model.mask_decoder.object_score_head.modules() if hasattr(m, "bias")]
        last[-1].bias.fill_(-50.0)  # absent, whatever it sees
    predictor = VideoPredictor(model)
    state = predictor.init_state(movie)
    _, _, logits = predictor.add_new_points_or_box(state, 0, 1, points=[[14, 16]], labels=[1])
    assert logits[0, 0, 16, 14] > 0
    assert logits.min() > NO_OBJECT_LOGIT
    tracked = next(iter(predictor.propagate(state, frames=[1])))
    assert float(tracked.object_scores[0]) < 0


@pytest.mark.parametrize("is_in_doubt", [True, False])
def test_a_margin_makes_an_object_absent_whose_mask_is_in_doubt(
    small_model: SAM2, movie: Movie, is_in_doubt: bool
) -> None:
    scores = {}
    for margin in (0.0, 1e3):
        torch.manual_seed(0)
        config = replace(TEST_CONFIG, gate_object_score=True, presence_margin=margin)
        model = build_from_config(config).eval().requires_grad_(requires_grad=False)
        model.load_state_dict(small_model.state_dict())
        with torch.no_grad():  # logits of the predicted IoU, whatever it sees
            last = [m for m in model.mask_decoder.iou_head.modules() if hasattr(m, "bias")]
            last[-1].weight.zero_()
            last[-1].bias.fill_(1.2 if is_in_doubt else 1.6)
        predictor = VideoPredictor(model)
        state = predictor.init_state(movie)
        predictor.add_new_points_or_box(state, 0, 1, points=[[14, 16]], labels=[1])
        result = next(iter(predictor.propagate(state, frames=[1])))
        scores[margin] = float(result.object_scores[0])
        memory = state.objects[1].bank.get(1)
        assert memory is not None
        if margin and is_in_doubt:
            assert torch.equal(memory.obj_ptr, model.no_object_pointer)
            assert float(memory.low_res_masks.max()) == NO_OBJECT_LOGIT
    lost = 1e3 if is_in_doubt else 0.0
    assert scores[1e3] == pytest.approx(scores[0.0] - lost, abs=0.1)


class Encodings:
    """Counts the images that a network encodes."""

    def __init__(self, model: SAM2, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        encode = model.encode_image

        def counted(images: torch.Tensor) -> object:
            self.count += len(images)
            return encode(images)

        monkeypatch.setattr(model, "encode_image", counted)


@pytest.mark.parametrize("is_tracked", [False, True])
def test_an_anticipated_click_encodes_nothing_and_is_answered_the_same(
    small_model: SAM2, movie: Movie, monkeypatch: pytest.MonkeyPatch, is_tracked: bool
) -> None:
    encodings = Encodings(small_model, monkeypatch)
    found, counts = [], []
    for anticipates in (False, True):
        video = VideoPredictor(small_model)
        state = video.init_state(movie, window="auto")
        video.answer(state, 0, 1, points=[[13, 15]], labels=[1])
        if is_tracked:
            list(video.propagate(state, "forward"))
        place, obj_id = ([17.4, 19.7], 1) if is_tracked else ([20.2, 24.6], 2)
        if anticipates:
            video.anticipate_click(state, 4, place, obj_id)
            assert set(state.objects) == {1}
        before = encodings.count
        monkeypatch.setattr(video._answering, "_second_view", lambda *asked: None)
        found.append(video.answer(state, 4, obj_id, points=[place], labels=[1]))
        counts.append(encodings.count - before)
    assert counts[0] > 0
    assert counts[1] == 0
    first, second = found
    assert torch.equal(first.mask_logits, second.mask_logits)
    assert torch.equal(first.ious, second.ious)
    assert torch.equal(first.object_scores, second.object_scores)


def test_an_object_that_takes_the_place_of_another_is_not_followed_for_it(
    small_model: SAM2, movie: Movie
) -> None:
    predictor = VideoPredictor(small_model)
    state = predictor.init_state(movie)
    predictor.answer(state, 0, 1, points=[[14, 16]], labels=[1])
    steps = predictor.propagate(state, "forward")
    next(steps)
    predictor.remove_object(state, 1)
    predictor.answer(state, 5, 1, points=[[19, 21]], labels=[1])
    assert list(steps) == []
    assert [r.frame_idx for r in predictor.propagate(state, "forward")] == [5, 6, 7, 8, 9]


def test_what_is_looked_at_twice_is_told_at_first(small_model: SAM2, movie: Movie) -> None:
    mirroring = build_from_config(replace(TEST_CONFIG, average_mirrored=True)).eval()
    mirroring.load_state_dict(small_model.state_dict())
    predictor = VideoPredictor(mirroring)
    told: list[FrameResult] = []

    def click(on_first_look: Callable[[FrameResult], None] | None) -> tuple[int, FrameResult]:
        state = predictor.init_state(movie[:1], window="auto")
        told.clear()
        answer = predictor.answer(
            state, 0, 1, points=[[14, 16]], labels=[1], on_first_look=on_first_look
        )
        return len(told), answer

    _, plain = click(None)
    times, answer = click(told.append)
    assert times == 1
    (first,) = told
    assert torch.equal(answer.mask_logits, plain.mask_logits)
    assert first.obj_ids == (1,)
    assert first.mask_logits.shape == answer.mask_logits.shape
    whole = predictor.init_state(movie[:1])
    told.clear()
    predictor.answer(whole, 0, 1, points=[[14, 16]], labels=[1], on_first_look=told.append)
    assert not told  # a whole frame is looked at once
