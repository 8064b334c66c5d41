"""What a bank keeps whole, what it packs, and what it forgets."""

from __future__ import annotations

import torch

from sam2_backbone.memory.bank import ARCHIVED_LOGIT, FrameMemory, MemoryBank


def _memory(seed: int, side: int = 16) -> FrameMemory:
    generator = torch.Generator().manual_seed(seed)
    return FrameMemory(
        low_res_masks=torch.randn(1, side, side, generator=generator),
        obj_ptr=torch.randn(8, generator=generator),
        object_score=float(seed),
        iou=0.5,
        prompted=False,
        features=torch.zeros(4, 4, 4),
    )


def test_old_frames_are_packed_to_their_mask_and_pointer() -> None:
    bank = MemoryBank(keep=2)
    for t in range(5):
        bank.put_tracked(t, _memory(t))
    assert bank.tracked_frames == frozenset(range(5))
    kept, packed = bank.get(4), bank.get(0)
    assert kept is not None
    assert kept.features is not None
    assert packed is not None
    assert packed.features is None
    expected = _memory(0)
    assert torch.equal(packed.low_res_masks > 0, expected.low_res_masks > 0)
    assert packed.low_res_masks.abs().unique().tolist() == [ARCHIVED_LOGIT]
    assert packed.obj_ptr is not None
    assert expected.obj_ptr is not None
    assert torch.equal(packed.obj_ptr, expected.obj_ptr)
    assert packed.object_score == 0.0


def test_a_prompt_replaces_what_was_filled_in() -> None:
    bank = MemoryBank(keep=2)
    bank.put_tracked(3, _memory(3))
    bank.put_conditioning(3, _memory(7))
    assert bank.conditioning_frames == (3,)
    assert bank.tracked_frames == frozenset()
    found = bank.get(3)
    assert found is not None
    assert found.object_score == 7.0
    bank.drop_conditioning(3)
    assert bank.get(3) is None


def test_a_frame_brought_back_is_kept_whole_again() -> None:
    bank = MemoryBank(keep=2)
    for t in range(4):
        bank.put_tracked(t, _memory(t))
    bank.update(0, _memory(0))
    found = bank.get(0)
    assert found is not None
    assert found.features is not None
    assert bank.tracked_frames == frozenset(range(4))
