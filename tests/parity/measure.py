"""Measures how far ours is from the reference; used by the tests and by the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam2_backbone.build import build_sam2
from sam2_backbone.inference.image_predictor import ImagePredictor
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.sam2 import SAM2
from tests.parity import reference, scenario
from tests.parity.reference import largest_difference, masks_agree

TOLERANCE = 1e-4

IMAGE_PROMPTS: dict[str, dict[str, object]] = {
    "one point": {"point_coords": [[90, 70]], "point_labels": [1]},
    "three points": {"point_coords": [[90, 70], [30, 40], [150, 120]], "point_labels": [1, 0, 1]},
    "box": {"box": [40, 30, 160, 130]},
    "box and point": {"box": [40, 30, 160, 130], "point_coords": [[90, 70]], "point_labels": [0]},
    "three boxes": {"box": [[40, 30, 160, 130], [1, 2, 50, 60], [100, 90, 199, 149]]},
}


@dataclass(frozen=True)
class Agreement:
    """Largest difference of logits over their largest magnitude, and whether masks are equal."""

    difference: float
    masks_agree: bool = True


def pair(variant: str, folder: Path, *, video: bool, size: int) -> tuple[Any, SAM2]:
    """Return the reference and ours, with the same weights by way of its checkpoint."""
    theirs = reference.build_reference(variant, video=video, input_size=size)
    path = reference.save_checkpoint(theirs, folder / f"{variant}.pt")
    ours = build_sam2(None, path, device="cpu", dtype="float32", input_size=size)
    return theirs, ours


def image_features(variant: str, folder: Path, *, size: int) -> Agreement:
    """Compare the maps of the image encoder."""
    theirs, ours = pair(variant, folder, video=False, size=size)
    torch.manual_seed(0)
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        expected = theirs.forward_image(images)["backbone_fpn"]
        features = ours.encode_image(images)
    got = (*features.high_res, features.embedding)
    return Agreement(max(largest_difference(a, b) for a, b in zip(got, expected, strict=True)))


def image_predictions(variant: str, folder: Path, *, size: int) -> Agreement:
    """Compare points, boxes and mask inputs, with one mask and with several."""
    theirs, ours = pair(variant, folder, video=False, size=size)
    module = pytest.importorskip("sam2.sam2_image_predictor")
    image = reference.moving_frames(1, 150, 200)[0]
    their_predictor, our_predictor = module.SAM2ImagePredictor(theirs), ImagePredictor(ours)
    # the reference's predictor is written for 1024 pixels; its feature sizes are an attribute
    their_predictor._bb_feat_sizes = [(size // stride, size // stride) for stride in (4, 8, 16)]
    their_predictor.set_image(image)
    our_predictor.set_image(image)
    side = ours.config.low_res_size
    mask_input = np.random.default_rng(0).normal(0, 5, (1, side, side)).astype(np.float32)
    cases = {
        **IMAGE_PROMPTS,
        "mask alone": {"mask_input": mask_input},
        "point and mask": {**IMAGE_PROMPTS["one point"], "mask_input": mask_input},
    }
    worst, agree = 0.0, True
    for prompt in cases.values():
        for multimask in (True, False):
            arguments: dict[str, Any] = {name: np.asarray(value) for name, value in prompt.items()}
            arguments |= {"multimask_output": multimask, "return_logits": True}
            expected = [torch.as_tensor(x) for x in their_predictor.predict(**arguments)]
            got = [torch.as_tensor(x) for x in our_predictor.predict(**arguments)]
            assert [x.shape for x in got] == [x.shape for x in expected]
            agree &= masks_agree(got[0], expected[0], TOLERANCE)
            worst = max(
                worst, *(largest_difference(a, b) for a, b in zip(got, expected, strict=True))
            )
    return Agreement(worst, agree)


@contextmanager
def exact_memories() -> Iterator[None]:
    """Keep the memories of both in float32.

    Rounded to bfloat16, two memories that differ in their last bit may end up 0.4 % apart, on some
    processors and not on others; that hides what a comparison of anything else would find.
    """
    import sam2.sam2_video_predictor as theirs

    from sam2_backbone.inference import frame_step, recollection

    with pytest.MonkeyPatch.context() as patch:
        for module in (theirs, frame_step, recollection):
            patch.setattr(module, "torch", _Exact())
        yield


class _Exact:
    """torch, but that its bfloat16 is float32."""

    bfloat16 = torch.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def video(
    variant: str, folder: Path, *, size: int, frame_size: tuple[int, int] | None = None
) -> Agreement:
    """Compare every answer of the video scenario, under the reference's rules."""
    frame_size = frame_size or (size, size)
    theirs, ours = pair(variant, folder, video=True, size=size)
    frames = reference.moving_frames(scenario.NUM_FRAMES, *frame_size)
    paths = reference.write_frames(frames, folder / "frames")
    expected = scenario.run(theirs, theirs.init_state(str(paths)), size=frame_size, masks=True)
    predictor = VideoPredictor(ours, reference_rules=True)
    got = scenario.run(predictor, predictor.init_state(frames), size=frame_size, masks=True)
    assert got.keys() == expected.keys()
    return Agreement(
        max(largest_difference(got[name], expected[name]) for name in expected),
        all(masks_agree(got[name], expected[name], TOLERANCE) for name in expected),
    )
