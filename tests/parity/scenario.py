"""One video scenario, told to a predictor of either kind: both have the same method names."""

from __future__ import annotations

from typing import Any

import torch

from tests.parity.reference import Prompt

NUM_FRAMES = 12


def prompts(height: int, width: int) -> tuple[list[Prompt], list[Prompt]]:
    """Return the first prompts, and the corrections after tracking."""
    first = [
        Prompt(0, 1, points=[[0.4 * width, 0.5 * height]], labels=[1]),
        Prompt(0, 2, box=[0.2 * width, 0.25 * height, 0.6 * width, 0.7 * height]),
        Prompt(
            2, 2, points=[[0.5 * width, 0.4 * height], [0.1 * width, 0.1 * height]], labels=[1, 0]
        ),
    ]
    later = [
        Prompt(
            6, 1, points=[[0.6 * width, 0.6 * height], [0.2 * width, 0.8 * height]], labels=[1, 0]
        ),
        Prompt(8, 2, points=[[0.3 * width, 0.5 * height]], labels=[1]),
    ]
    return first, later


def run(
    predictor: Any, state: Any, *, size: tuple[int, int], masks: bool = False
) -> dict[str, torch.Tensor]:
    """Prompt, track forward, correct, track on and back; logits of every answer by name."""
    first, later = prompts(*size)
    answers: dict[str, torch.Tensor] = {}

    def tell(prompt: Prompt) -> None:
        _, _, logits = predictor.add_new_points_or_box(
            state,
            prompt.frame_idx,
            prompt.obj_id,
            points=prompt.points,
            labels=prompt.labels,
            box=prompt.box,
        )
        answers[f"prompt {prompt.obj_id}@{prompt.frame_idx}"] = logits.clone()

    def follow(name: str, **where: Any) -> None:
        for frame_idx, _, logits in predictor.propagate_in_video(state, **where):
            answers[f"{name} {frame_idx}"] = logits.clone()

    for prompt in first:
        tell(prompt)
    if masks:  # one of them empty: an object that is absent on a prompted frame
        somewhere = torch.zeros(size, dtype=torch.bool)
        somewhere[size[0] // 3 : size[0] // 2, size[1] // 4 : size[1] // 2] = True
        for frame_idx, obj_id, mask in ((3, 1, torch.zeros_like(somewhere)), (4, 2, somewhere)):
            _, _, logits = predictor.add_new_mask(state, frame_idx, obj_id, mask)
            answers[f"mask {obj_id}@{frame_idx}"] = logits.clone()
    follow("forward")
    for prompt in later:
        tell(prompt)
    follow("on", start_frame_idx=8)
    follow("back", start_frame_idx=9, reverse=True)
    return answers
