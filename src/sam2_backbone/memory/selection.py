"""Pure: which memories are recalled for a frame; integers in, integers out, no tensor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sam2_backbone.config import MemoryConfig


@dataclass(frozen=True)
class Recall:
    """What to recall, in the order in which the network reads it.

    Attributes
    ----------
    spatial
        (frame, row of the temporal encoding) pairs.
    pointers
        (frame, signed distance in frames) pairs.
    pointer_span
        Distances are divided by this before they are encoded.
    """

    spatial: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]
    pointer_span: float

    @property
    def structure(self) -> tuple[tuple[int, ...], tuple[int, ...], float]:
        """What objects must have in common to be recalled in one batch."""
        return (
            tuple(row for _, row in self.spatial),
            tuple(distance for _, distance in self.pointers),
            self.pointer_span,
        )


def select_memories(
    frame_idx: int,
    *,
    prompted: Collection[int],
    tracked: Collection[int],
    num_frames: int,
    reverse: bool,
    config: MemoryConfig,
) -> Recall:
    """Choose the memories of one object for one frame.

    All prompted frames (or the nearest `config.max_prompted`) and the frames t - k for
    k = 1…num_memories - 1 are recalled; their pointers too, with tracked ones reaching further
    back, but pointers of prompted frames that lie ahead in tracking direction are left out
    (arXiv 2408.00714, section 4 and appendix).

    Parameters
    ----------
    frame_idx
        The frame to be predicted.
    prompted, tracked
        Frames that the object has memories of: prompted ones and filled-in ones.
    reverse
        Tracking runs towards earlier frames.
    """
    sign = -1 if reverse else 1
    chosen = _nearest_prompted(frame_idx, prompted, config.max_prompted)
    recallable = (set(tracked) | set(prompted)) - set(chosen)
    last_row = config.num_memories - 1

    spatial = [(t, last_row) for t in chosen]
    for k in range(config.num_memories - 1, 0, -1):
        if (t := frame_idx - sign * k) in recallable:
            spatial.append((t, k - 1))

    span = min(num_frames, config.max_pointers)
    pointers = [(t, sign * (frame_idx - t)) for t in chosen if sign * (frame_idx - t) >= 0]
    if not config.signed_pointer_time:
        pointers = [(t, abs(distance)) for t, distance in pointers]
    for k in range(1, span):
        if (t := frame_idx - sign * k) in recallable:
            pointers.append((t, k))
    return Recall(tuple(spatial), tuple(pointers), float(max(span - 1, 1)))


def _nearest_prompted(
    frame_idx: int, prompted: Collection[int], limit: int | None
) -> tuple[int, ...]:
    """All prompted frames in order, or the nearest before, the nearest after, then the rest."""
    frames = sorted(prompted)
    if limit is None or len(frames) <= limit:
        return tuple(frames)
    before = [t for t in frames if t < frame_idx][-1:]
    after = [t for t in frames if t >= frame_idx][:1]
    kept = (before + after)[:limit]
    rest = sorted((t for t in frames if t not in kept), key=lambda t: abs(t - frame_idx))
    return tuple(kept + rest[: limit - len(kept)])
