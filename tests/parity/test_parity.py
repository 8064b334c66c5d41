"""Ours against the reference, run beside it on its own random checkpoint, float32 on the CPU.

`reference_rules=True` turns on the rules that we change on purpose: a correction of a tracked frame
is no conditioning frame, all objects start at the first prompt of any, frames are resized
bicubically on 8 bits, holes are filled on CUDA only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_backbone.build import build_sam2
from sam2_backbone.inference.image_predictor import ImagePredictor
from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.attention import RotaryAttention
from sam2_backbone.modeling.sam2 import SAM2
from sam2_backbone.variants import list_variants
from tests.parity import reference, scenario
from tests.parity.reference import largest_difference, masks_agree

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4
SIZE = 256  # model input of the quick tests: every code path, a sixteenth of the work
QUICK = ["sam2_hiera_tiny", "sam2.1_hiera_tiny"]
SLOW = [name for name in list_variants() if name != "micro" and name not in QUICK]
VARIANTS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(autouse=True)
def _float32_inference() -> None:
    torch.manual_seed(0)


def _pair(variant: str, tmp_path: Path, *, video: bool, size: int = SIZE) -> tuple[object, SAM2]:
    theirs = reference.build_reference(variant, video=video, input_size=size)
    path = reference.save_checkpoint(theirs, tmp_path / f"{variant}.pt")
    ours = build_sam2(None, path, device="cpu", dtype="float32", input_size=size)
    return theirs, ours


def _report(capsys: pytest.CaptureFixture[str], name: str, difference: float) -> None:
    with capsys.disabled():
        print(f"\n  {name}: largest difference {difference:.1e} of the largest magnitude")


@pytest.mark.parametrize("variant", VARIANTS)
def test_image_features(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, ours = _pair(variant, tmp_path, video=False)
    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.inference_mode():
        expected = theirs.forward_image(images)["backbone_fpn"]
        features = ours.encode_image(images)
    got = (*features.high_res, features.embedding)
    difference = max(largest_difference(a, b) for a, b in zip(got, expected, strict=True))
    _report(capsys, f"{variant} image features", difference)
    assert difference <= TOLERANCE


IMAGE_PROMPTS: dict[str, dict[str, object]] = {
    "one point": {"point_coords": [[90, 70]], "point_labels": [1]},
    "three points": {"point_coords": [[90, 70], [30, 40], [150, 120]], "point_labels": [1, 0, 1]},
    "box": {"box": [40, 30, 160, 130]},
    "box and point": {"box": [40, 30, 160, 130], "point_coords": [[90, 70]], "point_labels": [0]},
    "three boxes": {"box": [[40, 30, 160, 130], [1, 2, 50, 60], [100, 90, 199, 149]]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_image_predictions(
    variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = _pair(variant, tmp_path, video=False)
    module = pytest.importorskip("sam2.sam2_image_predictor")
    image = reference.moving_frames(1, 150, 200)[0]
    their_predictor, our_predictor = module.SAM2ImagePredictor(theirs), ImagePredictor(ours)
    # the reference's predictor is written for 1024 pixels; its feature sizes are an attribute
    their_predictor._bb_feat_sizes = [(SIZE // stride, SIZE // stride) for stride in (4, 8, 16)]
    their_predictor.set_image(image)
    our_predictor.set_image(image)
    side = ours.config.low_res_size
    mask_input = np.random.default_rng(0).normal(0, 5, (1, side, side)).astype(np.float32)
    cases = {
        **IMAGE_PROMPTS,
        "mask alone": {"mask_input": mask_input},
        "point and mask": {**IMAGE_PROMPTS["one point"], "mask_input": mask_input},
    }
    worst = 0.0
    for prompt in cases.values():
        prompt = {name: np.asarray(value) for name, value in prompt.items()}
        for multimask in (True, False):
            arguments = {**prompt, "multimask_output": multimask, "return_logits": True}
            expected = [torch.as_tensor(x) for x in their_predictor.predict(**arguments)]
            got = [torch.as_tensor(x) for x in our_predictor.predict(**arguments)]
            assert [x.shape for x in got] == [x.shape for x in expected]
            assert masks_agree(got[0], expected[0], TOLERANCE)
            worst = max(
                worst, *(largest_difference(a, b) for a, b in zip(got, expected, strict=True))
            )
    _report(capsys, f"{variant} image predictions", worst)
    assert worst <= TOLERANCE


def _compare_videos(
    variant: str, tmp_path: Path, *, frame_size: tuple[int, int], size: int = SIZE
) -> float:
    theirs, ours = _pair(variant, tmp_path, video=True, size=size)
    frames = reference.moving_frames(scenario.NUM_FRAMES, *frame_size)
    folder = reference.write_frames(frames, tmp_path / "frames")
    expected = scenario.run(theirs, theirs.init_state(str(folder)), size=frame_size, masks=True)
    predictor = VideoPredictor(ours, reference_rules=True)
    got = scenario.run(predictor, predictor.init_state(frames), size=frame_size, masks=True)
    assert got.keys() == expected.keys()
    for name in expected:
        assert masks_agree(got[name], expected[name], TOLERANCE), name
    return max(largest_difference(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_video(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    difference = _compare_videos(variant, tmp_path, frame_size=(SIZE, SIZE))
    _report(capsys, f"{variant} video of 12 frames", difference)
    assert difference <= TOLERANCE


def test_video_of_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reference's bicubic resizing of 8-bit frames, under `reference_rules`."""
    difference = _compare_videos("sam2.1_hiera_tiny", tmp_path, frame_size=(150, 220))
    _report(capsys, "sam2.1_hiera_tiny video of 150 x 220 pixels", difference)
    assert difference <= TOLERANCE


@pytest.mark.slow
def test_video_at_full_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    difference = _compare_videos("sam2.1_hiera_tiny", tmp_path, frame_size=(1024, 1024), size=1024)
    _report(capsys, "sam2.1_hiera_tiny video at 1024 pixels", difference)
    assert difference <= TOLERANCE


def _zero(*names: str) -> Callable[[SAM2], None]:
    def leave_out(model: SAM2) -> None:
        for name in names:
            for parameter in _parameters(model, name):
                parameter.zero_()

    return leave_out


def _parameters(model: SAM2, prefix: str) -> list[torch.Tensor]:
    found = [p for name, p in model.named_parameters() if name.startswith(prefix)]
    assert found, prefix
    return found


def _no_rotation(model: SAM2) -> None:
    for module in model.modules():
        if isinstance(module, RotaryAttention):
            module.theta = 1e30


PARTS: dict[str, Callable[[SAM2], None]] = {
    "temporal encoding": _zero("temporal_encoding"),
    "no-memory embedding": _zero("no_memory_embedding"),
    "no-object pointer": _zero("no_object_pointer"),
    "no-object memory": _zero("no_object_memory"),
    "pointer projection": _zero("pointer_projection"),
    "pointer time": _zero("pointer_time_projection"),
    "mask of a mask prompt": _zero("mask_to_prompt"),
    "memory of the mask": _zero("memory_encoder.mask_branch"),
    "memory of the frame": _zero("memory_encoder.frame_projection"),
    "fuser": _zero("memory_encoder.fuser"),
    "layer scale": _zero("memory_encoder.fuser.0.scale"),
    "cross-attention": _zero("memory_attention.layers.3.cross_attention.out_proj"),
    "self-attention": _zero("memory_attention.layers.0.self_attention.out_proj"),
    "rotary positions": _no_rotation,
    "point types": _zero("prompt_encoder.point_types"),
    "padding token": _zero("prompt_encoder.padding"),
    "no-mask embedding": _zero("prompt_encoder.no_mask"),
    "previous mask": _zero("prompt_encoder.mask_branch"),
    "fine skips": _zero("mask_decoder.skip_stride4", "mask_decoder.skip_stride8"),
    "mask tokens": _zero("mask_decoder.mask_tokens"),
    "score token": _zero("mask_decoder.object_score_token"),
}


def test_leaving_out_any_part_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proof that the comparison can fail: every part moves the result well beyond it."""
    size = 128
    theirs, ours = _pair("sam2.1_hiera_tiny", tmp_path, video=True, size=size)
    del theirs
    frames = reference.moving_frames(scenario.NUM_FRAMES, size, size)
    whole = {name: tensor.clone() for name, tensor in ours.state_dict().items()}

    def answers() -> dict[str, torch.Tensor]:
        predictor = VideoPredictor(ours, reference_rules=True)
        return scenario.run(predictor, predictor.init_state(frames), size=(size, size), masks=True)

    expected = answers()
    thetas = {m: m.theta for m in ours.modules() if isinstance(m, RotaryAttention)}
    moved = {}
    for part, leave_out in PARTS.items():
        leave_out(ours)
        got = answers()
        moved[part] = max(largest_difference(got[name], expected[name]) for name in expected)
        ours.load_state_dict(whole)
        for module, theta in thetas.items():
            module.theta = theta
    for part, difference in sorted(moved.items(), key=lambda pair: pair[1])[:3]:
        _report(capsys, f"without {part}", difference)
    assert {part: d for part, d in moved.items() if d < 10 * TOLERANCE} == {}
