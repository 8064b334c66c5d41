"""The prompted shape stays in place over many frames, and ends where its object goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sam2_backbone import build_sam2
from sam2_backbone.inference.bending import straight
from sam2_backbone.inference.motion import MOTION_SIDE, carry_along
from sam2_backbone.inference.trails import Anchor, Trail, go_on
from sam2_backbone.inference.transforms import View, within_frame
from sam2_backbone.inference.video_predictor import VideoPredictor

SIDE, LOW, FRAMES = 192, 48, 24
CELL = (80.0, 70.0, 26.0, 18.0)  # x, y and both half axes on the first frame


def texture(seed: int) -> torch.Tensor:
    """(1, 1, SIDE, SIDE) grey values, smooth over some pixels."""
    coarse = torch.rand((1, 1, 32, 32), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")


def pose(t: int) -> torch.Tensor:
    """Map (3, 3) of pixel x, y of the cell on the first frame to frame t: it drifts and grows."""
    turn, grow = torch.tensor(0.02 * t), 1.01**t
    cos, sin = grow * torch.cos(turn), grow * torch.sin(turn)
    x, y = CELL[:2]
    turned = torch.tensor([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])
    there, back = torch.eye(3), torch.eye(3)
    there[:2, 2], back[:2, 2] = torch.tensor((1.6 * t, 0.8 * t)), -torch.tensor((x, y))
    return there @ turned @ back


def movie() -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (T, 1, 1, S, S) of a cell that moves over a still ground, fading; masks (T, S, S)."""
    ground, cell = texture(0), texture(1)
    line = torch.arange(SIDE, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack((x, y, torch.ones_like(x)), -1)
    frames, masks = [], []
    for t in range(FRAMES):
        first = places @ torch.linalg.inv(pose(t)).T  # where each pixel was on the first frame
        inside = ((first[..., 0] - CELL[0]) / CELL[2]) ** 2 + (
            (first[..., 1] - CELL[1]) / CELL[3]
        ) ** 2
        grid = (first[None, ..., :2] + 0.5) / SIDE * 2 - 1
        looks = F.grid_sample(cell, grid, align_corners=False)
        masks.append(inside < 1)
        noise = torch.randn((1, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(100 + t))
        frame = torch.where(masks[-1], looks + 0.3, 0.6 * ground)
        frames.append(0.97**t * frame + 0.02 * noise)
    return torch.stack(frames), torch.stack(masks)


def seen(frame: torch.Tensor, view: View, side: int) -> torch.Tensor:
    """Show a view of a frame, (1, 1, side, side)."""
    cut = torch.from_numpy(view.crop(frame[0, 0].numpy(), mirror=True).copy())
    return F.interpolate(cut[None, None], size=(side, side), mode="area")


def logits(mask: torch.Tensor, view: View) -> torch.Tensor:
    return 20 * seen(mask[None, None].float(), view, LOW) - 10


def iou(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_the_prompted_shape_stays_on_a_cell_that_drifts_turns_grows_and_fades() -> None:
    frames, masks = movie()
    view = View.around((CELL[1], CELL[0]), 120, SIDE, SIDE)
    anchor = Anchor(view, logits(masks[0], view), seen(frames[0], view, MOTION_SIDE))
    trail, last = Trail.beginning(0), anchor.logits
    for t in range(1, FRAMES):
        # the window follows the cell, a little late; what is carried is the last answer
        centre = pose(t - 1) @ torch.tensor((*CELL[:2], 1.0))
        before, view = view, View.around((float(centre[1]), float(centre[0])), 120, SIDE, SIDE)
        through = torch.linalg.inv(before.placement) @ view.placement
        grid = F.affine_grid(through[None, :2], [1, 1, LOW, LOW], align_corners=False)
        last = F.grid_sample(last + 10, grid, align_corners=False) - 10
        now = seen(frames[t], view, MOTION_SIDE)
        carried = carry_along(last, seen(frames[t - 1], view, MOTION_SIDE), now)
        (trail,), pull = go_on([trail], [anchor], [view], carried, now)
        last = carried.masks
    truth = logits(masks[-1], view) > 0
    assert iou(pull > 0, truth) > 0.93
    assert iou(pull > 0, truth) > iou(last > 0, truth) + 0.05
    assert trail.anchor == 0
    assert 0.3 < trail.sure <= 1
    centre = torch.tensor((*CELL[:2], 1.0))
    assert float((trail.moved @ centre - pose(FRAMES - 1) @ centre).norm()) < 1.5


def test_a_trail_is_as_sure_as_its_least_sure_step() -> None:
    frames, masks = movie()
    view = View.around((CELL[1], CELL[0]), 120, SIDE, SIDE)
    anchor = Anchor(view, logits(masks[0], view), seen(frames[0], view, MOTION_SIDE))
    now = seen(frames[1], view, MOTION_SIDE)
    carried = carry_along(anchor.logits, anchor.grey, now)
    doubted = replace(Trail.beginning(0), sure=0.25)
    (trail,), pull = go_on([doubted], [anchor], [view], carried, now)
    assert trail.sure == pytest.approx(0.25)
    assert 0.25 < float(pull.abs().max()) <= 1.0 + 1e-3  # up to four times, where it looks alike
    (known,), full = go_on([Trail.beginning(0)], [anchor], [view], carried, now)
    torch.testing.assert_close(pull, 0.25 / known.sure * full)
    gone = replace(carried, sure=torch.zeros(1))
    (trail,), pull = go_on([doubted], [anchor], [view], gone, now)
    assert trail.sure == 0
    assert not pull.any()


@pytest.mark.parametrize("scale", [0.0, 0.1, 10.0, float("nan")])
def test_a_shape_that_has_shrunk_or_grown_beyond_belief_is_lost(scale: float) -> None:
    frames, masks = movie()
    view = View.around((CELL[1], CELL[0]), 120, SIDE, SIDE)
    anchor = Anchor(view, logits(masks[0], view), seen(frames[0], view, MOTION_SIDE))
    now = seen(frames[1], view, MOTION_SIDE)
    carried = carry_along(anchor.logits, anchor.grey, now)
    moved = torch.diag(torch.tensor((scale, scale, 1.0)))
    (trail,), pull = go_on([Trail(0, moved, 1.0, straight(1)[0])], [anchor], [view], carried, now)
    assert trail.sure == 0
    assert torch.isfinite(trail.moved).all()
    assert not pull.any()


def test_trails_do_not_influence_each_other() -> None:
    frames, masks = movie()
    views = [View.around((CELL[1], CELL[0]), side, SIDE, SIDE) for side in (120, 90)]
    anchors = [Anchor(v, logits(masks[0], v), seen(frames[0], v, MOTION_SIDE)) for v in views]
    now = torch.cat([seen(frames[2], v, MOTION_SIDE) for v in views])
    shapes, before = torch.cat([a.logits for a in anchors]), torch.cat([a.grey for a in anchors])
    carried, starts = carry_along(shapes, before, now), [Trail.beginning(0)] * 2
    trails, pull = go_on(starts, anchors, views, carried, now)
    first = carried.select(torch.tensor([0]))
    (alone,), own = go_on(starts[:1], anchors[:1], views[:1], first, now[:1])
    torch.testing.assert_close(trails[0].moved, alone.moved, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(pull[:1], own, atol=1e-3, rtol=1e-3)


def test_a_shape_counts_more_where_the_object_looks_as_it_did() -> None:
    frames, masks = movie()
    view = View.around((CELL[1], CELL[0]), 120, SIDE, SIDE)
    anchor = Anchor(view, logits(masks[0], view), seen(frames[0], view, MOTION_SIDE))
    carried = carry_along(anchor.logits, anchor.grey, anchor.grey)
    pulls = []
    for noise in (0.0, 1.0):
        spoilt = noise * torch.randn(anchor.grey.shape, generator=torch.Generator().manual_seed(0))
        pulls.append(
            go_on([Trail.beginning(0)], [anchor], [view], carried, anchor.grey + spoilt)[1]
        )
    assert float(pulls[0].max()) == pytest.approx(4.0, abs=0.1)
    assert float(pulls[1].max()) == pytest.approx(1.0, abs=0.1)


@pytest.fixture(scope="module")
def predictor() -> VideoPredictor:
    return VideoPredictor(build_sam2("micro", device="cpu", dtype="float32"))


def followed(predictor: VideoPredictor, frames: np.ndarray, *anchors: tuple[int, np.ndarray]):
    state = predictor.init_state(frames, window="auto")
    for frame_idx, mask in anchors:
        predictor.answer(state, frame_idx, 1, mask=mask)
    for _ in predictor.propagate(state, direction="forward"):
        pass
    return state


def test_a_trail_begins_anew_at_a_correction_and_ends_with_its_prompt(predictor) -> None:
    frames, masks = movie()
    pixels = (frames[:8, 0, 0].clamp(0, 1.3) / 1.3 * 255).byte().numpy()
    state = followed(predictor, pixels, (0, masks[0].numpy()), (4, masks[4].numpy()))
    item = state.get(1)
    # the frame before the correction is carried from whichever prompt is nearer
    assert [item.trails[t].anchor for t in (1, 2, 3, 5, 6, 7)] == [0, 0, 4, 4, 4, 4]
    assert all(trail.sure > 0.3 for trail in item.trails.values())
    predictor.clear_all_prompts_in_frame(state, 4, 1)
    for _ in predictor.propagate(state, direction="forward"):
        pass
    assert not any(item.trails[t].anchor == 4 for t in (4, 5, 6, 7) if t in item.trails)


def test_an_object_that_was_out_of_sight_has_no_trail_any_more(predictor) -> None:
    frames, masks = movie()
    pixels = (frames[:6, 0, 0].clamp(0, 1.3) / 1.3 * 255).byte().numpy()
    pixels[3] = 255 - np.random.default_rng(0).integers(0, 40, pixels[3].shape)  # a frame of noise
    item = followed(predictor, pixels, (0, masks[0].numpy())).get(1)
    assert {1, 2} <= set(item.trails)
    assert not any(item.trails[t].sure > 0 for t in (3, 4, 5) if t in item.trails)


def test_a_shape_says_nothing_of_what_its_frame_cut_off(predictor) -> None:
    frames, masks = movie()
    pixels = (frames[:2, 0, 0, :, 80:].clamp(0, 1.3) / 1.3 * 255).byte().numpy()  # half the cell
    item = followed(predictor, pixels, (0, masks[0, :, 80:].numpy())).get(1)
    anchor = item.anchors[0]
    outside = ~within_frame(anchor.view, pixels.shape[1:], LOW)
    assert outside.any()
    assert not anchor.logits[0, 0][outside].any()
    assert anchor.logits[0, 0][~outside].all()
