"""Room: how far a propagation is, and how much time it will take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari.utils import progress

if TYPE_CHECKING:
    from napari_sam2.session.history import Direction
    from napari_sam2.session.session import Session
    from napari_sam2.widgets.propagate_panel import PropagatePanel


class RunProgress:
    """Counts the frames of one propagation, for the panel and for napari's activity dock.

    Made and used in the main thread, as napari's progress bars must be.
    """

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._began_s = time.monotonic()
        self._frames: set[int] = set()
        self._total = 0
        self._activity: Any = None

    @property
    def num_frames(self) -> int:
        """Frames that were reached so far."""
        return len(self._frames)

    def step(self, frame_idx: int, session: Session) -> None:
        """Count a frame."""
        if self._activity is None:
            # the prompts that decide the range may have been answered only now
            self._total = frames_to_visit(self._direction, session)
            self._activity = progress(total=self._total, desc="SAM 2")
        if frame_idx not in self._frames:
            self._frames.add(frame_idx)
            self._activity.update(1)

    def show(self, panel: PropagatePanel, *, paused: bool) -> None:
        """Show the count and the time left."""
        elapsed_s = time.monotonic() - self._began_s
        panel.show_running(self.num_frames, self._total, elapsed_s, paused=paused)

    def close(self) -> None:
        """Take the bar out of the activity dock."""
        if self._activity is not None:
            self._activity.close()
            self._activity = None


def frames_to_visit(direction: Direction, session: Session) -> int:
    """Count the frames that a propagation can reach from the prompts."""
    prompted = [frame for record in session.objects for frame in record.prompted_frames]
    if direction == "both" or not prompted:
        return session.num_frames
    return session.num_frames - min(prompted) if direction == "forward" else max(prompted) + 1
