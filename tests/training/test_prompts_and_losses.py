import numpy as np
import pytest
import torch

from sam2_backbone.training.dense import dense_loss, dense_targets
from sam2_backbone.training.drift import drifted
from sam2_backbone.training.losses import (
    LossWeights,
    choice_loss,
    dice_loss,
    focal_loss,
    mask_iou,
    prediction_loss,
)
from sam2_backbone.training.prompt_sampler import (
    choose_objects,
    correction_clicks,
    innermost_pixel,
    masks_of,
    others_of,
)


def labels_of_two() -> np.ndarray:
    labels = np.zeros((64, 64), dtype=np.int64)
    labels[8:28, 10:30] = 1
    labels[40:60, 34:58] = 7
    return labels


def test_clicks_lie_on_their_object_and_boxes_around_it() -> None:
    labels = labels_of_two()
    for seed in range(20):
        chosen = choose_objects(np.random.default_rng(seed), labels, count=6, min_area=50, always=7)
        assert chosen.obj_ids[0] == 7
        assert set(chosen.obj_ids.tolist()) == {1, 7}
        for obj_id, (x, y), box in zip(chosen.obj_ids, chosen.clicks, chosen.boxes, strict=True):
            assert labels[int(y), int(x)] == obj_id
            rows, columns = np.nonzero(labels == obj_id)
            edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert np.abs(box - edges).max() < 6  # jitter of a twentieth, rarely more than four


def test_an_empty_crop_has_no_prompts() -> None:
    chosen = choose_objects(
        np.random.default_rng(0), np.zeros((16, 16), dtype=np.int64), count=4, min_area=5
    )
    assert chosen.obj_ids.shape == (0,)
    assert chosen.boxes.shape == (0, 4)


def test_the_innermost_pixel_counts_the_edge_as_outside() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[0:9, 0:9] = True
    assert innermost_pixel(mask) == (4, 4)


@pytest.mark.parametrize("central", [0.0, 1.0])
def test_corrections_fall_into_the_error_with_its_sign(central: float) -> None:
    labels = torch.from_numpy(labels_of_two())[None]
    target = masks_of(labels, torch.tensor([0, 0]), torch.tensor([1, 7]))
    logits = torch.where(target > 0.5, 5.0, -5.0)
    logits[0, 0, 2:5, 3:7] = -5.0  # a missed part of the first
    logits[1, 0, 0:3, 8:12] = 5.0  # a spilled part of the second
    coords, signs = correction_clicks(
        logits, target, stride=4, central=central, generator=torch.Generator().manual_seed(0)
    )
    assert signs.tolist() == [[1], [0]]
    x, y = (coords[0, 0] / 4).tolist()
    assert 3 <= x < 7
    assert 2 <= y < 5
    x, y = (coords[1, 0] / 4).tolist()
    assert 8 <= x < 12
    assert 0 <= y < 3


def test_losses_are_small_for_the_truth_and_large_for_its_opposite() -> None:
    target = torch.zeros(2, 1, 16, 16)
    target[:, :, 4:12, 4:12] = 1
    good, bad = target * 20 - 10, 10 - target * 20
    assert float(dice_loss(good, target).max()) < 0.02
    assert float(focal_loss(good, target).max()) < 1e-4
    assert float(dice_loss(bad, target).min()) > 0.9
    assert float(focal_loss(bad, target).min()) > 1
    assert mask_iou(good, target).tolist() == [[1.0], [1.0]]
    assert mask_iou(bad, target).tolist() == [[0.0], [0.0]]


def test_only_the_best_mask_is_supervised_and_absent_objects_have_none() -> None:
    target = torch.zeros(1, 1, 16, 16)
    target[:, :, 4:12, 4:12] = 1
    logits = torch.cat((target * 20 - 10, torch.zeros(1, 2, 16, 16)), 1).requires_grad_()
    score = torch.tensor([[3.0]])
    loss = prediction_loss(logits, torch.full((1, 3), 0.5), score, target, LossWeights())
    loss.backward()
    assert logits.grad is not None
    assert float(logits.grad[:, 1:].abs().max()) == 0
    empty = torch.zeros_like(target)
    absent = logits.detach().requires_grad_()
    lost = prediction_loss(
        absent, torch.full((1, 3), 0.5, requires_grad=True), score, empty, LossWeights()
    )
    lost.backward()
    assert absent.grad is None or float(absent.grad.abs().max()) == 0
    assert float(lost.detach()) > 2  # said to be present


def test_what_lies_beyond_the_crop_counts_as_missed() -> None:
    target = torch.zeros(2, 1, 16, 16)
    target[:, :, :, 8:] = 1  # 128 pixels at the border
    beyond = torch.tensor([0.0, 128.0])
    assert mask_iou(target * 20 - 10, target, beyond).tolist() == [[1.0], [0.5]]
    score, said = torch.full((2, 1), 9.0), torch.tensor([[1.0], [0.5]])
    honest = prediction_loss(target * 20 - 10, said, score, target, LossWeights(), None, beyond)
    proud = torch.ones(2, 1)
    boast = prediction_loss(target * 20 - 10, proud, score, target, LossWeights(), None, beyond)
    assert float(boast) == pytest.approx(float(honest) + 0.5 * LossWeights().iou / 2, abs=1e-4)


def test_the_order_of_predicted_ious_is_learned() -> None:
    achieved = torch.tensor([[0.9, 0.5, 0.1]])
    right, wrong, level = ([0.7, 0.4, 0.2], [0.2, 0.4, 0.7], [0.5, 0.5, 0.5])
    losses = [float(choice_loss(torch.tensor([said]), achieved)) for said in (right, level, wrong)]
    assert losses[0] < 0.01
    assert losses[1] == pytest.approx(0.4, abs=1e-6)
    assert losses[2] > 0.79
    assert float(choice_loss(torch.tensor([[0.3]]), torch.tensor([[0.1]]))) == 0
    said = torch.tensor([level], requires_grad=True)
    choice_loss(said, achieved).backward()
    assert said.grad is not None
    assert said.grad[0, 0] < 0 < said.grad[0, 2]


def test_running_over_into_a_neighbour_costs_more_than_into_background() -> None:
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[:, 8:24, 8:24], labels[:, 8:24, 24:40] = 1, 2
    rows, ids = torch.tensor([0]), torch.tensor([1])
    target = masks_of(labels, rows, ids)
    others = others_of(labels, rows, target)
    torch.testing.assert_close(others, masks_of(labels, rows, torch.tensor([2])))
    costs = []
    for spill in (others, others.transpose(-1, -2)):  # the same shape beside it and below it
        said = (target + spill) * 20 - 10
        iou, score = torch.full((1, 1), 0.5), torch.tensor([[9.0]])
        costs.append(float(prediction_loss(said, iou, score, target, LossWeights(), others)))
    assert costs[0] > 1.5 * costs[1]


def test_dense_targets_know_boundaries_and_centres() -> None:
    labels = torch.from_numpy(labels_of_two())[None]
    targets = dense_targets(labels)
    assert targets.shape == (1, 4, 16, 16)
    assert float(targets[0, 0].sum()) > float(targets[0, 1].sum()) > 0
    column = targets[0, 2, 4]  # offsets x along a row of the first object
    assert float(column[3]) < 0 < float(column[6])
    nothing = dense_loss(torch.zeros_like(targets), targets, torch.tensor([False]))
    assert float(nothing) == 0


def test_drifted_masks_are_wrong_but_still_show_their_object() -> None:
    line = torch.arange(48) - 23.5
    disc = ((line[:, None] ** 2 + line**2) < 12**2).float()[None, None].expand(64, -1, -1, -1)
    logits = (disc * 20 - 10).requires_grad_()
    wrong = drifted(logits, torch.Generator().manual_seed(0))
    again = drifted(logits, torch.Generator().manual_seed(0))
    assert torch.equal(wrong, again)
    assert not wrong.requires_grad
    ious = mask_iou(wrong, disc)[:, 0]
    assert float(ious.min()) > 0.25
    assert 0.6 < float(ious.median()) < 0.9
    assert float(ious.max()) < 1
