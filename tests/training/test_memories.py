import numpy as np
import pytest
import torch
from scipy import ndimage

from sam2_backbone.modeling.position import RandomFourierPosition
from sam2_backbone.training.clip_memory import (
    ABSENT_LOGIT,
    ClipMemory,
    remembered_masks,
    remembered_presence,
)
from sam2_backbone.training.drift import drifted, swollen
from sam2_backbone.training.losses import mask_iou
from sam2_backbone.training.prompt_sampler import true_logits
from sam2_backbone.training.step import CLICK, ClipBatch, last_masks
from sam2_backbone.training.synthetic import MotionRange
from sam2_backbone.training.trainer import new_network
from sam2_backbone.variants import TEST_CONFIG

NUM = 400


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_what_was_said_wrongly_is_remembered_about_half_of_the_time() -> None:
    present = torch.arange(NUM)[:, None] % 2 == 0
    wrong = torch.where(present, -3.0, 3.0)
    share = float((remembered_presence(wrong, present, generator()) != present).float().mean())
    assert 0.4 < share < 0.6
    right = torch.where(present, 3.0, -3.0)
    assert torch.equal(remembered_presence(right, present, generator()), present)


def test_the_truth_is_told_only_of_objects_that_are_there() -> None:
    target = torch.zeros(NUM, 1, 12, 12)
    target[: NUM // 2, :, 3:9, 3:9] = 1
    answered = true_logits(target.roll(3, -1))
    answered[NUM // 2 :, :, :4, :4] = 10  # said of objects that are not there
    complete = torch.ones(NUM, dtype=torch.bool)
    masks = remembered_masks(answered, target, complete, generator())
    is_told = mask_iou(masks, target)[: NUM // 2, 0] == 1
    assert 0.15 < float(is_told.float().mean()) < 0.35
    is_as_said = (masks == answered).flatten(1).all(1)[NUM // 2 :]
    assert 0.6 < float(is_as_said.float().mean()) < 0.9


def test_masks_of_cells_go_wrong_in_size_and_others_in_place_too() -> None:
    line = torch.arange(48) - 23.5
    disc = ((line[:, None] ** 2 + line**2) < 12**2).float()[None, None].expand(64, -1, -1, -1)

    def off_centre(masks: torch.Tensor) -> float:
        weight = (masks > 0).float()
        columns = (weight * line).sum((1, 2, 3)) / weight.sum((1, 2, 3))
        return float(columns.abs().max())

    grown = swollen(true_logits(disc), generator())
    areas = (grown > 0).float().mean((1, 2, 3)) / disc.mean((1, 2, 3))
    assert float(areas.min()) < 0.8 < 1.2 < float(areas.max())
    assert off_centre(grown) < 0.01
    assert off_centre(drifted(true_logits(disc), generator())) > 1


def test_an_absent_object_is_remembered_as_absent_and_a_present_one_by_its_mask() -> None:
    model = new_network(TEST_CONFIG, 0)
    memory = ClipMemory(model, num_frames=16)
    side = TEST_CONFIG.input_size
    with torch.no_grad():
        plain = model.encode_image(torch.zeros(2, 3, side, side))
        masks = torch.full((2, 1, side // 4, side // 4), 10.0)
        present = torch.tensor([[True], [False]])
        pointer = torch.ones(2, TEST_CONFIG.hidden_dim)
        memory.store(plain, masks, pointer, present, 0, prompted=True)
    assert memory.last_masks is not None
    assert memory.last_masks.amax((1, 2, 3)).tolist() == [10.0, ABSENT_LOGIT]
    assert torch.equal(memory.pointers[0][1], model.no_object_pointer)
    assert memory.recall(1).pointer_span == TEST_CONFIG.memory.max_pointers - 1


def test_the_last_mask_is_drawn_where_the_picture_has_carried_it() -> None:
    model = new_network(TEST_CONFIG, 0)
    side, shift = TEST_CONFIG.input_size, 8
    rng = np.random.default_rng(0)
    wide = ndimage.gaussian_filter(rng.random((side, side + shift)), 3)
    wide = ((wide - wide.min()) / np.ptp(wide) * 255).astype(np.uint8)
    frames = np.stack([wide[:, shift:], wide[:, :side]])  # what is seen moves to the right
    images = torch.from_numpy(frames)[None, :, None].expand(1, 2, 3, side, side)
    masks = torch.full((1, 1, side // 4, side // 4), -10.0)
    masks[..., 4:10, 3:9] = 10
    memory = ClipMemory(model, num_frames=2)
    memory.last_masks = masks
    rows, nothing = torch.tensor([0]), torch.zeros(1)
    clip = ClipBatch(
        images, nothing, nothing, rows, rows + 1, nothing, nothing, kind=CLICK, correct_at=None
    )
    drawn = last_masks(memory, clip, 1)
    assert drawn is not None
    found = (drawn[0, 0] > 0).nonzero().float().mean(0)
    assert found.tolist() == pytest.approx([6.5, 5.5 + shift / 4], abs=0.3)
    memory.last_masks = None
    assert last_masks(memory, clip, 1) is None


def test_long_clips_go_no_farther_than_short_ones() -> None:
    usual = MotionRange()
    assert usual.over(4) == usual
    slow = usual.over(16)
    assert slow.drift == usual.drift / 2
    assert (slow.leave, slow.meet, slow.divide) == (usual.leave, usual.meet, usual.divide)


def test_positions_keep_their_precision_under_autocast() -> None:
    position = RandomFourierPosition(64)
    points = torch.rand(50, 2)
    with torch.autocast("cpu", torch.bfloat16):
        encoded = position(points)
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded, position(points))
