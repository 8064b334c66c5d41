"""Which part of a frame the model should look at for a prompt; pure numbers, no network.

A 20-pixel cell in a 1024-pixel frame must be seen at native resolution or larger. A box or a mask
says how large its object is; a click does not, so several windows are tried and their answers
compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sam2_backbone.inference.transforms import View

# window side over the longest side of an object of known extent; what is followed may move and
# grow, an object of a single image is seen best when it fills the window, and a box that a person
# has drawn tells the extent more exactly than an answer does
OBJECT_MARGIN, STILL_MARGIN, BOX_MARGIN = 2.5, 1.8, 1.5
SIDE_TOLERANCE, STILL_TOLERANCE = 1.5, 1.2  # a window this much larger or smaller still does
MIN_SIDE = 24  # pixels; smaller windows show nothing but interpolation
# what the answer of a click is judged by: see `choose_window`
IDEAL_SHARE = 0.35
SHARE_WEIGHT = 0.2
CUT_PENALTY = 0.15
AGREEMENT_WEIGHT = 0.75  # chosen with the others on training images


@dataclass(frozen=True)
class WindowAnswer:
    """What the model said through one window.

    Attributes
    ----------
    share
        Square root of the mask's area over that of the window, 0…1.
    iou
        Predicted IoU.
    is_cut
        The mask touches a side of the window that is not a side of the frame.
    agreement
        IoU with the answer through the next smaller or the next larger window, the larger of both.
    """

    share: float
    iou: float
    is_cut: bool
    agreement: float = 0.0


def window_around_extent(
    extent: tuple[float, float, float, float],
    frame_size: tuple[int, int],
    *,
    side: int | None = None,
    margin: float = OBJECT_MARGIN,
) -> View:
    """Return the window for an object of known extent: top, left, bottom, right in pixels.

    `side` is `margin` times the longest side of the extent unless it is given.
    """
    top, left, bottom, right = extent
    if side is None:
        side = max(MIN_SIDE, math.ceil(margin * max(bottom - top, right - left)))
    return View.around(((top + bottom) / 2 - 0.5, (left + right) / 2 - 0.5), side, *frame_size)


def needs_other_window(view: View, wanted: View, *, still: bool = False) -> bool:
    """Whether a window shows an object much larger or smaller than the wanted one does."""
    have, want = max(view.height, view.width), max(wanted.height, wanted.width)
    tolerance = STILL_TOLERANCE if still else SIDE_TOLERANCE
    return not want / tolerance <= have <= want * tolerance


def click_windows(
    points_yx: Sequence[tuple[float, float]],
    frame_size: tuple[int, int],
    *,
    input_size: int,
    fractions: Sequence[float],
) -> list[View]:
    """Return the windows to try for clicks, small ones first, none of them twice.

    Parameters
    ----------
    points_yx
        Clicks in pixels; every window holds all of them.
    fractions
        Window sides over the model's input size.
    """
    if max(frame_size) <= input_size * min(fractions):
        return [View.whole(*frame_size)]
    ys, xs = [y for y, _ in points_yx], [x for _, x in points_yx]
    centre = ((min(ys) + max(ys)) / 2, (min(xs) + max(xs)) / 2)
    spread = max(max(ys) - min(ys), max(xs) - min(xs)) + 1
    sides = [round(f * input_size) for f in fractions if f * input_size >= 1.3 * spread]
    views = [View.around(centre, side, *frame_size) for side in sides]
    if not views:
        views = [View.whole(*frame_size)]
    return list(dict.fromkeys(views))


def choose_window(answers: Sequence[WindowAnswer]) -> int:
    """Choose the window whose answer is to be believed.

    Assumes a model that was trained on objects of about a seventh to three quarters of its input:
    an answer is good if the model says so, if a neighbouring window gives the same mask, if the
    mask takes about a third of the window, and if the window does not cut it.

    Returns
    -------
    int
        Position in `answers`; the first of equals.
    """

    def worth(answer: WindowAnswer) -> float:
        octaves = abs(math.log2(max(answer.share, 1e-3) / IDEAL_SHARE))
        said = answer.iou + AGREEMENT_WEIGHT * answer.agreement
        return said - SHARE_WEIGHT * octaves - CUT_PENALTY * answer.is_cut

    return max(range(len(answers)), key=lambda i: worth(answers[i]))
