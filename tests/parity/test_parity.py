"""Ours against the reference, run beside it on its own random checkpoint, float32 on the CPU.

`reference_rules=True` turns on the rules that we change on purpose: a correction of a tracked frame
is no conditioning frame, all objects start at the first prompt of any, frames are resized
bicubically on 8 bits, holes are filled on CUDA only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam2_backbone.inference.video_predictor import VideoPredictor
from sam2_backbone.modeling.attention import RotaryAttention
from sam2_backbone.modeling.sam2 import SAM2
from sam2_backbone.variants import list_variants
from tests.parity import measure, reference, scenario
from tests.parity.measure import TOLERANCE, Agreement
from tests.parity.reference import largest_difference

pytestmark = pytest.mark.parity

SIZE = 256  # model input of the quick tests: every code path, a sixteenth of the work
QUICK = ["sam2_hiera_tiny", "sam2.1_hiera_tiny"]
SLOW = [name for name in list_variants() if name != "micro" and name not in QUICK]
VARIANTS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[[str, Agreement], None]:
    """Print the largest difference, then assert that it is small and masks are equal."""

    def check(name: str, agreement: Agreement) -> None:
        with capsys.disabled():
            print(f"\n  {name}: largest difference {agreement.difference:.1e} of the magnitude")
        assert agreement.difference <= TOLERANCE
        assert agreement.masks_agree

    return check


Check = Callable[[str, Agreement], None]


@pytest.mark.parametrize("variant", VARIANTS)
def test_image_features(variant: str, tmp_path: Path, check: Check) -> None:
    check(f"{variant} image features", measure.image_features(variant, tmp_path, size=SIZE))


@pytest.mark.parametrize("variant", VARIANTS)
def test_image_predictions(variant: str, tmp_path: Path, check: Check) -> None:
    check(f"{variant} image predictions", measure.image_predictions(variant, tmp_path, size=SIZE))


@pytest.mark.parametrize("variant", VARIANTS)
def test_video(variant: str, tmp_path: Path, check: Check) -> None:
    check(f"{variant} video of 12 frames", measure.video(variant, tmp_path, size=SIZE))


def test_video_of_another_size(tmp_path: Path, check: Check) -> None:
    """The reference's bicubic resizing of 8-bit frames, under `reference_rules`."""
    with measure.exact_memories():
        agreement = measure.video("sam2.1_hiera_tiny", tmp_path, size=128, frame_size=(150, 220))
    check("sam2.1_hiera_tiny video of 150 x 220 pixels", agreement)


@pytest.mark.slow
def test_video_at_full_size(tmp_path: Path, check: Check) -> None:
    agreement = measure.video("sam2.1_hiera_tiny", tmp_path, size=1024)
    check("sam2.1_hiera_tiny video at 1024 pixels", agreement)


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


@pytest.mark.timeout(1800)
def test_leaving_out_any_part_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proof that the comparison can fail: every part moves the result well beyond it."""
    size = 128
    _, ours = measure.pair("sam2.1_hiera_tiny", tmp_path, video=True, size=size)
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
    with capsys.disabled():
        for part, difference in sorted(moved.items(), key=lambda pair: pair[1])[:3]:
            print(f"\n  without {part}: the result moves by {difference:.1e} of the magnitude")
    assert {part: d for part, d in moved.items() if d < 10 * TOLERANCE} == {}
