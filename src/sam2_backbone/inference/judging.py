"""What the answers through several windows say of each other, in numbers for `choose_window`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from sam2_backbone.inference.transforms import cut_by_view, resample_logits
from sam2_backbone.inference.window import WindowAnswer

if TYPE_CHECKING:
    from sam2_backbone.inference.frame_step import Answer


def judged_together(answers: Sequence[Answer], frame_size: tuple[int, int]) -> list[WindowAnswer]:
    """What `choose_window` needs to know of answers through windows, small ones first."""
    agreements = [0.0, *(_agreement(a, b) for a, b in pairwise(answers)), 0.0]
    return [
        replace(judged(answer, frame_size), agreement=max(agreements[i], agreements[i + 1]))
        for i, answer in enumerate(answers)
    ]


def _agreement(smaller: Answer, larger: Answer) -> float:
    """IoU of two answers in the larger window."""
    logits = smaller.memory.low_res_masks[None].float()
    first = resample_logits(logits, smaller.view, larger.view)[0] > 0
    second = larger.memory.low_res_masks > 0
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def judged(answer: Answer, frame_size: tuple[int, int]) -> WindowAnswer:
    """What `choose_window` needs to know of an answer by itself."""
    mask = answer.memory.low_res_masks[0] > 0
    # only sides within the frame can cut: beyond it there is nothing to see
    is_cut = bool(cut_by_view(mask[None], answer.view, frame_size)[0])
    share = float(mask.float().mean()) ** 0.5
    return WindowAnswer(share=share, iou=answer.memory.iou, is_cut=is_cut)
