import numpy as np
import torch

from sam2_backbone.build import build_from_config
from sam2_backbone.evaluation.interactive import Attempt, evaluate_image
from sam2_backbone.evaluation.tracking import TrackTally, follow_objects
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.variants import TEST_CONFIG


def predictor() -> VideoPredictor:
    torch.manual_seed(0)
    return VideoPredictor(build_from_config(TEST_CONFIG).eval().requires_grad_(False))


def scene(frames: int = 4) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((frames, 80, 96), dtype=np.uint16)
    for t in range(frames):
        labels[t, 20 + t : 40 + t, 30:50] = 1
        labels[t, 50:70, 60 - t : 80 - t] = 4
    return (labels > 0).astype(np.uint8) * 180 + 20, labels


def test_clicks_and_boxes_are_scored() -> None:
    images, labels = scene()
    attempts = list(
        evaluate_image(predictor(), images[0], labels[0], name="scene", obj_ids=[1, 4], clicks=3)
    )
    assert [a.obj_id for a in attempts] == [1, 4]
    for attempt in attempts:
        assert attempt.area == 400
        assert len(attempt.clicks) == 3
        assert 0 <= attempt.box <= 1
        assert 0 <= attempt.predicted <= 1


def test_clicks_to_a_quality() -> None:
    attempt = Attempt("scene", 1, 400, (0.5, 0.8, 0.9), 0.9, 0.6)
    assert attempt.clicks_to(0.85) == 3
    assert attempt.clicks_to(0.95) == 20


def test_tracks_are_scored_on_all_other_frames() -> None:
    images, labels = scene()
    for prompt in ("mask", "click", "box"):
        tally = TrackTally("scene", labels, 1)
        frames = []
        followed = follow_objects(
            predictor(), images, labels, obj_ids=[1, 4], start=1, prompt=prompt
        )
        for objects in followed:
            frames.append(objects[0].frame_idx)
            for said in objects:
                assert said.mask.shape == labels.shape[1:]
                tally.add(said)
        assert sorted(set(frames) - {1}) == [0, 2, 3]
        assert [score.obj_id for score in tally.scores()] == [1, 4]
        assert all(score.frames == 3 for score in tally.scores())
        assert all(0 <= score.j_and_f <= 1 for score in tally.scores())
