"""Changes of what is said of an object on a frame: each is checked, asked and one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy.typing as npt

from napari_sam2.session.prompts import FramePrompts, add_point, frame_prompts

if TYPE_CHECKING:
    from napari_sam2.session.ledger import Ledger
    from napari_sam2.session.masks import StoredMask
    from sam2_backbone.inference.packed_mask import PackedMask


def click(
    ledger: Ledger, obj_id: int, frame_idx: int, point: Sequence[float], positive: bool
) -> None:
    """Add a point (y, x) to what is said."""
    _change(ledger, obj_id, frame_idx, lambda now: _with_click(ledger, now, point, positive))


def draw_box(ledger: Ledger, obj_id: int, frame_idx: int, box: Sequence[float]) -> None:
    """Put a box (y0, x0, y1, x1) in the place of a box or mask; points stay."""
    _change(
        ledger,
        obj_id,
        frame_idx,
        lambda now: replace(now, box=_checked(ledger, box=box).box, mask=None, candidate=0),
    )


def set_prompts(
    ledger: Ledger,
    obj_id: int,
    frame_idx: int,
    *,
    points: npt.ArrayLike | None = None,
    point_labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | PackedMask | None = None,
    candidate: int = 0,
) -> None:
    """Put other prompts in the place of all that was said; none clear them."""
    _change(
        ledger,
        obj_id,
        frame_idx,
        lambda _: _checked(ledger, points, point_labels, box, mask, candidate),
    )


def choose_candidate(ledger: Ledger, obj_id: int, frame_idx: int, candidate: int) -> None:
    """Mean another answer to the first click."""
    _change(
        ledger,
        obj_id,
        frame_idx,
        lambda now: _checked(ledger, now.points, now.point_labels, now.box, now.mask, candidate),
    )


def preview(
    ledger: Ledger, frame_idx: int, point: Sequence[float], positive: bool, obj_id: int | None
) -> StoredMask | None:
    """Return what a click would give; nothing is changed."""
    with ledger.turn():
        frame_idx = ledger.frame(frame_idx)
        now = None if obj_id is None else ledger.object(obj_id).prompts.get(frame_idx)
        asked = _with_click(ledger, now or FramePrompts(), point, positive)
        return ledger.segmentation.preview(frame_idx, asked)


def anticipate(ledger: Ledger, frame_idx: int, point: Sequence[float], obj_id: int | None) -> None:
    """Prepare the answer to a click; nothing is changed."""
    with ledger.turn():
        click = _with_click(ledger, FramePrompts(), point, True)
        ledger.segmentation.anticipate(obj_id, ledger.frame(frame_idx), click)


def _change(
    ledger: Ledger,
    obj_id: int,
    frame_idx: int,
    changed: Callable[[FramePrompts], FramePrompts],
) -> None:
    with ledger.turn():
        state, frame_idx = ledger.object(obj_id), ledger.frame(frame_idx)
        ledger.ask(state, frame_idx, changed(state.prompts.get(frame_idx, FramePrompts())))


def _with_click(
    ledger: Ledger, now: FramePrompts, point: Sequence[float], positive: bool
) -> FramePrompts:
    return add_point(now, _checked(ledger, points=[point]).points[0], positive)


def _checked(
    ledger: Ledger,
    points: npt.ArrayLike | None = None,
    point_labels: npt.ArrayLike | None = None,
    box: npt.ArrayLike | None = None,
    mask: npt.ArrayLike | PackedMask | None = None,
    candidate: int = 0,
) -> FramePrompts:
    """Check prompts against the size of the frames."""
    return frame_prompts(
        points,
        point_labels,
        box,
        mask,
        height=ledger.source.height,
        width=ledger.source.width,
        candidate=candidate,
    )
